"""One way to open a network that makes maps."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError

from webui.checkpoints.map_networks import WANTED
from webui.errors import CheckpointError
from webui.map_networks.depth import DepthNetwork
from webui.map_networks.pose import BodyPose

MapNetwork = DepthNetwork | BodyPose
"""Call with a picture (H, W, 3) uint8 RGB; gives its map of the same shape. ``model`` is the
network of torch."""


def open_map_network(name: str, path: Path, device: torch.device) -> MapNetwork:
    """Read the network of a preprocessor.

    Args:
        name: The preprocessor's. path: A file, or a folder of transformers.
    Raises:
        CheckpointError: It is missing, unsafe, damaged or something else.
    """
    wanted = WANTED[name]
    try:
        if wanted.kind == "body_pose":
            return BodyPose(path, device)
        return DepthNetwork(wanted.kind, path, device)
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as err:
        raise CheckpointError(
            f"{path.name}, which {name} needs, cannot be used: {' '.join(str(err).split())[:300]}",
            f"Get {wanted.file} again from {wanted.source}.",
            path=str(path),
        ) from err
