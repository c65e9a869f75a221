"""Scratches and creases: found as thin, straight, bright or dark marks, filled from around them.

A first, classical repair: it knows contrast and shape only. A wire against the sky is a scratch
to it, so the strength is the person's choice, and a mask of their own can take its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from webui.progress import Interrupted
from webui.restoration.pixels import Pixels, to_eight

LOOKED_AT: Final = 2000
"""Longer side in pixels at which scratches are looked for; they are as wide as the print's age,
not as the scanner's resolution."""
WIDEST: Final = 9
"""Widest scratch in pixels at that size."""
LEAST_CONTRAST: Final = 18.0
"""Of 255, between a mark and its surroundings at sensitivity 0.5."""
LEAST_LENGTH: Final = 0.07
"""Of the longer side: straight pieces that are shorter are texture and outlines of things."""
BROAD: Final = 7
"""Marks into which a disc so wide fits are things."""
MAX_SHARE: Final = 0.08
"""If more of the picture looks scratched than this, it is texture: only the strongest remain."""

Array = NDArray[Any]


def find_scratches(pixels: Pixels, sensitivity: float = 0.5) -> Array:
    """Mark what looks like a scratch or a crease.

    Marks are what a morphological opening (bright) or closing (dark) with a disc as wide as the
    widest scratch takes away, when they are long and thin.

    Args:
        pixels: RGB or RGBA. sensitivity: 0–1, more finds more.
    Returns:
        (H, W) uint8 mask, 255 = repair; for inpainting here or by a checkpoint.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, LOOKED_AT / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(to_eight(pixels[..., :3]), size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (WIDEST, WIDEST))
    marks = cv2.max(
        cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, disc),
        cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, disc),
    ).astype(np.float32)
    limit = LEAST_CONTRAST * 2 ** (2 * (0.5 - sensitivity))
    limit = max(limit, float(np.quantile(marks, 1 - MAX_SHARE)))
    thin = _long_and_thin((marks > limit).astype(np.uint8))
    thin = cv2.dilate(thin, np.ones((3, 3), np.uint8))
    return cv2.resize(thin * 255, (width, height), interpolation=cv2.INTER_NEAREST)


def _long_and_thin(marks: Array) -> Array:
    """What of a 0/1 map is thin and lies on straight pieces of at least ``LEAST_LENGTH``: an
    opening by lines of many directions."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (BROAD, BROAD))
    broad: Array = np.asarray(cv2.morphologyEx(marks, cv2.MORPH_OPEN, disc), dtype=marks.dtype)
    marks = marks & ~broad
    length = max(12, round(LEAST_LENGTH * max(marks.shape)))
    certain = _straight_pieces(marks, length)
    likely = cv2.dilate(_straight_pieces(marks, max(8, length // 3)), np.ones((5, 5), np.uint8))
    _, labels = cv2.connectedComponents(likely, connectivity=8)
    belonging = np.unique(labels[certain > 0])
    return certain | (marks & np.isin(labels, belonging[belonging > 0]).astype(np.uint8))


def _straight_pieces(marks: Array, length: int) -> Array:
    """Every pixel that lies on a straight piece of that length inside the map."""
    kept = np.zeros_like(marks)
    for angle in np.arange(0, 180, np.degrees(4 / length)):  # ends of neighbours: 2 pixels apart
        kept |= cv2.morphologyEx(marks, cv2.MORPH_OPEN, _line(float(angle), length))
    return kept


def _line(degrees: float, length: int) -> Array:
    """(n, n) uint8 with a line one pixel wide through the middle."""
    half = length / 2
    across, down = half * np.cos(np.radians(degrees)), half * np.sin(np.radians(degrees))
    side = length + 1
    middle = side // 2
    kernel = np.zeros((side, side), np.uint8)
    start = round(middle - across), round(middle + down)
    cv2.line(kernel, start, (round(middle + across), round(middle - down)), 1)
    return kernel


def repair_scratches(
    pixels: Pixels, mask: Array, *, should_stop: Callable[[], bool] = lambda: False
) -> Pixels:
    """Fill marked places from their surroundings.

    Args:
        pixels: Unchanged. mask: (H, W) uint8, above 127 = repair.
        should_stop: Asked once before the work.
    Returns:
        The same shape and depth; what is not marked is exactly as it was, alpha too.
    Raises:
        Interrupted: ``should_stop`` said so.
    Source:
        Telea 2004, "An image inpainting technique based on the fast marching method" (OpenCV).
    """
    if should_stop():
        raise Interrupted
    marked = (mask > 127).astype(np.uint8)
    if not marked.any():
        return pixels
    radius = max(3, round(max(pixels.shape[:2]) / LOOKED_AT * WIDEST / 2))
    result = pixels.copy()
    for channel in range(3):  # OpenCV fills 16 bits only one channel at a time
        plane = np.ascontiguousarray(pixels[..., channel])
        result[..., channel] = cv2.inpaint(plane, marked, radius, cv2.INPAINT_TELEA)
    keep = marked == 0
    result[keep] = pixels[keep]
    return result
