"""Masks as pictures: reading, blurring, the region they cover, what goes below them.

A mask is an 8-bit grey picture, white = repaint, as large as the picture it belongs to.

Source:
    Thresholds, kernel sizes, padding, radii: AUTOMATIC1111 1.10.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter, ImageStat
from scipy import ndimage
from torch import Tensor

from webui.params import Inpaint

Region = tuple[int, int, int, int]
"""left, top, right, bottom in pixels."""
ALPHA_THRESHOLD = 128
FILL_RADII = (256, 64, 16, 16, 4, 4, 4, 4, 2, 2, 0)
"""Blurs of the surroundings laid over each other, widest below."""


def read_mask(image: Image.Image, size: tuple[int, int], inpaint: Inpaint) -> Image.Image:
    """The finished mask of a picture: grey, inverted and blurred as the request says.

    Args:
        image: RGB or RGBA. One that is not opaque counts by its alpha (as the canvas draws it),
            any other by its brightness.
        size: Of the picture. A mask of another size is stretched to it first, so that blur and
            padding are pixels of the picture.
    """
    if image.mode == "RGBA":
        mask = image.getchannel("A")
        if inpaint.round_mask and inpaint.soft is None:
            mask = mask.point([255 if alpha > ALPHA_THRESHOLD else 0 for alpha in range(256)])
    else:
        mask = image.convert("L")
    if mask.size != size:
        mask = mask.resize(size, Image.Resampling.BILINEAR)
    if inpaint.is_inverted:
        mask = ImageChops.invert(mask)
    return blurred(mask, inpaint.blur_x, inpaint.blur_y)


def blurred(mask: Image.Image, blur_x: int, blur_y: int) -> Image.Image:
    """Blur a mask by Gaussians of these sigmas in pixels; 0 leaves a direction as it is.

    A kernel reaches ``int(2.5 * sigma + 0.5)`` pixels to each side; beyond that the mask stays
    exactly as it was.
    """
    values: np.ndarray[Any, Any] = np.asarray(mask, dtype=np.float32)
    for axis, sigma in ((1, blur_x), (0, blur_y)):
        if sigma > 0:
            values = ndimage.gaussian_filter1d(
                values, sigma, axis=axis, mode="mirror", radius=blur_reach(sigma)
            )
    return Image.fromarray(np.rint(values).astype(np.uint8))


def blur_reach(sigma: int) -> int:
    """How many pixels a blur of this sigma reaches."""
    return int(2.5 * sigma + 0.5)


def is_blank(mask: Image.Image) -> bool:
    """Nothing is masked."""
    return mask.getbbox() is None


def masked_region(mask: Image.Image, padding: int, width: int, height: int) -> Region:
    """The part of a picture that is worked on with "only masked".

    The mask's bounding box with ``padding`` around it, then widened to the aspect ratio of
    width × height as far as the picture reaches.

    Args:
        mask: Not blank.
    """
    box = mask.getbbox()
    assert box is not None, "a blank mask has no region"
    left, top = max(box[0] - padding, 0), max(box[1] - padding, 0)
    right, bottom = min(box[2] + padding, mask.width), min(box[3] + padding, mask.height)
    ratio = width / height
    if (right - left) / (bottom - top) > ratio:
        more = int((right - left) / ratio - (bottom - top))
        top, bottom = _widened(top, bottom, more, mask.height)
    else:
        more = int((bottom - top) * ratio - (right - left))
        left, right = _widened(left, right, more, mask.width)
    return left, top, right, bottom


def _widened(start: int, end: int, more: int, limit: int) -> tuple[int, int]:
    """A stretch made longer on both sides, shifted to lie within 0 … limit, cut if it cannot."""
    start, end = start - more // 2, end + more - more // 2
    if end > limit:
        start, end = start - (end - limit), limit
    if start < 0:
        start, end = 0, min(end - start, limit)
    return start, end


def filled(image: Image.Image, mask: Image.Image) -> Image.Image:
    """A picture whose masked part continues the colours around it.

    Args:
        image: RGB. mask: Of the same size.
    """
    known = image.copy()
    known.putalpha(ImageChops.invert(mask))
    known = known.convert("RGBa")  # premultiplied: what is masked has no colour to spread
    sheet = Image.new("RGBA", image.size, _mean_colour(image, mask))
    for radius in FILL_RADII:
        blur = known.filter(ImageFilter.GaussianBlur(radius)) if radius else known
        sheet.alpha_composite(blur.convert("RGBA"))
    return sheet.convert("RGB")


def _mean_colour(image: Image.Image, mask: Image.Image) -> tuple[int, int, int]:
    """Of what is not masked; of everything when all is."""
    keep = mask.point([255] + [0] * 255)
    stat = ImageStat.Stat(image, keep if keep.getbbox() else None)
    red, green, blue = (round(value) for value in stat.mean)
    return red, green, blue


def to_latent_mask(mask: Image.Image, columns: int, rows: int, *, round_mask: bool) -> Tensor:
    """The mask by latent cells.

    Returns:
        (1, 1, rows, columns) float32, 1 = repaint; only 0 and 1 with ``round_mask``.
    """
    small = mask.resize((columns, rows), Image.Resampling.BICUBIC)
    values = torch.from_numpy(np.asarray(small, dtype=np.float32).copy()) / 255
    return (values.round() if round_mask else values)[None, None]
