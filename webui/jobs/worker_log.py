"""What a model process writes to stderr: a log file of bounded size, and the last lines at hand."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger(__name__)

DEFAULT_MAX_BYTES = 5 * 2**20
KEPT_LINES = 40
MAX_LINE_CHARACTERS = 500
_LINE_ENDS = re.compile(rb"[\r\n]+")


class WorkerLog:
    """Takes raw bytes; never raises, so that a full disk cannot stop the painting.

    Two files at most: ``path`` and, when that has reached ``max_bytes``, ``path`` + ``.1``.

    Args:
        path: The log file; its folder is made when missing.
        max_bytes: Size at which the file is turned over.
    """

    def __init__(self, path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._has_failed = False
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._unfinished = b""

    def write(self, data: bytes) -> None:
        """Add bytes as they came; progress bars (carriage returns) count as lines of their own."""
        with self._lock:
            self._keep_lines(data)
            try:
                self._append(data)
            except OSError as err:
                self._close_file()
                if not self._has_failed:
                    self._has_failed = True
                    logger.warning("The log %s cannot be written: %s", self.path, err)

    def _keep_lines(self, data: bytes) -> None:
        *whole, self._unfinished = _LINE_ENDS.split(self._unfinished + data)
        self._unfinished = self._unfinished[-4 * MAX_LINE_CHARACTERS :]
        for line in whole:
            text = line.decode("utf-8", "replace").rstrip()[:MAX_LINE_CHARACTERS]
            if text:
                self._lines.append(text)

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._opened()
        if self._file.tell() + len(data) > self._max_bytes and self._file.tell() > 0:
            self._close_file()
            os.replace(self.path, self.path.with_name(self.path.name + ".1"))
            self._file = self._opened()
        self._file.write(data[-self._max_bytes :])

    def _opened(self) -> BinaryIO:
        return open(self.path, "ab", buffering=0)  # type: ignore[return-value]

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def forget_lines(self) -> None:
        """Start the last lines anew: a fresh process begins to write."""
        with self._lock:
            self._lines.clear()
            self._unfinished = b""

    def last_lines(self) -> tuple[str, ...]:
        """The last KEPT_LINES lines, the oldest first."""
        with self._lock:
            text = self._unfinished.decode("utf-8", "replace").strip()[:MAX_LINE_CHARACTERS]
            return (*self._lines, text) if text else tuple(self._lines)

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        with self._lock:
            self._close_file()
