"""Bringing a map to the size that is painted, without spoiling it.

Source:
    Which way of enlarging suits which map: sd-webui-controlnet 1.1.455 (colour counts, thin lines).
    Thinning: Zhang and Suen 1984, "A fast parallel algorithm for thinning digital patterns".
"""

from __future__ import annotations

import math
from typing import Any, Final

import cv2
import numpy as np

from webui.params import ControlResizeMode
from webui.preprocessors.maps import Pixels

FEW_COLOURS: Final = 200
"""Maps with fewer colours (but more than two) are regions, each of a colour of its own."""
DARK, BRIGHT = 16, 240


def placed(picture: Pixels, mode: ControlResizeMode, width: int, height: int) -> Pixels:
    """A map of exactly width × height.

    Args:
        picture: (H, W, 3).
        mode: Stretched; covering, and cut off; or inside, with the usual colour of its edges
            around.
    """
    if mode == "Just Resize":
        return resized(picture, width, height)
    factors = height / picture.shape[0], width / picture.shape[1]
    if mode == "Resize and Fill":
        inner = _by(picture, min(factors))
        ground = np.empty((height, width, 3), np.uint8)
        ground[:] = _edge_colour(picture)
        top, left = (
            max(0, (a - b) // 2) for a, b in zip((height, width), inner.shape, strict=False)
        )
        inner = inner[:height, :width]
        ground[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
        return ground
    outer = _by(_middle(picture, width, height), max(factors))
    top, left = (max(0, (b - a) // 2) for a, b in zip((height, width), outer.shape, strict=False))
    return np.ascontiguousarray(outer[top : top + height, left : left + width])


def working_size(size: tuple[int, int], mode: ControlResizeMode, width: int, height: int) -> int:
    """The shorter side at which a preprocessor works "pixel perfect": so that its map need not be
    resized afterwards.

    Args:
        size: Width and height of the picture it works on.
    """
    factors = width / size[0], height / size[1]
    factor = min(factors) if mode == "Resize and Fill" else max(factors)
    return max(1, round(min(size) * factor))


def resized(picture: Pixels, width: int, height: int) -> Pixels:
    """A map stretched to that size: regions keep their colours, lines of two colours stay so, and
    lines one pixel thin stay as thin."""
    if picture.shape[:2] == (height, width):
        return picture
    colours = _colour_count(picture)
    shrinks = width * height < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    if 2 < colours < FEW_COLOURS:
        how = cv2.INTER_NEAREST
    made: Any = cv2.resize(picture, (width, height), interpolation=how)
    if colours != 2 or picture.min() >= DARK or picture.max() <= BRIGHT:
        return made
    grey = made.mean(axis=2).astype(np.uint8)
    _, lines = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    if _is_thin(picture):
        lines = thinned(lines)
    return np.repeat(lines[..., None].astype(np.uint8), 3, axis=2)


def _middle(picture: Pixels, width: int, height: int) -> Pixels:
    """Without what lies far outside of that size once it is covered: a long strip would grow
    beyond all memory."""
    factor = max(height / picture.shape[0], width / picture.shape[1])
    off_y, off_x = (
        max(0, (side - 2 * math.ceil(wanted / factor)) // 2)
        for side, wanted in zip(picture.shape, (height, width), strict=False)
    )
    return picture[off_y : picture.shape[0] - off_y, off_x : picture.shape[1] - off_x]


def _by(picture: Pixels, factor: float) -> Pixels:
    height, width = (max(1, round(side * factor)) for side in picture.shape[:2])
    return resized(picture, width, height)


def _edge_colour(picture: Pixels) -> Any:
    edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    return np.median(np.concatenate(edges), axis=0).astype(np.uint8)


def _colour_count(picture: Pixels) -> int:
    codes = picture.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    return len(np.unique(codes))


def _is_thin(picture: Pixels) -> bool:
    """Whether more than half of a map's white vanishes when one pixel is taken off all around."""
    kernel = np.ones((3, 3), np.uint8)
    opened: Any = cv2.dilate(cv2.erode(picture, kernel), kernel)
    return 2 * int((opened < picture).sum()) > int((picture > 127).sum())


def thinned(lines: Any) -> Any:
    """White lines on black, one pixel wide, where they were wider; all stay connected.

    Args:
        lines: (H, W) of 0 and 255; unchanged.
    """
    is_line = np.pad(lines > 127, 1)
    while True:
        before = int(is_line.sum())
        for step in (0, 1):
            is_line &= ~_removable(is_line, step)
        if int(is_line.sum()) == before:
            return (is_line[1:-1, 1:-1] * 255).astype(np.uint8)


def _removable(is_line: Any, step: int) -> Any:
    """Zhang and Suen's conditions, for one of their two half-steps."""
    around = [
        np.roll(is_line, (down, across), (0, 1))
        for down, across in ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))
    ]  # north, and on clockwise
    neighbours = sum(one.astype(np.int8) for one in around)
    pairs = zip(around, [*around[1:], around[0]], strict=True)
    rises = sum((~one & other).astype(np.int8) for one, other in pairs)
    north, east, south, west = around[0], around[2], around[4], around[6]
    if step == 0:
        open_sides = ~(north & east & south) & ~(east & south & west)
    else:
        open_sides = ~(north & east & west) & ~(north & south & west)
    return is_line & (neighbours >= 2) & (neighbours <= 6) & (rises == 1) & open_sides
