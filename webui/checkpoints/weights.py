"""Open a weights file and hand out its tensors one at a time, mapped, not read whole."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open

from webui.checkpoints.conversion import Source
from webui.checkpoints.headers import Header, TensorInfo, read_header
from webui.checkpoints.pickles import PickledFile, read_pickle
from webui.errors import CheckpointError

DTYPES: Mapping[str, torch.dtype] = {
    "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2, "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64,
    "C64": torch.complex64,
}  # fmt: skip
"""safetensors' words for number formats, in torch's."""


class Weights(Protocol):
    """An open weights file.

    Attributes:
        header: What it holds.
    """

    header: Header

    def read(self, name: str) -> torch.Tensor:
        """One tensor on the CPU at its stored dtype; may share memory with the file: copy it.

        Raises:
            KeyError: No tensor has that name.
            CheckpointError: Its data cannot be read.
        """
        ...


class _SafeWeights:
    def __init__(self, header: Header, file: Any) -> None:
        self.header = header
        self._file = file

    def read(self, name: str) -> torch.Tensor:
        if name not in self.header.tensors:
            raise KeyError(name)
        try:
            return self._file.get_tensor(name)
        except (SafetensorError, OSError) as err:
            raise _unreadable(self.header.path, err) from err


class _PickledWeights:
    def __init__(self, file: PickledFile, data: mmap.mmap) -> None:
        infos = {name: t.info for name, t in file.tensors.items()}
        self.header = Header(file.path, file.format, infos)
        self._file = file
        self._data = data

    def read(self, name: str) -> torch.Tensor:
        place = self._file.tensors[name]
        dtype = DTYPES[place.info.dtype]
        if not place.info.count:
            return torch.empty(place.info.shape, dtype=dtype)
        begin, length = self._file.storages[place.storage]
        whole = torch.frombuffer(self._data, dtype=torch.uint8, count=length, offset=begin)
        if begin % dtype.itemsize:  # torch's old format does not align its data
            whole = whole.clone()
        count = length // dtype.itemsize * dtype.itemsize
        storage = whole[:count].view(dtype)
        return storage.as_strided(place.info.shape, place.stride, place.offset)


def _unreadable(path: Path, err: Exception) -> CheckpointError:
    return CheckpointError(
        f"The weights in {path} cannot be read: {err}.",
        "The file may be damaged: download it again.",
        path=str(path),
    )


@contextmanager
def open_weights(path: Path) -> Iterator[Weights]:
    """Open a safetensors or torch file. Tensors read from it must be copied inside the block.

    Raises:
        CheckpointError: Missing, damaged or foreign file.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
    """
    header = read_header(path)
    if header.format == "safetensors":
        try:
            opened = safe_open(str(path), framework="pt", device="cpu")
        except (SafetensorError, OSError) as err:
            raise _unreadable(path, err) from err
        with opened as file:
            yield _SafeWeights(header, file)
        return
    pickled = read_pickle(path)
    try:
        with open(path, "rb") as raw:
            # Copy-on-write: torch wants a writable buffer, the file must never change.
            data = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as err:
        raise _unreadable(path, err) from err
    yield _PickledWeights(pickled, data)


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

    def read(self, name: str) -> torch.Tensor:
        """As ``Weights.read``; of a tensor that holds more, the part that is wanted."""
        where = self.sources[name]
        stored = self._source.read(where.name)
        if where.third is not None:
            stored = stored.tensor_split(3)[where.third]
        return stored.T.contiguous() if where.is_transposed else stored
