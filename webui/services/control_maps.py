"""Maps of control units: which networks for them are there, and what the model process made."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from webui.checkpoints.map_networks import (
    WANTED,
    WantedNetwork,
    find_map_networks,
    missing_map_networks,
)
from webui.params import ControlUnit
from webui.preprocessors.names import PREPROCESSORS, Preprocessor, find
from webui.settings import Folders

MOST_BYTES = 64 << 20
"""Of maps that nobody has taken yet."""


def map_networks(folders: Folders) -> dict[str, Path]:
    """The networks of preprocessors that are there, by their names."""
    return find_map_networks(
        (folders.own_models, *folders.models), (folders.data, *folders.programs)
    )


def usable_preprocessors(folders: Folders) -> tuple[Preprocessor, ...]:
    """Those that need no network, or whose network is there."""
    there = map_networks(folders)
    return tuple(p for p in PREPROCESSORS if there.keys() >= set(p.networks))


def lacking_networks(folders: Folders) -> dict[Preprocessor, list[WantedNetwork]]:
    """What the other preprocessors need and is not there."""
    there = map_networks(folders)
    lacking = {p: [WANTED[one] for one in p.networks if one not in there] for p in PREPROCESSORS}
    return {preprocessor: wanted for preprocessor, wanted in lacking.items() if wanted}


def map_network_message(units: Iterable[ControlUnit], folders: Folders) -> dict[str, str]:
    """What the model process must know of the networks that units need: name → path.

    Raises:
        CheckpointNotFoundError: One is not there; says which file is wanted where.
    """
    modules = [p for p in (find(unit.module) for unit in units) if p is not None and p.networks]
    there = map_networks(folders) if modules else {}
    for module in modules:
        if missing := [one for one in module.networks if one not in there]:
            raise missing_map_networks(module.name, missing)
    return {one: str(there[one]) for module in modules for one in module.networks}


class MadeMaps:
    """Maps that jobs have made, until they are asked for; the oldest go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, dict[int, bytes]] = OrderedDict()

    def keep(self, job_id: int, unit: int, png: bytes) -> None:
        """Keep the map of one of a job's units."""
        with self._lock:
            self._kept.setdefault(job_id, {})[unit] = png
            while len(self._kept) > 1 and self._bytes() > MOST_BYTES:
                self._kept.popitem(last=False)

    def take(self, job_id: int) -> list[bytes]:
        """A job's maps as PNG files, in the order of its units; they are kept no longer."""
        with self._lock:
            return [png for _, png in sorted(self._kept.pop(job_id, {}).items())]

    def _bytes(self) -> int:
        return sum(len(png) for maps in self._kept.values() for png in maps.values())
