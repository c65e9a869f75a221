"""Where masks lie."""

from __future__ import annotations

from typing import Any

from PIL import Image


def get_crop_region(mask: Any, pad: int = 0) -> tuple[int, int, int, int]:
    """The box around what is not black, with a margin; all of it for an empty mask."""
    image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
    box = image.convert("L").getbbox()
    if box is None:
        return (0, 0, image.width, image.height)
    left, top, right, bottom = box
    return (
        max(left - pad, 0), max(top - pad, 0),
        min(right + pad, image.width), min(bottom + pad, image.height),
    )  # fmt: skip


def expand_crop_region(
    crop_region: Any, processing_width: int, processing_height: int, image_width: int,
    image_height: int,
) -> tuple[int, int, int, int]:  # fmt: skip
    """The box grown to the aspect that is painted, inside of the picture."""
    left, top, right, bottom = crop_region
    ratio = processing_width / processing_height
    width, height = right - left, bottom - top
    wanted_width = max(width, round(height * ratio))
    wanted_height = max(height, round(width / ratio))
    wanted_width, wanted_height = min(wanted_width, image_width), min(wanted_height, image_height)
    left = min(max(left - (wanted_width - width) // 2, 0), image_width - wanted_width)
    top = min(max(top - (wanted_height - height) // 2, 0), image_height - wanted_height)
    return left, top, left + wanted_width, top + wanted_height


def fill(image: Any, mask: Any) -> Any:
    """A picture whose masked part has the colours around it."""
    from PIL import ImageFilter, ImageOps

    inside = mask.convert("L")
    outside = ImageOps.invert(inside)
    known = Image.new("RGBa", image.size)
    known.paste(image.convert("RGBA").convert("RGBa"), mask=outside)
    result = Image.new("RGBA", image.size)
    for radius, times in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
        blurred = known.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            result.alpha_composite(blurred)
    return result.convert("RGB")
