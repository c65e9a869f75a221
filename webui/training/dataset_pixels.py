"""One picture brought to its bucket: resized, cut, mirrored, its colours varied."""

from __future__ import annotations

import random
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from webui.params.training_data import Subset
from webui.training.buckets import Size, size_conditioning, way_of_resizing
from webui.training.captions import face_in
from webui.training.dataset_entries import Entry
from webui.training.photographs import read

Pixels = NDArray[np.uint8]
COLOUR_SHARE, HUE_SHIFT, GAMMA = 0.33, 8, (0.95, 1.05)
"""Share of uses whose colours vary, degrees/2 either way, or a gamma in this range."""
_PILLOW = {"lanczos": Image.Resampling.LANCZOS}
_OPENCV = {
    "nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "linear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA,
}  # fmt: skip
_PILLOW["box"] = Image.Resampling.BOX


@dataclass(frozen=True)
class Sample:
    """A picture as it is learnt.

    Attributes:
        pixels: (H, W, 3) RGB. mask: (H, W) opacity; None when nothing was asked or transparent.
    """

    pixels: Pixels
    mask: Pixels | None = None


def prepare(entry: Entry, draw: random.Random | None = None, *, is_flipped: bool = False) -> Sample:
    """Read a picture and bring it to its bucket.

    Args:
        draw: Source of what varies from use to use; None = nothing does, the cut is centred.
        is_flipped: Mirror it.
    Raises:
        DatasetError: The file cannot be read.
    """
    image = read(entry.photograph.path)
    pixels: Pixels = np.asarray(image)
    subset = entry.subset
    face = face_in(entry.photograph.path) if subset.face_crop_aug_range and draw else None
    if face is not None and draw is not None:
        pixels = _around_face(pixels, face, entry, draw)
    else:
        pixels = resized(pixels, entry.fit.resized, subset.resize_interpolation)
        pixels = _cut(pixels, entry.fit.bucket, draw if subset.random_crop else None)
    if is_flipped:
        pixels = pixels[:, ::-1]
    mask = pixels[:, :, 3] if subset.alpha_mask and pixels.shape[2] == 4 else None
    pixels = pixels[:, :, :3]
    if subset.color_aug and draw is not None:
        pixels = _other_colours(pixels, draw)
    return Sample(np.ascontiguousarray(pixels), None if mask is None else mask.copy())


def is_flipped(subset: Subset, draw: random.Random) -> bool:
    """Whether a picture is mirrored this time."""
    return subset.flip_aug and draw.random() < 0.5


def crop_corner(entry: Entry, flipped: bool) -> tuple[int, int]:
    """SDXL's left and top of the picture in its bucket."""
    left, top, right, _ = size_conditioning(entry.photograph.size, entry.fit.bucket)
    return int(entry.fit.bucket[0] - right if flipped else left), int(top)


def resized(pixels: Pixels, size: Size, way: str | None = None) -> Pixels:
    """Pixels at another size.

    Args:
        way: Name of an interpolation; None = area where both sides shrink, else Lanczos.
    """
    before = pixels.shape[1], pixels.shape[0]
    if before == size:
        return pixels
    way = way or way_of_resizing(before, size)
    if way in _OPENCV:
        return np.asarray(cv2.resize(pixels, size, interpolation=_OPENCV[way]), np.uint8)
    return np.asarray(Image.fromarray(pixels).resize(size, _PILLOW[way]))


def _cut(pixels: Pixels, size: Size, draw: random.Random | None) -> Pixels:
    over = pixels.shape[1] - size[0], pixels.shape[0] - size[1]
    x, y = (draw.randint(0, more) if draw else more // 2 for more in over)
    return pixels[y : y + size[1], x : x + size[0]]


def _around_face(
    pixels: Pixels, face: tuple[int, int, int, int], entry: Entry, draw: random.Random
) -> Pixels:
    """A part of the picture with the face in its middle, as far as the picture reaches.

    The face's longer side becomes the smaller side of the result divided by a number drawn from
    ``face_crop_aug_range``; the picture is never enlarged more than it must be to fill the bucket.
    """
    width, height = entry.fit.bucket
    x, y, face_width, face_height = face
    low, high = entry.subset.face_crop_aug_range or (1.0, 1.0)
    whole = max(width / pixels.shape[1], height / pixels.shape[0])
    wanted = min(width, height) / (max(face_width, face_height) * draw.uniform(low, high))
    scale = max(whole, min(1.0, wanted))
    size = (
        max(width, round(pixels.shape[1] * scale)), max(height, round(pixels.shape[0] * scale)),
    )  # fmt: skip
    pixels = resized(pixels, size, entry.subset.resize_interpolation)
    left = min(max(0, round(x * scale) - width // 2), size[0] - width)
    top = min(max(0, round(y * scale) - height // 2), size[1] - height)
    return pixels[top : top + height, left : left + width]


def _other_colours(pixels: Pixels, draw: random.Random) -> Pixels:
    if draw.random() >= COLOUR_SHARE:
        return pixels
    if draw.random() < 0.5:
        hsv = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_BGR2HSV)
        hue = hsv[:, :, 0].astype(np.int16) + round(draw.uniform(-HUE_SHIFT, HUE_SHIFT))
        hsv[:, :, 0] = (hue % 180).astype(np.uint8)
        return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)
    table = (np.linspace(0, 1, 256) ** draw.uniform(*GAMMA) * 255 + 0.5).astype(np.uint8)
    return table[pixels]
