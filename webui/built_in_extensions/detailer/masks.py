"""From faces to masks: which faces, in which order, and what of the picture is repainted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from webui.restoration.detect import Face

from .fields import CENTRE, INVERTED, LARGE, NO_MERGE

SEPARATOR = re.compile(r"\s*\[SEP\]\s*")
SKIP, PICTURES_OWN = "[SKIP]", "[PROMPT]"
Box = tuple[int, int, int, int]


def chosen_boxes(
    faces: Sequence[Face], unit: Mapping[str, Any], width: int, height: int
) -> list[Box]:
    """Boxes of the faces to repaint, in order, inside the picture.

    Args:
        unit: Values of the unit. width, height: Of the picture, pixels.
    """
    sure = [face for face in faces if face.score >= unit["confidence"]]
    boxes = [box for face in sure if (box := _inside(face.box, width, height)) is not None]
    low, high = (unit[name] * width * height for name in ("min_share", "max_share"))
    boxes = [box for box in boxes if low <= _area(box) <= high]
    if unit["top_k"]:
        boxes = sorted(boxes, key=_area, reverse=True)[: unit["top_k"]]
    return _ordered(boxes, unit["order"], width, height)


def _ordered(boxes: list[Box], order: str, width: int, height: int) -> list[Box]:
    if order == LARGE:
        return sorted(boxes, key=_area, reverse=True)
    if order == CENTRE:
        return sorted(boxes, key=lambda b: (b[0] + b[2] - width) ** 2 + (b[1] + b[3] - height) ** 2)
    return sorted(boxes)


def _inside(box: tuple[float, ...], width: int, height: int) -> Box | None:
    left, top = max(0, round(box[0])), max(0, round(box[1]))
    right, bottom = min(width, round(box[2])), min(height, round(box[3]))
    return (left, top, right, bottom) if right > left and bottom > top else None


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def masks_of(
    boxes: Sequence[Box], unit: Mapping[str, Any], width: int, height: int
) -> list[Image.Image]:
    """Masks (L, white = repaint) of a picture's size; those with nothing in them are left out."""
    found = [_mask(box, unit, width, height) for box in boxes]
    found = [mask for mask in found if mask.any()]
    if found and unit["merge"] != NO_MERGE:
        merged = np.maximum.reduce(found)
        found = [255 - merged if unit["merge"] == INVERTED else merged]
    return [Image.fromarray(mask) for mask in found if mask.any()]


def _mask(box: Box, unit: Mapping[str, Any], width: int, height: int) -> np.ndarray[Any, Any]:
    mask = np.zeros((height, width), np.uint8)
    left, right = (min(width, max(0, x + unit["x_offset"])) for x in (box[0], box[2]))
    top, bottom = (min(height, max(0, y - unit["y_offset"])) for y in (box[1], box[3]))
    mask[top:bottom, left:right] = 255
    size = abs(unit["dilate_erode"])
    if size:
        change = cv2.dilate if unit["dilate_erode"] > 0 else cv2.erode
        mask = change(mask, np.ones((size, size), np.uint8))
    return np.asarray(mask, np.uint8)


def prompt_of(written: str, number: int, own: str) -> str | None:
    """The prompt of one face; None = the face stays as it is.

    Args:
        written: The unit's prompt. number: Of the face, from 0; later faces than prompts take the
            last one. own: The picture's prompt.
    """
    prompts = SEPARATOR.split(written)
    text = prompts[min(number, len(prompts) - 1)].strip()
    if text == SKIP:
        return None
    return text.replace(PICTURES_OWN, own) if text else own
