"""Read a hypernetwork file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from webui.checkpoints.pickles import read_pickle
from webui.checkpoints.rules import describe
from webui.checkpoints.weights import open_weights
from webui.errors import CheckpointError
from webui.networks.hypernetworks import Hypernetwork, HypernetworkError, build_network


def read_hypernetwork(path: Path) -> Hypernetwork:
    """Read A1111's hypernetwork into main memory, as float32.

    Raises:
        CheckpointError: The file is missing, damaged, or no hypernetwork.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
    """
    with open_weights(path) as weights:
        header = weights.header
        if header.format == "safetensors" or describe(header).kind != "hypernetwork":
            raise CheckpointError(
                f"{path.name} holds no hypernetwork: it is {describe(header).title}.",
                "Put it into the folder it belongs in, or download the hypernetwork again.",
                path=str(path),
            )
        tensors = {name: weights.read(name).float() for name in header.tensors}
    stated: Mapping[Any, Any] = read_pickle(path).content
    try:
        return Hypernetwork(path.stem, _pairs(tensors, stated))
    except HypernetworkError as err:
        raise CheckpointError(
            f"{path.name} is a hypernetwork that cannot be used: {err}.",
            "Download it again, or leave it out.",
            path=str(path),
        ) from err


def _pairs(tensors: Mapping[str, Tensor], stated: Mapping[Any, Any]) -> dict[int, Any]:
    """Networks by width. What a file of 2022 does not state is as it then was: no activation,
    and where there is one, after the last layer too."""
    activation, activates_output = stated.get("activation_func"), stated.get("activate_output")
    pairs: dict[int, list[dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        width, which, layer = name.split(".", 2)
        if which in ("0", "1"):
            pairs.setdefault(int(width), [{}, {}])[int(which)][layer] = tensor
    return {
        width: tuple(
            build_network(
                part,
                width,
                activation=activation,
                activates_output=True if activates_output is None else bool(activates_output),
            )
            for part in pair
        )
        for width, pair in pairs.items()
    }
