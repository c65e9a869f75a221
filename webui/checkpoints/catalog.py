"""What lies in the model folders: names, titles, hashes and problems of every file; no torch.

A scan lists folders and asks each file's size and time, nothing more; files are opened only when
somebody wants to know what is in them, or in the background, and what was found is remembered
(filefacts.py). Names, titles and aliases follow A1111 (formats.md, section 2).
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from webui.checkpoints.filefacts import FactStore, FileFacts
from webui.checkpoints.hashes import (
    LORA_SHORT_DIGITS,
    SHORT_DIGITS,
    lora_hash,
    old_hash,
    sha256_of_file,
)
from webui.checkpoints.headers import read_header
from webui.checkpoints.identify import describe, identify_folder, misplaced
from webui.errors import CheckpointError, CheckpointNotFoundError, JobCancelled

logger = logging.getLogger(__name__)

KIND_FOLDERS: Final[dict[str, tuple[str, ...]]] = {
    "checkpoint": ("stable-diffusion", "checkpoints", "diffusers"),
    "vae": ("vae",),
    "lora": ("lora", "loras", "lycoris"),
    "embedding": ("embeddings",),
    "hypernetwork": ("hypernetworks",),
    "upscaler": (
        "esrgan", "realesrgan", "swinir", "scunet", "dat", "hat", "bsrgan", "upscale_models",
    ),
    "face": ("gfpgan", "codeformer", "facerestore_models"),
    "controlnet": ("controlnet",),
    "vae-approx": ("vae-approx", "vae_approx"),
    "text-encoder": ("text_encoder", "text_encoders", "clip"),
    "unet": ("unet", "diffusion_models"),
}  # fmt: skip
"""Folder names below a models folder, A1111's and ComfyUI's, in lower case: case is ignored."""

KIND_ENDINGS: Final[dict[str, tuple[str, ...]]] = {
    "checkpoint": (".safetensors", ".ckpt"),
    "vae": (".safetensors", ".pt", ".ckpt"),
    "lora": (".safetensors", ".pt", ".ckpt"),
    "embedding": (".safetensors", ".pt", ".bin"),
    "hypernetwork": (".pt",),
    "upscaler": (".safetensors", ".pth", ".pt"),
    "face": (".safetensors", ".pth", ".pt"),
    "controlnet": (".safetensors", ".pth", ".pt", ".ckpt", ".bin"),
    "vae-approx": (".safetensors", ".pth", ".pt"),
    "text-encoder": (".safetensors", ".bin", ".pt"),
    "unet": (".safetensors", ".sft"),
}
LONG_HASH_KINDS: Final = ("lora", "embedding")
"""Kinds whose short hash has 12 digits instead of 10."""
DIFFUSERS_INDEX: Final = "model_index.json"
INSPECTED_AT_ONCE: Final = 8
"""So many new checkpoints are looked into during a refresh; more wait for the background."""
MAX_DEPTH: Final = 24


class ModelFolders(Protocol):
    """Where to look. ``models`` are folders with A1111's or ComfyUI's sub-folders; the others
    hold files of one kind."""

    @property
    def models(self) -> tuple[Path, ...]: ...
    @property
    def checkpoints(self) -> tuple[Path, ...]: ...
    @property
    def vaes(self) -> tuple[Path, ...]: ...
    @property
    def loras(self) -> tuple[Path, ...]: ...
    @property
    def embeddings(self) -> tuple[Path, ...]: ...
    @property
    def hypernetworks(self) -> tuple[Path, ...]: ...
    @property
    def upscalers(self) -> tuple[Path, ...]: ...


@dataclass(frozen=True)
class Record:
    """One file (or diffusers folder) as it was at the last scan.

    Attributes:
        kind: By the folder it lies in: ``checkpoint``, ``vae``, ``lora`` …
        name: Path below its folder with "/" and ending; unique within its kind.
        size: Bytes.
        mtime_ns: Modification time in nanoseconds.
        problem: Why it cannot be used; '' = none known.
        is_inspected: It was looked into; family, contents and alias are known.
        family: ``sd1``, ``sdxl`` …, '' where unknown or not applicable.
        contents: What it is in words: "an SD 1.x checkpoint".
        alias: A LoRA's own name for itself (``ss_output_name``).
        sha256: 64 hex digits by the rule for its kind, None until calculated.
        old_hash: 8 digits, None until calculated.
    """

    kind: str
    name: str
    path: Path
    size: int
    mtime_ns: int
    problem: str = ""
    is_inspected: bool = False
    family: str = ""
    contents: str = ""
    alias: str = ""
    sha256: str | None = None
    old_hash: str | None = None

    @property
    def stem(self) -> str:
        """File name without folders and ending (for a diffusers folder, its name)."""
        base = self.name.rpartition("/")[2]
        ending = os.path.splitext(base)[1]
        return base[: -len(ending)] if ending.lower() in KIND_ENDINGS[self.kind] else base

    @property
    def hash10(self) -> str | None:
        """AutoV2: first 10 digits of the SHA-256."""
        return self.sha256[:SHORT_DIGITS] if self.sha256 else None

    @property
    def short_hash(self) -> str | None:
        """First 10 digits; 12 for LoRAs and embeddings."""
        digits = LORA_SHORT_DIGITS if self.kind in LONG_HASH_KINDS else SHORT_DIGITS
        return self.sha256[:digits] if self.sha256 else None

    @property
    def title(self) -> str:
        """``name [hash10]``, or ``name`` while the hash is unknown."""
        return f"{self.name} [{self.hash10}]" if self.sha256 else self.name

    @property
    def short_title(self) -> str:
        """``stem [hash10]``, or ``stem`` while the hash is unknown."""
        return f"{self.stem} [{self.hash10}]" if self.sha256 else self.stem

    @property
    def model_name(self) -> str:
        """The API's name: "/" and "\\" become "_", the ending is cut."""
        folder, slash, _ = self.name.rpartition("/")
        return f"{folder}{slash}{self.stem}".replace("/", "_").replace("\\", "_")

    @property
    def mtime(self) -> float:
        """Modification time in seconds since 1970."""
        return self.mtime_ns / 1e9


@dataclass(frozen=True)
class _Found:
    kind: str
    name: str
    path: str
    size: int
    mtime_ns: int
    problem: str = ""


class Catalog:
    """Everything in the model folders. Thread-safe; scanned on construction.

    Args:
        folders: Where to look.
        database_path: SQLite file in which facts about files are remembered.
    """

    def __init__(self, folders: ModelFolders, database_path: Path) -> None:
        self._folders = folders
        self._facts = FactStore(database_path)
        self._lock = threading.RLock()
        self._records: dict[str, dict[str, Record]] = {}
        self._tasks: queue.PriorityQueue[tuple[int, int, str, Record | None]] = (
            queue.PriorityQueue()
        )
        self._queued: set[tuple[str, str]] = set()
        self._counter = 0
        self._thread: threading.Thread | None = None
        self._is_closed = threading.Event()
        self.scan_seconds = 0.0
        self.refresh()

    # Life

    def refresh(self) -> None:
        """Look through the folders again. Unchanged files are not opened."""
        started = time.perf_counter()
        records: dict[str, dict[str, Record]] = {kind: {} for kind in KIND_FOLDERS}
        for found in scan(self._folders):
            facts = self._facts.get(found.path, found.size, found.mtime_ns)
            records[found.kind][found.path] = _record(found, facts)
        with self._lock:
            self._records = records
        new = [r for r in self.checkpoints() if not r.is_inspected and not r.problem]
        for record in new[:INSPECTED_AT_ONCE]:
            self.inspect(record)
        self.scan_seconds = time.perf_counter() - started
        for record in new[INSPECTED_AT_ONCE:]:
            self._add_task(1, "inspect", record)

    def close(self) -> None:
        """Stop background work and close the database."""
        self._is_closed.set()
        thread = self._thread
        if thread is not None:
            self._tasks.put((-1, 0, "stop", None))
            thread.join(timeout=10)
        self._facts.close()

    # Lists

    def records(self, kind: str) -> tuple[Record, ...]:
        """All files of a kind, sorted by name without regard to case.

        Raises:
            KeyError: No such kind.
        """
        with self._lock:
            found = list(self._records[kind].values())
        return tuple(sorted(found, key=lambda r: (r.name.casefold(), r.name)))

    def checkpoints(self) -> tuple[Record, ...]:
        """All checkpoints, broken ones included (see ``Record.problem``)."""
        return self.records("checkpoint")

    def vaes(self) -> tuple[Record, ...]:
        """All separate VAE files."""
        return self.records("vae")

    def loras(self) -> tuple[Record, ...]:
        """All LoRA-like files. A later file of the same stem replaces an earlier one."""
        by_stem = {record.stem: record for record in self.records("lora")}
        return tuple(by_stem.values())

    def embeddings(self) -> tuple[Record, ...]:
        """All textual inversion files."""
        return self.records("embedding")

    def hypernetworks(self) -> tuple[Record, ...]:
        """All hypernetwork files."""
        return self.records("hypernetwork")

    def upscalers(self) -> tuple[Record, ...]:
        """All upscaler files."""
        return self.records("upscaler")

    # Look-ups

    def find_checkpoint(self, alias: str) -> Record:
        """The checkpoint meant by a name, title, stem or hash in any of A1111's forms.

        Raises:
            CheckpointNotFoundError: None is; the message lists what there is.
        """
        wanted = alias.strip().replace("\\", "/")
        records = self.checkpoints()
        for names_of in (_exact_names, _loose_names):
            for record in records:
                if wanted in names_of(record):
                    return record
        digits = wanted.rpartition("[")[2].rstrip("]").lower()
        if len(digits) == 8 and all(c in "0123456789abcdef" for c in digits):
            for record in map(self._with_old_hash, records):
                if wanted.lower() in _old_names(record):
                    return record
        raise self._not_found("checkpoint", alias, records)

    def closest_checkpoint(self, text: str) -> Record | None:
        """As ``find_checkpoint``, else the shortest title that contains the text (with, then
        without a trailing ``[…]``), else None."""
        try:
            return self.find_checkpoint(text)
        except CheckpointNotFoundError:
            pass
        for part in (text, text.rpartition("[")[0].strip() if text.endswith("]") else ""):
            hits = [r for r in self.checkpoints() if part and part in r.title]
            if hits:
                return min(hits, key=lambda r: len(r.title))
        return None

    def find_vae(self, name: str) -> Record:
        """A VAE by file name, stem or title.

        Raises:
            CheckpointNotFoundError: None has that name.
        """
        records = self.vaes()
        for record in records:
            base = record.name.rpartition("/")[2]
            if name in (record.name, base, record.stem, record.title, record.sha256):
                return record
        raise self._not_found("VAE", name, records)

    def automatic_vae(self, checkpoint: Record) -> Record | None:
        """The VAE that belongs to a checkpoint: named in ``<stem>.json`` beside it ("vae"), else
        a VAE file whose name starts with the checkpoint's stem, else None."""
        chosen = user_metadata(checkpoint).get("vae")
        if isinstance(chosen, str) and chosen not in ("", "None", "Automatic"):
            try:
                return self.find_vae(chosen)
            except CheckpointNotFoundError:
                logger.warning("%s asks for the VAE %r, which is not there.", checkpoint, chosen)
        elif chosen == "None":
            return None
        for record in self.vaes():
            if record.name.rpartition("/")[2].startswith(checkpoint.stem) and not record.problem:
                return record
        return None

    def find_lora(self, name: str) -> Record:
        """A LoRA by file stem, else by an alias only one file has. Case matters.

        Files whose alias is not known yet are looked into, so the first look-up of an alias in a
        large new folder takes a while.

        Raises:
            CheckpointNotFoundError: None has that name.
        """
        records = self.loras()
        for record in records:
            if record.stem == name:
                return record
        records = tuple(r if r.is_inspected else self.inspect(r) for r in records)
        hits = [r for r in records if r.alias == name and name.lower() != "none"]
        if len(hits) == 1:
            return hits[0]
        raise self._not_found("LoRA", name, records)

    def find(self, kind: str, name: str) -> Record:
        """A file of any kind by name, file name or stem.

        Raises:
            CheckpointNotFoundError: None has that name.
        """
        records = self.records(kind)
        for record in records:
            if name in (record.name, record.name.rpartition("/")[2], record.stem):
                return record
        raise self._not_found(kind, name, records)

    def _not_found(
        self, what: str, name: str, records: Iterable[Record]
    ) -> CheckpointNotFoundError:
        names = [record.title for record in records]
        stems = {record.stem: record.title for record in records}
        close = difflib.get_close_matches(name, [*names, *stems], 3, 0.5)
        close = list(dict.fromkeys(stems.get(c, c) for c in close))
        shown = ", ".join(names[:8]) + (f" … ({len(names)} in all)" if len(names) > 8 else "")
        hint = "Put the file there and press Refresh."
        if close:
            hint = f"Did you mean {', '.join(close)}? Otherwise: {hint[0].lower()}{hint[1:]}"
        return CheckpointNotFoundError(
            f"No {what} named {name!r}. The model folders hold: {shown or 'none'}.",
            hint,
            closest=close,
        )

    # Finding out more

    def inspect(self, record: Record) -> Record:
        """Look into a file: what it is, and whether it can be used. Never fails; a fault becomes
        the record's ``problem``. Remembered until the file changes."""
        values: dict[str, object] = {"is_inspected": True}
        try:
            if record.path.is_dir():
                values |= _folder_facts(record)
            else:
                header = read_header(record.path)
                if header.metadata:
                    self._facts.remember_metadata(record.path, header.metadata)
                finding = describe(header)
                problem = misplaced(record.kind, header)
                values |= {
                    "kind": finding.kind,
                    "family": finding.family,
                    "title": finding.title,
                    "alias": header.metadata.get("ss_output_name", ""),
                    "problem": problem,
                }
        except CheckpointError as err:
            values["problem"] = err.message
        return self._changed(record, values)

    def metadata(self, record: Record) -> dict[str, str]:
        """The metadata stored in a safetensors file; empty for other files."""
        if not record.is_inspected:
            self.inspect(record)
        return self._facts.metadata(record.path)

    def hash_now(self, record: Record, should_stop: Callable[[], bool] | None = None) -> Record:
        """The record with its hash, calculated in this thread if it is not known.

        Raises:
            CheckpointError: The file cannot be read.
            JobCancelled: ``should_stop`` answered True.
        """
        current = self._current(record)
        if current.sha256 or current.path.is_dir():
            return current
        if current.kind == "lora":
            digest = lora_hash(current.path, self.metadata(current), should_stop=should_stop)
        else:
            digest = sha256_of_file(current.path, should_stop=should_stop)
        return self._changed(current, {"sha256": digest})

    def hash_in_background(self, record: Record) -> None:
        """Have a file hashed by the background thread, at low priority; returns at once."""
        if not record.sha256 and not record.problem:
            self._add_task(0, "hash", record)

    def is_busy(self) -> bool:
        """True while background work is waiting or running."""
        with self._lock:
            return bool(self._queued)

    def _with_old_hash(self, record: Record) -> Record:
        if record.old_hash or record.problem or record.path.is_dir():
            return record
        try:
            return self._changed(record, {"old_hash": old_hash(record.path)})
        except CheckpointError:
            return record

    def _current(self, record: Record) -> Record:
        with self._lock:
            return self._records.get(record.kind, {}).get(str(record.path), record)

    def _changed(self, record: Record, values: dict[str, object]) -> Record:
        """Remember new facts, provided that the file is still the one they were found in."""
        facts = self._facts.change(record.path, record.size, record.mtime_ns, values)
        with self._lock:
            known = self._records.get(record.kind, {})
            key = str(record.path)
            name = known[key].name if key in known else record.name
            found = _Found(record.kind, name, key, record.size, record.mtime_ns)
            changed = _record(found, facts)
            present = known.get(key)
            if present is not None and present.mtime_ns == record.mtime_ns:
                known[key] = changed
        return changed

    # Background

    def _add_task(self, priority: int, deed: str, record: Record) -> None:
        with self._lock:
            if self._is_closed.is_set() or (deed, str(record.path)) in self._queued:
                return
            self._queued.add((deed, str(record.path)))
            self._counter += 1
            self._tasks.put((priority, self._counter, deed, record))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="catalog", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        _lower_thread_priority()
        while not self._is_closed.is_set():
            _, _, deed, record = self._tasks.get()
            if record is None:
                return
            try:
                if deed == "inspect":
                    self.inspect(record)
                else:
                    self.hash_now(record, self._is_closed.is_set)
            except JobCancelled:
                return
            except CheckpointError as err:
                logger.warning("%s", err)
            finally:
                with self._lock:
                    self._queued.discard((deed, str(record.path)))


def _lower_thread_priority() -> None:
    """On Linux a thread has its own niceness; elsewhere reading at normal priority is fine."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)


def _record(found: _Found, facts: FileFacts) -> Record:
    return Record(
        kind=found.kind,
        name=found.name,
        path=Path(found.path),
        size=found.size,
        mtime_ns=found.mtime_ns,
        problem=found.problem or facts.problem,
        is_inspected=facts.is_inspected,
        family=facts.family,
        contents=facts.title,
        alias=facts.alias,
        sha256=facts.sha256,
        old_hash=facts.old_hash,
    )


def _exact_names(record: Record) -> tuple[str | None, ...]:
    return (record.title, record.name, record.sha256, str(record.path))


def _loose_names(record: Record) -> tuple[str | None, ...]:
    return (
        record.stem,
        record.model_name,
        record.name.rpartition("/")[2],
        record.short_title,
        record.hash10,
    )


def _old_names(record: Record) -> tuple[str, ...]:
    old = record.old_hash
    return (f"{old}", f"{record.name.lower()} [{old}]", f"{record.stem.lower()} [{old}]")


def user_metadata(record: Record) -> dict[str, object]:
    """What a person noted about a model in ``<stem>.json`` beside it; {} when nothing."""
    try:
        value = json.loads(record.path.with_suffix(".json").read_text("utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _folder_facts(record: Record) -> dict[str, object]:
    spec = identify_folder(record.path)
    return {"kind": "checkpoint", "family": spec.family, "title": "an SD 1.x folder"}


# The scan


def scan(folders: ModelFolders) -> Iterator[_Found]:
    """All files in the model folders, each once; names unique within a kind."""
    seen_roots: set[tuple[str, int, int]] = set()
    seen_files: set[tuple[str, str]] = set()
    taken: set[tuple[str, str]] = set()
    for kind, root in _roots(folders):
        try:
            info = os.stat(root)
        except OSError:
            continue
        if (kind, info.st_dev, info.st_ino) in seen_roots:
            continue
        seen_roots.add((kind, info.st_dev, info.st_ino))
        for found in _walk(kind, root, "", [(info.st_dev, info.st_ino)]):
            if (found.kind, found.path) in seen_files:
                continue
            seen_files.add((found.kind, found.path))
            name = found.name
            if (found.kind, name) in taken:
                name = f"{os.path.basename(root)}/{name}"
            if (found.kind, name) in taken:
                name = _printable(found.path)
            taken.add((found.kind, name))
            yield _Found(found.kind, name, found.path, found.size, found.mtime_ns, found.problem)


def _roots(folders: ModelFolders) -> Iterator[tuple[str, str]]:
    kinds = {name: kind for kind, names in KIND_FOLDERS.items() for name in names}
    for models in folders.models:
        try:
            with os.scandir(models) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError:
            continue
        known = [name for name in names if name.lower() in kinds]
        known.sort(key=lambda n: KIND_FOLDERS[kinds[n.lower()]].index(n.lower()))
        for name in known:
            yield kinds[name.lower()], os.path.join(models, name)
    extra = {
        "checkpoint": folders.checkpoints,
        "vae": folders.vaes,
        "lora": folders.loras,
        "embedding": folders.embeddings,
        "hypernetwork": folders.hypernetworks,
        "upscaler": folders.upscalers,
    }
    for kind, paths in extra.items():
        for path in paths:
            yield kind, os.fspath(path)


def _walk(kind: str, folder: str, prefix: str, parents: list[tuple[int, int]]) -> Iterator[_Found]:
    """Files below a folder. Links are followed; a folder inside itself is not entered."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda e: e.name)
    except OSError as err:
        logger.warning("%s cannot be listed: %s", folder, err)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir():
                yield from _enter(kind, entry, prefix, parents)
            else:
                found = _file(kind, entry, prefix)
                if found is not None:
                    yield found
        except OSError as err:
            logger.warning("%s cannot be looked at: %s", entry.path, err)


def _enter(
    kind: str, entry: os.DirEntry[str], prefix: str, parents: list[tuple[int, int]]
) -> Iterator[_Found]:
    if kind == "checkpoint" and os.path.exists(os.path.join(entry.path, DIFFUSERS_INDEX)):
        info = os.stat(os.path.join(entry.path, DIFFUSERS_INDEX))
        name = prefix + _printable(entry.name)
        yield _Found(kind, name, entry.path, _folder_size(entry.path), info.st_mtime_ns)
        return
    info = entry.stat()
    identity = (info.st_dev, info.st_ino)
    if identity in parents or len(parents) > MAX_DEPTH:
        return
    deeper = f"{prefix}{_printable(entry.name)}/"
    yield from _walk(kind, entry.path, deeper, [*parents, identity])


def _file(kind: str, entry: os.DirEntry[str], prefix: str) -> _Found | None:
    lower = entry.name.lower()
    if not lower.endswith(KIND_ENDINGS[kind]):
        if not (kind == "checkpoint" and lower.endswith(".vae.pt")):
            return None
    if kind == "checkpoint" and ".vae." in lower:
        kind = "vae"
    name = prefix + _printable(entry.name)
    try:
        info = entry.stat()
    except OSError as err:
        what = "a link to a file that is not there" if entry.is_symlink() else str(err.strerror)
        return _Found(kind, name, entry.path, 0, 0, f"{_printable(entry.name)} is {what}.")
    problem = "" if info.st_size else f"{_printable(entry.name)} is empty (0 bytes)."
    return _Found(kind, name, entry.path, info.st_size, info.st_mtime_ns, problem)


def _folder_size(path: str) -> int:
    total = 0
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                total += os.stat(os.path.join(folder, file)).st_size
            except OSError:
                continue
    return total


def _printable(name: str) -> str:
    """A file name as text that can be encoded; undecodable bytes become U+FFFD."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
