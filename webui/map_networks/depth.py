"""How near everything in a picture is, by MiDaS or Depth Anything.

Source:
    Ranftl et al. 2021, arXiv 2103.13413 (DPT); Yang et al. 2024, arXiv 2401.10891 and 2406.09414
    (Depth Anything). Working sizes, and the map from 0 (farthest) to 255 (nearest):
    sd-webui-controlnet 1.1.455.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from webui.checkpoints.describers import CONFIG, WEIGHTS
from webui.checkpoints.weights import open_weights
from webui.errors import CheckpointError
from webui.map_networks.depth_names import (
    anything_config,
    dpt_config,
    renamed_anything,
    renamed_dpt,
)
from webui.preprocessors.maps import Pixels

LONGEST: Final = 2048
"""Pixels of the longer side a network works at, at most."""


@dataclass(frozen=True)
class Looks:
    """How a network is shown pictures.

    Attributes:
        mean, deviation: Of the numbers it was trained on, by channel.
        step: Sides are multiples of it. shorter: Pixels of the shorter side; 0 = pictures are
            made square, of the size that the network's configuration tells.
    """

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    step: int
    shorter: int


LOOKS: Final = {
    "dpt": Looks((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 32, 0),
    "depth_anything": Looks((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 14, 518),
}


class DepthNetwork:
    """A depth network, read into memory; ``model`` is the network.

    Args:
        path: A file of its makers, or a folder of transformers.
    Raises:
        CheckpointError, OSError, ValueError, KeyError, TypeError, RuntimeError: A file is missing,
            damaged or something else.
    """

    def __init__(
        self, kind: Literal["dpt", "depth_anything"], path: Path, device: torch.device
    ) -> None:
        self._looks = LOOKS[kind]
        config, state = _of_folder(path) if path.is_dir() else _of_file(kind, path)
        self.model: Any = _filled(kind, config, state).to(device)
        self._is_metric = config.get("depth_estimation_type") == "metric"
        """It tells metres, not nearness."""
        self._device = device

    def __call__(self, picture: Pixels) -> Pixels:
        """The depth of a picture (H, W, 3) of uint8 RGB: white is near."""
        height, width = picture.shape[:2]
        with torch.inference_mode():
            depth = self._depth(picture)[:, None].float()  # (1, 1, h, w)
            depth = interpolate(depth, (height, width), mode="bilinear", align_corners=False)
        values = depth[0, 0].cpu().numpy() * (-1 if self._is_metric else 1)
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise CheckpointError(
                "The depth network gave broken values (NaN).", "Get its file again."
            )
        grey = (values - low) / max(high - low, 1e-6) * 255
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)

    def _depth(self, picture: Pixels) -> Tensor:
        """(1, h, w), larger = nearer, at the size at which the network works."""
        looks = self._looks
        side = int(self.model.config.image_size) if not looks.shorter else 0
        size = (side, side) if side else working_size(picture.shape[1], picture.shape[0], looks)
        shrinks = size[0] < picture.shape[1]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        values = np.asarray(cv2.resize(picture, size, interpolation=how), np.float32) / 255
        values = (values - np.array(looks.mean, np.float32)) / np.array(looks.deviation, np.float32)
        pixels = torch.from_numpy(values).permute(2, 0, 1)[None].to(self._device)
        return self.model(pixel_values=pixels).predicted_depth


def working_size(width: int, height: int, looks: Looks) -> tuple[int, int]:
    """Width and height at which a picture is looked at: about its shape, in whole steps."""
    factor = min(looks.shorter / min(width, height), LONGEST / max(width, height))
    steps = (max(1, round(side * factor / looks.step)) for side in (width, height))
    width, height = (count * looks.step for count in steps)
    return width, height


def _of_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors of a folder of transformers."""
    config = json.loads((folder / CONFIG).read_text("utf-8-sig"))
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None or not isinstance(config, dict):
        raise FileNotFoundError(f"{CONFIG} or {WEIGHTS[0]} is not there")
    return config, _tensors(path)


def _of_file(kind: str, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors, under transformers' names, of a file of a network's makers."""
    state = _tensors(path)
    if kind == "dpt":
        return dpt_config(state), renamed_dpt(state)
    return anything_config(state, is_second="v2" in path.stem.lower()), renamed_anything(state)


def _tensors(path: Path) -> dict[str, Tensor]:
    with open_weights(path) as weights:
        return {name: weights.read(name).float() for name in weights.header.tensors}


def _filled(kind: str, config: dict[str, Any], state: dict[str, Tensor]) -> Any:
    """The network with its weights. Raises KeyError when some are missing."""
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        DPTConfig,
        DPTForDepthEstimation,
    )

    settings: Any = DPTConfig if kind == "dpt" else DepthAnythingConfig
    network: Any = DPTForDepthEstimation if kind == "dpt" else DepthAnythingForDepthEstimation
    model, told = network.from_pretrained(
        None, config=settings.from_dict(config), state_dict=state, output_loading_info=True
    )
    if lacking := sorted(told["missing_keys"]):
        raise KeyError(f"{len(lacking)} tensors are missing, such as {lacking[0]}")
    return model.float().eval().requires_grad_(False)
