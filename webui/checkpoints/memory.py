"""Everything that is loaded, in two budgets of bytes: the device's and main memory's.

What was used longest ago goes first: from the device to main memory, part by part, then out. Where
the device calculates in main memory (CPU, Apple) there is one budget and nothing is moved.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import logging
import sys
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import torch

logger = logging.getLogger(__name__)
WORKING_BYTES = 2 << 30
"""Left free beside the weights when there is no budget: a batch of SD 1.5 pictures with its
decoding takes about this much in half precision."""
IDLE_SHARE: Final = 0.5
"""Share of a machine's memory that may stay taken, without a budget, as long as something loaded
is not at work."""


class Key(NamedTuple):
    """What is loaded.

    Attributes:
        kind: Kinds may have limits of number. what: Tells those of a kind apart.
    """

    kind: str
    what: Hashable


@dataclass(frozen=True)
class Bytes:
    """Memory of something loaded.

    Attributes:
        device: On the device. ram: In main memory.
    """

    device: int = 0
    ram: int = 0

    def __add__(self, other: Bytes) -> Bytes:
        return Bytes(self.device + other.device, self.ram + other.ram)


class Part(Protocol):
    """A network, or the tensors of a file: what is moved as a whole."""

    def bytes(self) -> Bytes:
        """Memory it takes, measured now."""
        ...

    def wait(self) -> bool:
        """Leave the device for main memory; False when it is not there."""
        ...

    def come(self) -> None:
        """Come to the device, if it belongs there between its turns."""
        ...

    def missing(self) -> int:
        """Bytes that ``come`` will bring to the device."""
        ...

    def slim(self) -> bool:
        """Let go of what can be made again soon; False when there is nothing."""
        ...


@dataclass
class Kept:
    """Something loaded, with all its parts.

    Attributes:
        value: What ``get`` returns.
        is_held: True as long as something else that is loaded works with it: then it stays.
        belongs_to: It goes with that one, if it may; None = it goes by itself.
    """

    value: Any
    parts: tuple[Part, ...]
    is_held: Callable[[], bool] = lambda: False
    belongs_to: Key | None = None

    def bytes(self) -> Bytes:
        """Memory of all parts, measured now."""
        return sum((part.bytes() for part in self.parts), Bytes())


@dataclass(frozen=True)
class Budget:
    """How much may stay loaded.

    Attributes:
        device: Bytes on the device; None = as long as some is free. ram: The same in main memory.
        at_most: Kind → how many of it stay, those at work included; no entry = any number.
        idle_stay_on_device: What the present job does not need may stay there.
    """

    device: int | None = None
    ram: int | None = None
    at_most: tuple[tuple[str, int], ...] = ()
    idle_stay_on_device: bool = False


@dataclass(frozen=True)
class Machine:
    """What there is; functions are asked anew each time.

    Attributes:
        is_shared: The device calculates in main memory: ``Budget.device`` counts for all, and only
            ``free_ram`` and ``ram_bytes`` are asked.
        free_device, free_ram: Bytes; None = unknown.
        ram_bytes: Main memory in all, 0 = unknown.
    """

    is_shared: bool = True
    free_device: Callable[[], int | None] = lambda: None
    free_ram: Callable[[], int | None] = lambda: None
    ram_bytes: int = 0


class ModelMemory:
    """What is loaded, by key. For one thread; ``in`` may be asked by others.

    Room is made *before* something is loaded or moved, so that two never need to fit together
    when there is room for one. Something larger than a budget is loaded all the same, alone. A
    caller must not keep anything beyond its job: memory is given back only when nobody holds it.

    Args:
        budget: May be set again at any time; it counts from the next call.
        machine: Asked where there is no budget.
    """

    def __init__(self, budget: Budget, machine: Machine | None = None) -> None:
        self.budget = budget
        self.machine = machine or Machine()
        self._needed: frozenset[Key] = frozenset()
        self._at_work: frozenset[Key] = frozenset()
        self._kept: OrderedDict[Key, Kept] = OrderedDict()

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def keys(self) -> tuple[Key, ...]:
        """Keys of what is loaded, least recently used first."""
        return tuple(self._kept)

    def values(self, kind: str) -> list[Any]:
        """Everything of a kind, least recently used first."""
        return [kept.value for key, kept in self._kept.items() if key.kind == kind]

    def peek(self, key: Key) -> Any:
        """What has that key, left where it is.

        Raises:
            KeyError: It is not here.
        """
        return self._kept[key].value

    @property
    def used(self) -> Bytes:
        """Memory of everything loaded, measured now."""
        return sum((kept.bytes() for kept in self._kept.values()), Bytes())

    def needs(self, keys: Collection[Key]) -> None:
        """Name what the job that begins works with; the rest stays only within the limits."""
        self._needed, self._at_work = frozenset(keys), frozenset()
        for kind, most in self.budget.at_most:
            together = sum(1 for key in {*self._kept, *keys} if key.kind == kind)
            idle = [k for k in self._idle() if k.kind == kind and not self._kept[k].is_held()]
            for key in idle[: max(0, together - most)]:
                self.unload(key)
        if not self.machine.is_shared and not self.budget.idle_stay_on_device:
            for key in self._idle():
                for part in self._kept[key].parts:
                    _send_away(part)
            self.settle()

    def use(self, *keys: Key) -> None:
        """These are at work now, together: none of them goes, whatever comes."""
        self._at_work = frozenset(keys)

    def get(
        self, key: Key, load: Callable[[], Kept] | None = None, expected: Bytes | None = None
    ) -> Any:
        """What has that key: the same object while it stays, on the device as far as it belongs
        there; else loaded now.

        Args:
            load: Loads it. expected: What it will take, about.
        Raises:
            KeyError: It is not here, and nothing was given that loads it.
            Whatever ``load`` raises; what went to make room stays away.
        """
        kept = self._kept.get(key)
        if kept is None:
            if load is None:
                raise KeyError(key)
            self.make_room(expected or Bytes(1, 1))
            kept = load()
        return self.put(key, kept)

    def put(self, key: Key, kept: Kept) -> Any:
        """Keep something as the most recently used; others go if there is too much now."""
        is_new = key not in self._kept
        self._kept[key] = kept
        self._kept.move_to_end(key)
        missing = sum(part.missing() for part in kept.parts)
        if missing:
            self.make_room(Bytes(device=missing), key)
            for part in kept.parts:
                part.come()
        if is_new:
            self.settle(key)
        return kept.value

    def make_room(self, more: Bytes, but: Key | None = None) -> None:
        """See to it that so much more fits, as far as letting go of others helps.

        Args:
            but: This one does not go, besides those at work.
        """
        if not self.machine.is_shared:
            while not self._fits_device(more.device) and self._one_waits(but):
                pass
        while not self._fits_ram(more) and self._one_goes(but):
            pass

    def settle(self, but: Key | None = None) -> None:
        """Let go of what is too much, beginning with what was used longest ago."""
        self.make_room(Bytes(), but)

    def unload(self, key: Key) -> bool:
        """Drop one and what belongs to it; False when it was not loaded."""
        if self._kept.pop(key, None) is None:
            return False
        pieces = [k for k, kept in self._kept.items() if kept.belongs_to == key]
        for piece in pieces:
            if not self._kept[piece].is_held():
                del self._kept[piece]
        give_back_memory()
        return True

    def unload_all(self) -> None:
        """Drop everything."""
        self._kept.clear()
        give_back_memory()

    # Whether there is room

    def _fits_device(self, more: int) -> bool:
        if self.budget.device is not None:
            return self.used.device + more <= self.budget.device
        return _is_free(self.machine.free_device(), more)

    def _fits_ram(self, more: Bytes) -> bool:
        """Whether main memory has room; of a shared machine, the one memory there is."""
        is_shared = self.machine.is_shared
        wanted = more.ram + (more.device if is_shared else 0)
        budget = self.budget.device if is_shared else self.budget.ram
        used = self.used
        taken = used.ram + (used.device if is_shared else 0)
        if budget is not None:
            return taken + wanted <= budget
        share = self.machine.ram_bytes * IDLE_SHARE
        if share and taken + wanted > share and self._idle():
            return False
        return _is_free(self.machine.free_ram(), wanted)

    # Who goes

    def _one_waits(self, but: Key | None) -> bool:
        """One part leaves the device; False when none is left that may."""
        parts = (part for key in self._in_order(but) for part in self._kept[key].parts)
        return any(_send_away(part) for part in parts if part.bytes().device)

    def _one_goes(self, but: Key | None) -> bool:
        """One gets slimmer, or goes; False when none is left that may."""
        for key in self._in_order(but):
            if self._slim(key):
                return True
            if not self._kept[key].is_held():
                self.unload(key)  # nothing here may hold it still: its memory is given back inside
                logger.info("Unloaded %s to make room.", key)
                return True
        return False

    def _slim(self, key: Key) -> bool:
        """All parts let go of what they can make again; False when there is nothing."""
        slimmed = [part.slim() for part in self._kept[key].parts]
        return any(slimmed)

    def _in_order(self, but: Key | None) -> list[Key]:
        """Who goes first: those the present job does not need, then those it does."""
        others = [key for key in self._kept if key != but and key not in self._at_work]
        return sorted(others, key=lambda key: key in self._needed)

    def _idle(self) -> list[Key]:
        return [key for key in self._kept if key not in self._needed | self._at_work]


def _send_away(part: Part) -> bool:
    """Have a part wait in main memory, and take no more of it there than it must; or, where it
    cannot wait, get smaller."""
    was_slimmed = part.slim()
    return part.wait() or was_slimmed


def _is_free(free: int | None, more: int) -> bool:
    """Whether so much more fits beside the work; with ``more`` 0, whether what is here may stay."""
    return free is not None and free >= more + (WORKING_BYTES if more else 0)


def give_back_memory() -> None:
    """Return freed memory to the device and the operating system."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        _trim_heap()


def _trim_heap() -> None:
    """glibc keeps freed blocks for later; a model's worth of them should go back now."""
    name = ctypes.util.find_library("c")
    trim = getattr(ctypes.CDLL(name), "malloc_trim", None) if name else None
    if trim is not None:
        trim(0)
