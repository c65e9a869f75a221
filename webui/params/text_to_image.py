"""Requests that paint from a prompt, in one pass or two."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from webui.params.base import Fraction, Params, PictureKey, Prompt
from webui.params.painting import DrawnTexts, Painting

LATENT_UPSCALE_MODES = (
    "Latent",
    "Latent (antialiased)",
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
)
PLAIN_UPSCALERS = ("None", "Lanczos", "Nearest")
"""Ways to enlarge between the passes of hires fix, as A1111 names them: of latents, of pictures."""


class Hires(Params):
    """The second, larger pass of txt2img ("hires fix").

    Attributes:
        scale: Factor on both sides, used when resize_x and resize_y are both 0.
        resize_x, resize_y: Target size in pixels; one 0 keeps the aspect, both set cover and crop.
        steps: Steps of the second pass; 0 = as many as the first.
        prompt, negative_prompt: Empty = as in the first pass.
        sampler, schedule, checkpoint, cfg_scale: None = as in the first pass.
        extra_noise: Share of noise put on top of the usual (A1111's ``img2img_extra_noise``);
            None in a wish = as that option says, in a complete request = 0.
    """

    scale: Annotated[float, Field(ge=1, le=8, allow_inf_nan=False)] = 2.0
    resize_x: int = Field(default=0, ge=0, le=8192)
    resize_y: int = Field(default=0, ge=0, le=8192)
    upscaler: str = "Latent"
    steps: int = Field(default=0, ge=0, le=1000)
    denoising_strength: Fraction = 0.7
    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    sampler: str | None = None
    schedule: str | None = None
    checkpoint: str | None = None
    cfg_scale: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] | None = None
    extra_noise: Annotated[float, Field(ge=0, le=4, allow_inf_nan=False)] | None = None


class TextToImage(Painting):
    """Paint pictures from a prompt.

    Attributes:
        hires: The second, larger pass; None = off.
        first_pass_image: A finished picture that stands for the first pass, so that only the
            second is run ("upscale this one"); needs ``hires``. Its size is width × height.
    """

    kind: Literal["txt2img"] = "txt2img"
    hires: Hires | None = None
    first_pass_image: PictureKey | None = None

    @model_validator(mode="after")
    def _has_a_pass_left(self) -> TextToImage:
        if self.first_pass_image is not None and self.hires is None:
            raise ValueError(
                "A finished picture was given for the first pass, and no second one was asked "
                "for. Turn on Hires. fix."
            )
        return self

    @model_validator(mode="after")
    def _has_pictures_to_follow(self) -> TextToImage:
        for number, unit in enumerate(self.control):
            if unit.image is None and unit.mask is None:
                raise ValueError(
                    f"ControlNet {number} has no picture to follow. Give it one, or turn it off."
                )
        return self

    def _own_texts(self, drawn: DrawnTexts, index: int) -> dict[str, Any]:
        changes = super()._own_texts(drawn, index)
        second: dict[str, Any] = {}
        if drawn.hires_prompts:
            second["prompt"] = drawn.hires_prompts[index % len(drawn.hires_prompts)]
        if drawn.hires_negative_prompts:
            texts = drawn.hires_negative_prompts
            second["negative_prompt"] = texts[index % len(texts)]
        if second and self.hires is not None:
            changes["hires"] = self.hires.model_copy(update=second)
        return changes

    @property
    def prompts(self) -> tuple[str, ...]:
        """See ``Painting``."""
        drawn = self.drawn.hires_prompts if self.drawn else ()
        second = drawn or ((self.hires.prompt,) if self.hires else ())
        return tuple(dict.fromkeys((*super().prompts, *second)))

    @property
    def input_keys(self) -> tuple[str, ...]:
        """See ``Painting``."""
        first = (self.first_pass_image,) if self.first_pass_image else ()
        return tuple(dict.fromkeys((*first, *super().input_keys)))

    @property
    def other_checkpoints(self) -> tuple[str, ...]:
        """See ``Painting``."""
        hires = (self.hires.checkpoint,) if self.hires and self.hires.checkpoint else ()
        return tuple(dict.fromkeys((*super().other_checkpoints, *hires)))
