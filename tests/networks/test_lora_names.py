"""Names in LoRA files, judged by the reference trainer's lists and by diffusers' own models."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from webui.torch_setup import prepare_torch

prepare_torch(threads=1)

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # noqa: E402
from transformers.models.clip.configuration_clip import CLIPTextConfig  # noqa: E402
from transformers.models.clip.modeling_clip import CLIPTextModel  # noqa: E402

from webui.networks.lora.matching import LayerTable, text_layers, unet_layers  # noqa: E402
from webui.networks.lora.names import plain  # noqa: E402

KEYS = Path(__file__).parent.parent / "data" / "lora-keys.json.gz"
"""Per family and part: [name, kind, inputs, outputs, kernel] of every layer a LoRA may train."""
SD1: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768,
    "attention_head_dim": 8,
}  # fmt: skip
SDXL: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20), "use_linear_projection": True,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10), "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip


@cache
def unet(family: str) -> LayerTable:
    with torch.device("meta"):
        return unet_layers(UNet2DConditionModel(**(SD1 if family == "sd15" else SDXL)))


@cache
def text(width: int, layers: int, number: int) -> LayerTable:
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=width // 64,
    )  # fmt: skip
    with torch.device("meta"):
        return text_layers(CLIPTextModel(config), number)


@cache
def reference() -> dict[str, dict[str, list[tuple[str, str, int, int, int]]]]:
    return json.loads(gzip.decompress(KEYS.read_bytes()))


@pytest.mark.parametrize(("family", "count"), [("sd15", 278), ("sdxl", 788)])
def test_unet_names_when_kohya_wrote_them_mean_layers_of_that_shape(
    family: str, count: int
) -> None:
    table = unet(family)
    found = []
    for name, kind, inputs, outputs, kernel in reference()[family]["unet"]:
        path = table.names[name]
        found.append(path)
        wanted = (outputs, inputs) if kind == "linear" else (outputs, inputs, kernel, kernel)
        assert table.shapes[path] == wanted, name
    assert len(found) == len(set(found)) == count


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_text_names_when_kohya_wrote_them_mean_layers_of_that_shape(family: str) -> None:
    tables = {
        "lora_te_": text(768, 12, 1), "lora_te1_": text(768, 12, 1), "lora_te2_": text(1280, 32, 2),
    }  # fmt: skip
    seen = set()
    for name, _, inputs, outputs, _ in reference()[family]["text_encoder"]:
        prefix = next(p for p in tables if name.startswith(p))
        path = tables[prefix].names[name]
        seen.add((prefix, path))
        assert tables[prefix].shapes[path] == (outputs, inputs), name
    assert len(seen) == {"sd15": 72, "sdxl": 264}[family]


ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn1"


@pytest.mark.parametrize(
    ("family", "written", "path"),
    [
        ("sd15", f"unet.{ATTENTION}.to_q", f"{ATTENTION}.to_q"),
        ("sd15", f"unet.{ATTENTION}.processor.to_k", f"{ATTENTION}.to_k"),
        ("sd15", f"{ATTENTION}.processor.to_out", f"{ATTENTION}.to_out.0"),
        ("sd15", f"base_model.model.{ATTENTION}.to_v", f"{ATTENTION}.to_v"),
        ("sd15", f"lycoris_{plain(ATTENTION)}_to_v", f"{ATTENTION}.to_v"),
        ("sd15", "diffusion_model.input_blocks.1.1.proj_in", "down_blocks.0.attentions.0.proj_in"),
        ("sd15", "lora_unet_input_blocks_3_0_op", "down_blocks.0.downsamplers.0.conv"),
        ("sd15", "lora_unet_output_blocks_2_1_conv", "up_blocks.0.upsamplers.0.conv"),
        ("sd15", "lora_unet_output_blocks_8_2_conv", "up_blocks.2.upsamplers.0.conv"),
        ("sd15", "lora_unet_output_blocks_11_0_skip_connection",
         "up_blocks.3.resnets.2.conv_shortcut"),
        ("sdxl", f"lora_unet_{plain(ATTENTION)}_to_q", f"{ATTENTION}.to_q"),
        ("sdxl", "unet.input_blocks.4.1.transformer_blocks.0.attn1.to_q", f"{ATTENTION}.to_q"),
        ("sdxl", "lora_unet_middle_block_2_out_layers_3", "mid_block.resnets.1.conv2"),
        ("sdxl", "lora_unet_label_emb_0_2", "add_embedding.linear_2"),
        ("sdxl", "lora_unet_out_2", "conv_out"),
    ],
)  # fmt: skip
def test_unet_names_of_other_tools_mean_the_same_layers(
    family: str, written: str, path: str
) -> None:
    assert unet(family).names[plain(written)] == path


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (1, "lora_te1_text_model_encoder_layers_3_self_attn_q_proj"),
        (1, "text_encoder.text_model.encoder.layers.3.self_attn.q_proj"),
        (1, "text_encoder.text_model.encoder.layers.3.self_attn.to_q"),
        (1, "clip_l.text_model.encoder.layers.3.self_attn.q_proj"),
        (1, "text_encoders.clip_l.transformer.text_model.encoder.layers.3.self_attn.q_proj"),
        (1, "base_model.model.text_model.encoder.layers.3.self_attn.q_proj"),
        (2, "text_encoder_2.text_model.encoder.layers.3.self_attn.q_proj"),
        (2, "clip_g.text_model.encoder.layers.3.self_attn.q_proj"),
    ],
)
def test_text_names_of_other_tools_mean_the_same_layers(number: int, written: str) -> None:
    found = text(768, 12, number).names[plain(written)]

    assert found.removeprefix("text_model.") == "encoder.layers.3.self_attn.q_proj"
    assert plain(written) not in text(768, 12, 3 - number).names
