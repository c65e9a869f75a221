"""SD 1.x: one CLIP-L text encoder, 768 wide, whose layer a person may choose (clip skip).

Source: v1-inference.yaml of CompVis; instruct-pix2pix's and inpainting's variants of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from webui.checkpoints.families.model import DiffusionModel, TextPart, rules_by_purpose
from webui.checkpoints.keys import Keys

CLIP: Final = "cond_stage_model.transformer."


def _is_sd1(keys: Keys) -> bool:
    if not keys.is_unet or keys.takes_vector:
        return False
    return keys.begins(CLIP) or keys.context_dim == 768


def _owns_folder(unet: Mapping[str, Any], parts: Collection[str]) -> bool:
    is_plain = not unet.get("use_linear_projection") and not unet.get("addition_embed_type")
    return is_plain and unet.get("cross_attention_dim") != 1024 and "text_encoder_2" not in parts


SD1: Final = DiffusionModel(
    name="sd1",
    title="SD 1.x",
    rules=rules_by_purpose("sd1", "SD 1.x", _is_sd1),
    owns_folder=_owns_folder,
    texts=(TextPart("text_encoder", (CLIP,), clip_skip="always"),),
    latents="sd",
    scaling_factor=0.18215,
)
