"""Preparing a picture for inpainting, and putting the result back where it belongs.

Source:
    Order of work: AUTOMATIC1111 1.10.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image, ImageChops

from webui.params import ImageToImage, Inpaint, ResizeMode
from webui.pipelines.control_maps import Beneath
from webui.pipelines.masks import Region, filled, is_blank, masked_region, read_mask
from webui.pipelines.resize import LATENT_MODE, resize, whole_cells

OVERLAY_GAIN = 2
"""In whole pictures what is half masked is wholly replaced, so that the seam lies outside."""
FRINGE_GAIN = 4
"""How steeply a mask of another origin may rise from where the own one begins."""

Resize = Callable[[Image.Image, ResizeMode], Image.Image]
"""Brings a picture to the size that is painted."""


@dataclass(frozen=True)
class Paste:
    """How a painted picture goes back into the one it came from.

    Attributes:
        original: RGB, as large as the result.
        mask: Of the same size, white = take what was painted; black keeps the original bit for
            bit.
        region: Where the painted part belongs; None = it is the whole picture.
    """

    original: Image.Image
    mask: Image.Image
    region: Region | None = None

    def back(self, painted: Image.Image, mask: Image.Image | None = None) -> Image.Image:
        """The result.

        Args:
            painted: RGB.
            mask: Instead of the own one; where that is black the original is kept all the same.
        """
        whole = self.placed(painted, self.original)
        if mask is not None:
            mask = self.placed(mask, Image.new("L", self.mask.size))
            mask = ImageChops.darker(mask, _amplified(self.mask, FRINGE_GAIN))
        return Image.composite(whole, self.original, mask or self.mask)

    def placed(self, part: Image.Image, ground: Image.Image) -> Image.Image:
        """A picture of the painted size, put into its region of ``ground``."""
        if self.region is None:
            return part
        left, top, right, bottom = self.region
        ground = ground.copy()
        ground.paste(resize(part, "Crop and resize", right - left, bottom - top), (left, top))
        return ground


@dataclass(frozen=True)
class MaskedPicture:
    """A picture ready to be encoded, with its mask.

    Attributes:
        image: RGB; with its masked part filled, if the request says so.
        mask: Grey, of the same size.
        beneath: The picture before anything in it was filled, for ControlNets.
        paste: The way back.
    """

    image: Image.Image
    mask: Image.Image
    beneath: Beneath
    paste: Paste


def mask_picture(
    image: Image.Image, mask: Image.Image, params: ImageToImage, inpaint: Inpaint, resized: Resize
) -> MaskedPicture | None:
    """Cut, resize and fill a picture for inpainting.

    Args:
        image: RGB, as it was given.
        mask: As it was given; of any size, see ``read_mask``.
        resized: Brings pictures and masks to the size that is painted.
    Returns:
        None when nothing is masked.
    """
    mask = read_mask(mask, image.size, inpaint)
    if is_blank(mask):
        return None
    region, whole = None, image.size
    if inpaint.only_masked:
        region = masked_region(mask, inpaint.padding, params.width, params.height)
        paste = Paste(image, mask, region)
        mode: ResizeMode = "Resize and fill"
        image, mask = resized(image.crop(region), mode), resized(mask.crop(region), mode)
    elif params.resize_mode == LATENT_MODE:
        stretched = resized(mask, "Just resize")
        paste = Paste(resized(image, "Just resize"), _amplified(stretched, OVERLAY_GAIN))
        image, mask = whole_cells(image), whole_cells(mask)
    else:
        image, mask = resized(image, params.resize_mode), resized(mask, params.resize_mode)
        paste = Paste(image, _amplified(mask, OVERLAY_GAIN))
    beneath = Beneath(image, mask, whole, region)
    if inpaint.content != "original":
        image = filled(image, mask)
    if not inpaint.keep_rest:
        paste = replace(paste, mask=Image.new("L", paste.original.size, 255))
    return MaskedPicture(image, mask, beneath, paste)


def _amplified(mask: Image.Image, gain: int) -> Image.Image:
    return mask.point([min(value * gain, 255) for value in range(256)])
