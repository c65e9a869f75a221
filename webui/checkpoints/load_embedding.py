"""Read the vectors of a textual inversion file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from webui.checkpoints.embeddings import (
    embedding_tensors,
    is_picture,
    picture_arrays,
    read_picture,
)
from webui.checkpoints.weights import open_weights


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
