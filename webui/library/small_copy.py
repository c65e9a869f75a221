"""A small JPEG beside a very large picture (A1111's export_for_4chan)."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from webui.pictures import encode, open_image


@dataclass(frozen=True)
class SmallCopyRule:
    """When a picture counts as very large.

    Attributes:
        max_megabytes: Of the file, in units of 2**20 bytes.
        max_side: Of the longer side, in pixels; the copy is scaled down to it.
        quality: JPEG quality, 1-100.
    """

    max_megabytes: float = 4.0
    max_side: int = 4000
    quality: int = 80


def make_small_copy(data: bytes, infotext: str, rule: SmallCopyRule) -> bytes | None:
    """Encode the small copy, with the recipe in it; None when the picture is not very large.

    Raises:
        LibraryError: No picture, or too large to be opened.
        OSError: The picture cannot be decoded.
    """
    with open_image(data) as opened:
        is_wide = max(opened.size) > rule.max_side
        if not is_wide and len(data) <= rule.max_megabytes * 2**20:
            return None
        image = opened.convert("RGB")
    if is_wide:
        scale = rule.max_side / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return encode(image, format="jpg", infotext=infotext or None, quality=rule.quality)
