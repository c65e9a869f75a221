"""The unfinished file, and what is known of it: survives the end of the program at any moment.

Beside ``NAME.part`` lies ``NAME.part.json``, which says which bytes have come and of which file.
It is written after the bytes are on the disk, so it never claims what is not there.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from webui.errors import DownloadError
from webui.file_lock import try_lock, unlock

VERSION: Final = 1
_FULL: Final = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
Span = tuple[int, int]


class PartFile:
    """Bytes of a file that came so far, in any order.

    Args:
        path: Of the unfinished file; its folder is made when missing.
    Raises:
        DownloadError: It cannot be written, or another download writes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state_path = _state_path(path)
        self.spans: list[Span] = []
        self._identity: dict[str, Any] = {}
        self._is_saved = True
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            self._file: BinaryIO = os.fdopen(descriptor, "r+b", buffering=0)
        except OSError as err:
            raise storing_failed(path, err) from err
        if not try_lock(self._file):
            self._file.close()
            raise DownloadError(
                "This file is being fetched already, perhaps by another program.",
                "Wait for it, or stop it there.",
            )

    @property
    def is_open(self) -> bool:
        """False once it was closed, or thrown away."""
        return not self._file.closed

    @property
    def done_bytes(self) -> int:
        return sum(end - start for start, end in self.spans)

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Go on with what is there if it is of the same file, else begin from nothing.

        Args:
            identity: JSON values that are equal only for the same file.
        """
        kept, spans = read_state(self.state_path)
        self._identity = dict(identity)
        size = os.fstat(self._file.fileno()).st_size
        if kept == self._identity and all(0 <= start < end <= size for start, end in spans):
            self.spans = spans
        else:
            self.empty()

    def kept_identity(self) -> dict[str, Any] | None:
        """Of the file whose bytes are there; None when there are none."""
        return read_state(self.state_path)[0]

    def empty(self) -> None:
        """Forget what has come."""
        self.spans = []
        self._file.truncate(0)
        self._is_saved = False
        self.save()

    def write(self, at: int, data: bytes) -> None:
        """Put bytes where they belong.

        Raises:
            DownloadError: The disk is full, or fails.
        """
        try:
            self._file.seek(at)
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as err:
            raise storing_failed(self.path, err) from err
        self._note(at, at + len(data))

    def _note(self, start: int, end: int) -> None:
        for index, (first, last) in enumerate(self.spans):
            if first <= start <= last:
                self.spans[index] = (first, max(last, end))
                self._join(index)
                break
        else:
            self.spans.append((start, end))
            self.spans.sort()
        self._is_saved = False

    def _join(self, index: int) -> None:
        while index + 1 < len(self.spans) and self.spans[index + 1][0] <= self.spans[index][1]:
            _, last = self.spans.pop(index + 1)
            self.spans[index] = (self.spans[index][0], max(self.spans[index][1], last))

    def gaps(self, total: int) -> list[Span]:
        """What is still missing of ``total`` bytes."""
        found, at = [], 0
        for start, end in self.spans:
            if at < start:
                found.append((at, min(start, total)))
            at = end
        return [*found, (at, total)] if at < total else found

    def save(self) -> None:
        """Put bytes and state on the disk; in any thread.

        Raises:
            DownloadError: The disk is full, or fails.
        """
        with self._lock:
            if self._is_saved or not self.is_open:
                return
            spans = list(self.spans)
            self._write_state(spans)
            self._is_saved = spans == self.spans

    def _write_state(self, spans: list[Span]) -> None:
        text = json.dumps({"version": VERSION, "of": self._identity, "spans": spans})
        fresh = self.state_path.with_name(f"{self.state_path.name}.new")
        try:
            os.fsync(self._file.fileno())
            fresh.write_text(text, "utf-8")
            os.replace(fresh, self.state_path)
        except OSError as err:
            raise storing_failed(self.path, err) from err

    def close(self) -> None:
        """Let the file go; what has come stays."""
        with self._lock:
            if self.is_open:
                unlock(self._file)
                self._file.close()

    def discard(self) -> None:
        """Close it and take it away."""
        self.close()
        self.remove()

    def remove(self) -> None:
        """Take away what a closed one left."""
        for path in (self.path, self.state_path):
            path.unlink(missing_ok=True)


def read_state(path: Path) -> tuple[dict[str, Any] | None, list[Span]]:
    """Of which file bytes have come, and which; (None, []) when that is not known."""
    try:
        state = json.loads(path.read_text("utf-8"))
        if state["version"] != VERSION or not isinstance(state["of"], dict):
            return None, []
        return state["of"], [(int(start), int(end)) for start, end in state["spans"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None, []


def part_bytes(path: Path) -> int:
    """How many bytes of an unfinished file have come."""
    return sum(end - start for start, end in read_state(_state_path(path))[1])


def _state_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def storing_failed(path: Path, err: OSError) -> DownloadError:
    """Why a file could not be stored, in words."""
    if err.errno in _FULL:
        return disk_full(path.parent)
    return DownloadError(
        f"{path} could not be written: {err.strerror or err}.",
        "Make the folder writable, or free some space, then go on.",
    )


def disk_full(folder: Path, needed: int | None = None, free: int | None = None) -> DownloadError:
    """There is not enough room."""
    wants = f" It needs {needed / 1e9:.2f} GB more" if needed is not None else ""
    has = f"; {free / 1e9:.2f} GB are free." if free is not None and wants else ""
    return DownloadError(
        f"The disk that holds {folder} has no room for the file.{wants}{has}",
        "Free some space and go on: what has come so far is kept.",
    )
