"""Requests that paint from a picture: as a whole, a part of it, beyond it or tile by tile."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from webui.params.base import Fraction, Params, PictureKey
from webui.params.painting import Painting

RESIZE_MODES = ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)")
MASKED_CONTENTS = ("fill", "original", "latent noise", "latent nothing")
ResizeMode = Literal[
    "Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)"
]
MaskedContent = Literal["fill", "original", "latent noise", "latent nothing"]


class SoftInpainting(Params):
    """Grey masks: each pixel joins the repainting as late as its mask is dark.

    The six knobs of A1111's script, under its names.

    Source:
        Levin and Fried 2023, "Differential Diffusion", arXiv 2306.00950; A1111's wiki for the
        meaning of the knobs.
    """

    schedule_bias: Annotated[float, Field(ge=0, le=8, allow_inf_nan=False)] = 1.0
    preservation_strength: Annotated[float, Field(ge=0, le=8, allow_inf_nan=False)] = 0.5
    transition_contrast_boost: Annotated[float, Field(ge=1, le=32, allow_inf_nan=False)] = 4.0
    mask_influence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    difference_threshold: Annotated[float, Field(ge=0, le=8, allow_inf_nan=False)] = 0.5
    difference_contrast: Annotated[float, Field(ge=0, le=8, allow_inf_nan=False)] = 2.0


class Inpaint(Params):
    """Which part of the picture is repainted, and from what.

    Attributes:
        mask: Picture, white = repaint; RGBA masks that are not fully opaque count by alpha.
        blur_x, blur_y: Gaussian sigma in pixels.
        is_inverted: Repaint what is not masked.
        content: What the masked part begins with.
        only_masked: Paint the masked region alone, at width × height, and paste it back.
        padding: Pixels of surroundings around that region.
        round_mask: Latent cells are either repainted or kept; False leaves grey ones grey.
        soft: Grey masks by differential diffusion; None = off.
        conditioning_weight: For 9-channel checkpoints, how much of the masked original they are
            not shown (A1111's ``inpainting_mask_weight``).
        keep_rest: Paste the original back over what is not masked (``overlay_inpaint``).
    """

    mask: PictureKey
    blur_x: int = Field(default=4, ge=0, le=1024)
    blur_y: int = Field(default=4, ge=0, le=1024)
    is_inverted: bool = False
    content: MaskedContent = "original"
    only_masked: bool = False
    padding: int = Field(default=32, ge=0, le=8192)
    round_mask: bool = True
    soft: SoftInpainting | None = None
    conditioning_weight: Fraction = 1.0
    keep_rest: bool = True


class Outpaint(Params):
    """Continue the picture beyond its edges.

    Attributes:
        left, right, up, down: Pixels added at each side.
        blur: Width in pixels of the soft edge between old and new; the old pixels beyond it stay
            as they are.
        content: What the new part begins with: ``continue`` (colours and texture carried
            outwards), ``matched noise`` (the spectrum of the picture, A1111's mk2), or one of
            the masked contents (A1111's poor man's outpainting).
        noise_q, color_variation: For ``matched noise``: fall-off exponent, colour spread.
    """

    left: int = Field(default=0, ge=0, le=4096)
    right: int = Field(default=0, ge=0, le=4096)
    up: int = Field(default=0, ge=0, le=4096)
    down: int = Field(default=0, ge=0, le=4096)
    blur: int = Field(default=8, ge=0, le=512)
    content: Literal[
        "continue", "matched noise", "fill", "original", "latent noise", "latent nothing"
    ] = "continue"
    noise_q: Annotated[float, Field(ge=0, le=4, allow_inf_nan=False)] = 1.0
    color_variation: Fraction = 0.05

    @model_validator(mode="after")
    def _grows(self) -> Outpaint:
        if not any((self.left, self.right, self.up, self.down)):
            raise ValueError("Outpainting was asked for with no side to grow. Choose one.")
        return self


class SdUpscale(Params):
    """Enlarge, then repaint tile by tile (A1111's "SD upscale"); a tile is width × height.

    Attributes:
        upscaler: Name of a picture upscaler.
        scale: Factor on both sides.
        overlap: Pixels that neighbouring tiles share.
    """

    upscaler: str = "Lanczos"
    scale: Annotated[float, Field(ge=1, le=8, allow_inf_nan=False)] = 2.0
    overlap: int = Field(default=64, ge=0, le=1024)


class Loopback(Params):
    """Feed each result back in as the next input.

    Attributes:
        loops: How often.
        final_denoising_strength: Strength of the last loop; the first has the request's own.
        curve: How the strength goes from one to the other.
        interrogation: What each loop's prompt gets added: nothing, or what the picture it begins
            with shows, as a captioner (CLIP) or a tagger (DeepBooru) says it.
    """

    loops: int = Field(default=4, ge=1, le=128)
    final_denoising_strength: Fraction = 0.5
    curve: Literal["Aggressive", "Linear", "Lazy"] = "Linear"
    interrogation: Literal["None", "CLIP", "DeepBooru"] = "None"


class ImageToImage(Painting):
    """Paint pictures from a picture.

    Attributes:
        init_images: One picture for the whole batch, or one for each of the batch.
        width, height: Size painted at: of the result; of the painted region with
            ``inpaint.only_masked``; of a tile with ``sd_upscale``; unused with ``outpaint``.
        denoising_strength: 0–1, share of the schedule that is run.
        fix_steps: Run exactly ``steps`` (A1111's ``img2img_fix_steps``).
        initial_noise_multiplier: Scales the first noise.
        extra_noise: Share of noise put on top (A1111's ``img2img_extra_noise``).
        image_cfg_scale: Guidance by the input picture, for instruct-pix2pix checkpoints;
            None = 1.5 for those.
        background: ``#rrggbb`` put behind transparent inputs.
        upscaler: Picture upscaler used when an input is enlarged; None = Lanczos.
        inpaint, outpaint, sd_upscale, loopback: Ways of working; at most one of outpaint,
            sd_upscale and loopback, and inpaint not with the first two.
    """

    kind: Literal["img2img"] = "img2img"
    init_images: tuple[PictureKey, ...] = Field(min_length=1, max_length=64)
    resize_mode: ResizeMode = "Just resize"
    denoising_strength: Fraction = 0.75
    fix_steps: bool = False
    initial_noise_multiplier: Annotated[float, Field(ge=0, le=4, allow_inf_nan=False)] = 1.0
    extra_noise: Annotated[float, Field(ge=0, le=4, allow_inf_nan=False)] = 0.0
    image_cfg_scale: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] | None = None
    color_correction: bool = False
    background: str = Field(default="#ffffff", pattern=r"^#[0-9a-fA-F]{6}$")
    upscaler: str | None = None
    inpaint: Inpaint | None = None
    outpaint: Outpaint | None = None
    sd_upscale: SdUpscale | None = None
    loopback: Loopback | None = None

    @model_validator(mode="after")
    def _goes_together(self) -> ImageToImage:
        count = len(self.init_images)
        if count not in (1, self.batch_size):
            raise ValueError(
                f"{count} input pictures do not fit a batch of {self.batch_size}. "
                "Give one, or as many as the batch size."
            )
        ways = [w for w in ("outpaint", "sd_upscale", "loopback") if getattr(self, w) is not None]
        if self.inpaint is not None and (self.outpaint or self.sd_upscale):
            ways.append("inpaint")
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} do not go together. Choose one of them.")
        return self

    @property
    def image_count(self) -> int:
        """Pictures the whole job makes; a loopback hands out the result of every loop."""
        if self.sd_upscale is not None:
            return self.batch_count
        return self.batch_size * self.batch_count * (self.loopback.loops if self.loopback else 1)

    @property
    def input_keys(self) -> tuple[str, ...]:
        """See ``Painting``."""
        mask = (self.inpaint.mask,) if self.inpaint else ()
        return tuple(dict.fromkeys((*self.init_images, *mask, *super().input_keys)))
