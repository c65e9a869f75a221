"""From a control unit and its pictures to the map its ControlNet is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from webui.params import ControlUnit
from webui.preprocessors.maps import Knobs, Pixels, make_map
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


def unit_map(
    unit: ControlUnit,
    image: Image.Image,
    mask: Image.Image | None,
    size: tuple[int, int],
    first_size: tuple[int, int],
    seed: int,
) -> UnitMap:
    """The map of one picture, of exactly ``size``.

    Args:
        mask: See ``ControlUnit.mask``; of any size.
        size: Width and height that are painted. first_size: The same of the first pass, for which
            preprocessors work.
        seed: Of preprocessors that draw lots.
    Raises:
        ParamsError: No preprocessor has that name.
    """
    module, picture = module_of(unit), _pixels(image)
    hidden = _grey(mask, image.size)
    if not module.hides_mask and hidden is not None:
        if 0 < int((hidden > WHITE).sum()) < hidden.size:  # drawn by hand: that is the map
            picture, module = np.repeat(hidden[..., None], 3, axis=2), BY_NAME[NONE]
        hidden = None
    made = make_map(picture, module, _resolution(unit, picture, first_size), _knobs(unit, seed))
    pixels = placed(made, unit.resize_mode, *size)
    if hidden is None:
        return UnitMap(pixels)
    rows = placed(np.repeat(hidden[..., None], 3, axis=2), unit.resize_mode, *size)
    return UnitMap(pixels, rows[..., 0] > WHITE)


def _resolution(unit: ControlUnit, picture: Pixels, first_size: tuple[int, int]) -> int:
    if unit.pixel_perfect:
        height, width = picture.shape[:2]
        return working_size((width, height), unit.resize_mode, *first_size)
    return unit.processor_res


def _knobs(unit: ControlUnit, seed: int) -> Knobs:
    return Knobs(unit.threshold_a, unit.threshold_b, seed)


def _pixels(image: Image.Image) -> Pixels:
    """RGB; white behind what is transparent."""
    if image.mode == "RGBA":
        sheet = Image.new("RGBA", image.size, "white")
        sheet.alpha_composite(image)
        image = sheet
    return np.array(image.convert("RGB"))


def _grey(mask: Image.Image | None, size: tuple[int, int]) -> np.ndarray | None:  # type: ignore[type-arg]
    """(H, W); one that is not opaque counts by its alpha, as canvases draw it."""
    if mask is None:
        return None
    grey = mask.convert("L")
    if mask.mode == "RGBA" and min(mask.getchannel("A").tobytes()) < 255:
        grey = mask.getchannel("A")
    return np.array(grey if grey.size == size else grey.resize(size, Image.Resampling.NEAREST))
