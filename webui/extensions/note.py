"""A note of a few bytes that says which extension is at work in a process.

The process writes it around every call of an extension; whoever watches reads it from outside: it
can be read while that process hangs, and after it has died. Writing costs about a microsecond.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

SIZE = 512
_HEAD = struct.Struct("<QI")  # a number that is odd while a call runs; bytes of text
_TEXT_FROM = _HEAD.size
_LONGEST = SIZE - _TEXT_FROM


@dataclass(frozen=True)
class AtWork:
    """A call that runs.

    Attributes:
        number: Of the call; another call has another.
        seconds: How long it may take.
    """

    number: int
    plugin: str
    moment: str
    seconds: float


class Note:
    """The writing side, one for each process.

    Args:
        path: Made when it is not there.
    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            file.truncate(SIZE)
            self._bytes = mmap.mmap(file.fileno(), SIZE)
        self._number = _HEAD.unpack_from(self._bytes)[0] & ~1
        self._running: list[bytes] = []
        self._write(b"")

    def begin(self, label: bytes) -> None:
        """A call begins.

        Args:
            label: From ``label``.
        """
        self._running.append(label)
        self._write(label)

    def end(self) -> None:
        """The last call that began has ended; the one around it, if any, is at work again."""
        self._running.pop()
        self._write(self._running[-1] if self._running else b"")

    def _write(self, label: bytes) -> None:
        self._number = (self._number & ~1) + (3 if label else 2)
        _HEAD.pack_into(self._bytes, 0, 0, len(label))  # even: nothing to be read while it changes
        self._bytes[_TEXT_FROM : _TEXT_FROM + len(label)] = label
        _HEAD.pack_into(self._bytes, 0, self._number, len(label))

    def close(self) -> None:
        """Give the file back."""
        self._bytes.close()


def label(plugin: str, moment: str, seconds: float) -> bytes:
    """What is written of a call."""
    return f"{plugin}\t{moment}\t{seconds:g}".encode()[:_LONGEST]


def read_note(path: Path) -> AtWork | None:
    """The call that runs, or ran when the process died; None when there is none."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) < SIZE:
        return None
    number, length = _HEAD.unpack_from(data)
    if not number & 1 or length > _LONGEST:
        return None
    text = data[_TEXT_FROM : _TEXT_FROM + length].decode("utf-8", "replace")
    plugin, moment, seconds = (*text.split("\t"), "", "", "")[:3]
    try:
        return AtWork(number, plugin, moment, float(seconds))
    except ValueError:
        return None


def clear_note(path: Path) -> None:
    """Forget what a process that has ended was doing."""
    path.unlink(missing_ok=True)


class Watch:
    """Sees a call that takes too long; asked now and then, by its own clock.

    Args:
        path: The note.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, float] = (0, 0.0)

    def look(self, now: float) -> AtWork | None:
        """The call that has been seen at work for longer than it may take.

        Args:
            now: Seconds of a monotonic clock.
        """
        call = read_note(self._path)
        if call is None:
            self._seen = (0, now)
            return None
        if call.number != self._seen[0]:
            self._seen = (call.number, now)
        return call if now - self._seen[1] > call.seconds else None
