"""OpenPose's networks for hands and for faces, as their weights for torch were published.

Source:
    Simon et al. 2017, arXiv 1704.07809; layer names and sizes: pytorch-openpose's
    ``hand_pose_model.pth``, and ``facenet.pth`` of lllyasviel's Annotators.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from webui.map_networks.pose_network import FEATURES, OUTER_LAYERS, STAGES

HAND_PARTS: Final = 21
FACE_PARTS: Final = 70
"""One more map tells where nothing is."""
_FIRST: Final = (
    *OUTER_LAYERS, ("conv4_3", 512, 512), ("conv4_4", 512, 512), ("conv5_1", 512, 512),
    ("conv5_2", 512, 512), ("conv5_3_CPM", 512, FEATURES),
)  # fmt: skip
"""Layers that read the picture."""


class PartsNetwork(nn.Module):
    """Finds the joints of one hand, or the marks of one face.

    Args:
        parts: ``HAND_PARTS`` or ``FACE_PARTS``.
    """

    def __init__(self, parts: int) -> None:
        super().__init__()
        for name, before, after in _FIRST:
            if before:
                self.add_module(name, nn.Conv2d(before, after, 3, padding=1))
        maps = parts + 1
        self._stages: list[list[str]] = []
        for stage in range(1, STAGES + 1):
            layers = _first_stage(maps) if stage == 1 else _later_stage(stage, maps)
            self._stages.append(list(layers))
            for name, layer in layers.items():
                self.add_module(name, layer)

    def forward(self, picture: Tensor) -> Tensor:
        """Where each part is.

        Args:
            picture: (N, 3, H, W), BGR of -0.5–0.5; sides are multiples of 8.
        Returns:
            (N, parts + 1, H/8, W/8), the last that there is none.
        """
        features = picture
        for name, before, _ in _FIRST:
            layer = self.get_submodule(name) if before else None
            features = max_pool2d(features, 2) if layer is None else relu(layer(features))
        found = features
        for number, (*names, last) in enumerate(self._stages):
            inputs = torch.cat([found, features], dim=1) if number else features
            for name in names:
                inputs = relu(self.get_submodule(name)(inputs))
            found = self.get_submodule(last)(inputs)
        return found


def _first_stage(maps: int) -> dict[str, nn.Module]:
    return {"conv6_1_CPM": nn.Conv2d(FEATURES, 512, 1), "conv6_2_CPM": nn.Conv2d(512, maps, 1)}


def _later_stage(stage: int, maps: int) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    for number in range(1, 6):
        width = FEATURES + maps if number == 1 else FEATURES
        layers[f"Mconv{number}_stage{stage}"] = nn.Conv2d(width, FEATURES, 7, padding=3)
    layers[f"Mconv6_stage{stage}"] = nn.Conv2d(FEATURES, FEATURES, 1)
    layers[f"Mconv7_stage{stage}"] = nn.Conv2d(FEATURES, maps, 1)
    return layers
