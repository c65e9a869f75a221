"""The shape of a model, read from the shapes of its tensors; no torch.

Widths, depths and channel counts show in the weights. Two things do not: the number of attention
heads and of normalisation groups. They follow from rules that hold for every SD 1.x file, and a
file may state them itself in the metadata key ``starter_config``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from webui.checkpoints.headers import TensorInfo

SD1_HEADS: Final = 8
"""SD 1.x has 8 heads at every level, whatever the width (v1-inference.yaml: num_heads)."""
CLIP_HEAD_WIDTH: Final = 64
"""All CLIP text encoders have heads of 64 channels."""
SD1_SCALING_FACTOR: Final = 0.18215
"""v1-inference.yaml: scale_factor."""

Shapes = Mapping[str, TensorInfo]


class SpecError(ValueError):
    """Shapes that do not make up the model they seem to be; the text says why."""


@dataclass(frozen=True)
class UNetSpec:
    """A U-Net of the SD 1.x/2.x kind.

    Attributes:
        channels: Width of each level, outermost first.
        res_blocks: Residual blocks of a level on the way down.
        attention: Which levels have cross-attention.
        heads: Attention heads, the same at every level.
        groups: Groups of every GroupNorm.
        linear_projection: Transformer in and out are matrices (SD 2.x), not 1×1 convolutions.
    """

    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    res_blocks: int
    attention: tuple[bool, ...]
    context_dim: int
    heads: int
    groups: int
    linear_projection: bool = False

    def config(self) -> dict[str, Any]:
        """Arguments for diffusers' UNet2DConditionModel."""
        down = ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in self.attention]
        up = ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(self.attention)]
        return {
            "sample_size": 64,
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "block_out_channels": self.channels,
            "layers_per_block": self.res_blocks,
            "down_block_types": tuple(down),
            "up_block_types": tuple(up),
            "cross_attention_dim": self.context_dim,
            "attention_head_dim": self.heads,  # diffusers' historic name for the head count
            "norm_num_groups": self.groups,
            "use_linear_projection": self.linear_projection,
        }


@dataclass(frozen=True)
class VaeSpec:
    """A KL autoencoder; ``channels`` outermost first."""

    channels: tuple[int, ...]
    res_blocks: int
    groups: int
    latent_channels: int = 4
    scaling_factor: float = SD1_SCALING_FACTOR

    def config(self) -> dict[str, Any]:
        """Arguments for diffusers' AutoencoderKL."""
        return {
            "block_out_channels": self.channels,
            "layers_per_block": self.res_blocks,
            "down_block_types": ("DownEncoderBlock2D",) * len(self.channels),
            "up_block_types": ("UpDecoderBlock2D",) * len(self.channels),
            "latent_channels": self.latent_channels,
            "norm_num_groups": self.groups,
            "scaling_factor": self.scaling_factor,
            "sample_size": 512,
        }


@dataclass(frozen=True)
class TextSpec:
    """A CLIP text encoder."""

    width: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int = 49408
    positions: int = 77

    def config(self) -> dict[str, Any]:
        """Arguments for transformers' CLIPTextConfig."""
        return {
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "max_position_embeddings": self.positions,
            "hidden_act": "quick_gelu",
            "projection_dim": self.width,
            "bos_token_id": 49406,
            "eos_token_id": 49407,
            "pad_token_id": 49407,
        }


@dataclass(frozen=True)
class ArchSpec:
    """Everything needed to build an empty model that a file's weights fit into.

    Attributes:
        family: ``sd1`` (others are recognised, not loaded).
        purpose: ``paint``, ``inpaint`` (9 input channels) or ``edit`` (8, InstructPix2Pix).
        layout: ``ldm`` (A1111's single file) or ``diffusers`` (a folder).
        prediction_type: ``epsilon`` or ``v_prediction``.
        zero_terminal_snr: The schedule was rescaled to end in pure noise.
        vae, text: None when the file holds no such part.
        dtype: Most frequent number format of the weights, safetensors' word.
    """

    family: str
    purpose: str
    layout: str
    prediction_type: str
    unet: UNetSpec
    vae: VaeSpec | None
    text: TextSpec | None
    dtype: str
    zero_terminal_snr: bool = False

    @property
    def in_channels(self) -> int:
        """Input channels of the U-Net: 4, 8 or 9."""
        return self.unet.in_channels

    @property
    def missing(self) -> tuple[str, ...]:
        """Parts the file does not hold."""
        parts = {"vae": self.vae, "text_encoder": self.text}
        return tuple(name for name, part in parts.items() if part is None)


def default_groups(base_channels: int) -> int:
    """GroupNorm groups: 32 in every full-size model, at least 4 channels a group in narrow ones.

    Source: the starter's recipe; 32 in ldm.modules.diffusionmodules.
    """
    return max(1, min(32, base_channels // 4))


def stated_config(metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The ``starter_config`` of a file's metadata, by part; empty when absent or unreadable."""
    try:
        value = json.loads(metadata.get("starter_config", "{}"))
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: part for name, part in value.items() if isinstance(part, dict)}


def _stated_number(part: Mapping[str, Any], name: str, otherwise: int) -> int:
    value = part.get(name)
    return value if type(value) is int and 0 < value <= 4096 else otherwise


def _shape(tensors: Shapes, name: str) -> tuple[int, ...]:
    if name not in tensors:
        raise SpecError(f"{name!r} is missing")
    return tensors[name].shape


def _dimension(tensors: Shapes, name: str, axis: int) -> int:
    shape = _shape(tensors, name)
    if axis >= len(shape):
        raise SpecError(f"{name!r} has the shape {list(shape)}")
    return shape[axis]


def read_unet(tensors: Shapes, stated: Mapping[str, Any]) -> UNetSpec:
    """Read a U-Net's shape from original (LDM) names without prefix.

    Raises:
        SpecError: The blocks do not make up a U-Net of this kind.
    """
    levels: list[list[tuple[int, bool]]] = [[]]
    block = 1
    while True:
        here = f"input_blocks.{block}.0"
        if f"{here}.op.weight" in tensors:
            levels.append([])
        elif f"{here}.out_layers.3.weight" in tensors:
            attention = f"input_blocks.{block}.1.norm.weight" in tensors
            width = _dimension(tensors, f"{here}.out_layers.3.weight", 0)
            levels[-1].append((width, attention))
        else:
            break
        block += 1
    if any(len(set(level)) != 1 or len(level) != len(levels[0]) for level in levels):
        raise SpecError("the levels of its U-Net are uneven")
    channels = tuple(level[0][0] for level in levels)
    cross = [n for n in tensors if n.endswith("attn2.to_k.weight")]
    if not cross:
        raise SpecError("its U-Net has no cross-attention")
    base = _dimension(tensors, "input_blocks.0.0.weight", 0)
    projections = [n for n in tensors if n.endswith(".1.proj_in.weight")]
    return UNetSpec(
        in_channels=_dimension(tensors, "input_blocks.0.0.weight", 1),
        out_channels=_dimension(tensors, "out.2.weight", 0),
        channels=channels,
        res_blocks=len(levels[0]),
        attention=tuple(level[0][1] for level in levels),
        context_dim=_dimension(tensors, cross[0], 1),
        heads=_stated_number(stated, "num_heads", SD1_HEADS),
        groups=_stated_number(stated, "norm_num_groups", default_groups(base)),
        linear_projection=len(_shape(tensors, projections[0])) == 2 if projections else False,
    )


def read_vae(tensors: Shapes, stated: Mapping[str, Any]) -> VaeSpec:
    """Read an autoencoder's shape from original (LDM) names without prefix.

    Raises:
        SpecError: The blocks do not make up an autoencoder of this kind.
    """
    channels: list[int] = []
    while (first := f"encoder.down.{len(channels)}.block.0.conv1.weight") in tensors:
        channels.append(_dimension(tensors, first, 0))
    if not channels:
        raise SpecError("its VAE has no encoder blocks")
    blocks = 0
    while f"encoder.down.0.block.{blocks}.conv1.weight" in tensors:
        blocks += 1
    factor = stated.get("scaling_factor")
    if not (isinstance(factor, float) and 0 < factor < 100):
        factor = SD1_SCALING_FACTOR
    return VaeSpec(
        channels=tuple(channels),
        res_blocks=blocks,
        groups=_stated_number(stated, "norm_num_groups", default_groups(channels[0])),
        latent_channels=_dimension(tensors, "decoder.conv_in.weight", 1),
        scaling_factor=factor,
    )


def read_text(tensors: Shapes, stated: Mapping[str, Any]) -> TextSpec:
    """Read a CLIP text encoder's shape from transformers' names without ``text_model.``.

    Raises:
        SpecError: The layers do not make up a CLIP text encoder.
    """
    layers = 0
    while f"encoder.layers.{layers}.mlp.fc1.weight" in tensors:
        layers += 1
    if not layers:
        raise SpecError("its text encoder has no layers")
    width = _dimension(tensors, "embeddings.token_embedding.weight", 1)
    return TextSpec(
        width=width,
        layers=layers,
        heads=_stated_number(stated, "heads", max(1, width // CLIP_HEAD_WIDTH)),
        intermediate=_dimension(tensors, "encoder.layers.0.mlp.fc1.weight", 0),
        vocabulary=_dimension(tensors, "embeddings.token_embedding.weight", 0),
        positions=_dimension(tensors, "embeddings.position_embedding.weight", 0),
    )
