"""Read the vectors of a textual inversion file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from webui.checkpoints.embeddings import (
    embedding_tensors,
    is_picture,
    picture_arrays,
    read_picture,
)
from webui.checkpoints.hashes import LORA_SHORT_DIGITS, sha256_of_file
from webui.checkpoints.weights import open_weights
from webui.errors import CheckpointError

logger = logging.getLogger(__name__)


class Described(Protocol):
    """An embedding file and what the catalog knows of it."""

    @property
    def path(self) -> str: ...
    @property
    def vectors(self) -> int: ...
    @property
    def width(self) -> int: ...


class EmbeddingReader:
    """Reads embedding files; see ``pipelines.embeddings.Reader``."""

    def vectors(self, file: Described) -> Tensor:
        """(vectors, width) float32 on the CPU; those of two text encoders side by side.

        Raises:
            CheckpointError: The file is gone, cannot be read, or is not what was described.
            UnsafeCheckpointError: A pickle that asks for more than tensors.
        """
        vectors = torch.cat(list(load_embedding(Path(file.path)).values()), dim=1)
        if tuple(vectors.shape) != (file.vectors, file.width):
            raise CheckpointError(
                f"{file.path} has changed: {file.vectors} vectors of width {file.width} were "
                f"expected, {vectors.shape[0]} of width {vectors.shape[1]} are in it.",
                "Press Refresh and ask again.",
                path=file.path,
            )
        return vectors

    def short_hash(self, file: Described) -> str:
        """First 12 digits of the file's SHA-256; '' when it is gone."""
        try:
            return sha256_of_file(Path(file.path))[:LORA_SHORT_DIGITS]
        except CheckpointError as err:
            logger.warning("%s", err)
            return ""


def load_embedding(path: Path) -> dict[str, Tensor]:
    """The vectors of an embedding file of any kind.

    Returns:
        Text encoder («clip_l», «clip_g»; '' where there is one only) → (vectors, width) float32
        on the CPU, memory of their own.
    Raises:
        CheckpointError: It cannot be read, or holds something else.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
    """
    if is_picture(path):
        arrays = picture_arrays(path, read_picture(path))
        return {part: _vectors(torch.from_numpy(array)) for part, array in arrays.items()}
    with open_weights(path) as weights:
        places = embedding_tensors(path, weights.header.tensors)
        return {part: _vectors(weights.read(name)) for part, name in places.items()}


def _vectors(tensor: Tensor) -> Tensor:
    rows = tensor.reshape(-1, tensor.shape[-1])  # (n, width)
    return rows.detach().to(torch.float32, copy=True).contiguous()
