"""What a ControlLLLite is for, read from the names and shapes of its tensors; no torch.

Source: kohya-ss, sd-scripts: networks/control_net_lllite.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from webui.checkpoints.families import FAMILIES
from webui.checkpoints.headers import Header
from webui.checkpoints.specs import SpecError, UNetSpec

TITLE: Final = "a ControlLLLite"
_BLOCK: Final = re.compile(r"lllite_unet_(input|middle|output)_blocks?_(\d+)_")
_SECOND_LAYER: Final = "_transformer_blocks_1_"
"""The U-Nets of SD 1.x and 2.x have one layer in each transformer."""
_WIDTH: Final = ".down.0.weight"


@dataclass(frozen=True)
class LiteSpec:
    """What is needed to build an empty ControlLLLite that a file's weights fit into.

    Attributes:
        shapes: Of its tensors, by name.
    """

    shapes: Mapping[str, tuple[int, ...]]
    family: str = "sdxl"
    over: str = ""
    is_pooled: bool = False

    @property
    def title(self) -> str:
        """In words."""
        return f"{TITLE} for {FAMILIES[self.family].title}"

    def misfit(self, unet: UNetSpec, family: str) -> str:
        """Why it cannot guide that U-Net, in words; '' when it can."""
        if family != self.family:
            return f"it is for {FAMILIES[self.family].title}"
        for name, shape in self.shapes.items():
            if name.endswith(_WIDTH) and "_attn" in name:
                place = place_of(name, unet)
                if place is None or _width_at(place, unet) != shape[1]:
                    return "it is for a U-Net of other widths"
        return ""


def read_lite(header: Header) -> LiteSpec:
    """The shape of the ControlLLLite in a file.

    Raises:
        SpecError: It is for another U-Net than SDXL's.
    """
    shapes = {name: info.shape for name, info in header.tensors.items()}
    if not any(_SECOND_LAYER in name for name in shapes):
        raise SpecError("its layers are not SDXL's, for which alone there are such networks")
    if any(len(shape) < 2 for name, shape in shapes.items() if name.endswith(_WIDTH)):
        raise SpecError("its layers have no width")
    return LiteSpec(shapes)


def place_of(name: str, unet: UNetSpec) -> int | None:
    """The number of the block that a layer stands in, counted as ControlNets count the places
    they add to: from the outermost on the way down to the middle, and back; None = there is none.
    """
    match = _BLOCK.match(name)
    blocks = len(unet.channels) * (unet.res_blocks + 1)
    if match is None:
        return None
    if match[1] == "middle":
        return blocks
    number = int(match[2])
    if number >= blocks:
        return None
    return number if match[1] == "input" else blocks - 1 - number


def _width_at(place: int, unet: UNetSpec) -> int:
    level = (place - 1) // (unet.res_blocks + 1)
    return unet.channels[min(max(level, 0), len(unet.channels) - 1)]
