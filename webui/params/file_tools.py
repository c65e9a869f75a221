"""Requests that make weights files out of others."""

from __future__ import annotations

import json
import re
from typing import Annotated, ClassVar, Literal, cast

from pydantic import Field, field_validator, model_validator

from webui.params.base import Fraction, Params
from webui.params.without_painting import WithoutPainting

Interpolation = Literal["No interpolation", "Weighted sum", "Add difference"]
ConfigSource = Literal["A, B or C", "B", "C", "Don't"]
NumberFormat = Literal["keep", "fp32", "fp16", "bf16"]
Pruning = Literal["disabled", "no-ema", "ema-only"]
NewName = Annotated[str, Field(max_length=200)]
LoraFactor = Annotated[float, Field(ge=-10, le=10, allow_inf_nan=False)]
_FORBIDDEN = re.compile(r'[<>:"|?*\\]')
_DEVICES = re.compile(r"(con|prn|aux|nul|(com|lpt)\d)(\.|$)", re.IGNORECASE)
"""Names that mean no file on Windows, whatever their ending."""
_ENDINGS = (".safetensors", ".ckpt")


def _is_name(part: str) -> bool:
    """Of a file or folder, on every system."""
    return bool(part) and part == part.strip(". ") and not _DEVICES.match(part)


class FileTool(WithoutPainting):
    """Base of requests that make one weights file; it goes into its kind's first folder.

    Attributes:
        custom_name: Of the new file, without ending; may begin with folders that lie below its
            kind's. Empty = named after what it is made of.
    """

    makes: ClassVar[str] = "checkpoint"
    custom_name: NewName = ""

    @field_validator("custom_name")
    @classmethod
    def _stays_below(cls, name: str) -> str:
        name = name.strip()
        for ending in _ENDINGS:
            name = name.removesuffix(ending)
        is_plain = name.isprintable() and not _FORBIDDEN.search(name)
        if name and not (is_plain and all(map(_is_name, name.split("/")))):
            raise ValueError(
                f"{name!r} cannot be the name of a file: it may not have any of "
                '< > : " | ? * \\ or invisible characters in it, nor parts that are empty, begin '
                "or end with a dot or a space, or mean a device on Windows. Choose another name."
            )
        return name

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """The files it is made from: kind and name in the catalog."""
        return ()


class MergeCheckpoints(FileTool):
    """A1111's checkpoint merger, with its words.

    Attributes:
        primary, secondary, tertiary: A, B and C. «Weighted sum» needs B, «Add difference» B and C.
        multiplier: M: A·(1 − M) + B·M, or A + (B − C)·M.
        save_as_half: float32 becomes float16.
        config_source: Whose configuration (``.yaml`` beside it) is copied beside the result.
        bake_in_vae: A VAE that replaces the one inside, or «None».
        discard_weights: Tensors whose names match this regular expression are left out.
        save_metadata: Write metadata at all. add_merge_recipe: Which models, in what way.
        copy_metadata_fields: Those of A, B and C, the later winning.
        metadata_json: More of it, a JSON object; wins over what is copied.
    """

    kind: Literal["merge-checkpoints"] = "merge-checkpoints"
    primary: str = Field(min_length=1)
    secondary: str = ""
    tertiary: str = ""
    interpolation: Interpolation = "Weighted sum"
    multiplier: Fraction = 0.3
    save_as_half: bool = False
    config_source: ConfigSource = "A, B or C"
    bake_in_vae: str = "None"
    discard_weights: str = Field(default="", max_length=1000)
    save_metadata: bool = True
    add_merge_recipe: bool = True
    copy_metadata_fields: bool = True
    metadata_json: str = Field(default="{}", max_length=1_000_000)

    @model_validator(mode="after")
    def _is_complete(self) -> MergeCheckpoints:
        if self.needs_secondary and not self.secondary:
            raise ValueError(f"{self.interpolation} needs a secondary model (B). Choose one.")
        if self.needs_tertiary and not self.tertiary:
            raise ValueError(f"{self.interpolation} needs a tertiary model (C). Choose one.")
        try:
            re.compile(self.discard_weights)
        except (re.error, OverflowError, RecursionError) as err:
            raise ValueError(
                f"{self.discard_weights!r} is no regular expression ({err}). Correct it, or leave "
                "the field empty."
            ) from err
        self.own_metadata()
        return self

    def own_metadata(self) -> dict[str, object]:
        """``metadata_json``, read.

        Raises:
            ValueError: It is no JSON object.
        """
        try:
            values: object = json.loads(self.metadata_json or "{}")
            json.dumps(values, ensure_ascii=False).encode()  # no halves of characters
        except (ValueError, RecursionError) as err:
            raise ValueError(f"The metadata is not readable JSON ({err}). Correct it.") from err
        if not isinstance(values, dict):
            raise ValueError('The metadata must be a JSON object, such as {"author": "me"}.')
        return cast(dict[str, object], values)

    @property
    def needs_secondary(self) -> bool:
        """Whether B takes part."""
        return self.interpolation != "No interpolation"

    @property
    def needs_tertiary(self) -> bool:
        """Whether C takes part."""
        return self.interpolation == "Add difference"

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """See ``FileTool``."""
        found = [("checkpoint", self.primary)]
        if self.needs_secondary:
            found.append(("checkpoint", self.secondary))
        if self.needs_tertiary:
            found.append(("checkpoint", self.tertiary))
        if self.bake_in_vae != "None":
            found.append(("vae", self.bake_in_vae))
        return tuple(found)


class ConvertModel(FileTool):
    """One file in another form: safetensors, another number format, fewer tensors.

    Attributes:
        model_kind: Which catalog ``name`` stands in.
        precision: Number format of the weights; «keep» = each as it is.
        pruning: Of checkpoints: «no-ema» leaves the running averages out and everything that no
            program needs for painting; «ema-only» does so too, and paints with the averages.
        layout: One file, or a diffusers folder (checkpoints only; it never holds averages).
    """

    kind: Literal["convert-model"] = "convert-model"
    model_kind: Literal["checkpoint", "vae", "lora", "embedding", "upscaler"] = "checkpoint"
    name: str = Field(min_length=1)
    precision: NumberFormat = "keep"
    pruning: Pruning = "disabled"
    layout: Literal["single-file", "diffusers"] = "single-file"

    @model_validator(mode="after")
    def _goes_together(self) -> ConvertModel:
        if self.model_kind != "checkpoint" and (
            self.pruning != "disabled" or self.layout != "single-file"
        ):
            raise ValueError("Only checkpoints can be pruned or written as a diffusers folder.")
        if self.pruning == "ema-only" and self.layout == "diffusers":
            raise ValueError(
                "The averages (EMA) of a checkpoint become one file first, and that one a "
                "diffusers folder. Choose «single-file», then convert the result."
            )
        return self

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """See ``FileTool``."""
        return ((self.model_kind, self.name),)


class ExtractLora(FileTool):
    """The difference of two checkpoints as a LoRA; names are those of kohya's script.

    Attributes:
        model_tuned, model_org: Tuned minus original.
        dim: Rank of the matrices. conv_dim: Of 3×3 convolutions; 0 = they are left out.
        clamp_quantile: Share of the numbers that is kept, larger ones are cut; 1 = all.
        min_diff: The text encoder counts as changed when some number differs by more.
        precision: Of the LoRA.
    """

    makes: ClassVar[str] = "lora"
    kind: Literal["extract-lora"] = "extract-lora"
    model_tuned: str = Field(min_length=1)
    model_org: str = Field(min_length=1)
    dim: int = Field(default=64, ge=1, le=1024)
    conv_dim: int = Field(default=0, ge=0, le=1024)
    clamp_quantile: float = Field(default=0.99, gt=0.5, le=1)
    min_diff: float = Field(default=0.01, ge=0, le=1, allow_inf_nan=False)
    precision: Literal["fp32", "fp16", "bf16"] = "fp16"

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """See ``FileTool``."""
        return (("checkpoint", self.model_tuned), ("checkpoint", self.model_org))


class WeightedLora(Params):
    """A LoRA and how much of it."""

    name: str = Field(min_length=1)
    weight: LoraFactor = 1.0


class MergeLoras(FileTool):
    """Several LoRAs as one.

    Attributes:
        loras: In order.
        dim: Rank of the result; 0 = the sum of their ranks, which keeps them exactly.
        precision: Of the result.
    """

    makes: ClassVar[str] = "lora"
    kind: Literal["merge-loras"] = "merge-loras"
    loras: tuple[WeightedLora, ...] = Field(min_length=1, max_length=16)
    dim: int = Field(default=0, ge=0, le=1024)
    precision: Literal["fp32", "fp16", "bf16"] = "fp16"

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """See ``FileTool``."""
        return tuple(("lora", lora.name) for lora in self.loras)


class BakeLoras(FileTool):
    """A checkpoint with LoRAs inside.

    Attributes:
        checkpoint: Taken as it is, then changed by the LoRAs in order.
        precision: Of the result; «keep» = that of the checkpoint.
    """

    kind: Literal["bake-loras"] = "bake-loras"
    checkpoint_name: str = Field(min_length=1)
    loras: tuple[WeightedLora, ...] = Field(min_length=1, max_length=16)
    precision: NumberFormat = "keep"

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """See ``FileTool``."""
        return (("checkpoint", self.checkpoint_name), *(("lora", x.name) for x in self.loras))
