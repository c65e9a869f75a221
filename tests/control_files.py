"""Small ControlNets of random numbers, built by diffusers alone, in every form people get them."""

from __future__ import annotations

import json
from collections.abc import Iterable
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
    layers = _original_layers({name.rpartition(".")[0] for name in state})
    found = {}
    for name, tensor in state.items():
        layer, _, leaf = name.rpartition(".")
        found[f"{layers[layer]}.{leaf}"] = tensor
    return found


def _original_layers(names: Iterable[str]) -> dict[str, str]:
    """lllyasviel's names of diffusers' layers."""
    layers = original_unet_names(names)
    layers |= {f"controlnet_cond_embedding.blocks.{i}": f"input_hint_block.{2 + 2 * i}"
               for i in range(6)}  # fmt: skip
    layers |= {
        "controlnet_cond_embedding.conv_in": "input_hint_block.0",
        "controlnet_cond_embedding.conv_out": "input_hint_block.14",
        "controlnet_mid_block": "middle_block_out.0",
    }
    return layers | {f"controlnet_down_blocks.{i}": f"zero_convs.{i}.0" for i in range(20)}


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


def lite_state(unet: Any, seed: int = 7) -> dict[str, Tensor]:
    """The tensors of a ControlLLLite as kohya's scripts write them: before queries, keys and values
    of attention to the picture, and queries of attention to the text, on the way down and in the
    middle."""
    generator = torch.Generator().manual_seed(seed)
    paths = [name for name, _ in unet.named_modules()]
    original = original_unet_names(paths)
    known, rank = 8, 6
    state: dict[str, Tensor] = {}
    for path in paths:
        is_meant = ".attn1.to_" in path or path.endswith(".attn2.to_q")
        if path.startswith("up_blocks") or "to_out" in path or not is_meant:
            continue
        name = "lllite_unet_" + original[path].replace(".", "_")
        width = unet.get_submodule(path).in_features
        shapes: dict[str, tuple[int, ...]] = {"conditioning1.0": (known // 2, 3, 4, 4)}
        if "middle" in name:
            shapes["conditioning1.2"] = (known // 2, known // 2, 4, 4)
            shapes["conditioning1.4"] = (known, known // 2, 2, 2)
        else:
            shapes["conditioning1.2"] = (known, known // 2, 4, 4)
        shapes |= {"down.0": (rank, width), "mid.0": (rank, rank + known), "up.0": (width, rank)}
        for layer, shape in shapes.items():
            scale = 2 / (torch.Size(shape[1:]).numel() ** 0.5)
            state[f"{name}.{layer}.weight"] = torch.randn(shape, generator=generator) * scale
            state[f"{name}.{layer}.bias"] = torch.randn(shape[:1], generator=generator) * 0.1
    return state


def over_unet(unet: Any, control: Any, form: str) -> dict[str, Tensor]:
    """A ControlNet as what it has more than the U-Net it began as, and the control is changed to
    what that makes it: as differences, or as two small matrices for each large one."""
    generator = torch.Generator().manual_seed(9)
    under, state = unet.state_dict(), control.state_dict()
    more: dict[str, Tensor] = {}
    for name in sorted(state.keys() & under.keys()):
        base = under[name]
        if form == "difference" or base.ndim == 1:
            change = torch.randn(base.shape, generator=generator) * 0.02
            more[name] = change if form == "difference" else base + change
            state[name] = base + change
        else:
            up = torch.randn(base.shape[0], 2, generator=generator) * 0.05
            down = torch.randn(2, *base.shape[1:], generator=generator) * 0.05
            wide = up.reshape(*up.shape, 1, 1) if base.ndim == 4 else up
            layer = name.removesuffix(".weight")
            more |= {f"{layer}.up": wide, f"{layer}.down": down}
            state[name] = base + (up @ down.flatten(1)).reshape(base.shape)
    more |= {name: state[name] for name in state.keys() - under.keys()}
    control.load_state_dict(state)
    layers = {name.rpartition(".")[0] for name in more}
    original = {layer: name for layer, name in _original_layers(layers).items() if layer in layers}
    named = {f"{original[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}": t for n, t in more.items()}
    if form == "difference":
        return {f"control_model.{n}": t for n, t in named.items()} | {"difference": torch.zeros(1)}
    return named | {"lora_controlnet": torch.zeros(0)}
