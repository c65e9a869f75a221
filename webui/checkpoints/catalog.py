"""What lies in the model folders: names, titles, hashes and problems of every file; no torch.

A scan (scan.py) lists folders and asks each file's size and time, nothing more; files are opened
only when somebody wants to know what is in them, or in the background, and what was found is
remembered (filefacts.py). Names, titles and aliases follow A1111 (formats.md, section 2).
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from webui.checkpoints.background import Background
from webui.checkpoints.embeddings import EmbeddingFacts, is_picture
from webui.checkpoints.filefacts import FactStore
from webui.checkpoints.hashes import lora_hash, old_hash, sha256_of_file
from webui.checkpoints.labels import Label, read_label
from webui.checkpoints.looking import (
    Found,
    OncePerState,
    is_open_question,
    look_into,
    metadata_of,
    quick_look,
    text_width,
    usable_embedding,
)
from webui.checkpoints.lookups import (
    LoraNames,
    checkpoint_meant,
    file_meant,
    not_found,
    shortest_title_with,
    vae_meant,
    vae_named_after,
)
from webui.checkpoints.records import Record, make_record, repertoire
from webui.checkpoints.scan import (
    KIND_FOLDERS,
    FoundFile,
    ModelFolders,
    Root,
    folders_of,
    scan,
)
from webui.checkpoints.sidecars import user_metadata
from webui.errors import CheckpointError

__all__ = ["Catalog", "EmbeddingFacts", "ModelFolders", "Record", "repertoire"]

logger = logging.getLogger(__name__)

INSPECTED_AT_ONCE: Final = 8
"""So many new checkpoints are looked into during a refresh; more wait for the background."""
LABELLED_AT_ONCE: Final = 100
"""So many files are labelled in the background before anything more urgent is done."""
HASHING, INSPECTING, LABELLING = range(3)
"""Work in the background, the most urgent first."""
LABELLED_KINDS: Final = ("lora", "embedding", "hypernetwork", "checkpoint")


class Catalog:
    """Everything in the model folders. Thread-safe; scanned on construction.

    Args:
        folders: Where to look.
        database_path: SQLite file in which facts about files are remembered.
        elsewhere: Folders of other programs, looked through after ours.
    """

    def __init__(
        self, folders: ModelFolders, database_path: Path, elsewhere: Iterable[Root] = ()
    ) -> None:
        self._folders = folders
        self._elsewhere = tuple(elsewhere)
        self._facts = FactStore(database_path)
        self._lock = threading.RLock()
        self._refreshing = threading.Lock()
        self._records: dict[str, dict[str, Record]] = {}
        self._lora_names: LoraNames | None = None
        self._background = Background()
        self._embedding_folders: dict[str, int] = {}
        self._embedding_of = OncePerState(usable_embedding)
        self._width_of = OncePerState(text_width)
        self.generation = 0
        """Grows whenever the folders were looked through."""
        self.scan_seconds = 0.0
        self.refresh()

    # Life

    def refresh(self, elsewhere: Iterable[Root] | None = None) -> None:
        """Look through the folders again. Unchanged files are not opened.

        Args:
            elsewhere: From now on the folders of other programs; None = as before.
        """
        started = time.perf_counter()
        with self._refreshing:
            if elsewhere is not None:
                self._elsewhere = tuple(elsewhere)
            self._list_folders()
        new = [r for r in self.checkpoints() if is_open_question(r)]
        for record in new[:INSPECTED_AT_ONCE]:
            self.inspect(record)
        self.scan_seconds = time.perf_counter() - started
        for record in new[INSPECTED_AT_ONCE:]:
            self._background.add(
                INSPECTING, f"inspect {record.path}", partial(self.inspect, record)
            )
        self._background.add(LABELLING, "label", self._label_some)

    def _list_folders(self) -> None:
        """Take what lies in the folders now for what there is."""
        folders = folders_of(self._folders, "embedding", self._elsewhere)
        seen = {folder: _mtime_ns(folder) for folder in folders}
        files = list(scan(self._folders, self._elsewhere))
        self._facts.follow_moves(files)
        self._facts.forget_missing(files)
        made: dict[str, list[Record]] = {kind: [] for kind in KIND_FOLDERS}
        for found in files:
            facts = self._facts.get(found.path, found.size, found.mtime_ns)
            made[found.kind].append(make_record(found, facts))
            if found.kind == "embedding":
                folder = os.path.dirname(found.path)
                seen.setdefault(folder, _mtime_ns(folder))
        with self._lock:
            self._records = {kind: _by_path(records) for kind, records in made.items()}
            self._lora_names = None
            self._embedding_folders = seen
            self.generation += 1

    def see_new_embeddings(self) -> None:
        """Look again if files came or went beside known embeddings, as A1111 does before every
        job; one look at each folder's time otherwise."""
        with self._lock:
            seen = dict(self._embedding_folders)
        if any(_mtime_ns(folder) != known for folder, known in seen.items()):
            self.refresh()

    def close(self) -> None:
        """Stop background work and close the database."""
        self._background.close()
        self._facts.close()

    # Lists

    def records(self, kind: str) -> tuple[Record, ...]:
        """All files of a kind, sorted by name without regard to case.

        Raises:
            KeyError: No such kind.
        """
        with self._lock:
            return tuple(self._records[kind].values())

    def checkpoints(self) -> tuple[Record, ...]:
        """All checkpoints, broken ones included (see ``Record.problem``)."""
        return self.records("checkpoint")

    def vaes(self) -> tuple[Record, ...]:
        """All separate VAE files."""
        return self.records("vae")

    def loras(self) -> tuple[Record, ...]:
        """All LoRA-like files. A later file of the same stem replaces an earlier one."""
        return self.lora_names().by_stem()

    def embeddings(self) -> tuple[Record, ...]:
        """All textual inversion files, broken ones included. Pictures without vectors inside
        are none; new pictures are opened for this."""
        return tuple(
            record
            for record in self.records("embedding")
            if not is_picture(record.path) or self.embedding_facts(record) is not None
        )

    def embedding_facts(self, record: Record) -> EmbeddingFacts | None:
        """What an embedding file says of itself; None when it cannot be used (then ``inspect``
        gives a record that says why). Files are opened once for each state they are in."""
        return self._embedding_of(record)

    def text_width(self, checkpoint: Record) -> int | None:
        """Width of the vectors a checkpoint's text encoders read, of all together; None when it
        cannot be told."""
        return self._width_of(checkpoint)

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
        records = self.checkpoints()
        found = checkpoint_meant(alias, records, self.with_old_hash)
        return _existing(found, "checkpoint", alias, records)

    def closest_checkpoint(self, text: str) -> Record | None:
        """As ``find_checkpoint``, else the shortest title that contains the text (with, then
        without a trailing ``[…]``), else None."""
        records = self.checkpoints()
        found = checkpoint_meant(text, records, self.with_old_hash)
        return found or shortest_title_with(text, records)

    def find_vae(self, name: str) -> Record:
        """A VAE by file name, stem, title or path.

        Raises:
            CheckpointNotFoundError: None has that name.
        """
        return _existing(vae_meant(name, self.vaes()), "VAE", name, self.vaes())

    def noted_vae(self, checkpoint: Record) -> str:
        """The VAE a person noted for a checkpoint in ``<stem>.json`` beside it ("vae"): a name,
        «None» for the checkpoint's own, '' when nothing is noted."""
        noted = user_metadata(checkpoint).get("vae")
        return noted if isinstance(noted, str) and noted != "Automatic" else ""

    def vae_named_after(self, checkpoint: Record) -> Record | None:
        """The usable VAE file that is named after a checkpoint."""
        return vae_named_after(checkpoint.stem, self.vaes())

    def find_lora(self, name: str) -> Record:
        """A LoRA by any of its names; see ``LoraNames``.

        Files whose alias is not known yet are looked into, so the first look-up of an alias in a
        large new folder takes a while.

        Raises:
            CheckpointNotFoundError: None has that name.
        """
        found = self.lora_names().meant(name)
        if found is None or found.stem != name:
            for record in self.records("lora"):
                self.labelled(record)
            found = self.lora_names().meant(name)
        return _existing(found, "LoRA", name, self.loras())

    def lora_names(self) -> LoraNames:
        """The names of LoRAs, as far as files have been looked into."""
        with self._lock:
            if self._lora_names is None:
                self._lora_names = LoraNames(self._records["lora"].values())
            return self._lora_names

    def find(self, kind: str, name: str) -> Record:
        """A file of any kind by name, file name or stem.

        Raises:
            CheckpointNotFoundError: None has that name.
        """
        return _existing(file_meant(name, self.records(kind)), kind, name, self.records(kind))

    # Finding out more

    def inspect(self, record: Record) -> Record:
        """Look into a file: what it is, and whether it can be used. Never fails; a fault becomes
        the record's ``problem``. Remembered until the file changes."""
        return self._found(record, look_into(record))

    def labelled(self, record: Record) -> Record:
        """The record with its alias and family, read from the file only where nobody has yet.
        Never fails. Of a LoRA that states both, the metadata alone is read."""
        if record.is_labelled or record.problem:
            return record
        return self._found(record, quick_look(record) or look_into(record))

    def label(self, record: Record) -> Label:
        """What a file says of itself, as far as somebody has looked (see ``labelled``)."""
        if not record.is_labelled:
            return Label()
        kept = self._facts.label(record.path)
        return read_label(self.metadata(record)) if kept is None else kept

    def _label_some(self) -> None:
        """Label files that nobody has looked at yet; the rest later, after what is more urgent."""
        files = (r for kind in LABELLED_KINDS for r in self.records(kind))
        unread = [r for r in files if not r.is_labelled and not r.problem]
        found = [
            (record, quick_look(record) or look_into(record))
            for record in unread[:LABELLED_AT_ONCE]
            if not self._background.should_stop()
        ]
        with self._facts.together():
            for record, in_it in found:
                self._found(record, in_it)
        if len(unread) > len(found):
            self._background.add(LABELLING, "label", self._label_some)

    def current(self, record: Record) -> Record:
        """The record as its file is now: looks at the folders again where it was replaced."""
        with self._lock:
            known = self._records.get(record.kind, {}).get(str(record.path), record)
        try:
            info = os.stat(known.path)
        except OSError:
            return known
        is_same = (info.st_size, info.st_mtime_ns) == (known.size, known.mtime_ns)
        if is_same or stat.S_ISDIR(info.st_mode):
            return known
        self.refresh()
        with self._lock:
            return self._records.get(record.kind, {}).get(str(record.path), known)

    def inspected(self, record: Record) -> Record:
        """The record with what is in its file; looks into it only where nobody has yet."""
        return record if record.is_inspected else self.inspect(record)

    def metadata(self, record: Record) -> dict[str, str]:
        """The metadata stored in a safetensors file, read now; empty for other files and for
        those that cannot be read."""
        return metadata_of(record)

    def hash_now(self, record: Record, should_stop: Callable[[], bool] | None = None) -> Record:
        """The record with its hash, calculated in this thread if it is not known.

        Raises:
            CheckpointError: The file cannot be read.
            JobCancelled: ``should_stop`` answered True.
        """
        current = self.current(record)
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
            deed = partial(self.hash_now, record, self._background.should_stop)
            self._background.add(HASHING, f"hash {record.path}", deed)

    def is_busy(self) -> bool:
        """True while background work is waiting or running."""
        return self._background.is_busy()

    def with_old_hash(self, record: Record) -> Record:
        """The record with its 8-digit hash, worked out where it is not known; unchanged when the
        file cannot be read."""
        if record.old_hash or record.problem or record.path.is_dir():
            return record
        try:
            return self._changed(record, {"old_hash": old_hash(record.path)})
        except CheckpointError:
            return record

    def _found(self, record: Record, found: Found) -> Record:
        """Remember what is in a file."""
        self._facts.remember_label(record.path, found.label)
        return self._changed(record, found.facts)

    def _changed(self, record: Record, values: dict[str, object]) -> Record:
        """Remember new facts, provided that the file is still the one they were found in."""
        facts = self._facts.change(record.path, record.size, record.mtime_ns, values)
        with self._lock:
            known = self._records.get(record.kind, {})
            key = str(record.path)
            name = known[key].name if key in known else record.name
            found = FoundFile(
                record.kind, name, key, record.size, record.mtime_ns,
                root=record.root, created_ns=record.created_ns,
            )  # fmt: skip
            changed = make_record(found, facts)
            present = known.get(key)
            if present is not None and present.mtime_ns == record.mtime_ns:
                known[key] = changed
                if record.kind == "lora":
                    self._lora_names = None
        return changed


def _existing(record: Record | None, what: str, name: str, records: Iterable[Record]) -> Record:
    if record is None:
        raise not_found(what, name, records)
    return record


def _mtime_ns(folder: str) -> int:
    """When entries last came or went; 0 for a folder that is gone."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _by_path(records: Iterable[Record]) -> dict[str, Record]:
    """Records by path, sorted by name without regard to case."""
    ordered = sorted(records, key=lambda r: (r.name.casefold(), r.name))
    return {str(record.path): record for record in ordered}
