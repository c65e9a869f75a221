"""What a weights file says about itself: names, shapes and dtypes of its tensors; no torch.

safetensors: 8 bytes little-endian length N, N bytes of JSON (name → dtype, shape, data_offsets;
``__metadata__`` → text by text), then the data without gaps. Nothing in a header is trusted.
Source: https://github.com/huggingface/safetensors, section "Format".
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from webui.checkpoints.foreign_text import spelt, storable
from webui.errors import CheckpointError, CheckpointNotFoundError

MAX_HEADER_BYTES: Final = 100_000_000
"""The format's own limit; a larger number means the file is something else."""

FIRST_METADATA_BYTES: Final = 32_768
"""So much of a header is read at first when only its metadata is wanted."""
_METADATA_FIRST: Final = re.compile(rb'\s*\{\s*"__metadata__"\s*:\s*(?=\{)')
LAST_ENTRY_BYTES: Final = 512
"""So much of a header's end is read then: its last tensor, which mostly lies last in the file."""
_OFFSETS: Final = re.compile(rb'"data_offsets"\s*:\s*\[\s*\d{1,18}\s*,\s*(\d{1,18})\s*\]')

MAX_AXES: Final = 32
"""torch has 64 at most; the sizes of a million axes multiply to a number that takes hours."""

DTYPE_BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip

_DOWNLOAD_AGAIN: Final = "Delete it and download it again."


class Foreign(NamedTuple):
    """What else lies in model folders: how it begins, what it is, and what to do."""

    magic: bytes
    what: str
    hint: str


_FOREIGN: Final = (
    Foreign(b"version https://git-lfs",
     "a Git LFS pointer (a note of about 130 bytes), not the weights",
     "Run 'git lfs pull' in that folder, or download the file itself."),
    Foreign(b"<!doctype", "a web page, not weights",
     "The download needed a login or the link was wrong. Download the file itself."),
    Foreign(b"<html", "a web page, not weights",
     "The download needed a login or the link was wrong. Download the file itself."),
    Foreign(b"<?xml", "an error message of a download server, not weights", _DOWNLOAD_AGAIN),
    Foreign(b'{"', "a JSON text, probably a server's error message, not weights", _DOWNLOAD_AGAIN),
    Foreign(b"GGUF", "a GGUF file", "GGUF files cannot be used here; get the safetensors version."),
    Foreign(b"\x89PNG", "a PNG picture, not weights", _DOWNLOAD_AGAIN),
    Foreign(b"\xff\xd8\xff", "a JPEG picture, not weights", _DOWNLOAD_AGAIN),
    Foreign(b"RIFF", "a WebP picture or a sound, not weights", _DOWNLOAD_AGAIN),
    Foreign(b"\x1f\x8b", "a gzip archive", "Unpack it and put the weights file inside it here."),
    Foreign(b"7z\xbc\xaf", "a 7-Zip archive", "Unpack it and put the weights file inside it here."),
    Foreign(b"Rar!", "a RAR archive", "Unpack it and put the weights file inside it here."),
)  # fmt: skip


@dataclass(frozen=True)
class TensorInfo:
    """One tensor without its data: dtype (safetensors' word for it) and shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of the data at the stored dtype; unknown dtypes count as 4 bytes an element."""
        return (self.count * DTYPE_BITS.get(self.dtype, 32) + 7) // 8


class FileState(NamedTuple):
    """Tells an open file from every other, and from what it was before it was written to."""

    device: int
    inode: int
    size: int
    changed_ns: int


def file_state(file: IO[bytes]) -> FileState:
    """The state of an open file now."""
    stat = os.fstat(file.fileno())
    return FileState(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@dataclass(frozen=True)
class Header:
    """Everything known about a weights file without its data.

    Attributes:
        format: ``safetensors``, ``torch`` (zip), ``torch-old`` (plain pickle) or ``diffusers``.
        tensors: By name, names as in the file.
        metadata: Text by text; empty for torch files.
        data_start: Offset of the first data byte (safetensors only).
        places: Offset of each tensor's first byte in the file (safetensors only).
        state: Of the file when the header was read (safetensors only).
    """

    path: Path
    format: str
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)
    data_start: int = 0
    places: Mapping[str, int] = field(default_factory=dict)
    state: FileState | None = field(default=None, compare=False)


def read_header(path: Path) -> Header:
    """Read what a weights file holds, whichever kind of file it is.

    Raises:
        CheckpointError: The file is missing, empty, cut short, damaged or not weights at all.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
    """
    kind = file_format(path)
    if kind == "safetensors":
        return read_safetensors_header(path)
    from webui.checkpoints.pickles import read_pickle_header

    return read_pickle_header(path)


def file_format(path: Path) -> str:
    """Tell a weights file's format by its first bytes; the ending of its name is not believed.

    Returns:
        ``safetensors``, ``torch`` or ``torch-old``.
    Raises:
        CheckpointError: Not a weights file; the message says what it is instead.
    """
    head, size = _first_bytes(path, 512)
    if not size:
        raise CheckpointError(f"{path} is empty (0 bytes).", _DOWNLOAD_AGAIN, path=str(path))
    if head.startswith(b"PK\x03\x04"):
        return "torch"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "torch-old"
    if len(head) >= 9 and head[8:9] == b"{":
        return "safetensors"
    raise _foreign(path, head, size)


def unreadable(path: Path, err: OSError) -> CheckpointError:
    """What to raise when the system does not let us read a file."""
    return CheckpointError(
        f"{path} cannot be read: {err.strerror or err}.",
        "Check the file's permissions and the disk.",
        path=str(path),
    )


def _first_bytes(path: Path, count: int) -> tuple[bytes, int]:
    try:
        with open(path, "rb") as file:
            return file.read(count), os.fstat(file.fileno()).st_size
    except FileNotFoundError as err:
        raise CheckpointNotFoundError(
            f"{path} is not there (any more).",
            "Put it back, or press the round arrow beside the checkpoint, so that the folders are "
            "read anew, and choose another one.",
            path=str(path),
            wanted=path.name,
        ) from err
    except OSError as err:
        raise unreadable(path, err) from err


def _foreign(path: Path, head: bytes, size: int) -> CheckpointError:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, what, hint in _FOREIGN:
        if text[: len(magic)].lower() == magic.lower():
            return CheckpointError(f"{path} cannot be used: it is {what}.", hint, path=str(path))
    if head[257:262] == b"ustar":
        return CheckpointError(
            f"{path} is a tar archive: torch's format of before 2017, or a packed folder.",
            "Unpack it, or get the model as .safetensors.",
            path=str(path),
        )
    if not head.strip(b"\0"):
        return CheckpointError(
            f"{path} begins with {len(head)} zero bytes: an unfinished download.",
            "Let the download finish, or start it again.",
            path=str(path),
        )
    return CheckpointError(
        f"{path} ({size} bytes) is neither a safetensors file nor a torch file.",
        _DOWNLOAD_AGAIN,
        path=str(path),
    )


def read_safetensors_header(path: Path) -> Header:
    """Read and check the header of a safetensors file; the data is not touched.

    Raises:
        CheckpointError: Any part of the header does not fit the file.
    """
    try:
        with open(path, "rb") as file:
            state = file_state(file)
            length = int.from_bytes(file.read(8), "little")
            _check_length(path, length, state.size)
            raw = file.read(length)
    except OSError as err:
        raise unreadable(path, err) from err
    entries = _parse(path, raw)
    metadata = _metadata(entries.pop("__metadata__", None))
    tensors = {}
    places = {}
    spans = []
    for name, entry in entries.items():
        info, begin, end = _tensor(path, name, entry)
        tensors[name] = info
        places[name] = 8 + length + begin
        if end > begin:
            spans.append((begin, end))
    data_start = 8 + length
    _check_spans(path, spans, data_bytes=state.size - data_start)
    return Header(path, "safetensors", tensors, metadata, data_start, places, state)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, without reading what it says about its tensors.

    Twenty times as quick as the whole header, which is neither read nor checked: writers put the
    metadata first. That the file was cut short is mostly seen all the same.

    Returns:
        Text by text; empty for files of other formats, which have none.
    Raises:
        CheckpointError: The file is missing, cut short, damaged or not weights at all.
    """
    if file_format(path) != "safetensors":
        return {}
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            _check_length(path, length, size)
            raw = file.read(min(length, FIRST_METADATA_BYTES))
            found = _leading_metadata(raw)
            if found is None and length > len(raw):
                raw += file.read(length - len(raw))
                found = _leading_metadata(raw)
            file.seek(8 + max(0, length - LAST_ENTRY_BYTES))
            last = _OFFSETS.findall(file.read(min(length, LAST_ENTRY_BYTES)))
    except OSError as err:
        raise unreadable(path, err) from err
    if last and int(last[-1]) > size - 8 - length:
        raise _cut_short(path, size - 8 - length, int(last[-1]))
    return _metadata(_parse(path, raw).get("__metadata__") if found is None else found)


def _leading_metadata(raw: bytes) -> Any:
    """What stands first in a header, which may be cut; None when that is not its metadata."""
    start = _METADATA_FIRST.match(raw)
    if start is None:
        return None
    try:
        text = raw[start.end() :].decode("utf-8", "ignore")  # a letter may be cut in two
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


def _damaged(path: Path, what: str, hint: str = _DOWNLOAD_AGAIN) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: {what}.", hint, path=str(path))


def _check_length(path: Path, length: int, size: int) -> None:
    if size < 10:
        raise _damaged(path, f"{size} bytes are too few for a safetensors file")
    if length > MAX_HEADER_BYTES:
        raise _damaged(
            path, f"its header claims {length} bytes, the format allows {MAX_HEADER_BYTES}"
        )
    if length > size - 8:
        raise _damaged(
            path, f"its header claims {length} bytes, but the whole file has {size}: it was cut"
        )


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (UnicodeDecodeError, ValueError, RecursionError) as err:
        raise _damaged(path, f"its header is not valid JSON ({err})") from err
    if not isinstance(entries, dict):
        raise _damaged(path, "its header is not a JSON object")
    return entries


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _metadata(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {
        storable(key): storable(text) if isinstance(text, str) else json.dumps(text)
        for key, text in value.items()
    }


def _tensor(path: Path, name: str, entry: Any) -> tuple[TensorInfo, int, int]:
    shown = f"'{spelt(name)}'"
    try:
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        begin, end = entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as err:
        raise _damaged(path, f"the header entry of {shown} is incomplete") from err
    if storable(name) != name:
        raise _damaged(path, f"{shown} is no text")
    if not all(type(n) is int and 0 <= n < 2**63 for n in (*shape, begin, end)):
        raise _damaged(path, f"{shown} has a shape or offset that is not a whole number")
    if len(shape) > MAX_AXES:
        raise _damaged(path, f"{shown} has {len(shape)} axes")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _damaged(
            path,
            f"{shown} has the unknown number format '{spelt(str(dtype))}'",
            "The file may need a newer version of this program.",
        )
    info = TensorInfo(dtype, shape)
    if end - begin != info.size_bytes:
        raise _damaged(
            path, f"{shown} has {end - begin} bytes, its shape asks for {info.size_bytes}"
        )
    return info, begin, end


def _cut_short(path: Path, there: int, expected: int) -> CheckpointError:
    return _damaged(path, f"it was cut: {there} of {expected} bytes of weights are there")


def _check_spans(path: Path, spans: list[tuple[int, int]], data_bytes: int) -> None:
    spans.sort()
    expected = spans[-1][1] if spans else 0
    if expected > data_bytes:
        raise _cut_short(path, data_bytes, expected)
    position = 0
    for begin, end in spans:
        if begin != position:
            raise _damaged(path, f"its tensors overlap or leave a gap at byte {position}")
        position = end
    if position != data_bytes:
        raise _damaged(path, f"{data_bytes - position} bytes at its end belong to no tensor")
