"""SDXL's refiner: ViT-bigG alone, and how beautiful the picture is said to be.

Source: Podell et al. 2023, arXiv 2307.01952, sec. 2.5; sd_xl_refiner.yaml of Stability AI.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from webui.checkpoints.families.model import DiffusionModel, Frame, rules_by_purpose
from webui.checkpoints.families.sdxl import SCALING_FACTOR, big_g
from webui.checkpoints.keys import Keys

BIG_G: Final = "conditioner.embedders.0.model."


def _is_refiner(keys: Keys) -> bool:
    return keys.is_unet and keys.takes_vector and (keys.begins(BIG_G) or keys.context_dim == 1280)


def _owns_folder(unet: Mapping[str, Any], parts: Collection[str]) -> bool:
    return unet.get("addition_embed_type") == "text_time" and "text_encoder" not in parts


def _numbers(frame: Frame) -> tuple[float, ...]:
    size = (frame.height, frame.width)
    return (*size, frame.crop_top, frame.crop_left, frame.aesthetic_score)


SDXL_REFINER: Final = DiffusionModel(
    name="sdxl-refiner",
    title="SDXL refiner",
    rules=rules_by_purpose("sdxl-refiner", "SDXL refiner", _is_refiner),
    owns_folder=_owns_folder,
    texts=(big_g(BIG_G),),
    latents="sdxl",
    scaling_factor=SCALING_FACTOR,
    head_width=64,
    numbers=_numbers,
    has_empty_negative=True,
)
