"""Weights files that new ones are made from, read in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from webui.checkpoints.weights import FileWeights, dtype_of, open_weights
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

    def __init__(self, weights: FileWeights) -> None:
        self.header = weights.header
        self._weights = weights
        self._stored = {known_name(name): name for name in self.header.tensors}
        self.tensors = {new: self.header.tensors[old] for new, old in self._stored.items()}

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
        return self._weights.read(self._stored[name])

    def pieces(self, name: str) -> Iterator[torch.Tensor]:
        """A tensor's numbers in order, flat, ``PIECE_ELEMENTS`` at a time.

        Raises:
            CheckpointError: Its data cannot be read.
        """
        stored, count = self._stored[name], self.tensors[name].count
        if not self._weights.is_in_order(stored):
            yield from self.read(name).flatten().split(PIECE_ELEMENTS)
            return
        for start in range(0, count, PIECE_ELEMENTS):
            yield self._weights.numbers(stored, start, min(PIECE_ELEMENTS, count - start))


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
    with open_weights(path) as weights:
        for info in weights.header.tensors.values():
            dtype_of(path, info)
        yield Source(weights)


def known_name(name: str) -> str:
    """A stored tensor's name as A1111 knows it (see ``_OLD_TEXT_NAMES``)."""
    for old, new in _OLD_TEXT_NAMES.items():
        if name.startswith(old):
            return new + name[len(old) :]
    return name
