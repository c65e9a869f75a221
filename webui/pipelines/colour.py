"""Colour correction: a painted picture takes over the colours of the one it came from.

Source:
    CIE 15:2004 for LAB (D65 white), IEC 61966-2-1 for sRGB. That lightness stays as painted:
    AUTOMATIC1111 1.10.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]

TO_XYZ: Array = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE: Array = TO_XYZ.sum(axis=1)
EPSILON, KAPPA = 216 / 24389, 24389 / 27
LEVELS = 512
"""Steps that colours are sorted into; finer than 8-bit pixels can show."""
REACH = 128.0
"""a and b of sRGB colours lie within ± this."""


def match_colours(image: Image.Image, like: Image.Image) -> Image.Image:
    """Give a picture the distribution of colours of another, its own lightness kept.

    Args:
        image: RGB. like: RGB, of any size.
    Returns:
        RGB, as large as ``image``.
    """
    lab, target = to_lab(np.asarray(image)), to_lab(np.asarray(like.convert("RGB")))
    for channel in (1, 2):
        lab[..., channel] = match_histogram(lab[..., channel], target[..., channel])
    return Image.fromarray(from_lab(lab))


def match_histogram(values: Array, like: Array) -> Array:
    """Move values so that they are distributed as others are, their order kept.

    Args:
        values, like: Any shapes, within ± ``REACH``.
    """
    ranks, levels = _ranks(values)
    wanted, targets = _ranks(like)
    moved = np.interp(ranks, wanted, targets)  # where each occupied level goes
    return np.interp(values, levels, moved)


def _ranks(values: Array) -> tuple[Array, Array]:
    """The middle rank (0 … 1) of each level that occurs, and the levels; both rise."""
    edges = np.linspace(-REACH, REACH, LEVELS + 1)
    counts = np.histogram(values, edges)[0]
    used = counts > 0
    ranks = (np.cumsum(counts) - counts / 2) / max(values.size, 1)
    return ranks[used], ((edges[1:] + edges[:-1]) / 2)[used]


def to_lab(rgb: Array) -> Array:
    """(H, W, 3) 8-bit sRGB to float64 L (0 … 100), a, b."""
    share = rgb.astype(np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = linear @ TO_XYZ.T / WHITE
    f = np.where(xyz > EPSILON, np.cbrt(xyz), (KAPPA * xyz + 16) / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def from_lab(lab: Array) -> Array:
    """(H, W, 3) L, a, b to 8-bit sRGB; colours that sRGB lacks are cut."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    cubes = f**3
    xyz = np.where(cubes > EPSILON, cubes, (116 * f - 16) / KAPPA) * WHITE
    linear = (xyz @ np.linalg.inv(TO_XYZ).T).clip(0, 1)
    share = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(share * 255).astype(np.uint8)
