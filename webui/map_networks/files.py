"""The tensors of a file, for networks that are written here."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from webui.checkpoints.weights import open_weights


def read_state(path: Path) -> dict[str, Tensor]:
    """All tensors of a file as float32.

    Raises:
        CheckpointError: It cannot be read.
    """
    with open_weights(path) as weights:
        return {name: weights.read(name).float() for name in weights.header.tensors}


def ready(network: nn.Module, state: dict[str, Tensor], device: torch.device) -> nn.Module:
    """A network with its weights, on its device.

    Raises:
        RuntimeError: The tensors are another network's.
    """
    network.load_state_dict(state)
    return network.to(device).eval().requires_grad_(False)


def last_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the last two parts of their names: without the block that some files name
    before (``model0.conv1_1.weight``)."""
    return {".".join(name.split(".")[-2:]): tensor for name, tensor in state.items()}
