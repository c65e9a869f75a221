"""How kohya's scripts name layers and describe a LoRA: what other programs expect to read.

Source: lora-training.md, sections 4.1, 4.2 and 4.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from torch import nn

from webui.networks.lora.names import TEXT_PREFIXES, UNET_PREFIXES, original_unet_names, plain

_VERSIONS: Final[Mapping[str, str]] = {
    "sd1": "sd_v1",
    "sd2": "sd_v2",
    "sdxl": "sdxl_base_v1-0",
}
_ARCHITECTURES: Final[Mapping[str, str]] = {
    "sd_v1": "stable-diffusion-v1/lora",
    "sd_v2": "stable-diffusion-v2-512/lora",
    "sd_v2_v": "stable-diffusion-v2-768-v/lora",
    "sdxl_base_v1-0": "stable-diffusion-xl-v1-base/lora",
}
UNET_PREFIX: Final = "lora_unet"
_IN_TRANSFORMER: Final = re.compile(r"(^|\.)attentions\.")
_IN_CONVOLUTIONS: Final = re.compile(r"(^|\.)(resnets|downsamplers|upsamplers)\.")
_IN_TEXT: Final = re.compile(r"(^|\.)(self_attn|mlp)\.")
_UNET_ROOTS: Final = (
    "down_blocks_", "up_blocks_", "mid_block_", "input_blocks_", "output_blocks_",
    "middle_block_", "time_embed", "add_embedding_", "label_emb_", "conv_in", "conv_out", "out_",
)  # fmt: skip
_TEXT_ROOTS: Final = ("text_model_", "encoder_layers_")
_DIFFUSERS_BLOCK: Final = re.compile(r"lora_unet_(down_blocks|up_blocks|mid_block)_")
_ORIGINAL_BLOCK: Final = re.compile(r"lora_unet_(input_blocks|output_blocks|middle_block)_")


def base_version(family: str, *, is_v: bool) -> str:
    """``ss_base_model_version``, from which readers decide what a file is for."""
    version = _VERSIONS.get(family, family)
    return f"{version}_v" if family == "sd2" and is_v else version


def architecture(family: str, *, is_v: bool) -> str:
    """``modelspec.architecture``."""
    return _ARCHITECTURES.get(base_version(family, is_v=is_v), family)


def implementation(family: str) -> str:
    """``modelspec.implementation``: whose names the U-Net's layers have."""
    if has_original_names(family):
        return "https://github.com/Stability-AI/generative-models"
    return "diffusers"


def text_prefix(family: str, number: int) -> str:
    """Prefix of a text encoder's layers; ``number`` is 2 for SDXL's second."""
    return f"lora_te{number}" if family.startswith("sdxl") else "lora_te"


@dataclass(frozen=True)
class Target:
    """A layer that LoRAs change: ``name`` in the file, ``path`` in its network."""

    name: str
    path: str
    layer: nn.Linear | nn.Conv2d

    @property
    def is_kernel(self) -> bool:
        """A convolution over more than one place."""
        return isinstance(self.layer, nn.Conv2d) and tuple(self.layer.kernel_size) != (1, 1)


def has_original_names(family: str) -> bool:
    """Whether the U-Net's layers are named as in the original checkpoints, not as in diffusers."""
    return family.startswith("sdxl")


def unet_targets(
    unet: nn.Module, *, original_names: bool, has_convolutions: bool
) -> Iterator[Target]:
    """The layers of a U-Net that kohya's LoRA changes, in the order of its modules.

    Args:
        original_names: See ``has_original_names``.
        has_convolutions: Those of residual blocks, down- and upsamplers too (``conv_dim``).
    """
    paths = {path: layer for path, layer in unet.named_modules() if path}
    original = original_unet_names(paths) if original_names else {}
    for path, layer in paths.items():
        is_wanted = _IN_TRANSFORMER.search(path) or (
            has_convolutions and _IN_CONVOLUTIONS.search(path)
        )
        if is_wanted and isinstance(layer, nn.Linear | nn.Conv2d):
            yield Target(f"{UNET_PREFIX}_{plain(original.get(path, path))}", path, layer)


def text_targets(text_encoder: nn.Module, prefix: str) -> Iterator[Target]:
    """The layers of a CLIP text encoder that kohya's LoRA changes."""
    for path, layer in text_encoder.named_modules():
        if _IN_TEXT.search(path) and isinstance(layer, nn.Linear):
            name = f"text_model.{path.removeprefix('text_model.')}"
            yield Target(f"{prefix}_{plain(name)}", path, layer)


def kohya_name(name: str, family: str) -> str | None:
    """A layer's name in another trainer's file under kohya's prefix.

    Args:
        name: In ``names.plain`` form.
    Returns:
        None when it begins with nothing that is known.
    """
    for number, prefixes in TEXT_PREFIXES.items():
        for prefix in sorted(prefixes, key=len, reverse=True):
            rest = name.removeprefix(prefix)
            if rest != name and rest.startswith(_TEXT_ROOTS):
                rest = rest if rest.startswith("text_model_") else f"text_model_{rest}"
                return f"{text_prefix(family, number)}_{rest}"
    for prefix in sorted(UNET_PREFIXES, key=len, reverse=True):
        rest = name.removeprefix(prefix)
        if name.startswith(prefix) and rest.startswith(_UNET_ROOTS):
            return f"{UNET_PREFIX}_{rest}"
    return None


def block_naming(names: list[str]) -> str:
    """Whose names the U-Net's blocks have: ``diffusers``, ``original``, or '' when none is
    there (or both are, which no program writes)."""
    is_diffusers = any(_DIFFUSERS_BLOCK.match(name) for name in names)
    is_original = any(_ORIGINAL_BLOCK.match(name) for name in names)
    if is_diffusers == is_original:
        return ""
    return "diffusers" if is_diffusers else "original"
