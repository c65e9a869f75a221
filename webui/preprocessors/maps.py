"""Making a map out of a picture.

Pictures are (H, W, 3) uint8 RGB arrays; so are maps.

Source:
    What each is for and how its knobs count: sd-webui-controlnet 1.1.455; Canny 1986; Winnemöller
    et al. 2012, "XDoG"; Scharr 2000 for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from webui.errors import CheckpointError
from webui.preprocessors.names import BY_NAME, INPAINT, NONE, Preprocessor

Pixels = NDArray[np.uint8]
MapNetwork = Callable[[Pixels], Pixels]
"""Makes a map of a picture, as large as that."""
MapNetworks = Callable[[str], MapNetwork]
"""The network of a preprocessor, by its name."""
LONGEST = 8192
"""Pixels of the longer side of what a preprocessor works on: a strip of one by ten thousand pixels
would otherwise grow beyond all memory."""
SHUFFLE_GRAIN = 256
"""Pixels over which the shuffle's whirls reach."""
FAINT = 8
"""Lines no stronger than this are taken for grain of the paper."""


@dataclass(frozen=True)
class Knobs:
    """What a preprocessor is told besides the picture.

    Attributes:
        a, b: Its two knobs, as ``ControlUnit`` names them.
        seed: Of the shuffle.
    """

    a: float = 0.0
    b: float = 0.0
    seed: int = 0


def no_networks(name: str) -> MapNetwork:
    """Where there are none. Raises CheckpointError."""
    raise CheckpointError(
        f"{name} is a network, which runs in the model process alone.", "Ask for its map there."
    )


def make_map(
    picture: Pixels,
    module: Preprocessor,
    resolution: int,
    knobs: Knobs,
    networks: MapNetworks = no_networks,
) -> Pixels:
    """The map of a picture.

    Args:
        resolution: Length of its shorter side in pixels, where the preprocessor has one.
        networks: Of preprocessors that are networks.
    Returns:
        Of that size, or of the picture's own.
    Raises:
        CheckpointError: The network of a preprocessor cannot be used.
    """
    if module.resolution is not None:
        picture = scaled(picture, resolution)
    if module.is_network:
        return networks(module.name)(picture)
    return _MAKERS[module.name](picture, knobs)


def scaled(picture: Pixels, shorter_side: int) -> Pixels:
    """The picture with a shorter side of that many pixels, fewer where it is a long strip."""
    factor = min(shorter_side / min(picture.shape[:2]), LONGEST / max(picture.shape[:2]))
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    how = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    return _pixels(cv2.resize(picture, (width, height), interpolation=how))


def _canny(picture: Pixels, knobs: Knobs) -> Pixels:
    return _grey(cv2.Canny(np.ascontiguousarray(picture), int(knobs.a), int(knobs.b)))


def _invert(picture: Pixels, knobs: Knobs) -> Pixels:
    return 255 - picture


def _threshold(picture: Pixels, knobs: Knobs) -> Pixels:
    return _grey((picture.min(axis=2) > knobs.a) * 255)


def _blur(picture: Pixels, knobs: Knobs) -> Pixels:
    return _pixels(cv2.GaussianBlur(picture, (0, 0), knobs.a))


def _tile(picture: Pixels, knobs: Knobs) -> Pixels:
    if knobs.a < 1.1:
        return picture
    height, width = (max(1, int(side / knobs.a)) for side in picture.shape[:2])
    return _pixels(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def _scribble(picture: Pixels, knobs: Knobs) -> Pixels:
    """White where a channel is darker than its surroundings by more than half the knob."""
    values = picture.astype(np.float32)
    fine, wide = (cv2.GaussianBlur(values, (0, 0), sigma) for sigma in (0.5, 5.0))
    darker = np.clip((wide - fine).min(axis=2), 0, 255)
    return _grey((2 * np.floor(darker) > knobs.a) * 255)


def _lineart(picture: Pixels, knobs: Knobs) -> Pixels:
    """Dark lines on light ground as white ones, about as strong in every drawing."""
    values = picture.astype(np.float32)
    strength = np.clip((cv2.GaussianBlur(values, (0, 0), 6.0) - values).min(axis=2), 0, 255)
    lines = strength[strength > FAINT]
    usual = max(16.0, float(np.median(lines))) if lines.size else 16.0
    return _grey(np.clip(strength / usual * 127, 0, 255))


def _soft_edge(picture: Pixels, knobs: Knobs) -> Pixels:
    """How steeply colours change, from the 98th percentile on white."""
    values = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.5)
    across, down = (cv2.Scharr(values, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    steepness = np.hypot(across, down).max(axis=2)
    top = max(float(np.percentile(steepness, 98)), FAINT * 32.0)
    return _grey(np.clip(steepness / top, 0, 1) * 255)


def _shuffle(picture: Pixels, knobs: Knobs) -> Pixels:
    """The picture, whirled: its colours stay, its forms go."""
    height, width = picture.shape[:2]
    rng = np.random.default_rng(knobs.seed)
    x, y = (_smooth_noise(rng, height, width) * (side - 1) for side in (width, height))
    return _pixels(cv2.remap(picture, x, y, cv2.INTER_LINEAR))


def _smooth_noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """(H, W) between 0 and 1, each of which it reaches."""
    grain = SHUFFLE_GRAIN
    coarse = rng.random((height // grain + 2, width // grain + 2), np.float32)
    size = (width + 2 * grain, height + 2 * grain)
    large: Any = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    noise = large[grain : grain + height, grain : grain + width]
    noise = noise - noise.min()
    return (noise / max(float(noise.max()), 1e-6)).astype(np.float32)


def _recolor_luminance(picture: Pixels, knobs: Knobs) -> Pixels:
    return _gamma(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)[..., 0], knobs.a)


def _recolor_intensity(picture: Pixels, knobs: Knobs) -> Pixels:
    return _gamma(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[..., 2], knobs.a)


def _gamma(values: Any, gamma: float) -> Pixels:
    return _grey((values.astype(np.float32) / 255) ** gamma * 255)


def _as_it_is(picture: Pixels, knobs: Knobs) -> Pixels:
    return picture


def _grey(values: Any) -> Pixels:
    """(H, W) numbers of 0–255 as a grey map."""
    return np.repeat(_pixels(values)[..., None], 3, axis=2)


def _pixels(values: Any) -> Pixels:
    return np.ascontiguousarray(np.asarray(values).astype(np.uint8))


_MAKERS: dict[str, Callable[[Pixels, Knobs], Pixels]] = {
    NONE: _as_it_is,
    BY_NAME["invert"].name: _invert,
    "canny": _canny,
    BY_NAME["lineart_standard"].name: _lineart,
    "scribble_xdog": _scribble,
    "softedge_gradient": _soft_edge,
    "threshold": _threshold,
    "blur_gaussian": _blur,
    "tile_resample": _tile,
    "tile_colorfix": _as_it_is,
    "tile_colorfix+sharp": _as_it_is,
    "shuffle": _shuffle,
    "recolor_luminance": _recolor_luminance,
    "recolor_intensity": _recolor_intensity,
    INPAINT: _as_it_is,
    "inpaint_only": _as_it_is,
}
