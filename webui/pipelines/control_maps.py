"""The maps that a job's control units show their ControlNets, each made once."""

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
from webui.preprocessors.maps import MapNetworks
from webui.preprocessors.names import module_of
from webui.preprocessors.units import DrawnMap, UnitMap, draw_map, grey_mask, rgb_pixels

HIDDEN = -1.0
"""How an inpainting ControlNet is told that a pixel is to be painted (lllyasviel's protocol)."""
_RESIZE_MODES: dict[str, ResizeMode] = {
    "Just Resize": "Just resize",
    "Crop and Resize": "Crop and resize",
    "Resize and Fill": "Resize and fill",
}
Size = tuple[int, int]


@dataclass
class MadeMaps:
    """Maps of one picture, or of units' own ones: by unit, and by unit and size."""

    drawn: dict[int, DrawnMap] = field(default_factory=dict[int, DrawnMap])
    placed: dict[tuple[int, Size], UnitMap] = field(default_factory=dict[tuple[int, Size], UnitMap])


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
    maps: MadeMaps = field(default_factory=MadeMaps)
    """Those that were made of it."""

    def framed(self, picture: Image.Image, unit: ControlUnit) -> Image.Image:
        """A unit's own picture or mask, cut as the repainted one is.

        Args:
            picture: RGB or grey.
        """
        mode = _RESIZE_MODES[unit.resize_mode]
        if self.region is None:
            return resize(picture, mode, *self.image.size)
        whole = resize(picture, mode, *self.whole)
        return resize(whole.crop(self.region), "Resize and fill", *self.image.size)


class ControlMaps:
    """The maps of one job.

    Args:
        params: The request.
        picture: Gives its input pictures by key.
        networks: Of preprocessors that are networks.
        on_made: Told of each unit's first map.
    """

    def __init__(
        self,
        params: Painting,
        picture: Callable[[str], Image.Image],
        networks: MapNetworks,
        on_made: Callable[[int, UnitMap], None] = lambda number, made: None,
    ) -> None:
        self._units = params.control
        self._first_size = params.width, params.height
        self._seed = params.seed + params.subseed
        self._picture = picture
        self._networks = networks
        self._on_made = on_made
        self._told: set[int] = set()
        self._own = MadeMaps()

    def of(self, number: int, size: Size, beneath: Beneath | None) -> UnitMap:
        """The map of a unit for one picture.

        Args:
            number: Of the unit. size: Width and height that are painted.
            beneath: What that picture repaints; None in txt2img.
        Raises:
            ParamsError: There is no picture to make one of.
            CheckpointError: The network of its preprocessor cannot be used.
        """
        known = self._own
        if beneath is not None and self._follows(self._units[number], beneath):
            known = beneath.maps
        if (number, size) not in known.placed:
            if number not in known.drawn:
                known.drawn[number] = self._drawn(number, beneath)
            known.placed[number, size] = known.drawn[number].placed(*size)
            if number not in self._told:
                self._told.add(number)
                self._on_made(number, known.placed[number, size])
        return known.placed[number, size]

    @staticmethod
    def _follows(unit: ControlUnit, beneath: Beneath) -> bool:
        """Whether a unit's map is another for each picture that is repainted."""
        if unit.image is None or beneath.region is not None:
            return True
        return unit.mask is None and beneath.mask is not None and module_of(unit).hides_mask

    def _drawn(self, number: int, beneath: Beneath | None) -> DrawnMap:
        unit = self._units[number]
        mask = None if unit.mask is None else grey_mask(self._picture(unit.mask))
        if unit.image is not None:
            image = self._picture(unit.image)
        elif beneath is not None:
            image = beneath.image
        else:
            raise ParamsError(f"ControlNet {number} has no picture to follow.", "Give it one.")
        if beneath is not None and self._follows(unit, beneath):
            if unit.image is not None:
                image = beneath.framed(Image.fromarray(rgb_pixels(image)), unit)
            if mask is not None and beneath.region is not None:
                mask = beneath.framed(mask, unit)
            if mask is None and module_of(unit).hides_mask:
                mask = beneath.mask  # with others it says what is painted, not how
        return draw_map(unit, image, mask, self._first_size, self._seed, self._networks)


def as_tensor(found: UnitMap) -> Tensor:
    """(1, 3, H, W) float32 of 0–1, and -1 where it is hidden."""
    values = torch.from_numpy(found.pixels).permute(2, 0, 1).to(torch.float32) / 255
    if found.hidden is not None:
        values = values.masked_fill(torch.from_numpy(found.hidden), HIDDEN)
    return values[None]
