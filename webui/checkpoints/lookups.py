"""Which file is meant by a name, in every form A1111 accepts (formats.md, section 2); no torch."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

from webui.checkpoints.records import Record, exact_names, loose_names, old_names
from webui.errors import CheckpointNotFoundError
from webui.prompts.networks import writable


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


class LoraNames:
    """Which LoRA is meant by a name. Case matters.

    Args:
        records: All of them; of two with one stem, the later one is meant by it.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        records = tuple(records)
        self._by_stem = {record.stem: record for record in records}
        aliases = (r for r in records if r.alias and r.alias.lower() != "none")
        self._by_alias = _only_ones((record.alias, record) for record in aliases)
        hidden = [r for r in records if self._by_stem[r.stem] is not r]
        self._by_folder = {n: r for r in reversed(hidden) for n in (r.name, r.name_without_ending)}
        written = ((writable(name), name, r) for r in records for name in _names(r))
        self._by_written = _only_ones((text, r) for text, name, r in written if text != name)

    def meant(self, name: str) -> Record | None:
        """By file stem, else by an alias only one file has, else, for one whose stem means another
        file, by its name with folders, else by one of these as a tag can hold it."""
        for names in (self._by_stem, self._by_alias, self._by_folder, self._by_written):
            if name in names:
                return names[name]
        return None

    def of(self, record: Record, *, is_alias_first: bool = True) -> list[str]:
        """What a tag may say to mean a file, the best name first."""
        alias = [record.alias] if record.alias else []
        names = (*_names(record), record.name)
        wanted = [*alias, *names] if is_alias_first else [*names, *alias]
        written = dict.fromkeys(map(writable, wanted))
        found = ((name, self.meant(name)) for name in written)
        return [name for name, meant in found if meant and meant.path == record.path]

    def by_stem(self) -> tuple[Record, ...]:
        """The files that are meant by their stems."""
        return tuple(self._by_stem.values())


def _names(record: Record) -> tuple[str, str]:
    return record.stem, record.name_without_ending


def _only_ones(named: Iterable[tuple[str, Record]]) -> dict[str, Record]:
    """Names that only one file has."""
    found: dict[str, Record | None] = {}
    for name, record in named:
        found[name] = record if found.get(name, record) is record else None
    return {name: record for name, record in found.items() if record is not None}


def file_meant(name: str, records: Iterable[Record]) -> Record | None:
    """The file of a name, with or without folders, or a stem; else of a stem as a tag holds it."""
    records = tuple(records)
    for record in records:
        if name in (record.name, record.name.rpartition("/")[2], record.stem):
            return record
    return next((r for r in records if writable(r.stem) == name), None)


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
