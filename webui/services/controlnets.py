"""ControlNets that are there, by every name people know them by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from webui.checkpoints.catalog import Catalog, Record
from webui.params import Painting

KIND = "controlnet"


class ControlNets:
    """The ControlNets of the model folders."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def usable(self) -> tuple[Record, ...]:
        """Those that can be used, or were not looked into yet; sorted by name."""
        return tuple(r for r in self._catalog.records(KIND) if not r.problem)

    def title(self, record: Record) -> str:
        """``stem [hash8]``, as the extension for A1111 lists it."""
        known = self._catalog.with_old_hash(record)
        return f"{record.stem} [{known.old_hash}]" if known.old_hash else record.stem

    def titles(self) -> list[str]:
        """Titles of all that can be used."""
        return [self.title(record) for record in self.usable()]

    def find(self, name: str) -> Record:
        """The ControlNet meant by a name, title or stem, capitals aside, or by a part of one: then
        the shortest.

        Raises:
            CheckpointNotFoundError: None is meant.
        """
        records = self._catalog.records(KIND)
        found = _exactly(name, records)
        if found is None and name.endswith("]"):
            titled = (r for r in records if self.title(r).lower() == name.lower())
            found = next(titled, None) or _exactly(name.rpartition("[")[0].strip(), records)
        if found is None:
            within = [r for r in self.usable() if name.lower() in r.stem.lower()]
            found = min(within, key=lambda r: len(r.stem), default=None)
        return found or self._catalog.find(KIND, name)

    def named_so(self, title: str) -> tuple[Record | None, bool]:
        """What a recipe names ``stem [hash8]``: the ControlNet of that stem, and whether it is the
        same file; of several the same one."""
        stem = title.rpartition(" [")[0] or title
        alike = [r for r in self._catalog.records(KIND) if r.stem.lower() == stem.lower()]
        same = [r for r in alike if self.title(r).lower() == title.lower()]
        return next(iter(same or alike), None), bool(same)

    def message(self, params: Painting) -> dict[str, dict[str, Any]]:
        """What the model process must know of those that a request names.

        Raises:
            CheckpointNotFoundError: One is not there any more.
        """
        names = dict.fromkeys(unit.model for unit in params.control)
        records = {name: self._catalog.find(KIND, name) for name in names}
        return {
            name: {"path": str(record.path), "title": self.title(record)}
            for name, record in records.items()
        }


def _exactly(name: str, records: Iterable[Record]) -> Record | None:
    lower = name.lower()
    for record in records:
        known = (record.name, record.stem, record.name.rpartition("/")[2])
        if lower in (one.lower() for one in known):
            return record
    return None
