"""Load a ControlNet: identify its file, build an empty network of its shape, fill it.

One that is stored as what it has more than a checkpoint's U-Net is filled from both files, tensor
by tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor, nn

from webui.checkpoints.control_specs import (
    DIFFUSERS_HINT,
    DOWN,
    HINT,
    UP,
    ControlSpec,
    GuideSpec,
    identify_controlnet,
    read_controlnet,
)
from webui.checkpoints.conversion import Source, unet_names, whole
from webui.checkpoints.headers import Header
from webui.checkpoints.identify import identify_file
from webui.checkpoints.lite_specs import LiteSpec
from webui.checkpoints.load import telling_lack_of_memory
from webui.checkpoints.load_parts import Place, filled, part_files, reshaped
from webui.checkpoints.weights import RenamedWeights, Weights, open_weights
from webui.errors import CheckpointError
from webui.networks.lllite import LiteError, LiteNetwork
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


@dataclass(frozen=True)
class LoadedLite:
    """A ControlLLLite in memory; see ``networks.lllite``."""

    spec: LiteSpec
    network: LiteNetwork
    path: Path


LoadedGuide = LoadedControlNet | LoadedLite
"""What a control unit names."""


def load_controlnet(
    path: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    base: Path | None = None,
) -> LoadedGuide:
    """Load a ControlNet's file.

    Args:
        base: The checkpoint it guides; wanted where ``ControlSpec.over`` is not empty.
    Raises:
        CheckpointError: Unreadable, unsafe, damaged, or something else.
        DeviceMemoryError: The device is full.
    """
    at = Place(torch.device(device), dtype)
    with telling_lack_of_memory(path, at.device), open_weights(path) as weights:
        spec = read_controlnet(weights.header)
        if isinstance(spec, LiteSpec):
            names = whole({f"layers.{name}": name for name in spec.shapes})
            return LoadedLite(spec, filled(_empty(spec, path), weights, names, at), path)
        network: Any = _empty(spec, path)
        if spec.over:
            assert base is not None, "what it is more than must be told"
            network = _filled_over(network, weights, spec, base, at)
        else:
            network = filled(network, weights, _sources(weights.header, spec), at)
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
    tensors = _empty(identify_controlnet(path), path).state_dict().values()
    return sum(math.prod(tensor.shape) for tensor in tensors) * dtype.itemsize


def _empty(spec: GuideSpec, path: Path) -> nn.Module:
    with torch.device("meta"):
        if isinstance(spec, ControlSpec):
            return ControlNetModel(**spec.config())
        try:
            return LiteNetwork(spec.shapes)
        except LiteError as err:
            raise CheckpointError(
                f"{path.name} looks like {spec.title}, but {err}.",
                "The file may be incomplete: download it again, or choose another one.",
                path=str(path),
            ) from err


def _filled_over(
    network: nn.Module, weights: Weights, spec: ControlSpec, base: Path, at: Place
) -> Any:
    """A network of a checkpoint's weights and what a file has more.

    Raises:
        CheckpointError: A tensor is missing, or of another shape.
    """
    header, names = part_files(base, identify_file(base))["unet"]
    state: dict[str, Tensor] = {}
    with open_weights(header.path) as opened:
        over = _Over(weights, spec, RenamedWeights(opened, names))
        for name, empty in network.state_dict().items():
            found = over.read(name, empty.shape)
            if found is None:
                raise CheckpointError(
                    f"{weights.header.path.name} cannot be added to {base.stem}: {name} is missing "
                    "or of another shape.",
                    "Choose a checkpoint of the family it was made for, or get it again.",
                    path=str(weights.header.path),
                )
            state[name] = found.to(at.device, at.dtype)
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


class _Over:
    """The tensors of a ControlNet that is stored as what it has more than a U-Net.

    Args:
        under: Of the U-Net, by diffusers' names.
    """

    def __init__(self, weights: Weights, spec: ControlSpec, under: RenamedWeights) -> None:
        self._weights = weights
        self._own = RenamedWeights(weights, _sources(weights.header, spec))
        self._pairs = _pairs(weights.header, spec)
        self._is_lora = spec.over == "lora"
        self._under = under

    def read(self, name: str, shape: torch.Size) -> Tensor | None:
        """A tensor by diffusers' name; None when it is missing, or of another shape."""
        has_own, has_under = name in self._own.sources, name in self._under.sources
        if has_own and (self._is_lora or not has_under):
            return reshaped(self._own.read(name), shape)
        if not has_under or not (has_own or self._is_lora):
            return None
        base = self._base(name, shape)
        if self._is_lora and name not in self._pairs:
            return base
        more = reshaped(self._own.read(name), shape) if has_own else self._product(name, shape)
        return None if base is None or more is None else base.float() + more.float()

    def _base(self, name: str, shape: torch.Size) -> Tensor | None:
        """Of the first layer, what reads the latents alone."""
        stored = self._under.read(name)
        is_first = name == "conv_in.weight" and stored.ndim == len(shape)
        return reshaped(stored[:, : shape[1]] if is_first else stored, shape)

    def _product(self, name: str, shape: torch.Size) -> Tensor | None:
        layer = self._pairs[name]
        up, down = (self._weights.read(layer + end).float().flatten(1) for end in (UP, DOWN))
        fits = up.shape[1] == down.shape[0] and up.shape[0] * down.shape[1] == shape.numel()
        return (up @ down).reshape(shape) if fits else None


def _pairs(header: Header, spec: ControlSpec) -> Mapping[str, str]:
    """Diffusers' name of each weight that two small matrices add to → their layer."""
    layers = {n.removesuffix(UP) for n in header.tensors if n.endswith(UP)}
    layers = {layer for layer in layers if layer + DOWN in header.tensors}
    cut = len(spec.prefix)
    names = unet_names((f"{layer[cut:]}.weight" for layer in layers), spec.unet)
    return {new: spec.prefix + old.removesuffix(".weight") for old, new in names.items()}


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
