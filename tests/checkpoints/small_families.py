"""Small models of random numbers of the newer families, built by diffusers and transformers alone,
and written as people get them: single files under the original names, diffusers' folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from tests.checkpoints.model_files import write_safetensors
from tests.checkpoints.stripped import original_unet_name, original_vae_name
from webui.checkpoints.specs import UNetSpec, VaeSpec

PIPELINES = {
    "sd2": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "sdxl-refiner": "StableDiffusionXLImg2ImgPipeline",
}
CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
DOWN = {"sd2": (CROSS, CROSS, PLAIN), "sdxl": (PLAIN, CROSS), "sdxl-refiner": (PLAIN, CROSS, PLAIN)}
LAYERS = {"sd2": (1, 1, 1), "sdxl": (1, 2), "sdxl-refiner": (1, 2, 2)}
"""Transformer layers by level; the last counts for the middle, too."""
TEXT = {"text_encoder": (64, "quick_gelu"), "text_encoder_2": (128, "gelu")}
PROJECTED = 96
VECTOR = {"sd2": 0, "sdxl": PROJECTED + 6 * 256, "sdxl-refiner": PROJECTED + 5 * 256}
CONTEXT = {"sd2": 64, "sdxl": 64 + 128, "sdxl-refiner": 128}
UNUSED_LAYER = 2
"""SD 2.x files hold a layer more than is used; its number here."""


@dataclass
class Small:
    """A model as its makers' libraries build it."""

    family: str
    unet: Any
    vae: Any
    texts: dict[str, Any]


def make(family: str, in_channels: int = 4) -> Small:
    """Random numbers, the same every time."""
    torch.manual_seed(20)
    down = DOWN[family]
    channels = (64, 128, 128)[: len(down)]
    vector = {
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": VECTOR[family],
    }  # fmt: skip
    unet = UNet2DConditionModel(
        in_channels=in_channels, block_out_channels=channels, layers_per_block=1,
        down_block_types=down,
        up_block_types=tuple(d.replace("Down", "Up") for d in reversed(down)),
        transformer_layers_per_block=LAYERS[family], cross_attention_dim=CONTEXT[family],
        attention_head_dim=tuple(c // 64 for c in channels), norm_num_groups=16,
        use_linear_projection=True, **(vector if VECTOR[family] else {}),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(16, 32, 32, 32), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=0.18215 if family == "sd2" else 0.13025, latent_channels=4,
    )  # fmt: skip
    names = {"sd2": ["text_encoder"], "sdxl": list(TEXT), "sdxl-refiner": ["text_encoder_2"]}
    texts = {name: _text(name, family) for name in names[family]}
    for module in (unet, vae, *texts.values()):
        module.eval().requires_grad_(False)
    return Small(family, unet, vae, texts)


def _text(name: str, family: str) -> Any:
    width, activation = TEXT[name]
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2 if family == "sd2"
        else 3, num_attention_heads=width // 64, vocab_size=49408, max_position_embeddings=77,
        hidden_act="gelu" if family == "sd2" else activation, projection_dim=PROJECTED,
        bos_token_id=49406, eos_token_id=49407,
    )  # fmt: skip
    text = (CLIPTextModelWithProjection if name == "text_encoder_2" else CLIPTextModel)(config)
    for weight in text.parameters():  # as trained ones: words differ
        weight.data += 0.05 * torch.randn_like(weight)
    return text


def folder(small: Small, path: Path, schedule: Mapping[str, Any] | None = None) -> Path:
    """As diffusers' save_pretrained writes it."""
    parts = {"unet": small.unet, "vae": small.vae, **small.texts}
    for name, module in parts.items():
        module.save_pretrained(path / name)
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule or {}))
    (path / "model_index.json").write_text(json.dumps({"_class_name": PIPELINES[small.family]}))
    return path


def single_file(small: Small, path: Path, more: Mapping[str, Tensor] | None = None) -> Path:
    """As the original code writes it."""
    return write_safetensors(path, {**original_state(small), **(more or {})})


def original_state(small: Small) -> dict[str, Tensor]:
    """All weights under the original names."""
    config = small.unet.config
    depths = [
        n * (d == CROSS) for n, d in zip(LAYERS[small.family], DOWN[small.family], strict=True)
    ]
    unet = UNetSpec(4, 4, tuple(config["block_out_channels"]), 1, tuple(depths), 0, 0, 0)
    vae = VaeSpec(tuple(small.vae.config["block_out_channels"]), 1, 4)
    state = {
        f"model.diffusion_model.{original_unet_name(n, unet)}": t
        for n, t in small.unet.state_dict().items()
    }
    for name, tensor in small.vae.state_dict().items():
        is_matrix = ".attentions." in name and tensor.ndim == 2
        state[f"first_stage_model.{original_vae_name(name, vae)}"] = (
            tensor[:, :, None, None] if is_matrix else tensor
        )
    for name, text in small.texts.items():
        state |= _original_text(small.family, name, text)
    return {name: tensor.contiguous() for name, tensor in state.items()}


def _original_text(family: str, name: str, text: Any) -> dict[str, Tensor]:
    flat = {n.removeprefix("text_model."): t for n, t in text.state_dict().items()}
    if (family, name) == ("sdxl", "text_encoder"):
        prefix = "conditioner.embedders.0.transformer.text_model."
        return {prefix + n: t for n, t in flat.items()} | {
            f"{prefix}embeddings.position_ids": torch.arange(77.0)[None]  # as mergers write it
        }
    prefix = {
        "sd2": "cond_stage_model.model.", "sdxl": "conditioner.embedders.1.model.",
        "sdxl-refiner": "conditioner.embedders.0.model.",
    }[family]  # fmt: skip
    state = open_clip_state(flat)
    if family == "sd2":
        last, unused = (f"transformer.resblocks.{UNUSED_LAYER - i}." for i in (1, 0))
        state |= {n.replace(last, unused): t + 1 for n, t in state.items() if last in n}
        state["text_projection"] = torch.zeros(64, 64)
    return {prefix + n: t for n, t in state.items()} | {f"{prefix}logit_scale": torch.ones(())}


def open_clip_state(flat: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """transformers' tensors as OpenCLIP keeps them: queries, keys and values in one, the
    projection from the other side."""
    state = {
        "positional_embedding": flat["embeddings.position_embedding.weight"],
        "token_embedding.weight": flat["embeddings.token_embedding.weight"],
        "ln_final.weight": flat["final_layer_norm.weight"],
        "ln_final.bias": flat["final_layer_norm.bias"],
    }
    if "text_projection.weight" in flat:
        state["text_projection"] = flat["text_projection.weight"].T
    layer = 0
    while f"encoder.layers.{layer}.layer_norm1.bias" in flat:
        old, new = f"encoder.layers.{layer}", f"transformer.resblocks.{layer}"
        for leaf in ("weight", "bias"):
            state[f"{new}.ln_1.{leaf}"] = flat[f"{old}.layer_norm1.{leaf}"]
            state[f"{new}.ln_2.{leaf}"] = flat[f"{old}.layer_norm2.{leaf}"]
            state[f"{new}.mlp.c_fc.{leaf}"] = flat[f"{old}.mlp.fc1.{leaf}"]
            state[f"{new}.mlp.c_proj.{leaf}"] = flat[f"{old}.mlp.fc2.{leaf}"]
            state[f"{new}.attn.out_proj.{leaf}"] = flat[f"{old}.self_attn.out_proj.{leaf}"]
            three = [flat[f"{old}.self_attn.{one}_proj.{leaf}"] for one in "qkv"]
            state[f"{new}.attn.in_proj_{leaf}"] = torch.cat(three)
        layer += 1
    return state
