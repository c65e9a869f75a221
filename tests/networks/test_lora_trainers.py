"""Whole LoRA files laid out as each trainer lays them out, from the file to the layers it means.

The layers and their shapes are the reference trainer's lists (``lora-keys.json.gz``); how each
trainer writes them is lora-training.md, section 4.6. Each layer's values tell it from all others,
so one that lands in another's place is seen even where both have the same shape.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.networks.test_lora_names import reference, text, unet
from webui.checkpoints.headers import read_header
from webui.checkpoints.lora_file import read_lora
from webui.checkpoints.rules import describe
from webui.networks.lora.changes import Kronecker, LowRank
from webui.networks.lora.matching import LayerTable, Match, match_layers

RANK, ALPHA = 1, 0.5
Spell = Callable[[str, str], str]
"""(part, dotted path with diffusers' or the original names) → what stands before the dot of
``lora_down``; parts are ``unet``, ``text`` and ``text_2``."""


def flat(unet_prefix: str, text_prefix: str, text_2_prefix: str = "") -> Spell:
    prefixes = {"unet": unet_prefix, "text": text_prefix, "text_2": text_2_prefix}
    return lambda part, path: f"{prefixes[part]}_{path.replace('.', '_')}"


def dotted(unet_prefix: str, text_prefix: str, text_2_prefix: str = "") -> Spell:
    prefixes = {"unet": unet_prefix, "text": text_prefix, "text_2": text_2_prefix}
    return lambda part, path: f"{prefixes[part]}.{path}"


@dataclass(frozen=True)
class Layout:
    """How one program writes a file.

    Attributes:
        original: U-Net layers have the names of the original checkpoints.
        down, up: Ends of the two halves' names.
        has_alpha: Each layer has one in the file.
        is_kronecker: The layers are LoKr's, not LoRA's.
        has_text: Text encoders are trained too.
    """

    spell: Spell
    original: bool = False
    down: str = "lora_down.weight"
    up: str = "lora_up.weight"
    has_alpha: bool = True
    is_kronecker: bool = False
    has_text: bool = True
    dtype: torch.dtype = torch.float16
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    adapter_config: Mapping[str, Any] | None = None


PEFT = {"r": RANK, "lora_alpha": ALPHA, "peft_type": "LORA", "use_rslora": False}
AI_TOOLKIT = {"software": '{"name": "ai-toolkit"}', "format": "pt", "ss_output_name": "it"}
DIFFUSERS = {
    "format": "pt",
    "lora_adapter_metadata": json.dumps(
        {
            f"{part}.{key}": value
            for part in ("unet", "text_encoder", "text_encoder_2")
            for key, value in PEFT.items()
        }
    ),
}
SD1 = {
    "kohya": Layout(flat("lora_unet", "lora_te"), metadata={"ss_base_model_version": "sd_v1"}),
    "diffusers' export for kohya": Layout(flat("lora_unet", "lora_te1")),
    "diffusers": Layout(
        dotted("unet", "text_encoder"), down="lora_A.weight", up="lora_B.weight",
        has_alpha=False, metadata=DIFFUSERS,
    ),
    "PEFT": Layout(
        lambda part, path: f"base_model.model.{path}", down="lora_A.default.weight",
        up="lora_B.default.weight", has_alpha=False, adapter_config=PEFT,
    ),
    "OneTrainer": Layout(flat("lora_unet", "lora_te"), dtype=torch.float32),
    "OneTrainer OMI": Layout(
        dotted("unet", "clip_l"), original=True, dtype=torch.float32
    ),
    "ai-toolkit": Layout(
        flat("lora_unet", "lora_te"), metadata={**AI_TOOLKIT, "ss_base_model_version": "sd_1.5"}
    ),
    "ai-toolkit LoKr": Layout(
        flat("lora_unet", "lora_te"), is_kronecker=True,
        metadata={**AI_TOOLKIT, "ss_base_model_version": "sd_1.5"},
    ),
    "SimpleTuner": Layout(flat("lycoris", ""), is_kronecker=True, has_text=False),
    "ComfyUI": Layout(dotted("diffusion_model", "text_encoders.clip_l.transformer"), original=True),
}  # fmt: skip
SDXL = {
    "kohya": Layout(
        flat("lora_unet", "lora_te1", "lora_te2"), original=True,
        metadata={"ss_base_model_version": "sdxl_base_v1-0"},
    ),
    "diffusers": Layout(
        dotted("unet", "text_encoder", "text_encoder_2"), down="lora_A.weight",
        up="lora_B.weight", has_alpha=False, metadata=DIFFUSERS,
    ),
    "OneTrainer": Layout(flat("lora_unet", "lora_te1", "lora_te2"), dtype=torch.float32),
    "OneTrainer OMI": Layout(
        dotted("unet", "clip_l", "clip_g"), original=True, dtype=torch.float32
    ),
    "ai-toolkit": Layout(
        flat("lora_unet", "lora_te1", "lora_te2"), original=True,
        metadata={**AI_TOOLKIT, "ss_base_model_version": "sdxl_1.0"},
    ),
    "ai-toolkit LoKr": Layout(
        flat("lora_unet", "lora_te1", "lora_te2"), original=True, is_kronecker=True,
        metadata={**AI_TOOLKIT, "ss_base_model_version": "sdxl_1.0"},
    ),
    "ComfyUI": Layout(
        dotted("diffusion_model", "text_encoders.clip_l.transformer",
               "text_encoders.clip_g.transformer"),
        original=True,
    ),
}  # fmt: skip
LAYOUTS = [("sd15", name, layout) for name, layout in SD1.items()] + [
    ("sdxl", name, layout) for name, layout in SDXL.items()
]


@cache
def tables(family: str) -> dict[str, LayerTable]:
    found = {"unet": unet(family), "text": text(768, 12, 1)}
    return found if family == "sd15" else {**found, "text_2": text(1280, 32, 2)}


@cache
def trained(family: str, has_text: bool) -> list[tuple[str, str, tuple[int, ...]]]:
    """(part, path in the network, shape of the weight) of every layer that LoRAs train."""
    known = tables(family)
    found = []
    for where, part in (("unet", "unet"), ("text_encoder", "text"))[: 1 + has_text]:
        for name, *_ in reference()[family][where]:
            own = "text_2" if name.startswith("lora_te2_") else part
            path = known[own].names[name]
            found.append((own, path, known[own].shapes[path]))
    return found


def written(part: str, path: str, *, original: bool, family: str) -> str:
    """The dotted path as trainers write it."""
    if part != "unet":
        return path if path.startswith("text_model.") else f"text_model.{path}"
    return original_paths(family)[path] if original else path


@cache
def original_paths(family: str) -> dict[str, str]:
    """diffusers' path of every U-Net layer → the original one, told by the specification's map
    and not by the code under test."""
    attention_levels = {"sd15": (0, 1, 2), "sdxl": (1, 2)}[family]
    levels = {"sd15": 4, "sdxl": 3}[family]
    parts = {
        "conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1",
        "conv_shortcut": "skip_connection",
    }  # fmt: skip
    heads: dict[str, str] = {"mid_block.attentions.0": "middle_block.1"}
    heads |= {"mid_block.resnets.0": "middle_block.0", "mid_block.resnets.1": "middle_block.2"}
    for level in range(levels):
        for i in range(2):
            number = 1 + 3 * level + i
            heads[f"down_blocks.{level}.resnets.{i}"] = f"input_blocks.{number}.0"
            heads[f"down_blocks.{level}.attentions.{i}"] = f"input_blocks.{number}.1"
        heads[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{3 + 3 * level}.0.op"
        for i in range(3):
            number = 3 * level + i
            heads[f"up_blocks.{level}.resnets.{i}"] = f"output_blocks.{number}.0"
            heads[f"up_blocks.{level}.attentions.{i}"] = f"output_blocks.{number}.1"
        place = 2 if levels - 1 - level in attention_levels else 1
        heads[f"up_blocks.{level}.upsamplers.0.conv"] = (
            f"output_blocks.{2 + 3 * level}.{place}.conv"
        )
    found = {}
    for path in unet(family).shapes:
        head = next((h for h in heads if path == h or path.startswith(f"{h}.")), None)
        if head is not None:
            rest = path.removeprefix(head).removeprefix(".")
            rest = parts.get(rest, rest)
            found[path] = f"{heads[head]}.{rest}" if rest else heads[head]
    return found


def sign(number: int) -> float:
    """A value that float16 holds exactly and no other layer's is equal to."""
    return (number + 1) / 1024


def tensors_of(layout: Layout, family: str) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number, (part, path, shape) in enumerate(trained(family, layout.has_text)):
        name = layout.spell(part, written(part, path, original=layout.original, family=family))
        rows, *rest = shape
        if layout.is_kronecker:
            tensors[f"{name}.lokr_w1"] = torch.full((2, 2), sign(number))
            tensors[f"{name}.lokr_w2_a"] = torch.ones(rows // 2, RANK)
            tensors[f"{name}.lokr_w2_b"] = torch.ones(RANK, rest[0] // 2 * math.prod(rest[1:]))
        else:
            tensors[f"{name}.{layout.down}"] = torch.ones(RANK, *rest)
            up = (rows, RANK, 1, 1) if len(shape) == 4 else (rows, RANK)
            tensors[f"{name}.{layout.up}"] = torch.full(up, sign(number))
        if layout.has_alpha:
            tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
    return {name: tensor.to(layout.dtype) for name, tensor in tensors.items()}


def read(layout: Layout, family: str, folder: Path) -> Match:
    path = folder / "it.safetensors"
    save_file(tensors_of(layout, family), path, dict(layout.metadata))
    if layout.adapter_config is not None:
        (folder / "adapter_config.json").write_text(json.dumps(layout.adapter_config))
    found = describe(read_header(path))
    assert found.kind == "lora"
    assert found.family == {"sd15": "sd1", "sdxl": "sdxl"}[family] or not layout.metadata
    file = read_lora(path)
    assert file.unknown == ()
    return match_layers(file, tables(family))


@pytest.mark.parametrize(
    ("family", "name", "layout"), LAYOUTS, ids=[f"{f}-{n}" for f, n, _ in LAYOUTS]
)
def test_every_layer_of_a_trainers_file_lands_where_it_was_trained(
    family: str, name: str, layout: Layout, tmp_path: Path
) -> None:
    match = read(layout, family, tmp_path)

    wanted = trained(family, layout.has_text)
    assert (match.applied, match.total) == (len(wanted), len(wanted))
    for number, (part, path, _) in enumerate(wanted):
        assert added(match.layers[part][path].weight) == sign(number) * ALPHA / RANK, path


def added(change: Any) -> float:
    """The first number that is added to a layer's weight."""
    if isinstance(change, Kronecker):
        assert change.w1 is not None and change.w2_a is not None and change.w2_b is not None
        return float(change.w1[0, 0] * change.w2_a[0, 0] * change.w2_b[0, 0]) * change.factor
    assert isinstance(change, LowRank)
    return float(change.up.flatten()[0] * change.down.flatten()[0]) * change.factor
