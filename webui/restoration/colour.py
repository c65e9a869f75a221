"""Fading and colour casts of old photographs, put right without a network.

What a print loses with the years is told by its histogram: no channel reaches black or white any
more, and the channels fade at different speeds. Levels per channel undo the first; a grey-world
balance, held within limits, what is left of the cast.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from webui.restoration.pixels import Pixels, as_grey, blended, highest, is_grey

CUT_SHARE: Final = 0.005
"""Share of the darkest and of the brightest pixels that may be lost at each end."""
MAX_GAIN: Final = 2.0
"""No channel is stretched further: beyond, noise and JPEG blocks come out."""
MAX_BALANCE: Final = 1.25
"""Limit of the grey-world step: a sunset or a meadow has a colour of its own."""
SAMPLED_PIXELS: Final = 500_000

Array = NDArray[Any]


def repair_colours(pixels: Pixels, strength: float = 1.0) -> Pixels:
    """Give a faded photograph its blacks, whites and neutral greys back.

    Black-and-white pictures stay black-and-white: one curve serves all their channels.

    Args:
        pixels: RGB or RGBA, 8 or 16 bits; unchanged.
        strength: 0–1, blend with the original.
    Returns:
        The same shape and depth; alpha as it was.
    """
    if strength <= 0:
        return pixels
    white = highest(pixels)
    curves = channel_curves(pixels)
    table_in = np.arange(white + 1, dtype=np.float32) / white
    repaired = pixels.copy()
    for channel, (low, gain, gamma) in enumerate(curves):
        table = np.clip((table_in - low) * gain, 0, 1) ** gamma
        table = np.rint(table * white).astype(pixels.dtype)
        repaired[..., channel] = table[pixels[..., channel]]
    if is_grey(pixels):
        repaired = as_grey(repaired)
    return blended(pixels, repaired, min(strength, 1.0))


def channel_curves(pixels: Pixels) -> list[tuple[float, float, float]]:
    """For each of the three channels (black point, gain, gamma), all in units of white = 1.

    Source:
        Automatic levels: percentile stretch per channel. Grey world: Buchsbaum 1980, "A spatial
        processor model for object colour perception"; here as a gamma, so that black and white
        stay where the levels put them.
    """
    sample = _sample(pixels)  # (N, 3) in [0, 1]
    if is_grey(pixels):
        low, gain = _levels(sample.mean(1))
        return [(low, gain, 1.0)] * 3
    levels = [_levels(sample[:, channel]) for channel in range(3)]
    means = [
        float(np.clip((sample[:, c] - low) * gain, 0, 1).mean())
        for c, (low, gain) in enumerate(levels)
    ]
    goal = float(np.mean(means))
    return [
        (low, gain, _gamma(mean, goal)) for (low, gain), mean in zip(levels, means, strict=True)
    ]


def _sample(pixels: Pixels) -> Array:
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / SAMPLED_PIXELS) ** 0.5))
    part = pixels[::step, ::step]
    colours = part[..., :3].reshape(-1, 3).astype(np.float32) / highest(pixels)
    if part.shape[2] == 4:
        seen = part[..., 3].reshape(-1) > 0
        colours = colours[seen] if seen.any() else colours
    return colours


def _levels(values: Array) -> tuple[float, float]:
    """Black point and gain of one channel; a flat one stays as it is."""
    low, high = (float(v) for v in np.quantile(values, (CUT_SHARE, 1 - CUT_SHARE)))
    if high - low < 1 / 255:
        return 0.0, 1.0
    gain = min(1 / (high - low), MAX_GAIN)
    # With the gain held back, the range found goes to the middle of what it may fill.
    low = max(0.0, low - max(0.0, (1 / gain - (high - low)) / 2))
    return low, gain


def _gamma(mean: float, goal: float) -> float:
    """The exponent that brings a mean about to the goal, within the limit."""
    if not (0 < mean < 1 and 0 < goal < 1):
        return 1.0
    exponent = float(np.log(goal) / np.log(mean))
    return float(np.clip(exponent, 1 / MAX_BALANCE, MAX_BALANCE))
