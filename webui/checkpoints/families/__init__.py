"""The families of models that are painted with; each is one file here. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from webui.checkpoints.families.model import DiffusionModel
from webui.checkpoints.families.sd1 import SD1
from webui.checkpoints.families.sd2 import SD2
from webui.checkpoints.families.sdxl import SDXL
from webui.checkpoints.families.sdxl_refiner import SDXL_REFINER
from webui.checkpoints.labels import badge

FAMILIES: Final[Mapping[str, DiffusionModel]] = {
    family.name: family for family in (SDXL, SDXL_REFINER, SD2, SD1)
}
"""By name, in the order in which their rules are tried."""

PAINTED: Final = "SD 1.x, SD 2.x and SDXL"
"""What can be painted with, for people."""
CHOOSE_ANOTHER: Final = f"Choose an {PAINTED.replace(' and', ' or')} checkpoint."


def title_of(family: str) -> str:
    """A family in words, also one that is not painted with; '' for none."""
    own = FAMILIES.get(family)
    return own.title if own else badge(family)
