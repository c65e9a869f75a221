"""Open a weights file and hand out its tensors one at a time, each in memory of its own.

Files are read, never mapped: one that is cut or written over meanwhile is an error in words, not
the end of the process, and not weights of two files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

import torch

from webui.checkpoints.conversion import Source
from webui.checkpoints.headers import (
    FileState,
    Header,
    TensorInfo,
    file_format,
    file_state,
    read_safetensors_header,
    unreadable,
)
from webui.checkpoints.pickles import PickledFile, header_of, read_pickle
from webui.errors import CheckpointError

DTYPES: Mapping[str, torch.dtype] = {
    "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64,
    "C64": torch.complex64,
}  # fmt: skip
"""safetensors' words for number formats, in torch's."""
CONVERTED_AT_ONCE: Final = 2**21
"""Numbers that are read and converted before the next ones: what is read stays in the caches. Torch
converts them on all cores, which wait for each other: smaller pieces cost a busy machine much."""


class Weights(Protocol):
    """An open weights file.

    Attributes:
        header: What it holds.
    """

    header: Header

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """One tensor on the CPU, in memory of its own.

        Args:
            dtype: What its numbers become; as stored if None.
        Raises:
            KeyError: No tensor has that name.
            CheckpointError: Its data cannot be read.
        """
        ...


class FileChangedError(OSError):
    """A file is not what it was when its header was read."""


def read_into(piece: memoryview, file: io.FileIO, place: int, state: FileState) -> None:
    """Fill a piece of memory from an open file, beginning there.

    Network drives, and systems asked for more than 2 GiB, give less at a time than is asked for.

    Args:
        state: Of the file when its header was read.
    Raises:
        FileChangedError: It was cut or written to since then.
        OSError: It cannot be read.
    """
    file.seek(place)
    done = 0
    while done < len(piece):
        count = file.readinto(piece[done:])
        if not count:
            break
        done += count
    if done < len(piece) or file_state(file) != state:
        raise FileChangedError("it was changed meanwhile")


def dtype_of(path: Path, info: TensorInfo) -> torch.dtype:
    """A tensor's number format in torch's words.

    Raises:
        CheckpointError: Torch has none for it.
    """
    if info.dtype not in DTYPES:
        raise CheckpointError(
            f"{path.name} holds numbers of the format {info.dtype}, which cannot be calculated "
            "with here.",
            "Get the file in float16, bfloat16 or float32.",
            path=str(path),
        )
    return DTYPES[info.dtype]


class FileWeights:
    """``Weights`` of an open file."""

    def __init__(
        self, header: Header, file: io.FileIO, state: FileState, pickled: PickledFile | None
    ) -> None:
        self.header = header
        self._file, self._state, self._pickled = file, state, pickled

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """See ``Weights``."""
        info = self.header.tensors[name]
        stored = dtype_of(self.header.path, info)
        dtype = dtype or stored
        if not self.is_in_order(name):
            assert self._pickled is not None
            stride = self._pickled.tensors[name].stride
            last = sum((n - 1) * s for n, s in zip(info.shape, stride, strict=True))
            found = self.numbers(name, 0, last + 1).as_strided(info.shape, stride)
            return found.to(dtype, copy=True, memory_format=torch.contiguous_format)
        if dtype == stored:
            return self.numbers(name, 0, info.count).reshape(info.shape)
        converted = torch.empty(info.count, dtype=dtype)
        piece = torch.empty(min(info.count, CONVERTED_AT_ONCE), dtype=stored)
        for start in range(0, info.count, CONVERTED_AT_ONCE):
            wanted = converted[start : start + CONVERTED_AT_ONCE]
            read = piece[: len(wanted)]
            self._read_into(read, name, start)
            wanted.copy_(read)
        return converted.reshape(info.shape)

    def is_in_order(self, name: str) -> bool:
        """Whether a tensor's numbers follow each other in the file."""
        info = self.header.tensors[name]
        if self._pickled is None or not info.count:
            return True
        expected = info.count
        for size, stride in zip(info.shape, self._pickled.tensors[name].stride, strict=True):
            expected //= size
            if size > 1 and stride != expected:
                return False
        return True

    def numbers(self, name: str, start: int, count: int) -> torch.Tensor:
        """So many numbers as they follow each other in the file, from a tensor's ``start`` on.

        Returns:
            (count,) at the stored dtype.
        Raises:
            KeyError: No tensor has that name.
            CheckpointError: They cannot be read.
        """
        dtype = dtype_of(self.header.path, self.header.tensors[name])
        data = torch.empty(count, dtype=dtype)
        if count:
            self._read_into(data, name, start)
        return data

    def _read_into(self, data: torch.Tensor, name: str, start: int) -> None:
        """Fill a row of the stored dtype with a tensor's numbers from ``start`` on."""
        path = self.header.path
        place = self._begin(name, data.dtype) + start * data.dtype.itemsize
        try:
            read_into(data.view(torch.uint8).numpy().data, self._file, place, self._state)
        except FileChangedError as err:
            raise _changed(path) from err
        except OSError as err:
            raise unreadable(path, err) from err

    def _begin(self, name: str, dtype: torch.dtype) -> int:
        """Offset of a tensor's first byte in the file."""
        if self._pickled is None:
            return self.header.places[name]
        place = self._pickled.tensors[name]
        return self._pickled.storages[place.storage][0] + place.offset * dtype.itemsize


def _changed(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} was cut or written to while it was read.",
        "Wait until the file is whole, then try again.",
        path=str(path),
    )


@contextmanager
def open_weights(path: Path) -> Iterator[FileWeights]:
    """Open a safetensors or torch file.

    Raises:
        CheckpointError: Missing, damaged or foreign file.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
    """
    pickled = None
    if file_format(path) == "safetensors":
        header = read_safetensors_header(path)
        state = header.state
        assert state is not None
    else:
        pickled = read_pickle(path)
        header, state = header_of(pickled), pickled.state
    try:
        file = io.FileIO(path)
    except OSError as err:
        raise unreadable(path, err) from err
    with file:
        if file_state(file) != state:
            raise _changed(path)
        yield FileWeights(header, file, state, pickled)


class RenamedWeights:
    """Weights under other names: what a model's module expects.

    Args:
        source: The open file.
        sources: Wanted name → where it is in the file.
    """

    def __init__(self, source: Weights, sources: Mapping[str, Source]) -> None:
        self.header = source.header
        self._source = source
        self.sources = sources

    def info(self, name: str) -> TensorInfo:
        """dtype and shape as stored."""
        return self.header.tensors[self.sources[name].name]

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """As ``Weights.read``; of a tensor that holds more, the part that is wanted."""
        where = self.sources[name]
        stored = self._source.read(where.name, dtype)
        if where.third is not None:  # by itself, or all three stay in memory
            stored = stored.tensor_split(3)[where.third].clone()
        return stored.T.contiguous() if where.is_transposed else stored
