"""Weights files that new ones are made from, read in pieces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from webui.checkpoints.headers import Header, TensorInfo, read_header, unreadable
from webui.checkpoints.pickles import PickledFile, StoredTensor, read_pickle
from webui.checkpoints.weights import DTYPES
from webui.checkpoints.write import PIECE_ELEMENTS
from webui.errors import CheckpointError

_OLD_TEXT_NAMES: Mapping[str, str] = {
    f"cond_stage_model.transformer.{part}.": f"cond_stage_model.transformer.text_model.{part}."
    for part in ("embeddings", "encoder", "final_layer_norm")
}
"""Early SD 1.x files leave ``text_model.`` out; A1111 puts it in whenever it reads them."""


@dataclass(frozen=True)
class ModelFile:
    """A file that a job names, as the web process knows it.

    Attributes:
        name: In the catalog, with its ending. model_name: As A1111 names results after it.
        sha256: None when it is not known yet.
    """

    path: Path
    name: str
    model_name: str
    sha256: str | None = None

    @staticmethod
    def from_message(facts: Mapping[str, Any]) -> ModelFile:
        """From the ``run`` message."""
        return ModelFile(
            Path(facts["path"]), facts["name"], facts["model_name"], facts.get("sha256")
        )


class Source:
    """An open weights file.

    Attributes:
        header: As in the file.
        tensors: Tensors by the names A1111 knows them by (see ``_OLD_TEXT_NAMES``).
    """

    def __init__(self, header: Header, file: BinaryIO, pickled: PickledFile | None) -> None:
        self.header = header
        self._file = file
        self._pickled = pickled
        self._stored = {known_name(name): name for name in header.tensors}
        self.tensors = {new: header.tensors[old] for new, old in self._stored.items()}

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.header.path

    def read(self, name: str) -> torch.Tensor:
        """A whole tensor, in memory of its own.

        Raises:
            KeyError: No tensor has that name.
            CheckpointError: Its data cannot be read.
        """
        info, place = self.tensors[name], self._place(name)
        if place is None or not info.count or _is_contiguous(place):
            return self._read(name, 0, info.count).reshape(info.shape)
        last = sum((n - 1) * s for n, s in zip(info.shape, place.stride, strict=True))
        return self._read(name, 0, last + 1).as_strided(info.shape, place.stride).clone()

    def pieces(self, name: str) -> Iterator[torch.Tensor]:
        """A tensor's numbers in order, flat, ``PIECE_ELEMENTS`` at a time.

        Raises:
            CheckpointError: Its data cannot be read.
        """
        place = self._place(name)
        count = self.tensors[name].count
        if place is not None and not _is_contiguous(place):  # its numbers lie in another order
            yield from self.read(name).flatten().split(PIECE_ELEMENTS)
            return
        for start in range(0, count, PIECE_ELEMENTS):
            yield self._read(name, start, min(PIECE_ELEMENTS, count - start))

    def _place(self, name: str) -> StoredTensor | None:
        """Where it lies, in a torch file."""
        return self._pickled.tensors[self._stored[name]] if self._pickled else None

    def _read(self, name: str, start: int, count: int) -> torch.Tensor:
        """So many numbers as they follow each other in the file; flat."""
        dtype, place = dtype_of(self.path, self.tensors[name]), self._place(name)
        if place is None:
            begin = self.header.places[self._stored[name]]
        else:
            assert self._pickled is not None
            begin = self._pickled.storages[place.storage][0] + place.offset * dtype.itemsize
        return self._read_at(begin, dtype, start, count)

    def _read_at(self, begin: int, dtype: torch.dtype, start: int, count: int) -> torch.Tensor:
        data = torch.empty(count, dtype=dtype)
        if not count:
            return data
        view = data.view(torch.uint8).numpy().data
        try:
            self._file.seek(begin + start * dtype.itemsize)
            while view:
                got = self._file.readinto(view)  # type: ignore[attr-defined]
                if not got:
                    raise OSError("it ends too early")
                view = view[got:]
        except OSError as err:
            raise unreadable(self.path, err) from err
        return data


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a safetensors or torch file.

    Raises:
        CheckpointError: Missing, damaged or foreign file, a folder, or numbers that torch does
            not know.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
    """
    if path.is_dir():
        raise CheckpointError(
            f"{path.name} is a diffusers folder.", "Convert it into one file first.", path=str(path)
        )
    header = read_header(path)
    for info in header.tensors.values():
        dtype_of(path, info)
    pickled = None if header.format == "safetensors" else read_pickle(path)
    with ExitStack() as opened:
        try:
            file = opened.enter_context(open(path, "rb", buffering=0))
        except OSError as err:
            raise unreadable(path, err) from err
        yield Source(header, file, pickled)


def known_name(name: str) -> str:
    """A stored tensor's name as A1111 knows it (see ``_OLD_TEXT_NAMES``)."""
    for old, new in _OLD_TEXT_NAMES.items():
        if name.startswith(old):
            return new + name[len(old) :]
    return name


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


def _is_contiguous(place: StoredTensor) -> bool:
    expected = math.prod(place.info.shape)
    for size, stride in zip(place.info.shape, place.stride, strict=True):
        expected //= max(1, size)
        if size > 1 and stride != expected:
            return False
    return True
