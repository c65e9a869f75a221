"""Grey maps of pictures by networks: soft edges, and drawings as white lines on black.

Source: Sizes at which they work, what surrounds pictures, and which are inverted:
sd-webui-controlnet 1.1.455.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from torch import nn

from webui.map_networks.edge_networks import HedNetwork, PidiNetwork
from webui.map_networks.files import read_state, ready
from webui.map_networks.line_networks import AnimeNetwork, DrawingNetwork
from webui.preprocessors.maps import Pixels


@dataclass(frozen=True)
class GreyNetwork:
    """One kind of network.

    Attributes:
        build: Makes it, without weights.
        step: Sides that it works at are multiples of it.
        is_stretched: Pictures are stretched to such sides; else their edges are continued.
        is_dark: It draws dark lines on light ground.
    """

    build: Callable[[], nn.Module]
    step: int = 64
    is_stretched: bool = False
    is_dark: bool = False


GREY_NETWORKS: Final[Mapping[str, GreyNetwork]] = {
    "hed": GreyNetwork(HedNetwork),
    "pidinet": GreyNetwork(PidiNetwork),
    "drawing": GreyNetwork(DrawingNetwork, is_dark=True),
    "anime_drawing": GreyNetwork(AnimeNetwork, step=256, is_stretched=True, is_dark=True),
}
"""By kind."""
_TRAINED_IN_PARALLEL: Final = "module."
STROKE: Final = 3.0
"""Sigma of a scribble's strokes."""
SURE: Final = 127
_LINES: Final = tuple(
    np.array(line, np.uint8)
    for line in (
        ((0, 0, 0), (1, 1, 1), (0, 0, 0)),
        ((0, 1, 0), (0, 1, 0), (0, 1, 0)),
        ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    )
)
"""A place and its neighbours in four directions."""


class GreyMap:
    """One of ``GREY_NETWORKS``, read into memory; ``model`` is the network.

    Raises:
        CheckpointError: Its file cannot be read. RuntimeError: It is something else.
    """

    def __init__(self, kind: str, path: Path, device: torch.device) -> None:
        self._network = GREY_NETWORKS[kind]
        state = {n.removeprefix(_TRAINED_IN_PARALLEL): t for n, t in read_state(path).items()}
        self.model: Any = ready(self._network.build(), state, device)
        self._device = device

    def __call__(self, picture: Pixels) -> Pixels:
        """The map of a picture (H, W, 3) of uint8 RGB, white on black."""
        height, width = picture.shape[:2]
        framed = self._framed(picture).astype(np.float32) / 255
        values = torch.from_numpy(framed).permute(2, 0, 1)[None]
        with torch.inference_mode():
            found = self.model(values.to(self._device))[0, 0].float().cpu().numpy()
        grey = np.asarray(found * 255, np.float32)
        if self._network.is_stretched:
            large: Any = cv2.resize(grey, (width, height), interpolation=cv2.INTER_CUBIC)
            grey = large
        grey = grey[:height, :width].clip(0, 255).astype(np.uint8)
        return np.repeat((255 - grey if self._network.is_dark else grey)[..., None], 3, axis=2)

    def _framed(self, picture: Pixels) -> Pixels:
        step = self._network.step
        rows, columns = (math.ceil(side / step) * step for side in picture.shape[:2])
        if self._network.is_stretched:
            large: Any = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_CUBIC)
            return large
        more = ((0, rows - picture.shape[0]), (0, columns - picture.shape[1]), (0, 0))
        return np.pad(picture, more, mode="edge")


def in_steps(soft: Pixels) -> Pixels:
    """Soft edges in three steps, black, grey and white, so that little of the picture's own
    shading is seen in them.

    Source: ``safe_step`` of sd-webui-controlnet.
    """
    return np.minimum(soft.astype(np.int32) // 85 * 255 // 2, 255).astype(np.uint8)


def scribbled(soft: Pixels) -> Pixels:
    """Soft edges as thick strokes along their crests, white on black.

    Source: scribble_hed of sd-webui-controlnet: widths and thresholds.
    """
    values: Any = cv2.GaussianBlur(soft[..., 0].astype(np.float32), (0, 0), STROKE)
    is_crest = np.zeros(values.shape, bool)
    for line in _LINES:
        is_crest |= cv2.dilate(values, line) == values
    strokes = ((is_crest & (values > SURE)) * 255).astype(np.float32)
    wide: Any = cv2.GaussianBlur(strokes, (0, 0), STROKE)
    return np.repeat(((np.rint(wide) > 4) * 255).astype(np.uint8)[..., None], 3, axis=2)
