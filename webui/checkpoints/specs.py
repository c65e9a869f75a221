"""The shape of a model, read from the shapes of its tensors; no torch.

Widths, depths and channel counts show in the weights. Two things do not: the number of attention
heads and of normalisation groups. They follow from rules that hold for every file of a family, and
a file may state them itself in the metadata key ``starter_config``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from webui.checkpoints.families.model import DiffusionModel, TextPart
from webui.checkpoints.headers import TensorInfo

SD1_HEADS: Final = 8
"""SD 1.x has 8 heads at every level, whatever the width (v1-inference.yaml: num_heads)."""
CLIP_HEAD_WIDTH: Final = 64
"""All CLIP text encoders have heads of 64 channels."""
SD1_SCALING_FACTOR: Final = 0.18215
"""v1-inference.yaml: scale_factor; of VAE files that nothing else is known of."""
NUMBER_CHANNELS: Final = 256
"""Channels each number about a pass is spread over (sd_xl_base.yaml: outdim)."""

Shapes = Mapping[str, TensorInfo]


class SpecError(ValueError):
    """Shapes that do not make up the model they seem to be; the text says why."""


@dataclass(frozen=True)
class UNetSpec:
    """A U-Net of Stable Diffusion's kind, from SD 1.x to SDXL.

    Attributes:
        channels: Width of each level, outermost first.
        res_blocks: Residual blocks of a level on the way down.
        depths: Transformer layers with cross-attention after each residual block of a level; 0 =
            the level has no attention.
        heads: Attention heads, of all levels or of each.
        groups: Groups of every GroupNorm.
        linear_projection: Transformer in and out are matrices (SD 2.x), not 1×1 convolutions.
        middle_depth: Transformer layers in the middle.
        vector_dim: Width of the vector it is told beside the text, 0 = none.
    """

    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    res_blocks: int
    depths: tuple[int, ...]
    context_dim: int
    heads: int | tuple[int, ...]
    groups: int
    linear_projection: bool = False
    middle_depth: int = 1
    vector_dim: int = 0

    @property
    def heads_by_level(self) -> tuple[int, ...]:
        """Attention heads of each level."""
        return (self.heads,) * len(self.channels) if isinstance(self.heads, int) else self.heads

    def config(self) -> dict[str, Any]:
        """Arguments for diffusers' UNet2DConditionModel."""
        down = ["CrossAttnDownBlock2D" if d else "DownBlock2D" for d in self.depths]
        up = ["CrossAttnUpBlock2D" if d else "UpBlock2D" for d in reversed(self.depths)]
        layers = [*(depth or 1 for depth in self.depths[:-1]), self.middle_depth]
        return {
            "sample_size": 64,
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "block_out_channels": self.channels,
            "layers_per_block": self.res_blocks,
            "down_block_types": tuple(down),
            "up_block_types": tuple(up),
            "transformer_layers_per_block": tuple(layers),  # the last is the middle's, too
            "cross_attention_dim": self.context_dim,
            "attention_head_dim": self.heads,  # diffusers' historic name for the head count
            "norm_num_groups": self.groups,
            "use_linear_projection": self.linear_projection,
            **(self._vector_config() if self.vector_dim else {}),
        }

    def _vector_config(self) -> dict[str, Any]:
        return {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": NUMBER_CHANNELS,
            "projection_class_embeddings_input_dim": self.vector_dim,
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
    """A CLIP text encoder, of OpenAI or OpenCLIP.

    Attributes:
        activation: transformers' word; OpenAI's have their own.
        projection: Width of the pooled vector after its projection; 0 = not taken.
    """

    width: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int = 49408
    positions: int = 77
    activation: str = "quick_gelu"
    projection: int = 0

    def config(self) -> dict[str, Any]:
        """Arguments for transformers' CLIPTextConfig."""
        return {
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "max_position_embeddings": self.positions,
            "hidden_act": self.activation,
            "projection_dim": self.projection or self.width,
            "bos_token_id": 49406,
            "eos_token_id": 49407,
            "pad_token_id": 49407,
        }


@dataclass(frozen=True)
class ArchSpec:
    """Everything needed to build an empty model that a file's weights fit into.

    Attributes:
        family: Key of ``families.FAMILIES``.
        purpose: ``paint``, ``inpaint`` (9 input channels) or ``edit`` (8, InstructPix2Pix).
        layout: ``ldm`` (A1111's single file) or ``diffusers`` (a folder).
        prediction_type: ``epsilon``, ``v_prediction``, or ``ask``: only the weights tell.
        zero_terminal_snr: The schedule was rescaled to end in pure noise.
        vae: None when the file holds none.
        texts: Text encoders in the family's order; empty when the file does not hold them all.
        dtype: Most frequent number format of the weights, safetensors' word.
    """

    family: str
    purpose: str
    layout: str
    prediction_type: str
    unet: UNetSpec
    vae: VaeSpec | None
    texts: tuple[TextSpec, ...]
    dtype: str
    zero_terminal_snr: bool = False

    @property
    def in_channels(self) -> int:
        """Input channels of the U-Net: 4, 8 or 9."""
        return self.unet.in_channels

    @property
    def missing(self) -> tuple[str, ...]:
        """Parts the file does not hold."""
        parts = {"vae": self.vae, "text_encoder": self.texts}
        return tuple(name for name, part in parts.items() if not part)


def default_groups(base_channels: int) -> int:
    """GroupNorm groups: 32 in every full-size model, at least 4 channels a group in narrow ones.

    Source: the starter's recipe; 32 in ldm.modules.diffusionmodules.
    """
    return max(1, min(32, base_channels // 4))


def stated_config(metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The ``starter_config`` of a file's metadata, by part; empty when absent or unreadable."""
    try:
        value = json.loads(metadata.get("starter_config", "{}"))
    except (ValueError, RecursionError):
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


def read_unet(tensors: Shapes, family: DiffusionModel, stated: Mapping[str, Any]) -> UNetSpec:
    """Read a U-Net's shape from original (LDM) names without prefix.

    Raises:
        SpecError: The blocks do not make up a U-Net of this kind.
    """
    spec = read_way_down(tensors, family.head_width, stated)
    if not any(spec.depths) or not spec.middle_depth:
        raise SpecError("its U-Net has no cross-attention")
    if _is_uneven_upwards(tensors, spec):
        raise SpecError("the transformers in its U-Net are thinned out")
    return replace(spec, out_channels=_dimension(tensors, "out.2.weight", 0))


def read_way_down(tensors: Shapes, head_width: int, stated: Mapping[str, Any]) -> UNetSpec:
    """Read what a U-Net's way down and its middle show, which is all but its outputs.

    Args:
        head_width: As ``DiffusionModel`` has it.
    Raises:
        SpecError: The blocks do not make up a U-Net of this kind.
    """
    depths = _transformer_depths(tensors)
    levels = _levels(tensors, depths)
    if any(len(set(level)) != 1 or len(level) != len(levels[0]) for level in levels):
        raise SpecError("the levels of its U-Net are uneven")
    channels, level_depths = zip(*(level[0] for level in levels), strict=True)
    middle = depths.get("middle_block.1", 0)
    if level_depths[-1] not in (0, middle):
        raise SpecError("the transformers in its U-Net are thinned out")
    first = next((name for name in tensors if name.endswith("attn2.to_k.weight")), "")
    base, inputs = (_dimension(tensors, "input_blocks.0.0.weight", axis) for axis in (0, 1))
    vector, projection = "label_emb.0.0.weight", "middle_block.1.proj_in.weight"
    return UNetSpec(
        in_channels=inputs,
        out_channels=inputs,
        channels=channels,
        res_blocks=len(levels[0]),
        depths=level_depths,
        context_dim=_dimension(tensors, first, 1) if first else 0,
        heads=_stated_number(stated, "num_heads", 0) or _heads(channels, head_width),
        groups=_stated_number(stated, "norm_num_groups", default_groups(base)),
        linear_projection=middle > 0 and len(_shape(tensors, projection)) == 2,
        middle_depth=middle,
        vector_dim=_dimension(tensors, vector, 1) if vector in tensors else 0,
    )


_TRANSFORMER: Final = re.compile(
    r"(?P<block>(?:input|output|middle)_block\S*?)\.transformer_blocks\.(?P<layer>\d+)"
    r"\.attn2\.to_k\.weight$"
)


def _transformer_depths(tensors: Shapes) -> dict[str, int]:
    """Module of a transformer → its layers."""
    depths: dict[str, int] = {}
    for name in tensors:
        if match := _TRANSFORMER.match(name):
            depths[match["block"]] = max(depths.get(match["block"], 0), int(match["layer"]) + 1)
    return depths


def _levels(tensors: Shapes, depths: Mapping[str, int]) -> list[list[tuple[int, int]]]:
    """Width and transformer layers of each block on the way down, by level."""
    levels: list[list[tuple[int, int]]] = [[]]
    block = 1
    while True:
        here = f"input_blocks.{block}"
        if f"{here}.0.op.weight" in tensors:
            levels.append([])
        elif f"{here}.0.out_layers.3.weight" in tensors:
            width = _dimension(tensors, f"{here}.0.out_layers.3.weight", 0)
            levels[-1].append((width, depths.get(f"{here}.1", 0)))
        else:
            return levels
        block += 1


def _is_uneven_upwards(tensors: Shapes, spec: UNetSpec) -> bool:
    """Whether the way up has other transformers than the way down."""
    found = _transformer_depths(tensors)
    upwards = [depth for depth in reversed(spec.depths) for _ in range(spec.res_blocks + 1)]
    return any(
        found.get(f"output_blocks.{block}.1", 0) != depth for block, depth in enumerate(upwards)
    )


def _heads(channels: tuple[int, ...], head_width: int) -> int | tuple[int, ...]:
    return tuple(max(1, c // head_width) for c in channels) if head_width else SD1_HEADS


def read_vae(
    tensors: Shapes, stated: Mapping[str, Any], scaling_factor: float = SD1_SCALING_FACTOR
) -> VaeSpec:
    """Read an autoencoder's shape from original (LDM) names without prefix.

    Args:
        scaling_factor: Where the file states none.
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
        factor = scaling_factor
    return VaeSpec(
        channels=tuple(channels),
        res_blocks=blocks,
        groups=_stated_number(stated, "norm_num_groups", default_groups(channels[0])),
        latent_channels=_dimension(tensors, "decoder.conv_in.weight", 1),
        scaling_factor=factor,
    )


def read_text(
    tensors: Shapes, part: TextPart, stated: Mapping[str, Any], unused_layers: int = 0
) -> TextSpec:
    """Read a CLIP text encoder's shape from transformers' names without ``text_model.``.

    Args:
        unused_layers: Last layers in the file that are left out.
    Raises:
        SpecError: The layers do not make up a CLIP text encoder.
    """
    layers = 0
    while f"encoder.layers.{layers}.mlp.fc1.weight" in tensors:
        layers += 1
    if layers <= unused_layers:
        raise SpecError("its text encoder has no layers")
    width = _dimension(tensors, "embeddings.token_embedding.weight", 1)
    return TextSpec(
        width=width,
        layers=layers - unused_layers,
        heads=_stated_number(stated, "heads", max(1, width // CLIP_HEAD_WIDTH)),
        intermediate=_dimension(tensors, "encoder.layers.0.mlp.fc1.weight", 0),
        vocabulary=_dimension(tensors, "embeddings.token_embedding.weight", 0),
        positions=_dimension(tensors, "embeddings.position_embedding.weight", 0),
        activation=part.activation,
        projection=_dimension(tensors, "text_projection.weight", 0) if part.is_pooled else 0,
    )
