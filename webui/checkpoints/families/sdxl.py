"""SDXL: CLIP-L and OpenCLIP ViT-bigG side by side, and the size of the picture.

Source: Podell et al. 2023, arXiv 2307.01952, sec. 2 and appendix; sd_xl_base.yaml of Stability AI.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from webui.checkpoints.families.model import (
    PAD_WITH_ZERO,
    DiffusionModel,
    Frame,
    TextPart,
    rules_by_purpose,
)
from webui.checkpoints.keys import Keys

CLIP_L: Final = "conditioner.embedders.0.transformer."
BIG_G: Final = "conditioner.embedders.1.model."
SCALING_FACTOR: Final = 0.13025


def _is_sdxl(keys: Keys) -> bool:
    return keys.is_unet and (
        keys.begins("conditioner.embedders.1.") or (keys.takes_vector and keys.context_dim == 2048)
    )


def _owns_folder(unet: Mapping[str, Any], parts: Collection[str]) -> bool:
    return unet.get("addition_embed_type") == "text_time" and "text_encoder" in parts


def _numbers(frame: Frame) -> tuple[float, ...]:
    """Original size, corner that was cut off, size that is wanted; height before width."""
    size = (frame.height, frame.width)
    return (*size, frame.crop_top, frame.crop_left, *size)


def big_g(prefix: str) -> TextPart:
    """OpenCLIP ViT-bigG as SDXL and its refiner read it."""
    return TextPart(
        "text_encoder_2",
        (prefix,),
        is_open_clip=True,
        layer=2,
        is_normed=False,
        is_pooled=True,
        pad_token=PAD_WITH_ZERO,
        lora_number=2,
    )


SDXL: Final = DiffusionModel(
    name="sdxl",
    title="SDXL",
    rules=rules_by_purpose("sdxl", "SDXL", _is_sdxl),
    owns_folder=_owns_folder,
    texts=(
        TextPart("text_encoder", (CLIP_L,), layer=2, clip_skip="option", is_normed=False),
        big_g(BIG_G),
    ),
    latents="sdxl",
    scaling_factor=SCALING_FACTOR,
    head_width=64,
    numbers=_numbers,
    has_empty_negative=True,
)
