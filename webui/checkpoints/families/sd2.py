"""SD 2.x: one OpenCLIP ViT-H text encoder, 1024 wide, read at its last layer but one.

Source: v2-inference.yaml and v2-inference-v.yaml of Stability AI; SD Turbo has the same networks
under SDXL's names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from webui.checkpoints.families.model import (
    PAD_WITH_ZERO,
    DiffusionModel,
    TextPart,
    rules_by_purpose,
)
from webui.checkpoints.keys import Keys

OPEN_CLIP: Final = "cond_stage_model.model."
TURBO: Final = "conditioner.embedders.0.model."
RENAMED: Final = "cond_stage_model.transformer."
"""Of files that were put together from diffusers' folders: SD 1.x's name, transformers' tensors."""


def _is_sd2(keys: Keys) -> bool:
    if not keys.is_unet or keys.takes_vector:
        return False
    return keys.begins(OPEN_CLIP) or keys.context_dim == 1024


def _owns_folder(unet: Mapping[str, Any], parts: Collection[str]) -> bool:
    return (
        not unet.get("addition_embed_type")
        and "text_encoder_2" not in parts
        and bool(unet.get("use_linear_projection") or unet.get("cross_attention_dim") == 1024)
    )


SD2: Final = DiffusionModel(
    name="sd2",
    title="SD 2.x",
    rules=rules_by_purpose("sd2", "SD 2.x", _is_sd2),
    owns_folder=_owns_folder,
    texts=(
        TextPart(
            "text_encoder",
            (OPEN_CLIP, TURBO, RENAMED),
            is_open_clip=True,
            unused_layers=1,  # the last layer but one is the last of those that are loaded
            pad_token=PAD_WITH_ZERO,
        ),
    ),
    latents="sd",
    scaling_factor=0.18215,
    head_width=64,
    prediction_type="ask",
)
