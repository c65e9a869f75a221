"""Tell what a weights file is by the names of its tensors; no torch, no data.

One table, tried in order; families that are painted with bring their own rules
(``families/``). To have another kind of model recognised, add its rule where nothing before it
matches too (test_identify.py has a stripped file for each).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final

from webui.checkpoints.families import FAMILIES
from webui.checkpoints.headers import Header
from webui.checkpoints.keys import FIRST_LAYER, UNET, VAE, Keys, Rule
from webui.checkpoints.labels import stated_family

FOLDERS: Final = {
    "lora": "models/Lora",
    "vae": "models/VAE",
    "vae-approx": "models/VAE-approx",
    "embedding": "embeddings",
    "hypernetwork": "models/hypernetworks",
    "upscaler": "models/ESRGAN",
    "controlnet": "models/ControlNet",
    "face": "models/GFPGAN",
}
"""Where each kind of file belongs."""


@dataclass(frozen=True)
class Finding:
    """What a file is.

    Attributes:
        kind: ``checkpoint``, ``lora``, ``vae``, ``embedding``, ``upscaler`` … or ``unknown``.
        family: ``sd1``, ``sd2``, ``sdxl`` … or empty where it does not matter or show.
        title: In words, with article: "an SDXL checkpoint".
    """

    kind: str
    family: str
    title: str


def _is_sd2_like(keys: Keys) -> bool:
    return keys.is_unet and keys.context_dim == 1024


_LORA_PARTS: Final = (".lora_A.", ".lora.down.", ".lokr_w", ".oft_blocks", ".oft_diag")
_LORA_ENDINGS: Final = (
    ".lora_down.weight", "_lora.down.weight", ".lora_linear_layer.down.weight", ".hada_w1_a",
    ".on_input",
)  # fmt: skip
_CHANGE_ENDINGS: Final = (".diff", ".diff_b", ".w_norm")


def _is_lora(keys: Keys) -> bool:
    return (
        any(keys.contains(part) for part in _LORA_PARTS)
        or any(keys.ends(ending) for ending in _LORA_ENDINGS)
        or keys.ends(".a1.weight", ".b1.weight")
        or (
            (keys.begins("lora_unet_") or keys.begins("lora_te"))
            and any(keys.ends(ending) for ending in _CHANGE_ENDINGS)
        )
    )


def _is_vae(keys: Keys) -> bool:
    return any(
        keys.has(f"{p}decoder.conv_in.weight", f"{p}encoder.conv_in.weight")
        for p in ("", VAE, "vae.")
    ) or keys.has("decoder.conv_in.weight", "decoder.conv_out.weight")


def _is_embedding(keys: Keys) -> bool:
    if keys.begins("string_to_param") or keys.has("emb_params"):
        return True
    if keys.has("clip_l", "clip_g"):
        return True
    shapes = [info.shape for info in keys.tensors.values()]
    return len(shapes) == 1 and len(shapes[0]) in (1, 2) and shapes[0][-1] in (768, 1024, 1280)


def _is_upscaler(keys: Keys) -> bool:
    return (
        keys.has("conv_first.weight")
        or keys.has("model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight")
        or keys.has("body.0.weight", "body.1.weight")
        or keys.contains("RDB1.conv1")
        or keys.contains("relative_position_bias_table")
    )


RULES: Final[tuple[Rule, ...]] = (
    Rule("lora", "", "a LoRA", _is_lora),
    Rule("controlnet", "", "a ControlLLLite", lambda k: k.begins("lllite_unet_")),
    Rule("controlnet", "", "a Control-LoRA", lambda k: k.has("lora_controlnet")),
    Rule("controlnet", "", "a ControlNet Union",
         lambda k: k.has("task_embedding") or k.begins("control_add_embedding.")),
    Rule("controlnet", "", "a SparseCtrl for AnimateDiff",
         lambda k: k.begins("controlnet_cond_embedding.") and k.contains("motion_modules.")),
    Rule("controlnet", "", "the difference of a ControlNet to a checkpoint",
         lambda k: k.has("difference") and k.contains("zero_convs.")),
    Rule("controlnet", "", "a ControlNet for a newer model than SDXL",
         lambda k: k.begins("controlnet_blocks.") or k.contains("controlnet_x_embedder.")),
    Rule(
        "controlnet",
        "",
        "a ControlNet",
        lambda k: (
            k.begins("control_model.") or k.begins("controlnet_cond_embedding.")
            or k.begins("zero_convs.")
        ),
    ),
    Rule("controlnet", "", "a T2I-Adapter",
         lambda k: k.begins("adapter.body.", "adapter.conv_in")
         or k.has("conv_in.weight", "body.0.block1.weight") or k.has("style_embedding")
         or k.begins("body.0.in_conv.") or k.begins("adapter.body.0.in_conv.")),
    Rule("controlnet", "", "an IP-Adapter", lambda k: k.begins("image_proj.", "ip_adapter.")),
    Rule("checkpoint", "svd", "a Stable Video Diffusion checkpoint",
         lambda k: k.is_unet and k.contains(".time_stack.")),
    Rule("checkpoint", "animatediff", "an AnimateDiff motion module",
         lambda k: k.contains("motion_modules.")),
    Rule("checkpoint", "zero123", "a Zero123 checkpoint", lambda k: k.begins("cc_projection.")),
    Rule("checkpoint", "altdiffusion", "an AltDiffusion checkpoint",
         lambda k: k.begins("cond_stage_model.roberta.")),
    Rule("checkpoint", "kolors", "a Kolors checkpoint", lambda k: k.contains("encoder_hid_proj.")),
    Rule("checkpoint", "playground", "a Playground v2.5 checkpoint", lambda k: k.has("edm_mean")),
    Rule("checkpoint", "cosxl", "a CosXL checkpoint", lambda k: k.has("edm_vpred.sigma_max")),
    Rule("checkpoint", "sdxl-thin", "a thinned-out SDXL checkpoint (SSD-1B, Segmind Vega …)",
         lambda k: k.is_unet and k.takes_vector and k.context_dim == 2048
         and not k.begins(f"{UNET}middle_block.1.")),
    Rule("checkpoint", "sd-upscaler", "an SD 2.x upscaling checkpoint",
         lambda k: _is_sd2_like(k) and k.size(FIRST_LAYER, 1) == 7),
    Rule("checkpoint", "sd2-unclip", "an SD 2.x unCLIP checkpoint",
         lambda k: _is_sd2_like(k) and k.takes_vector),
    Rule("checkpoint", "sd2-depth", "an SD 2.x depth checkpoint",
         lambda k: _is_sd2_like(k) and k.size(FIRST_LAYER, 1) == 5),
    *(rule for family in FAMILIES.values() for rule in family.rules),
    Rule("checkpoint", "sd3", "an SD 3 checkpoint",
         lambda k: k.contains("joint_blocks.") and k.contains("x_embedder.")),
    Rule("checkpoint", "chroma", "a Chroma checkpoint",
         lambda k: k.contains("distilled_guidance_layer.")),
    Rule("checkpoint", "flux", "a Flux checkpoint",
         lambda k: k.contains("double_blocks.") and k.contains("single_blocks.")
         and k.contains("img_in.")),
    Rule("checkpoint", "auraflow", "an AuraFlow checkpoint",
         lambda k: k.contains("double_layers.") and k.contains("single_layers.")),
    Rule("checkpoint", "cascade", "a Stable Cascade checkpoint",
         lambda k: k.contains("clip_txt_mapper.") or k.contains("clip_txt_pooled_mapper.")),
    Rule("checkpoint", "pixart", "a PixArt checkpoint", lambda k: k.contains("adaln_single.")),
    Rule("checkpoint", "hunyuan-dit", "a Hunyuan-DiT checkpoint",
         lambda k: k.contains("mlp_t5.") or k.contains("style_embedder.")),
    Rule("checkpoint", "qwen-image", "a Qwen-Image checkpoint",
         lambda k: k.contains("transformer_blocks.0.img_mod.", "txt_norm.")),
    Rule("checkpoint", "lumina", "a Lumina or Z-Image checkpoint",
         lambda k: k.contains("cap_embedder.")),
    Rule("checkpoint", "wan", "a Wan video checkpoint",
         lambda k: k.contains("blocks.0.cross_attn.k.", "patch_embedding.")),
    Rule("checkpoint", "ltx", "an LTX video checkpoint",
         lambda k: k.contains("patchify_proj.")),
    Rule("unet", "", "the U-Net of a model, without VAE and text encoder",
         lambda k: k.is_unet or k.begins("down_blocks.0.resnets.")
         or k.has("input_blocks.0.0.weight", "out.2.weight")),
    Rule("vae", "", "a VAE", _is_vae),
    Rule("vae-approx", "", "a small approximate VAE",
         lambda k: k.begins("decoder.layers.") or k.has("1.weight", "3.conv.0.weight")),
    Rule("embedding", "", "an embedding", _is_embedding),
    Rule("face", "", "a face restoration model",
         lambda k: k.contains("stylegan_decoder") or k.contains("fuse_convs_dict")),
    Rule("upscaler", "", "an upscaler", _is_upscaler),
    Rule("text-encoder", "", "a T5 text encoder", lambda k: k.contains(".SelfAttention.q.weight")),
    Rule("clip-vision", "", "a CLIP picture encoder",
         lambda k: k.begins("vision_model.") or k.begins("visual.")),
    Rule("text-encoder", "", "a CLIP text encoder",
         lambda k: k.contains("embeddings.token_embedding.weight")
         or k.ends("token_embedding.weight")),
    Rule("hypernetwork", "", "a hypernetwork",
         lambda k: bool(k.tensors) and all(re.match(r"\d{3,4}\.", n) for n in k.tensors)),
)  # fmt: skip


_TEXT_WIDTHS: Final = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
"""Width of the text that a U-Net listens to, and whose it is."""


def _lora_family(header: Header, keys: Keys) -> str:
    """The family a LoRA was made for, by its metadata, else by its widths; '' when unclear."""
    stated = stated_family(header.metadata)
    if stated:
        return stated
    if keys.contains("lora_te2_") or keys.contains("input_blocks_4_1_transformer_blocks_1"):
        return "sdxl"
    if keys.contains("double_blocks"):
        return "flux"
    endings = ("lora_down.weight", "lora.down.weight", "lora_A.weight", "hada_w1_b")
    names = (f"attn2{mark}to_k.{ending}" for mark in "_." for ending in endings)
    width = next((found for name in names if (found := keys.any_size(name, 1))), 0)
    return _TEXT_WIDTHS.get(width, "")


def _hypernetwork_family(_: Header, keys: Keys) -> str:
    """The family a hypernetwork was made for, by the texts it has a network for; '' when it has
    none, or was made with those of several families as A1111 lets people choose.

    Widths of pictures (320, 640, 1280) tell nothing: the U-Nets of all families have them.
    """
    widths = {int(name.partition(".")[0]) for name in keys.tensors}
    families = [family for width, family in _TEXT_WIDTHS.items() if width in widths]
    return families[0] if len(families) == 1 else ""


_FAMILY_OF: Final = {"lora": _lora_family, "hypernetwork": _hypernetwork_family}
"""Kinds of files that go along with checkpoints of one family, and what tells it."""


def find_rule(keys: Keys) -> Rule | None:
    """The first rule that recognises the file."""
    return next((rule for rule in RULES if rule.matches(keys)), None)


def describe(header: Header) -> Finding:
    """Say what a file is. Never fails; unrecognised files have the kind ``unknown``."""
    keys = Keys(header)
    rule = find_rule(keys)
    if rule is None:
        return Finding("unknown", "", f"{len(header.tensors)} tensors of no model known here")
    family_of = _FAMILY_OF.get(rule.kind)
    family = family_of(header, keys) if family_of else rule.family
    return Finding(rule.kind, family, rule.title)


def closest_families(keys: Keys) -> list[str]:
    """Titles of known models whose top-level names resemble the file's, best first."""
    words = {name.split(".")[0] for name in keys.tensors}
    known = {
        "an SD 1.x checkpoint": ["model", "first_stage_model", "cond_stage_model"],
        "an SDXL checkpoint": ["model", "first_stage_model", "conditioner"],
        "a diffusers U-Net": ["down_blocks", "up_blocks", "mid_block", "time_embedding"],
        "a VAE": ["encoder", "decoder", "quant_conv", "post_quant_conv"],
        "a text encoder": ["text_model", "encoder", "embeddings", "final_layer_norm"],
    }
    scores = {}
    for title, names in known.items():
        hits = sum(bool(difflib.get_close_matches(n, words, 1, 0.9)) for n in names)
        scores[title] = hits / len(names)
    return [t for t in sorted(scores, key=lambda t: -scores[t]) if scores[t] >= 0.5]
