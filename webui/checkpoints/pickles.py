"""Read torch's pickle files (.ckpt, .pt, .bin) without running anything they ask for; no torch.

A pickle is a program that names functions and calls them. Here its instructions are followed by
a machine that calls nothing (pickle_machine.py), and a name is looked up in a closed list
(pickle_names.py). Any other name refuses the file with a report of what it wanted
(pickle_wishes.py). Tensors come out as places in the file, without data.

Source: the two containers (zip since torch 1.6, plain stream before) as written by ``torch.save``.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from webui.checkpoints.foreign_text import spelt
from webui.checkpoints.headers import DTYPE_BITS, FileState, Header, file_format, file_state
from webui.checkpoints.pickle_machine import Leftover, PickleError
from webui.checkpoints.pickle_names import (
    MAX_PICKLE_BYTES,
    READING_FAULTS,
    Reader,
    Storage,
    StoredTensor,
)
from webui.errors import CheckpointError

_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001
MAX_VALUES: Final = 200_000
"""Values looked at in search of tensors; lists that hold each other have no end."""
MAX_NAME_CHARACTERS: Final = 32 << 20
"""Of all their dotted names together."""
MAX_CONTENTS_BYTES: Final = 8 << 20
"""Of an archive's table of contents: about eighty thousand entries."""
MAX_REPEATED: Final = 1 << 20
"""So many numbers a tensor may show that has fewer in the file (torch's ``expand``)."""
PAGE_BYTES: Final = 1 << 16
"""Of a plain stream, read at a time: most descriptions of tensors are not longer."""
MAX_DEPTH: Final = 12
"""Deeper lies nothing that is a weight."""


@dataclass(frozen=True)
class PickledFile:
    """A torch file read without its data.

    Attributes:
        content: The saved object: dicts, lists, numbers, text, StoredTensor, Leftover.
        tensors: All tensors by name (see ``tensors_by_name``).
        storages: Storage key → (byte offset in the file, byte length).
        state: Of the file before it was read.
    """

    path: Path
    format: str
    content: Any
    tensors: Mapping[str, StoredTensor]
    storages: Mapping[str, tuple[int, int]]
    state: FileState


def header_of(file: PickledFile) -> Header:
    """Names, shapes and dtypes of a torch file that was read."""
    return Header(file.path, file.format, {name: t.info for name, t in file.tensors.items()})


def read_pickle_header(path: Path) -> Header:
    """Names, shapes and dtypes of a torch file.

    Raises:
        CheckpointError: Damaged or cut file.
        UnsafeCheckpointError: It asks for more than tensors.
    """
    return header_of(read_pickle(path))


def read_pickle(path: Path) -> PickledFile:
    """Read a torch file up to, not including, its tensor data.

    Raises:
        CheckpointError: Damaged or cut file.
        UnsafeCheckpointError: It asks for more than tensors.
    """
    kind = file_format(path)
    try:
        with open(path, "rb") as opened:
            state = file_state(opened)
        if kind == "torch":
            content, storages, used = _read_zip(path)
        elif kind == "torch-old":
            content, storages, used = _read_stream(path)
        else:
            raise _damaged(path, f"it is a {kind} file, not a torch file")
        _check_storages(path, used, storages, state.size)
        tensors = tensors_by_name(content)
        for name, tensor in tensors.items():
            _check_extent(path, name, tensor, storages)
    except CheckpointError:
        raise
    except zipfile.BadZipFile as err:
        raise _damaged(path, "it was cut short, or is not a torch file") from err
    except OSError as err:
        raise CheckpointError(
            f"{path} cannot be read: {err.strerror or err}.",
            "Check the file's permissions and the disk.",
            path=str(path),
        ) from err
    except READING_FAULTS as err:
        raise _damaged(path, f"its description of tensors cannot be read ({err})") from err
    return PickledFile(path, kind, content, tensors, storages, state)


def tensors_by_name(content: Any) -> dict[str, StoredTensor]:
    """All tensors of a saved object under dotted names.

    A ``state_dict`` (Lightning and A1111's checkpoints), or ``params_ema``/``params`` (upscalers)
    inside the object is taken as the object itself.
    """
    root = content
    if isinstance(content, dict):
        for key in ("state_dict", "params_ema", "params"):
            if isinstance(content.get(key), dict):
                root = content[key]
                break
    found: dict[str, StoredTensor] = {}
    stack: list[tuple[str, Any, int]] = [("", root, 0)]
    values = characters = 0
    while stack:
        name, value, depth = stack.pop()
        if isinstance(value, StoredTensor):
            found[name] = value
            continue
        if isinstance(value, Leftover):
            value = value.state
        if depth > MAX_DEPTH or not isinstance(value, dict | list | tuple):
            continue
        values += len(value)
        if values > MAX_VALUES:
            raise PickleError(f"it describes more than {MAX_VALUES} values")
        for key, part in _parts(value):
            full = f"{name}.{key}" if name else str(key)
            characters += len(full)
            if characters > MAX_NAME_CHARACTERS:
                raise PickleError("the names in it are too long for any use")
            stack.append((full, part, depth + 1))
    return found


def _parts(value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterable[tuple[Any, Any]]:
    """What lies in it, last first."""
    if isinstance(value, dict):
        return reversed(value.items())
    return zip(range(len(value) - 1, -1, -1), reversed(value), strict=True)


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged: {what}.", "Delete it and download it again.", path=str(path)
    )


class _Sparing(io.BufferedReader):
    """A file that gives no more at once than is allowed: archives say themselves how much of
    them is to be read."""

    most = MAX_CONTENTS_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self.most:
            raise PickleError(f"its table of contents is larger than {self.most} bytes")
        return super().read(size)


def _read_zip(path: Path) -> tuple[Any, dict[str, tuple[int, int]], dict[str, Storage]]:
    with _Sparing(io.FileIO(path)) as raw, zipfile.ZipFile(raw) as archive:
        raw.most = MAX_PICKLE_BYTES + 1
        entries = {info.filename: info for info in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise _damaged(path, "a part of it is there twice")
        pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError(
                f"{path} is a zip archive, but not one written by torch.",
                "Unpack it and put the weights file inside it here.",
                path=str(path),
            )
        prefix = pickles[0][: -len("data.pkl")]
        order = entries.get(f"{prefix}byteorder")
        if order is not None and _member(path, archive, order, 16) != b"little":
            raise _damaged(path, "its numbers are big-endian, which is not supported")
        reader = Reader(path)
        content, _ = reader.follow(_member(path, archive, entries[pickles[0]], MAX_PICKLE_BYTES))
        storages = {
            key: _zip_data(path, raw, entries.get(f"{prefix}data/{key}")) for key in reader.used
        }
    return content, storages, reader.used


def _member(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    """A part of the archive; what it claims about its size is not believed.

    Torch packs nothing, other programs as zip does. What else there is would be unpacked whole
    before the first byte is given, however little is asked for.
    """
    if entry.file_size > most:
        raise _too_large(path, entry, most)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _damaged(path, "its description of tensors was compressed in an unknown way")
    with archive.open(entry) as part:
        data = part.read(most + 1)
    if len(data) > most:
        raise _too_large(path, entry, most)
    return data


def _too_large(path: Path, entry: zipfile.ZipInfo, most: int) -> CheckpointError:
    return _damaged(path, f"its '{spelt(entry.filename)}' is larger than {most} bytes")


def _zip_data(path: Path, raw: BinaryIO, entry: zipfile.ZipInfo | None) -> tuple[int, int]:
    """Byte offset and length of an archive member's data; torch never compresses them."""
    if entry is None:
        raise _damaged(path, "a part with tensor data is missing")
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise _damaged(path, "its tensor data was compressed or locked by another program")
    raw.seek(entry.header_offset)
    head = raw.read(30)  # local file header: name and extra lengths are its last two fields
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise _damaged(path, "a part of it lies elsewhere than its table of contents says")
    name_length, extra_length = struct.unpack("<HH", head[26:30])
    return entry.header_offset + 30 + name_length + extra_length, entry.file_size


class _Paged:
    """The bytes of an open file, read where they are asked for; see ``pickle_machine.Bytes``.

    (Not mapped: a file that is cut meanwhile would end the process.)
    """

    def __init__(self, file: io.FileIO) -> None:
        self._file = file
        self._size = file_state(file).size
        self._page, self._begin = b"", 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: slice, /) -> bytes:
        start, stop, _ = place.indices(self._size)
        first, last = start - self._begin, stop - self._begin
        if first < 0 or last > len(self._page):
            self._file.seek(start)
            self._page, self._begin = self._file.read(max(stop - start, PAGE_BYTES)), start
            first, last = 0, stop - start
        if last > len(self._page):
            raise PickleError("it was cut while it was read")
        return self._page[first:last]

    def find(self, sub: bytes, start: int, end: int, /) -> int:
        found = self[start:end].find(sub)
        return found if found < 0 else start + found


def _read_stream(path: Path) -> tuple[Any, dict[str, tuple[int, int]], dict[str, Storage]]:
    reader = Reader(path)
    with open(path, "rb", buffering=0) as file:
        data = _Paged(file)
        first, at = reader.follow(data)
        if first != _LEGACY_MAGIC:
            return first, {}, {}  # a bare pickle without tensor data
        version, at = reader.follow(data, at)
        if version != _LEGACY_PROTOCOL:
            raise _damaged(path, "it uses an unknown version of torch's old format")
        system, at = reader.follow(data, at)
        if isinstance(system, dict) and system.get("little_endian") is False:
            raise _damaged(path, "its numbers are big-endian, which is not supported")
        content, at = reader.follow(data, at)
        keys, at = reader.follow(data, at)
        return content, _stream_places(path, data, at, keys, reader.used), reader.used


def _stream_places(
    path: Path, data: _Paged, at: int, keys: Any, used: Mapping[str, Storage]
) -> dict[str, tuple[int, int]]:
    """Where the tensor data of the old format lies: each part behind its own length."""
    if not isinstance(keys, list) or not all(isinstance(key, str | int) for key in keys):
        raise _damaged(path, "its list of tensor data does not fit its tensors")
    storages = {}
    for key in map(str, keys):
        count = int.from_bytes(data[at : at + 8], "little", signed=True)
        if key not in used or key in storages or count < 0:
            raise _damaged(path, "its list of tensor data does not fit its tensors")
        length = count * DTYPE_BITS[used[key].dtype] // 8
        storages[key] = (at + 8, length)
        at += 8 + length
        if at > len(data):
            raise _damaged(path, "it was cut short: tensor data is missing at its end")
    return storages


def _check_storages(
    path: Path, used: Mapping[str, Storage], storages: Mapping[str, tuple[int, int]], size: int
) -> None:
    for key in used:
        if key not in storages:
            raise _damaged(path, "a part with tensor data is missing")
        begin, length = storages[key]
        if begin + length > size:
            raise _damaged(path, "it was cut short: tensor data is missing at its end")


def _check_extent(
    path: Path, name: str, tensor: StoredTensor, storages: Mapping[str, tuple[int, int]]
) -> None:
    shape, stride = tensor.info.shape, tensor.stride
    if len(shape) != len(stride) or min((*shape, *stride, tensor.offset), default=0) < 0:
        raise _damaged(path, f"'{spelt(name)}' has an impossible shape")
    if not tensor.info.count:
        return
    stored = storages[tensor.storage][1] * 8 // DTYPE_BITS[tensor.info.dtype]
    if tensor.info.count > max(stored, MAX_REPEATED):
        raise _damaged(path, f"'{spelt(name)}' claims more numbers than there are")
    last = tensor.offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    if last >= stored:
        raise _damaged(path, f"'{spelt(name)}' reaches beyond its data")
