"""One thread that does small work for the catalog when nobody waits for it; no torch."""

from __future__ import annotations

import itertools
import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Final

from webui.errors import CheckpointError, JobCancelled

logger = logging.getLogger(__name__)

STOP: Final = -1
END_SECONDS: Final = 10.0


class Background:
    """Deeds by priority, each once while it waits. The thread begins with the first deed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deeds: queue.PriorityQueue[tuple[int, int, str, Callable[[], object]]] = (
            queue.PriorityQueue()
        )
        self._numbers = itertools.count()
        self._waiting: set[str] = set()
        self._is_working = False
        self._thread: threading.Thread | None = None
        self._is_closed = threading.Event()

    def add(self, priority: int, name: str, deed: Callable[[], object]) -> None:
        """Have something done later; nothing happens when a deed of this name is waiting.

        Args:
            priority: The smallest first, >= 0.
            deed: What it raises is logged; JobCancelled ends all.
        """
        with self._lock:
            if self._is_closed.is_set() or name in self._waiting:
                return
            self._waiting.add(name)
            self._deeds.put((priority, next(self._numbers), name, deed))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="catalog", daemon=True)
                self._thread.start()

    def is_busy(self) -> bool:
        """True while a deed is waiting or being done."""
        with self._lock:
            return bool(self._waiting) or self._is_working

    def should_stop(self) -> bool:
        """True once ``close`` was called; long deeds ask."""
        return self._is_closed.is_set()

    def close(self) -> None:
        """End the thread; what is waiting is not done."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._is_closed.set()
        if thread is not None:
            self._deeds.put((STOP, 0, "", lambda: None))
            thread.join(timeout=END_SECONDS)

    def _work(self) -> None:
        _lower_thread_priority()
        while not self._is_closed.is_set():
            priority, _, name, deed = self._deeds.get()
            if priority == STOP:
                return
            with self._lock:  # asked for from now on, it is done again: it has begun
                self._waiting.discard(name)
                self._is_working = True
            try:
                deed()
            except JobCancelled:
                return
            except CheckpointError as err:
                logger.warning("%s", err)
            except Exception:  # one odd file must not end what all others wait for
                logger.exception("What was to be done in the background failed: %s", name)
            finally:
                self._is_working = False


def _lower_thread_priority() -> None:
    """On Linux a thread has its own niceness; elsewhere reading at normal priority is fine."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
