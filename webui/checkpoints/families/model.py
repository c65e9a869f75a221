"""What is particular about a family of models, as plain values; no torch.

All that the families have in common (building, filling, encoding, painting) is written once
elsewhere and asks these values. A new family is one new file in this folder, named in
``families/__init__.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from webui.checkpoints.keys import FIRST_LAYER, Keys, Rule

PAD_WITH_END = 49407
"""CLIP-L's texts are filled up with their end mark."""
PAD_WITH_ZERO = 0
"""OpenCLIP's with token 0 behind their end mark (open_clip's tokenizer)."""


@dataclass(frozen=True)
class TextPart:
    """One text encoder of a family, and what of it the U-Net is told.

    Attributes:
        folder: Its folder in diffusers' layout, and its name among a model's parts.
        prefixes: What its tensors' names begin with in single files; one of them.
        is_open_clip: One of OpenCLIP's, under whose names single files usually hold it.
        layer: Whose output is taken, counted from the last, which is 1.
        clip_skip: Whether a request's clip skip takes the place of ``layer``; ``option``: where
            ``sdxl_clip_l_skip`` is on.
        is_normed: The encoder's final norm is applied to what is taken.
        unused_layers: Last layers that nobody uses, in files with OpenCLIP's names (transformers'
            encoders come without them); they are not loaded.
        is_pooled: The projected vector of the first end mark is told, too.
        pad_token: What fills a text up behind its first end mark.
        lora_number: Which text encoder it is in LoRA files: 1 or 2.
    """

    folder: str
    prefixes: tuple[str, ...]
    is_open_clip: bool = False
    layer: int = 1
    clip_skip: Literal["always", "option", "never"] = "never"
    is_normed: bool = True
    unused_layers: int = 0
    is_pooled: bool = False
    pad_token: int = PAD_WITH_END
    lora_number: int = 1

    @property
    def activation(self) -> str:
        """transformers' word for what stands between the layers of its small networks."""
        return "gelu" if self.is_open_clip else "quick_gelu"


@dataclass(frozen=True)
class Frame:
    """A pass of painting, as far as SDXL is told about it.

    Attributes:
        width, height: Pixels.
        crop_top, crop_left: Pixels that the picture is said to have lost there.
        aesthetic_score: How beautiful it is said to be, about 1–10 (refiner).
    """

    width: int
    height: int
    crop_top: int = 0
    crop_left: int = 0
    aesthetic_score: float = 6.0


def no_numbers(_frame: Frame) -> tuple[float, ...]:
    """Of families that are told nothing about a pass."""
    return ()


@dataclass(frozen=True)
class DiffusionModel:
    """A family: how its files are told, read, loaded and painted with.

    Attributes:
        name: ``sd1`` …, as job rows and catalogs keep it.
        title: As people say it.
        rules: How single files are told; tried in order.
        owns_folder: Whether a diffusers folder is of this family, by its U-Net's configuration
            and the names of its parts.
        texts: Text encoders in the order in which their outputs are joined.
        latents: Families of one word here can paint on each other's latents.
        scaling_factor: What encoded pictures are multiplied by.
        head_width: Channels of an attention head of the U-Net; 0 = 8 heads at every level.
        prediction_type: Where nothing in or beside the file says it; ``ask``: the weights tell.
        numbers: What the U-Net is told of a pass besides text.
        has_empty_negative: An empty negative prompt is told as zeros.
    """

    name: str
    title: str
    rules: tuple[Rule, ...]
    owns_folder: Callable[[Mapping[str, Any], Collection[str]], bool]
    texts: tuple[TextPart, ...]
    latents: str
    scaling_factor: float
    head_width: int = 0
    prediction_type: Literal["epsilon", "v_prediction", "ask"] = "epsilon"
    numbers: Callable[[Frame], tuple[float, ...]] = no_numbers
    has_empty_negative: bool = False


def rules_by_purpose(name: str, title: str, matches: Callable[[Keys], bool]) -> tuple[Rule, ...]:
    """A family's rules: its inpainting, its editing and its plain checkpoints.

    Args:
        matches: Whether a file is of the family at all.
    """

    def with_channels(channels: int) -> Callable[[Keys], bool]:
        return lambda keys: keys.size(FIRST_LAYER, 1) == channels and matches(keys)

    return (
        Rule("checkpoint", name, f"an {title} inpainting checkpoint", with_channels(9)),
        Rule("checkpoint", name, f"an {title} InstructPix2Pix checkpoint", with_channels(8)),
        Rule("checkpoint", name, f"an {title} checkpoint", matches),
    )
