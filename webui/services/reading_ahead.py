"""The files of the next job are read while the present one paints, so that loading finds them in
the operating system's cache.

Nothing is kept here, and nothing of the model process is touched: the cache takes only memory that
nobody uses, and gives it back at once. Reading stops when there is no such memory, when the next
job becomes another one, and when it begins.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import psutil

from webui.errors import WebUIError

logger = logging.getLogger(__name__)
CHUNK_BYTES: Final = 4 << 20
SPARED_BYTES: Final = 2 << 30
"""Memory that must stay free beside what is read: the job that paints may want more."""
REMEMBERED: Final = 64
REMEMBERED_SECONDS: Final = 600.0
"""So long a file that was read is taken to be in the cache still."""


def unused_memory() -> int:
    """Bytes that programs could have at once."""
    return psutil.virtual_memory().available


class ReadingAhead:
    """Reads in a thread of its own, which ends with the process.

    Args:
        next_files: What the next job will read and the present one does not, in that order;
            none while nothing paints. Called in the thread.
        free_bytes: Memory that is free, asked before each file.
    """

    def __init__(
        self,
        next_files: Callable[[], Sequence[Path]],
        free_bytes: Callable[[], int] = unused_memory,
    ) -> None:
        self._next_files = next_files
        self._free_bytes = free_bytes
        self._changed = threading.Event()
        self._is_stopping = False
        self._read_so_far: dict[tuple[Path, int], tuple[int, float]] = {}
        """File in its present state → bytes read, and when."""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to follow the queue."""
        self._thread = threading.Thread(target=self._follow, name="read ahead", daemon=True)
        self._thread.start()

    def look(self) -> None:
        """A job came, began or ended: see what is next. Returns at once."""
        self._changed.set()

    def stop(self) -> None:
        """Read no more."""
        self._is_stopping = True
        self._changed.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def _follow(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            if self._is_stopping:
                return
            try:
                for path in self._next_files():
                    self._read_if_it_can_be(path)
            except WebUIError as err:  # whoever needs the files will say so
                logger.info("Nothing is read ahead: %s", err)
            except Exception:  # the fence of this thread: a convenience must not end it
                logger.exception("Reading ahead met a defect and goes on.")

    def _read_if_it_can_be(self, path: Path) -> None:
        try:
            self.read(path)
        except OSError as err:  # whoever needs the file will say so; the others are read
            logger.info("Not read ahead: %s", err)

    def read(self, path: Path) -> None:
        """Read one file as far as it has not been read lately, unless memory is short; ends early
        when something changes.

        Raises:
            OSError: It cannot be read.
        """
        stat = path.stat()
        mark = (path, stat.st_mtime_ns)
        position, when = self._read_so_far.get(mark, (0, 0.0))
        if time.monotonic() - when > REMEMBERED_SECONDS:
            position = 0
        if path.is_dir() or self._free_bytes() < stat.st_size - position + SPARED_BYTES:
            return
        with open(path, "rb", buffering=0) as file:
            file.seek(position)
            while not self._changed.is_set() and (count := _read_some(file)):
                position += count
        self._remember(mark, position)

    def _remember(self, mark: tuple[Path, int], position: int) -> None:
        self._read_so_far.pop(mark, None)
        self._read_so_far[mark] = (position, time.monotonic())
        while len(self._read_so_far) > REMEMBERED:
            del self._read_so_far[next(iter(self._read_so_far))]


def _read_some(file: BinaryIO) -> int:
    """Bytes read from where the file is; 0 at its end."""
    return len(file.read(CHUNK_BYTES))
