"""Messages between the web process and a worker: framed msgpack over a byte stream.

A message is a plain dict with a ``"type"``; bytes travel as they are. Each frame is a 4-byte
big-endian length followed by that many bytes of msgpack. Nothing on the wire can carry code.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import struct
import threading
from typing import Any, BinaryIO, cast

import msgpack

MAX_MESSAGE_BYTES = 1 << 30
_PACK: Any = msgpack.packb  # msgpack brings no types
_UNPACK: Any = msgpack.unpackb
_ODD_TEXT = "surrogatepass"
"""Paths may hold bytes that are no text, which Python spells as halves of surrogate pairs."""
_LENGTH = struct.Struct(">I")


class Sender:
    """Writes whole messages to a stream; safe to call from several threads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Write one message and flush it.

        Raises:
            OSError: The other side is gone (BrokenPipeError) or the stream is closed.
        """
        body = cast(bytes, _PACK(message, use_bin_type=True, unicode_errors=_ODD_TEXT))
        with self._lock:
            self._stream.write(_LENGTH.pack(len(body)))
            self._stream.write(body)
            self._stream.flush()


def receive(stream: BinaryIO) -> dict[str, Any] | None:
    """Read one message, or None when the other side has closed the stream.

    A frame cut short by a crash counts as closed: half a message is never returned.

    Raises:
        ValueError: The stream does not hold our messages.
    """
    head = _read_exactly(stream, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > MAX_MESSAGE_BYTES:
        raise ValueError(f"A message of {length} bytes was announced; the limit is 1 GiB.")
    body = _read_exactly(stream, length)
    if body is None:
        return None
    return cast(dict[str, Any], _UNPACK(body, raw=False, unicode_errors=_ODD_TEXT))


def _read_exactly(stream: BinaryIO, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        part = stream.read(count)
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
