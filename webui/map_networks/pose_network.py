"""OpenPose's network for bodies, as its weights for torch were published.

Source:
    Cao et al. 2017, "Realtime multi-person 2D pose estimation using part affinity fields",
    arXiv 1611.08050, fig. 3; layer names, sizes and where no ReLU stands: pytorch-openpose's
    ``body_pose_model.pth``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

PARTS: Final = 18
"""Kinds of joints; one more map tells where nothing is."""
LIMBS: Final = 19
FEATURES: Final = 128
STAGES: Final = 6
OUTER_LAYERS: Final = (
    ("conv1_1", 3, 64), ("conv1_2", 64, 64), ("pool", 0, 0), ("conv2_1", 64, 128),
    ("conv2_2", 128, 128), ("pool", 0, 0), ("conv3_1", 128, 256), ("conv3_2", 256, 256),
    ("conv3_3", 256, 256), ("conv3_4", 256, 256), ("pool", 0, 0), ("conv4_1", 256, 512),
    ("conv4_2", 512, 512),
)  # fmt: skip
"""With which each of OpenPose's networks begins to read the picture: name, channels in and out;
each convolution is 3 × 3."""
_FIRST: Final = (*OUTER_LAYERS, ("conv4_3_CPM", 512, 256), ("conv4_4_CPM", 256, FEATURES))
_OUTPUTS: Final = {"L1": 2 * LIMBS, "L2": PARTS + 1}
"""Branches: directions along limbs (x and y each), and joints."""


def _branch(stage: int, branch: str) -> Iterator[tuple[str, nn.Conv2d]]:
    """The convolutions of one branch of one stage."""
    out = _OUTPUTS[branch]
    if stage == 1:
        for number in (1, 2, 3):
            yield f"conv5_{number}_CPM_{branch}", nn.Conv2d(FEATURES, FEATURES, 3, padding=1)
        yield f"conv5_4_CPM_{branch}", nn.Conv2d(FEATURES, 512, 1)
        yield f"conv5_5_CPM_{branch}", nn.Conv2d(512, out, 1)
        return
    before = FEATURES + sum(_OUTPUTS.values())
    for number in range(1, 6):
        width = before if number == 1 else FEATURES
        name = f"Mconv{number}_stage{stage}_{branch}"
        yield name, nn.Conv2d(width, FEATURES, 7, padding=3)
    yield f"Mconv6_stage{stage}_{branch}", nn.Conv2d(FEATURES, FEATURES, 1)
    yield f"Mconv7_stage{stage}_{branch}", nn.Conv2d(FEATURES, out, 1)


class BodyPoseNetwork(nn.Module):
    """Finds joints and limbs; its tensors have the names of the published file."""

    def __init__(self) -> None:
        super().__init__()
        for name, before, after in _FIRST:
            if before:
                self.add_module(name, nn.Conv2d(before, after, 3, padding=1))
        self._branches: dict[tuple[int, str], list[str]] = {}
        for stage in range(1, STAGES + 1):
            for branch in _OUTPUTS:
                layers = dict(_branch(stage, branch))
                self._branches[stage, branch] = list(layers)
                for name, layer in layers.items():
                    self.add_module(name, layer)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Where limbs and joints are.

        Args:
            picture: (N, 3, H, W), BGR of -0.5–0.5; sides are multiples of 8.
        Returns:
            Directions (N, 38, H/8, W/8), x and y of each limb; certainty of joints
            (N, 19, H/8, W/8), the last that there is none.
        """
        features = picture
        for name, before, _ in _FIRST:
            layer = self.get_submodule(name) if before else None
            features = max_pool2d(features, 2) if layer is None else relu(layer(features))
        inputs = features
        limbs = joints = features
        for stage in range(1, STAGES + 1):
            limbs, joints = self._run(stage, "L1", inputs), self._run(stage, "L2", inputs)
            inputs = torch.cat([limbs, joints, features], dim=1)
        return limbs, joints

    def _run(self, stage: int, branch: str, inputs: Tensor) -> Tensor:
        *layers, last = self._branches[stage, branch]
        for name in layers:
            inputs = relu(self.get_submodule(name)(inputs))
        found = self.get_submodule(last)(inputs)
        # the published network cuts what is below 0 in its very last map of joints, and there alone
        return relu(found) if (stage, branch) == (STAGES, "L2") else found
