"""What goes in and out over HTTP, written by hand under A1111's field names and defaults.

Unknown fields are ignored and null is allowed everywhere (it means: the default).

Source:
    Field names and defaults are facts of AUTOMATIC1111 stable-diffusion-webui's protocol, 1.10.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from webui.api.lenient import Bool, Float, Int, Text
from webui.lenient import read_float, read_int

Share = Annotated[
    Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None, BeforeValidator(read_float)
]
Factor = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, BeforeValidator(read_float)
]
Side = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(read_int)]
ZeroOrOne = Annotated[Literal[0, 1] | None, BeforeValidator(read_int)]
"""Numbers whose range is judged here: A1111 does so for the extras alone."""


class Body(BaseModel):
    """Base of everything a client sends."""

    model_config = ConfigDict(extra="ignore")

    def value(self, name: str) -> Any:
        """The field's value; its default where the client sent null."""
        found = getattr(self, name)
        return (
            type(self).model_fields[name].get_default(call_default_factory=True)
            if found is None
            else found
        )


class PaintingBody(Body):
    """What txt2img and img2img share. A field without a meaning here is accepted and echoed."""

    prompt: Text = ""
    negative_prompt: Text = ""
    styles: list[Text] | None = Field(None, description="names of saved styles, applied in order")
    seed: Int = Field(-1, description="-1 = random")
    subseed: Int = -1
    subseed_strength: Float = 0.0
    seed_resize_from_h: Int = -1
    seed_resize_from_w: Int = -1
    sampler_name: Text = None
    scheduler: Text = Field(None, description="internal name or label; null = Automatic")
    batch_size: Int = 1
    n_iter: Int = Field(1, description="number of batches")
    steps: Int = 50
    cfg_scale: Float = 7.0
    width: Int = Field(512, description="pixels; cut down to a multiple of 8")
    height: Int = Field(512, description="pixels; cut down to a multiple of 8")
    restore_faces: Bool = None
    tiling: Bool = None
    do_not_save_samples: Bool = Field(False, description="ignored: see save_images")
    do_not_save_grid: Bool = Field(False, description="ignored: see save_images")
    eta: Float = None
    denoising_strength: Float = None
    s_min_uncond: Float = None
    s_churn: Float = None
    s_tmax: Float = None
    s_tmin: Float = None
    s_noise: Float = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: Bool = True
    refiner_checkpoint: Text = Field(None, description="takes over part-way; null = none")
    refiner_switch_at: Float = Field(None, description="0 to 1; null with a refiner = at once")
    disable_extra_networks: Bool = False
    firstpass_image: Any = Field(None, description="ignored")
    comments: dict[str, Any] | None = Field(None, description="ignored")
    force_task_id: Text = None
    sampler_index: Text = Field("Euler", description="a name; used when sampler_name is empty")
    script_name: Text = None
    script_args: list[Any] | None = Field(default_factory=list)
    send_images: Bool = True
    save_images: Bool = False
    alwayson_scripts: dict[str, Any] | None = Field(default_factory=dict)
    infotext: Text = Field(None, description="fills every field that the request leaves out")


SomeBody = TypeVar("SomeBody", bound=PaintingBody)


class TextToImageBody(PaintingBody):
    """POST /sdapi/v1/txt2img."""

    denoising_strength: Float = Field(None, description="of the hires pass; null = 0.75")
    enable_hr: Bool = False
    firstphase_width: Int = 0
    firstphase_height: Int = 0
    hr_scale: Float = 2.0
    hr_upscaler: Text = Field(None, description="null = Latent")
    hr_second_pass_steps: Int = Field(0, description="0 = as many as steps")
    hr_resize_x: Int = 0
    hr_resize_y: Int = 0
    hr_checkpoint_name: Text = Field(None, description="null = the same")
    hr_cfg: Float = Field(None, description="CFG scale of the hires pass; null = cfg_scale")
    hr_sampler_name: Text = None
    hr_scheduler: Text = None
    hr_prompt: Text = ""
    hr_negative_prompt: Text = ""


class ImageToImageBody(PaintingBody):
    """POST /sdapi/v1/img2img. Pictures are base64 texts or data: URIs of picture files."""

    init_images: list[Text] | None = Field(
        None, description="one for the whole batch, or up to batch_size; required"
    )
    resize_mode: Int = Field(
        0, description="0 stretch, 1 crop and resize, 2 resize and fill, 3 stretch in latent space"
    )
    denoising_strength: Float = 0.75
    image_cfg_scale: Float = Field(None, description="for instruct-pix2pix checkpoints")
    mask: Text = Field(None, description="a picture, white = repaint")
    mask_blur_x: Int = 4
    mask_blur_y: Int = 4
    mask_blur: Int = Field(None, description="both axes at once; wins over x and y")
    mask_round: Bool = True
    inpainting_fill: Int = Field(
        0, description="0 fill, 1 original, 2 latent noise, 3 latent nothing"
    )
    inpaint_full_res: Bool = Field(True, description="paint the masked region alone")
    inpaint_full_res_padding: Int = Field(0, description="pixels around the masked region")
    inpainting_mask_invert: Int = Field(0, description="1 = repaint what is not masked")
    initial_noise_multiplier: Float = None
    latent_mask: Any = Field(None, description="ignored")
    include_init_images: Bool = Field(False, description="echo init_images and mask")


class ExtrasBody(Body):
    """What both extras requests share."""

    resize_mode: ZeroOrOne = Field(0, description="0 by a factor, 1 to a size")
    show_extras_results: Bool = Field(True, description="ignored")
    gfpgan_visibility: Share = 0.0
    codeformer_visibility: Share = 0.0
    codeformer_weight: Share = Field(0.0, description="0 = strongest effect")
    upscaling_resize: Factor = Field(2.0, description="the factor")
    upscaling_resize_w: Side = Field(512, description="pixels, with resize_mode 1")
    upscaling_resize_h: Side = Field(512, description="pixels, with resize_mode 1")
    upscaling_crop: Bool = Field(True, description="exactly that size, what is over cut off")
    upscaler_1: Text = Field("None", description="as in /upscalers; None = the size stays")
    upscaler_2: Text = Field("None", description="blended over the first by its visibility")
    extras_upscaler_2_visibility: Share = 0.0
    upscale_first: Bool = Field(False, description="ignored: enlarging always comes first")


class ExtrasSingleBody(ExtrasBody):
    """POST /sdapi/v1/extra-single-image."""

    image: Text = Field("", description="base64 or data: URI of a picture file; required")


class PictureFile(Body):
    """One picture of a batch."""

    data: Text = Field("", description="base64 or data: URI of a picture file; required")
    name: Text = Field("", description="file name; kept with the job")


class ExtrasBatchBody(ExtrasBody):
    """POST /sdapi/v1/extra-batch-images."""

    imageList: list[PictureFile] = Field(min_length=1, max_length=1000)


class ExtrasSingleAnswer(BaseModel):
    """What extra-single-image answers."""

    html_info: str = Field(description="what was done, as HTML")
    image: str = Field(description="a base64 file without a data: prefix")


class ExtrasBatchAnswer(BaseModel):
    """What extra-batch-images answers."""

    html_info: str = Field(description="what was done to the last picture, as HTML")
    images: list[str] = Field(description="base64 files without a data: prefix, in order")
    names: list[str] = Field(description="names of these pictures as they were sent")


class ImagesAnswer(BaseModel):
    """What a generation answers."""

    images: list[str] = Field(description="base64 files without a data: prefix")
    parameters: dict[str, Any] = Field(description="the request with all defaults filled in")
    info: str = Field(description="a JSON object as text: seeds, prompts, infotexts …")


class ErrorAnswer(BaseModel):
    """What every failure answers."""

    error: str = Field(description="kind of error")
    detail: str = Field(description="what happened and what to do")
    body: str = ""
    errors: str = ""


FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer} for status in (400, 404, 422, 500, 503)
}
"""What generations may answer instead of pictures, for the schema."""


class ProgressState(BaseModel):
    """The ``state`` of /sdapi/v1/progress."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = Field(default=0, description="-1 = a job begins, 0 = idle")
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class ProgressAnswer(BaseModel):
    """GET /sdapi/v1/progress."""

    progress: float = 0.0
    eta_relative: float = 0.0
    state: ProgressState
    current_image: str | None = None
    textinfo: str | None = None


class TaskProgressBody(Body):
    """POST /internal/progress."""

    id_task: Text = None
    id_live_preview: Int = -1
    live_preview: Bool = True


class TaskProgressAnswer(BaseModel):
    """What /internal/progress answers."""

    active: bool
    queued: bool
    completed: bool
    progress: float | None = None
    eta: float | None = None
    live_preview: str | None = Field(default=None, description="a data: URI")
    id_live_preview: int = -1
    textinfo: str | None = None


class PngInfoBody(Body):
    """POST /sdapi/v1/png-info."""

    image: str = Field(description="base64 or data: URI of a picture file")


class InterrogateBody(Body):
    """POST /sdapi/v1/interrogate."""

    image: str | None = Field("", description="base64 or data: URI of a picture file")
    model: str | None = Field("clip", description="clip: a sentence; deepdanbooru: tags")


class InterrogateAnswer(BaseModel):
    """What interrogate answers."""

    caption: str


class PngInfoAnswer(BaseModel):
    """What png-info answers."""

    info: str
    items: dict[str, Any]
    parameters: dict[str, Any]
