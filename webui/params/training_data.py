"""The pictures and captions a training learns from: one schema for every way to name them.

Names, defaults and meaning are those of kohya's dataset files (``[[datasets]]``,
``[[datasets.subsets]]``), which can be read into these classes as they stand. Folders given by
flat options (``train_data_dir`` …) become the same classes, see ``webui/training/dataset.py``.

Source: lora-training.md, sections 1 and 2.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from webui.params.base import Fraction, Params

Interpolation = Literal[
    "lanczos", "nearest", "bilinear", "linear", "bicubic", "cubic", "area", "box"
]

CaptionRule = Literal["missing", "before", "replace"]
"""Which captions a tagger writes: only those that are missing, or all: before what stands there,
or in its place."""


def _size(value: Any) -> Any:
    """``768``, ``"512,768"``, ``"512x768"`` and ``[512, 768]`` as a pair of width and height."""
    if isinstance(value, str):
        value = [part.strip() for part in value.lower().replace("x", ",").split(",")]
    if isinstance(value, (int, float)):
        value = [value]
    if isinstance(value, (list, tuple)) and len(value) == 1:  # pyright: ignore[reportUnknownArgumentType]
        value = [*value, *value]  # pyright: ignore[reportUnknownVariableType]
    return value  # pyright: ignore[reportUnknownVariableType]


def _extension(value: Any) -> Any:
    return f".{value}" if isinstance(value, str) and value and value[0] != "." else value


Size = Annotated[
    tuple[Annotated[int, Field(ge=8, le=8192)], Annotated[int, Field(ge=8, le=8192)]],
    BeforeValidator(_size),
]
"""Width and height in pixels."""
Extension = Annotated[str, BeforeValidator(_extension)]


class Captioning(Params):
    """How the words of a picture are read and varied, the same in a subset and a flat file.

    Attributes:
        caption_extension: Of the text file beside a picture.
        keep_tokens: So many tags at the head stay in place; a "token" is a tag between commas.
        keep_tokens_separator: What stands before it (and after its second occurrence) stays.
        secondary_separator: Joins tags that move and drop as one.
        enable_wildcard: One line of several is drawn, and one of ``{a|b}``.
        caption_dropout_rate: Share of uses with no caption at all.
        caption_dropout_every_n_epochs: Epochs (from 1) that are a multiple have no captions.
        caption_tag_dropout_rate: Share of tags that are left out.
        token_warmup_step: Steps (below 1: share of all) until every tag is used.
    """

    caption_extension: Extension = ".caption"
    shuffle_caption: bool = False
    caption_separator: str = ","
    keep_tokens: int = Field(default=0, ge=0)
    keep_tokens_separator: str = ""
    secondary_separator: str = ""
    enable_wildcard: bool = False
    caption_prefix: str = ""
    caption_suffix: str = ""
    caption_dropout_rate: Fraction = 0.0
    caption_dropout_every_n_epochs: int = Field(default=0, ge=0)
    caption_tag_dropout_rate: Fraction = 0.0
    token_warmup_min: int = Field(default=1, ge=0)
    token_warmup_step: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class Augmenting(Params):
    """How a picture varies from use to use.

    Attributes:
        face_crop_aug_range: Crop around a face named in the file name, at a size in this range.
        alpha_mask: The loss counts as much as the picture is opaque.
    """

    flip_aug: bool = False
    color_aug: bool = False
    random_crop: bool = False
    face_crop_aug_range: tuple[float, float] | None = None
    alpha_mask: bool = False
    resize_interpolation: Interpolation | None = None


class Bucketing(Params):
    """Sizes that pictures are brought to.

    Attributes:
        resolution: With buckets its area counts, and that it lies between the two sides.
        bucket_reso_steps: Sides are multiples of it, in pixels.
        bucket_no_upscale: Pictures are never enlarged.
    """

    resolution: Size = (512, 512)
    enable_bucket: bool = False
    min_bucket_reso: int = Field(default=256, ge=1)
    max_bucket_reso: int = Field(default=1024, ge=1)
    bucket_reso_steps: int = Field(default=64, ge=1)
    bucket_no_upscale: bool = False


class Subset(Captioning, Augmenting):
    """One folder of pictures, or one metadata file.

    Attributes:
        image_dir: The folder; with ``metadata_file`` what relative names in it belong to.
        metadata_file: JSON or JSON lines with a caption for each picture; "" = folder style.
        class_tokens: The caption of pictures that have none of their own.
        num_repeats: How often each picture comes in an epoch.
        is_reg: Regularisation pictures: their loss counts ``prior_loss_weight``.
        skip_broken: Pictures that cannot be read are left out instead of an error.
    """

    image_dir: str = ""
    metadata_file: str = ""
    class_tokens: str = ""
    num_repeats: int = Field(default=1, ge=1)
    is_reg: bool = False
    cache_info: bool = False
    skip_broken: bool = False
    custom_attributes: dict[str, Any] = {}


class DatasetOptions(Bucketing):
    """Subsets that are batched together.

    Attributes:
        batch_size: Pictures at once on each device.
        network_multiplier: Weight of the LoRA while these pictures are learnt.
        validation_split: Share of the pictures (regularisation aside) that is kept back.
        validation_seed: Decides which; None = the training's seed.
    """

    subsets: tuple[Subset, ...] = Field(min_length=1)
    batch_size: int = Field(default=1, ge=1)
    network_multiplier: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    resize_interpolation: Interpolation | None = None
    validation_split: Fraction = 0.0
    validation_seed: int | None = None
