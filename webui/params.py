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
    add_number: bool = True
    grid_rows: int = Field(default=-1, ge=-1, le=100)


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
        sampler, schedule: None = as in the first pass.
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


class TextToImage(Params):
    """Paint pictures from a prompt.

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
    """

    kind: Literal["txt2img"] = "txt2img"
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
    sampling: Sampling = Sampling()
    hires: Hires | None = None
    output: Output = Output()
    user: str = ""

    MAX_PIXELS_PER_BATCH: ClassVar[int] = 1 << 28

    @field_validator("prompt", "negative_prompt", mode="before")
    @classmethod
    def _no_lone_surrogates(cls, text: Any) -> Any:
        """Halves of characters, which no file can hold, become question marks."""
        return text.encode("utf-8", "replace").decode("utf-8") if isinstance(text, str) else text

    @model_validator(mode="after")
    def _fits_in_a_batch(self) -> TextToImage:
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


AnyParams = TextToImage
_KINDS: dict[str, type[TextToImage]] = {"txt2img": TextToImage}


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
