"""Load a ControlNet: identify its file, build an empty network of its shape, fill it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel

from webui.checkpoints.control_specs import (
    DIFFUSERS_HINT,
    HINT,
    ControlSpec,
    identify_controlnet,
    read_controlnet,
)
from webui.checkpoints.conversion import Source, unet_names, whole
from webui.checkpoints.headers import Header
from webui.checkpoints.load import telling_lack_of_memory
from webui.checkpoints.load_parts import Place, filled
from webui.checkpoints.weights import open_weights
from webui.networks.packing import pack_weights

_LEAVES = ("weight", "bias")


@dataclass(frozen=True)
class LoadedControlNet:
    """A ControlNet in memory.

    Attributes:
        network: Call with latents, timestep, text states and the map (B, 3, H, W) of 0–1; gives
            what is added to the U-Net's way down, and to its middle.
    """

    spec: ControlSpec
    network: ControlNetModel
    path: Path


def load_controlnet(
    path: Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> LoadedControlNet:
    """Load a ControlNet's file.

    Raises:
        CheckpointError: Unreadable, unsafe, damaged, or something else.
        DeviceMemoryError: The device is full.
    """
    at = Place(torch.device(device), dtype)
    with telling_lack_of_memory(path, at.device), open_weights(path) as weights:
        spec = read_controlnet(weights.header)
        network = filled(_empty(spec), weights, _sources(weights.header, spec), at)
    if at.device.type == "cpu":
        pack_weights(network)
    elif at.device.type in ("cuda", "xpu"):
        network.to(memory_format=torch.channels_last)
    return LoadedControlNet(spec, network, path)


def controlnet_bytes(path: Path, dtype: torch.dtype) -> int:
    """Memory a ControlNet will need, from its header alone.

    Raises:
        CheckpointError: As ``load_controlnet``.
    """
    tensors = _empty(identify_controlnet(path)).state_dict().values()
    return sum(math.prod(tensor.shape) for tensor in tensors) * dtype.itemsize


def _empty(spec: ControlSpec) -> ControlNetModel:
    with torch.device("meta"):
        return ControlNetModel(**spec.config())


def _sources(header: Header, spec: ControlSpec) -> dict[str, Source]:
    """Diffusers' name of each tensor → where it is."""
    if spec.is_diffusers:
        return whole({name: name for name in header.tensors})
    cut = len(spec.prefix)
    plain = {name[cut:] for name in header.tensors if name.startswith(spec.prefix)}
    names = {new: old for old, new in unet_names(plain, spec.unet).items()}
    names |= {new: old for new, old in _own_names(spec).items() if old in plain}
    return whole({new: spec.prefix + old for new, old in names.items()})


def _own_names(spec: ControlSpec) -> dict[str, str]:
    """Diffusers' names of what a U-Net does not have → the original ones."""
    layers = {f"{DIFFUSERS_HINT}conv_in": f"{HINT}0", f"{DIFFUSERS_HINT}conv_out": f"{HINT}14"}
    layers |= {f"{DIFFUSERS_HINT}blocks.{i}": f"{HINT}{2 * i + 2}" for i in range(6)}
    outputs = len(spec.unet.channels) * (spec.unet.res_blocks + 1)
    layers |= {f"controlnet_down_blocks.{i}": f"zero_convs.{i}.0" for i in range(outputs)}
    layers |= {"controlnet_mid_block": "middle_block_out.0"}
    return {f"{new}.{leaf}": f"{old}.{leaf}" for new, old in layers.items() for leaf in _LEAVES}
