"""Small ControlNets of random numbers, built by diffusers alone, in every form people get them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from webui.networks.lora.names import original_unet_names


def controlnet_for(unet: UNet2DConditionModel, seed: int = 5) -> ControlNetModel:
    """A U-Net's own way down, with a random network that reads maps and random outputs."""
    torch.manual_seed(seed)
    control = ControlNetModel.from_unet(unet)
    for name, weight in control.named_parameters():
        if "controlnet_" in name:  # zero at first, so that it changed nothing
            weight.data = torch.randn_like(weight) * (0.02 if weight.ndim > 1 else 0.01)
    return control.eval().requires_grad_(False)


def original_state(control: Any) -> dict[str, Tensor]:
    """All weights under lllyasviel's names, without prefix."""
    state = control.state_dict()
    layers = original_unet_names({name.rpartition(".")[0] for name in state})
    layers |= {f"controlnet_cond_embedding.blocks.{i}": f"input_hint_block.{2 + 2 * i}"
               for i in range(6)}  # fmt: skip
    layers |= {
        "controlnet_cond_embedding.conv_in": "input_hint_block.0",
        "controlnet_cond_embedding.conv_out": "input_hint_block.14",
        "controlnet_mid_block": "middle_block_out.0",
    }
    layers |= {f"controlnet_down_blocks.{i}": f"zero_convs.{i}.0" for i in range(20)}
    found = {}
    for name, tensor in state.items():
        layer, _, leaf = name.rpartition(".")
        found[f"{layers[layer]}.{leaf}"] = tensor
    return found


def stated(unet: Any) -> dict[str, str]:
    """What a file says of itself that its shapes do not show."""
    config = {"num_heads": unet.config.attention_head_dim,
              "norm_num_groups": unet.config.norm_num_groups}  # fmt: skip
    return {"starter_config": json.dumps({"unet": config})}


def write(control: Any, path: Path, prefix: str = "control_model.") -> Path:
    """As lllyasviel's and kohya's files: original names."""
    state = {prefix + name: tensor.contiguous() for name, tensor in original_state(control).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path, stated(control))
    return path
