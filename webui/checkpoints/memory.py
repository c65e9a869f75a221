"""Keep loaded models within a byte budget; the least recently used one goes first."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import logging
import sys
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from typing import Any, Protocol

import torch

logger = logging.getLogger(__name__)
WORKING_BYTES = 2 << 30
"""Left free beside the weights when models stay together without a budget: a batch of SD 1.5
pictures with its decoding takes about this much in half precision."""


class Sized(Protocol):
    """Something loaded that knows how much memory it takes."""

    @property
    def nbytes(self) -> int: ...


class ModelMemory:
    """Models of one device by key. For one thread.

    Old models are dropped *before* a new one is loaded, so that two never need to fit together
    when the budget is for one. A caller must not keep a model beyond its job: memory is given
    back only when nobody holds the model any more.

    Args:
        budget_bytes: Sum of all loaded models, > 0; None = one model at a time, except that those
            of one job (``needs``) stay together while there is room. A single model larger than
            the budget is loaded all the same, alone.
        loader: Loads the model of a key.
        estimate: Bytes the model of a key will take; without it, the largest model seen so far
            is assumed.
        free_bytes: Memory that is free where models are loaded to; None from it = unknown.
    """

    def __init__(
        self,
        budget_bytes: int | None,
        loader: Callable[[Any], Any],
        estimate: Callable[[Any], int] | None = None,
        free_bytes: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._budget_bytes = budget_bytes
        self._loader = loader
        self._estimate = estimate
        self._free_bytes = free_bytes
        self._needed: frozenset[Hashable] = frozenset()
        self._loaded: OrderedDict[Hashable, Sized] = OrderedDict()
        self._largest = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._loaded

    def __len__(self) -> int:
        return len(self._loaded)

    def keys(self) -> tuple[Hashable, ...]:
        """Keys of loaded models, least recently used first."""
        return tuple(self._loaded)

    @property
    def used_bytes(self) -> int:
        """Bytes of all loaded models, measured now."""
        return sum(model.nbytes for model in self._loaded.values())

    def needs(self, keys: Collection[Hashable]) -> None:
        """Name the models the job that begins works with; without a budget, others go now."""
        self._needed = frozenset(keys)
        if self._budget_bytes is None:
            for key in [key for key in self._loaded if key not in self._needed]:
                self.unload(key)

    def get(self, key: Hashable) -> Any:
        """The model of a key: the same object while it stays loaded, else freshly loaded.

        Raises:
            Whatever the loader raises; models dropped to make room stay dropped.
        """
        if key in self._loaded:
            self._loaded.move_to_end(key)
            return self._loaded[key]
        self._make_room(self._expected(key))
        model = self._loader(key)
        self._loaded[key] = model
        self._largest = max(self._largest, model.nbytes)
        while len(self._loaded) > 1 and not self._has_room(0):
            self._drop_oldest()
        return model

    def unload(self, key: Hashable) -> bool:
        """Drop one model; False when it was not loaded."""
        if self._loaded.pop(key, None) is None:
            return False
        give_back_memory()
        return True

    def unload_all(self) -> None:
        """Drop every model."""
        self._loaded.clear()
        give_back_memory()

    def _expected(self, key: Hashable) -> int:
        return self._estimate(key) if self._estimate is not None else self._largest

    def _has_room(self, more_bytes: int) -> bool:
        if self._budget_bytes is not None:
            return self.used_bytes + more_bytes <= self._budget_bytes
        if not self._needed.issuperset(self._loaded):
            return False
        free = self._free_bytes()
        return free is not None and free >= more_bytes + (WORKING_BYTES if more_bytes else 0)

    def _make_room(self, needed_bytes: int) -> None:
        while self._loaded and not self._has_room(max(1, needed_bytes)):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        key, _ = self._loaded.popitem(last=False)
        logger.info("Unloaded %s to make room.", key)
        give_back_memory()


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
