"""Which file is meant by a name, in every form A1111 accepts (formats.md, section 2); no torch."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence

from webui.checkpoints.records import Record, exact_names, loose_names, old_names
from webui.errors import CheckpointNotFoundError


def checkpoint_meant(
    alias: str, records: Sequence[Record], with_old_hash: Callable[[Record], Record]
) -> Record | None:
    """The checkpoint of a name, title, stem or hash; old hashes are worked out only for such."""
    wanted = alias.strip().replace("\\", "/")
    for names_of in (exact_names, loose_names):
        for record in records:
            if wanted in names_of(record):
                return record
    digits = wanted.rpartition("[")[2].rstrip("]").lower()
    if len(digits) == 8 and all(c in "0123456789abcdef" for c in digits):
        for record in map(with_old_hash, records):
            if wanted.lower() in old_names(record):
                return record
    return None


def shortest_title_with(text: str, records: Iterable[Record]) -> Record | None:
    """The shortest title that contains a text, with, then without a trailing ``[…]``."""
    records = tuple(records)
    for part in (text, text.rpartition("[")[0].strip() if text.endswith("]") else ""):
        hits = [r for r in records if part and part in r.title]
        if hits:
            return min(hits, key=lambda r: len(r.title))
    return None


def vae_meant(name: str, records: Iterable[Record]) -> Record | None:
    """The VAE of a file name, stem, title, hash or path."""
    for record in records:
        base = record.name.rpartition("/")[2]
        names = (record.name, base, record.stem, record.title, record.sha256)
        if name in names or name == str(record.path):
            return record
    return None


def vae_named_after(stem: str, records: Iterable[Record]) -> Record | None:
    """The usable VAE file whose name starts with a checkpoint's stem: one that has nothing more
    before its ending first (``<stem>.vae.pt``), then in alphabetical order."""
    found = [r for r in records if r.path.name.startswith(stem) and not r.problem]
    return min(found, key=lambda r: not r.path.name.startswith(f"{stem}."), default=None)


def lora_meant(name: str, records: Mapping[str, Record], stems: Mapping[str, str]) -> Record | None:
    """The LoRA of a file stem, else of an alias only one file has; one whose stem means another
    file by its name with folders. Case matters.

    Args:
        records: By path. stems: The path that each stem means.
    """
    if name in stems:
        return records[stems[name]]
    hits = [r for r in records.values() if r.alias == name and name.lower() != "none"]
    if len(hits) == 1:
        return hits[0]
    mean = set(stems.values())
    others = (record for path, record in records.items() if path not in mean)
    return next((r for r in others if name in (r.name_without_ending, r.name)), None)


def file_meant(name: str, records: Iterable[Record]) -> Record | None:
    """The file of a name, with or without folders, or a stem."""
    for record in records:
        if name in (record.name, record.name.rpartition("/")[2], record.stem):
            return record
    return None


def not_found(what: str, name: str, records: Iterable[Record]) -> CheckpointNotFoundError:
    """Says what there is instead, the closest names first."""
    records = tuple(records)
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
