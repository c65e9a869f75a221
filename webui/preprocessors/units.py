"""From a control unit and its pictures to the map its ControlNet is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from webui.params import ControlResizeMode, ControlUnit
from webui.preprocessors.maps import Knobs, MapNetworks, Pixels, make_map, no_networks
from webui.preprocessors.names import BY_NAME, NONE, module_of
from webui.preprocessors.placing import placed, working_size

WHITE = 127
"""What is brighter counts as masked."""


@dataclass(frozen=True)
class UnitMap:
    """What a ControlNet is shown.

    Attributes:
        pixels: (H, W, 3).
        hidden: (H, W), True where it is told that nothing is known; None = everything is.
    """

    pixels: Pixels
    hidden: np.ndarray[tuple[int, int], np.dtype[np.bool_]] | None = None

    def picture(self) -> Image.Image:
        """For people; what is hidden is grey."""
        pixels = self.pixels
        if self.hidden is not None:
            pixels = np.where(self.hidden[..., None], pixels // 2 + 64, pixels).astype(np.uint8)
        return Image.fromarray(pixels)


@dataclass(frozen=True)
class DrawnMap:
    """A map as its preprocessor made it, before it is brought to the size that is painted.

    Attributes:
        pixels: (H, W, 3).
        mask: (h, w), brighter than ``WHITE`` where nothing is known; None = everything is.
    """

    pixels: Pixels
    mask: np.ndarray | None  # type: ignore[type-arg]
    resize_mode: ControlResizeMode

    def placed(self, width: int, height: int) -> UnitMap:
        """The map of exactly that size."""
        pixels = placed(self.pixels, self.resize_mode, width, height)
        if self.mask is None:
            return UnitMap(pixels)
        rows = np.repeat(self.mask[..., None], 3, axis=2)
        return UnitMap(pixels, placed(rows, self.resize_mode, width, height)[..., 0] > WHITE)


def draw_map(
    unit: ControlUnit,
    image: Image.Image,
    mask: Image.Image | None,
    first_size: tuple[int, int],
    seed: int,
    networks: MapNetworks = no_networks,
) -> DrawnMap:
    """The map of one picture.

    Args:
        mask: See ``ControlUnit.mask``; of any size.
        first_size: Width and height of the first pass, for which preprocessors work.
        seed: Of preprocessors that draw lots.
        networks: Of preprocessors that are networks.
    Raises:
        ParamsError: No preprocessor has that name.
        CheckpointError: The network of a preprocessor cannot be used.
    """
    module, picture = module_of(unit), rgb_pixels(image)
    hidden = None if mask is None else _pixels_of_mask(mask, image.size)
    if not module.hides_mask and hidden is not None:
        if 0 < int((hidden > WHITE).sum()) < hidden.size:  # drawn by hand: that is the map
            picture, module = np.repeat(hidden[..., None], 3, axis=2), BY_NAME[NONE]
        hidden = None
    knobs = Knobs(unit.threshold_a, unit.threshold_b, seed)
    made = make_map(picture, module, _resolution(unit, picture, first_size), knobs, networks)
    return DrawnMap(made, hidden, unit.resize_mode)


def _resolution(unit: ControlUnit, picture: Pixels, first_size: tuple[int, int]) -> int:
    if unit.pixel_perfect:
        height, width = picture.shape[:2]
        return working_size((width, height), unit.resize_mode, *first_size)
    return unit.processor_res


def rgb_pixels(image: Image.Image) -> Pixels:
    """(H, W, 3); white behind what is transparent."""
    if image.mode == "RGBA":
        sheet = Image.new("RGBA", image.size, "white")
        sheet.alpha_composite(image)
        image = sheet
    return np.array(image.convert("RGB"))


def grey_mask(mask: Image.Image) -> Image.Image:
    """Grey, white = masked; one that is not opaque counts by its alpha, as canvases draw it."""
    if mask.mode == "RGBA" and min(mask.getchannel("A").tobytes()) < 255:
        return mask.getchannel("A")
    return mask.convert("L")


def _pixels_of_mask(mask: Image.Image, size: tuple[int, int]) -> np.ndarray:  # type: ignore[type-arg]
    grey = grey_mask(mask)
    return np.array(grey if grey.size == size else grey.resize(size, Image.Resampling.NEAREST))
