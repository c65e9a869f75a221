"""The maps that a job's control units show their ControlNets, each made once for each size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from webui.errors import ParamsError
from webui.params import ControlUnit, Painting, ResizeMode
from webui.pipelines.masks import Region
from webui.pipelines.resize import resize
from webui.preprocessors.names import module_of
from webui.preprocessors.units import UnitMap, unit_map

HIDDEN = -1.0
"""How an inpainting ControlNet is told that a pixel is to be painted (lllyasviel's protocol)."""
_RESIZE_MODES: dict[str, ResizeMode] = {
    "Just Resize": "Just resize",
    "Crop and Resize": "Crop and resize",
    "Resize and Fill": "Resize and fill",
}
Size = tuple[int, int]


@dataclass(frozen=True)
class Beneath:
    """What img2img repaints, as control units see it.

    Attributes:
        image: RGB, of the size that is painted; nothing in it was filled.
        mask: Grey, of the same size, white = repaint; None = all of it is.
        whole: Size of the picture that ``region`` is a part of.
        region: The part that is painted ("only masked"); None = the whole.
    """

    image: Image.Image
    mask: Image.Image | None = None
    whole: Size = (0, 0)
    region: Region | None = None
    maps: dict[tuple[int, Size], UnitMap] = field(default_factory=dict[tuple[int, Size], UnitMap])
    """Those that were made of it, by unit and size."""

    def framed(self, picture: Image.Image, unit: ControlUnit) -> Image.Image:
        """A unit's own picture, cut as the repainted one is."""
        if self.region is None:
            return picture
        whole = resize(picture.convert("RGB"), _RESIZE_MODES[unit.resize_mode], *self.whole)
        return resize(whole.crop(self.region), "Resize and fill", *self.image.size)


class ControlMaps:
    """The maps of one job.

    Args:
        params: The request.
        picture: Gives its input pictures by key.
    """

    def __init__(self, params: Painting, picture: Callable[[str], Image.Image]) -> None:
        self._units = params.control
        self._first_size = params.width, params.height
        self._seed = params.seed + params.subseed
        self._picture = picture
        self._own: dict[tuple[int, Size], UnitMap] = {}

    def of(self, number: int, size: Size, beneath: Beneath | None) -> UnitMap:
        """The map of a unit for one picture.

        Args:
            number: Of the unit. size: Width and height that are painted.
            beneath: What that picture repaints; None in txt2img.
        Raises:
            ParamsError: There is no picture to make one of.
        """
        unit = self._units[number]
        is_own = unit.image is not None and (beneath is None or beneath.region is None)
        is_own = is_own and (unit.mask is not None or beneath is None or beneath.mask is None)
        known = self._own if is_own or beneath is None else beneath.maps
        if (number, size) not in known:
            known[number, size] = self._made(number, unit, size, beneath)
        return known[number, size]

    def _made(self, number: int, unit: ControlUnit, size: Size, beneath: Beneath | None) -> UnitMap:
        if unit.image is not None:
            image = self._framed(unit.image, unit, beneath)
        elif beneath is not None:
            image = beneath.image
        else:
            raise ParamsError(f"ControlNet {number} has no picture to follow.", "Give it one.")
        mask = beneath.mask if beneath is not None else None
        if unit.mask is not None:
            mask = self._framed(unit.mask, unit, beneath)
        elif not module_of(unit).hides_mask:
            mask = None  # img2img's own says what is painted, not how
        return unit_map(unit, image, mask, size, self._first_size, self._seed)

    def _framed(self, key: str, unit: ControlUnit, beneath: Beneath | None) -> Image.Image:
        picture = self._picture(key)
        return picture if beneath is None else beneath.framed(picture, unit)


def as_tensor(found: UnitMap) -> Tensor:
    """(1, 3, H, W) float32 of 0–1, and -1 where it is hidden."""
    values = torch.from_numpy(found.pixels).permute(2, 0, 1).to(torch.float32) / 255
    if found.hidden is not None:
        values = values.masked_fill(torch.from_numpy(found.hidden), HIDDEN)
    return values[None]
