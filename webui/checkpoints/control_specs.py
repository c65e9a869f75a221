"""The shape of a ControlNet, read from the shapes of its tensors; no torch.

A ControlNet is the way down of a U-Net, a small network that reads the map, and a convolution at
each place where it adds to the U-Net. Files hold it under the original names (``control_model.``
before them or nothing) or under diffusers'; whole, or as what it has more than the U-Net whose way
down it began as: of that, differences, or two small matrices for each large one (Control-LoRA).

Source:
    Zhang et al. 2023, arXiv 2302.05543; cldm_v15.yaml; diffusers' ControlNetModel. Differences:
    kohya-ss, ControlNet-diff-modules (a tensor ``difference`` marks them); Control-LoRA:
    stabilityai/control-lora (``lora_controlnet`` marks it; ``<layer>.up`` and ``<layer>.down``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from webui.checkpoints.families import FAMILIES
from webui.checkpoints.headers import Header, TensorInfo, read_header
from webui.checkpoints.lite_specs import TITLE as LITE
from webui.checkpoints.lite_specs import LiteSpec, read_lite
from webui.checkpoints.rules import describe
from webui.checkpoints.specs import Shapes, SpecError, UNetSpec, read_way_down, stated_config
from webui.errors import UnknownArchitectureError
from webui.networks.lora.names import original_unet_names

PREFIX: Final = "control_model."
HINT, DIFFUSERS_HINT = "input_hint_block.", "controlnet_cond_embedding."
MAP_CHANNELS: Final = 3
CELL: Final = 8
"""Pixels of the map on each side of what becomes one of the U-Net's."""
POOLED_WORD: Final = "shuffle"
"""ControlNets whose file is named so take the average over the map (control_v11e_sd15_shuffle.yaml:
global_average_pooling)."""
CHOOSE_CONTROLNET: Final = (
    "Choose a ControlNet of lllyasviel's, kohya's or diffusers' kind, for SD 1.x, SD 2.x or SDXL."
)
Over = Literal["", "difference", "lora"]
"""In which way the rest is stored; '' = a ControlNet is whole."""
DIFFERENCE: Final = "the difference of a ControlNet to a checkpoint"
LORA: Final = "a Control-LoRA"
_USABLE: Final[Mapping[str, Over]] = {"a ControlNet": "", DIFFERENCE: "difference", LORA: "lora"}
UP, DOWN = ".up", ".down"


@dataclass(frozen=True)
class ControlSpec:
    """Everything needed to build an empty ControlNet that a file's weights fit into.

    Attributes:
        family: ``sd1``, ``sd2`` or ``sdxl``.
        prefix: What the original names begin with.
        is_diffusers: The names are diffusers'.
        unet: Of its way down and its middle.
        hint_channels: Widths of the network that reads the map, outermost first.
        is_pooled: It adds one average for the whole picture, to the prompt's half alone.
        is_bgr: It reads the map's channels in the other order.
        over: It is stored as what it has more than the U-Net of a checkpoint.
    """

    family: str
    prefix: str
    is_diffusers: bool
    unet: UNetSpec
    hint_channels: tuple[int, ...]
    is_pooled: bool = False
    is_bgr: bool = False
    over: Over = ""

    @property
    def title(self) -> str:
        """In words: "a ControlNet for SDXL"."""
        what = {"difference": "the difference of a ControlNet", "lora": LORA}
        return f"{what.get(self.over, 'a ControlNet')} for {FAMILIES[self.family].title}"

    def config(self) -> dict[str, Any]:
        """Arguments for diffusers' ControlNetModel."""
        config = self.unet.config()
        for name in ("sample_size", "out_channels", "up_block_types"):
            del config[name]
        if not self.unet.middle_depth:
            config["transformer_layers_per_block"] = 1
            config["mid_block_type"] = "UNetMidBlock2D"
        return {
            **config,
            "conditioning_channels": MAP_CHANNELS,
            "conditioning_embedding_out_channels": self.hint_channels,
            "global_pool_conditions": self.is_pooled,
            "controlnet_conditioning_channel_order": "bgr" if self.is_bgr else "rgb",
        }

    def misfit(self, unet: UNetSpec, family: str) -> str:
        """Why it cannot guide that U-Net, in words; '' when it can."""
        if family != self.family:
            return f"it is for {FAMILIES[self.family].title}"
        own = self.unet
        same = (own.channels, own.res_blocks, own.vector_dim)
        if same != (unet.channels, unet.res_blocks, unet.vector_dim) or (
            own.context_dim not in (0, unet.context_dim)
        ):
            return "it is for a U-Net of other widths"
        if self.over and (own.depths, own.middle_depth) != (unet.depths, unet.middle_depth):
            return "it is for a U-Net of other depths"
        return ""


GuideSpec = ControlSpec | LiteSpec
"""Of whatever a control unit may name."""


def identify_controlnet(path: Path) -> GuideSpec:
    """The shape of the ControlNet in a file.

    Raises:
        CheckpointError: Unreadable or unsafe.
        UnknownArchitectureError: It is something else; the message says what.
    """
    return read_controlnet(read_header(path))


def read_controlnet(header: Header) -> GuideSpec:
    """``identify_controlnet`` for a header.

    Raises:
        UnknownArchitectureError: It is no ControlNet that can be used here.
    """
    name, what = header.path.name, describe(header)
    if what.title not in (*_USABLE, LITE):
        raise UnknownArchitectureError(
            f"{name} is {what.title}, which cannot guide pictures here.",
            CHOOSE_CONTROLNET,
            path=str(header.path),
            closest=[what.title],
        )
    try:
        return read_lite(header) if what.title == LITE else _read(header, _USABLE[what.title])
    except SpecError as err:
        raise UnknownArchitectureError(
            f"{name} looks like {what.title}, but {err}.",
            "The file may be incomplete: download it again, or choose another one.",
            path=str(header.path),
            closest=[what.title],
        ) from err


def _read(header: Header, over: Over) -> ControlSpec:
    is_diffusers = any(name.startswith(DIFFUSERS_HINT) for name in header.tensors)
    prefix = PREFIX if any(name.startswith(PREFIX) for name in header.tensors) else ""
    tensors = _original(header.tensors) if is_diffusers else _below(prefix, header.tensors)
    if over == "lora":
        tensors = multiplied(tensors)
    config = _config_beside(header.path) if is_diffusers else {}
    stated = _stated(header, config)
    shape = read_way_down(tensors, 0, stated)
    family = _family(shape)
    if family != "sd1":
        shape = read_way_down(tensors, FAMILIES[family].head_width, stated)
    if shape.in_channels != 4:
        raise SpecError(f"it takes {shape.in_channels} channels instead of 4")
    hint = _hint_channels(header.tensors, f"{prefix}{HINT}", is_diffusers=is_diffusers)
    return ControlSpec(
        family,
        prefix,
        is_diffusers,
        replace(shape, out_channels=4),
        hint,
        is_pooled=config.get("global_pool_conditions", POOLED_WORD in header.path.stem.lower()),
        is_bgr=config.get("controlnet_conditioning_channel_order") == "bgr",
        over=over,
    )


def _family(shape: UNetSpec) -> str:
    if shape.vector_dim:
        return "sdxl"
    return "sd2" if shape.linear_projection or shape.context_dim == 1024 else "sd1"


def _below(prefix: str, tensors: Shapes) -> Shapes:
    cut = len(prefix)
    return {name[cut:]: info for name, info in tensors.items() if name.startswith(prefix)}


def _original(tensors: Shapes) -> dict[str, TensorInfo]:
    """Diffusers' names as the original ones, those of the map's network left out."""
    layers = original_unet_names({name.rpartition(".")[0] for name in tensors})
    found: dict[str, TensorInfo] = {}
    for name, info in tensors.items():
        layer, _, leaf = name.rpartition(".")
        if layer in layers:
            found[f"{layers[layer]}.{leaf}"] = info
    return found


def multiplied(tensors: Shapes) -> dict[str, TensorInfo]:
    """A Control-LoRA's tensors, its pairs of small matrices as the weights they add to."""
    found: dict[str, TensorInfo] = {}
    for name, info in tensors.items():
        layer = name.removesuffix(UP)
        down = tensors.get(layer + DOWN)
        if name.endswith(UP) and down is not None and info.shape and len(down.shape) > 1:
            found[f"{layer}.weight"] = TensorInfo(info.dtype, (info.shape[0], *down.shape[1:]))
        elif not name.endswith(DOWN):
            found[name] = info
    return found


def _hint_channels(tensors: Shapes, prefix: str, *, is_diffusers: bool) -> tuple[int, ...]:
    """Widths of the map's network: of its first layer, and after each that halves the map."""
    if is_diffusers:
        names = [f"{DIFFUSERS_HINT}conv_in.weight"]
        names += [f"{DIFFUSERS_HINT}blocks.{2 * i + 1}.weight" for i in range(3)]
    else:
        names = [f"{prefix}{place}.weight" for place in (0, 4, 8, 12)]
    missing = [name for name in names if name not in tensors]
    if missing:
        raise SpecError(f"{missing[0]!r} is missing")
    for name in names:
        if len(tensors[name].shape) != 4:
            raise SpecError(f"{name!r} is no convolution")
    if tensors[names[0]].shape[1] != MAP_CHANNELS:
        raise SpecError(f"its maps have {tensors[names[0]].shape[1]} channels instead of 3")
    return tuple(tensors[name].shape[0] for name in names)


def _stated(header: Header, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Heads and groups, where the file or diffusers' configuration beside it states them."""
    stated = dict(stated_config(header.metadata).get("unet", {}))
    for ours, theirs in (("num_heads", "attention_head_dim"), ("norm_num_groups",) * 2):
        if isinstance(config.get(theirs), int):
            stated[ours] = config[theirs]
    return stated


def _config_beside(path: Path) -> dict[str, Any]:
    """Diffusers' configuration of a network that lies in a folder of its own; {} without one."""
    try:
        value = json.loads((path.parent / "config.json").read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    is_own = isinstance(value, dict) and value.get("_class_name") == "ControlNetModel"
    return value if is_own else {}
