"""One way to open a network that makes maps, and to have a preprocessor's maps made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError

from webui.checkpoints.map_networks import WANTED
from webui.errors import CheckpointError
from webui.map_networks.depth import DepthNetwork
from webui.map_networks.grey_maps import GREY_NETWORKS, GreyMap, in_steps, scribbled
from webui.map_networks.pose import BodyPose
from webui.map_networks.pose_parts import FacePose, HandPose
from webui.map_networks.skeletons import Skeletons
from webui.preprocessors.maps import MapNetwork, Pixels
from webui.preprocessors.names import BODY, BY_NAME, FACE, HAND

OpenNetwork = DepthNetwork | GreyMap | BodyPose | HandPose | FacePose
"""``model`` is the network of torch."""
_POSES: Final[Mapping[str, Callable[[Path, torch.device], OpenNetwork]]] = {
    "body_pose": BodyPose, "hand_pose": HandPose, "face_pose": FacePose,
}  # fmt: skip
_FINISHES: Final[Mapping[str, Callable[[Pixels], Pixels]]] = {
    "softedge_hedsafe": in_steps, "softedge_pidisafe": in_steps,
    "scribble_hed": scribbled, "scribble_pidinet": scribbled,
}  # fmt: skip
"""What preprocessors do with the map of their network."""
_WITHOUT_BODIES: Final = "openpose_faceonly"


def open_map_network(name: str, path: Path, device: torch.device) -> OpenNetwork:
    """Read a network.

    Args:
        name: As ``checkpoints.map_networks`` calls it. path: A file, or a folder of transformers.
    Raises:
        CheckpointError: It is missing, unsafe, damaged or something else.
    """
    wanted = WANTED[name]
    try:
        if wanted.kind == "dpt" or wanted.kind == "depth_anything":
            return DepthNetwork(wanted.kind, path, device)
        if wanted.kind in GREY_NETWORKS:
            return GreyMap(wanted.kind, path, device)
        return _POSES[wanted.kind](path, device)
    except CheckpointError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as err:
        raise CheckpointError(
            f"{path.name}, which {name} needs, cannot be used: {' '.join(str(err).split())[:300]}",
            f"Get {wanted.file} again from {wanted.source}.",
            path=str(path),
        ) from err


def map_maker(preprocessor: str, network: Callable[[str], Any]) -> MapNetwork:
    """What makes a preprocessor's maps.

    Args:
        network: Gives an open network by its name.
    """
    needed = BY_NAME[preprocessor].networks
    if BODY in needed:
        hand, face = (network(one) if one in needed else None for one in (HAND, FACE))
        has_bodies = preprocessor != _WITHOUT_BODIES
        return Skeletons(network(BODY), hand, face, has_bodies=has_bodies)
    (only,) = needed
    made: MapNetwork = network(only)
    finish = _FINISHES.get(preprocessor)
    return made if finish is None else lambda picture: finish(made(picture))
