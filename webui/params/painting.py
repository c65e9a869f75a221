"""What every request that paints has in common."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from webui.params.base import MAX_SEED, Finite, Fraction, Output, Params, Prompt
from webui.params.control import MAX_CONTROL_UNITS, ControlUnit
from webui.params.extensions import ExtensionValues, picture_keys

SomePainting = TypeVar("SomePainting", bound="Painting")


class Sampling(Params):
    """The rarely touched knobs of samplers, schedules and guidance, under A1111's option names.

    Attributes:
        eta: Noise of ancestral samplers and DDIM; None = the sampler's default (1 or 0).
        s_churn, s_tmin, s_tmax, s_noise: Karras et al. 2022, algorithm 2; s_tmax 0 = no limit.
        s_min_uncond: Below this sigma every second call skips the negative prompt (NGMS).
        skip_early_cond: Share of the first steps that run without guidance.
        sigma_min, sigma_max, rho: Override the schedule's limits; 0 = the model's own.
        sdxl_crop_top, sdxl_crop_left: Pixels that SDXL is told the picture has lost there.
        sdxl_clip_l_skip: Clip skip acts on SDXL's first text encoder.
        sdxl_refiner_low_aesthetic_score, sdxl_refiner_high_aesthetic_score: Beauty that SDXL's
            refiner is told of, for the negative prompt and for the prompt; about 1–10.
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
    sdxl_crop_top: int = Field(default=0, ge=0, le=8192)
    sdxl_crop_left: int = Field(default=0, ge=0, le=8192)
    sdxl_clip_l_skip: bool = False
    sdxl_refiner_low_aesthetic_score: Annotated[float, Field(allow_inf_nan=False)] = 2.5
    sdxl_refiner_high_aesthetic_score: Annotated[float, Field(allow_inf_nan=False)] = 6.0


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


class DrawnTexts(Params):
    """What prompts that are drawn anew for every picture have become.

    Attributes:
        template, negative_template: As asked for, styles merged; empty = the same in all pictures.
        prompts, negative_prompts: Of each picture, by its number; none = as the request says.
        hires_prompts, hires_negative_prompts: Likewise, for a second pass.
    """

    template: Prompt = ""
    negative_template: Prompt = ""
    prompts: tuple[Prompt, ...] = ()
    negative_prompts: tuple[Prompt, ...] = ()
    hires_prompts: tuple[Prompt, ...] = ()
    hires_negative_prompts: tuple[Prompt, ...] = ()

    def templates(self) -> DrawnTexts:
        """The templates alone, for a request that has the texts of one picture."""
        return DrawnTexts(template=self.template, negative_template=self.negative_template)


class Painting(Params):
    """What every request that paints has in common.

    Attributes:
        prompt, negative_prompt: As they stand in the recipe: styles merged, comments cut; of the
            first picture, where each has its own.
        drawn: What wildcards and choices became in each picture; None = there are none.
        chinese_prompt, chinese_negative_prompt: What the prompts were translated from; records
            only, empty = nothing was.
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
        control: Pictures that guide the painting through ControlNets.
        restore_faces: Make painted faces clear; None = off.
        tiled_diffusion: Paint in overlapping tiles; None = whole.
        tiled_vae: Encode and decode in tiles from the start, instead of only when memory is short.
        fp8_storage: Whether the U-Net's weights are stored in one byte each.
        cache_fp16_weight: Then keep the originals beside them, for LoRAs.
        no_half: Calculate in float32, as with ``--no-half``, even where half precision is usual.
        extensions: The extensions that act on it, with their values.
    """

    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    drawn: DrawnTexts | None = None
    chinese_prompt: Prompt = ""
    chinese_negative_prompt: Prompt = ""
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
    control: tuple[ControlUnit, ...] = Field(default=(), max_length=MAX_CONTROL_UNITS)
    restore_faces: FaceRestoration | None = None
    sampling: Sampling = Sampling()
    refiner: Refiner | None = None
    tiled_diffusion: TiledDiffusion | None = None
    tiled_vae: bool = False
    fp8_storage: Literal["Disable", "Enable for SDXL", "Enable"] = "Disable"
    cache_fp16_weight: bool = False
    no_half: bool = False
    extensions: ExtensionValues = {}
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

    def of_picture(self: SomePainting, index: int) -> SomePainting:
        """The request with the texts of one picture; itself where all have the same."""
        if self.drawn is None or self.drawn == self.drawn.templates():
            return self
        return self.model_copy(update=self._own_texts(self.drawn, index))

    def _own_texts(self, drawn: DrawnTexts, index: int) -> dict[str, Any]:
        changes: dict[str, Any] = {"drawn": drawn.templates()}
        if drawn.prompts:
            changes["prompt"] = drawn.prompts[index % len(drawn.prompts)]
        if drawn.negative_prompts:
            changes["negative_prompt"] = drawn.negative_prompts[index % len(drawn.negative_prompts)]
        return changes

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts of all pictures, each once, those of a second pass among them."""
        drawn = self.drawn.prompts if self.drawn else ()
        return tuple(dict.fromkeys(drawn or (self.prompt,)))

    @property
    def input_keys(self) -> tuple[str, ...]:
        """Keys of all input pictures the request needs, each once."""
        of_units = (key for unit in self.control for key in unit.input_keys)
        return tuple(dict.fromkeys((*of_units, *picture_keys(self.extensions))))

    @property
    def other_checkpoints(self) -> tuple[str, ...]:
        """Catalog names of checkpoints needed besides ``checkpoint``, each once."""
        return (self.refiner.checkpoint,) if self.refiner else ()
