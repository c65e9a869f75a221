"""From a waiting job back to the form that asked for it: every field, its pictures and its mask.

What the form has no field for becomes a chip of «Override settings» where the settings say
something else by now, so that the edited job differs only in what was edited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from webui.errors import CheckpointNotFoundError, JobError
from webui.options import OPTION_BY_KEY
from webui.params import Extras, ImageToImage, Inpaint, Outpaint, Painting, TextToImage
from webui.ui import canvas, control_panel, pasting, restore_form
from webui.ui.batch import BatchFile, write_uploads
from webui.ui.form import DEFAULTS as TEXT_DEFAULTS
from webui.ui.form import SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE
from webui.ui.img2img_form import (
    AS_IN_SETTINGS,
    INPAINT_MASKED,
    INPAINT_NOT_MASKED,
    LOOPBACK,
    ONLY_MASKED,
    OUTPAINTING,
    RESIZE_TO,
    SD_UPSCALE,
    SIDES,
    WHOLE_PICTURE,
)
from webui.ui.img2img_form import DEFAULTS as PICTURE_DEFAULTS
from webui.ui.painting_form import NO_SCRIPT

if TYPE_CHECKING:
    from webui.params import AnyParams
    from webui.studio import Studio

TABS = {"txt2img": "txt2img", "img2img": "img2img", "extras": restore_form.TAB}
"""By kind of job, the tab whose form asks for it."""
_SAME = (
    "sampler", "schedule", "steps", "width", "height", "batch_count", "batch_size", "cfg_scale",
    "subseed_strength", "seed_resize_from_w", "seed_resize_from_h", "tiling",
)  # fmt: skip
_OPTIONS_OF_PARAMS = {
    "sd_model_checkpoint": "checkpoint", "sd_vae": "vae", "CLIP_stop_at_last_layers": "clip_skip",
    "randn_source": "randn_source", "eta_noise_seed_delta": "eta_noise_seed_delta",
    "emphasis": "emphasis", "use_old_scheduling": "use_old_scheduling",
    "fp8_storage": "fp8_storage", "cache_fp16_weight": "cache_fp16_weight",
    "initial_noise_multiplier": "initial_noise_multiplier", "img2img_extra_noise": "extra_noise",
    "img2img_color_correction": "color_correction",
}  # fmt: skip
"""Options that a request carries, and under which name."""


def form_values(params: AnyParams, studio: Studio) -> dict[str, Any]:
    """The fields of the tab that make this request again.

    Raises:
        JobError: It could not be asked for on the page.
        LibraryError: One of its pictures is gone.
    """
    if isinstance(params, TextToImage):
        if params.first_pass_image is None:
            return _of_text(params, studio)
    elif isinstance(params, ImageToImage):
        if len(params.init_images) == 1:
            return _of_picture(params, studio)
    elif isinstance(params, Extras) and not params.refused_faces:
        return _of_extras(params, studio)
    raise JobError(
        "No form of the page can ask for this job, so it cannot be edited there.",
        "Cancel it and ask for another.",
    )


def _shared(params: Painting, studio: Studio) -> dict[str, Any]:
    """What the painting tabs have in common."""
    drawn, tiles, refiner = params.drawn, params.tiled_diffusion, params.refiner
    values: dict[str, Any] = {name: getattr(params, name) for name in _SAME}
    values |= {
        "prompt": (drawn.template if drawn else "") or params.prompt,
        "negative_prompt": (drawn.negative_template if drawn else "") or params.negative_prompt,
        "styles": [], "seed": str(params.seed), "subseed": str(params.subseed),
        "has_extra": any(
            (params.subseed_strength, params.seed_resize_from_w, params.seed_resize_from_h)
        ),
        "combinatorial": False, "script": NO_SCRIPT,
        "has_refiner": refiner is not None, "has_tiles": tiles is not None,
        **control_panel.of_request(params.control),
    }  # fmt: skip
    if refiner is not None:
        values["refiner_checkpoint"] = _title(refiner.checkpoint, studio)
        values["refiner_switch_at"] = refiner.switch_at
    if tiles is not None:
        values |= {
            "tile_method": tiles.method, "tile_width": tiles.tile_width,
            "tile_height": tiles.tile_height, "tile_overlap": tiles.overlap,
            "tile_batch": tiles.batch_size,
        }  # fmt: skip
    return values


def _of_text(params: TextToImage, studio: Studio) -> dict[str, Any]:
    hires = params.hires
    values = {**TEXT_DEFAULTS, **_shared(params, studio), "has_hires": hires is not None}
    if hires is not None:
        checkpoint = _title(hires.checkpoint, studio) if hires.checkpoint else SAME_CHECKPOINT
        values |= {
            "hires_upscaler": hires.upscaler, "hires_steps": hires.steps,
            "hires_denoising": hires.denoising_strength, "hires_scale": hires.scale,
            "hires_resize_x": hires.resize_x, "hires_resize_y": hires.resize_y,
            "hires_sampler": hires.sampler or SAME_SAMPLER,
            "hires_schedule": hires.schedule or SAME_SCHEDULE, "hires_checkpoint": checkpoint,
            "hires_cfg": hires.cfg_scale or 0.0, "hires_prompt": hires.prompt,
            "hires_negative": hires.negative_prompt,
        }  # fmt: skip
    return {**values, "overrides": _chips(params, values, studio)}


def _of_picture(params: ImageToImage, studio: Studio) -> dict[str, Any]:
    picture = canvas.holding(studio.inputs, params.init_images[0]).to_value()
    upscaler = params.upscaler
    is_usual = upscaler == (studio.options["upscaler_for_img2img"] or None)
    values = {
        **PICTURE_DEFAULTS, **_shared(params, studio), "mode": "img2img", "picture": picture,
        "resize_mode": params.resize_mode, "size_rule": RESIZE_TO,
        "resize_upscaler": AS_IN_SETTINGS if is_usual else upscaler or "Lanczos",
        "denoising": params.denoising_strength,
    }  # fmt: skip
    if params.image_cfg_scale is not None:
        values["image_cfg"] = params.image_cfg_scale
    if params.inpaint is not None:
        mask = canvas.holding(studio.inputs, params.inpaint.mask).to_value()
        own = {"mode": "inpaint_upload", "inpaint_upload": picture, "mask_upload": mask}
        values |= {**own, "picture": "", **_masked(params.inpaint)}
    values |= _script(params)
    return {**values, "overrides": _chips(params, values, studio)}


def _masked(inpaint: Inpaint) -> dict[str, Any]:
    values: dict[str, Any] = {
        "mask_blur": inpaint.blur_x, "mask_content": inpaint.content, "padding": inpaint.padding,
        "mask_mode": INPAINT_NOT_MASKED if inpaint.is_inverted else INPAINT_MASKED,
        "inpaint_area": ONLY_MASKED if inpaint.only_masked else WHOLE_PICTURE,
        "has_soft": inpaint.soft is not None,
    }  # fmt: skip
    if (soft := inpaint.soft) is not None:
        values |= {
            "soft_bias": soft.schedule_bias, "soft_preservation": soft.preservation_strength,
            "soft_contrast": soft.transition_contrast_boost, "soft_influence": soft.mask_influence,
            "soft_threshold": soft.difference_threshold,
            "soft_difference": soft.difference_contrast,
        }  # fmt: skip
    return values


def _script(params: ImageToImage) -> dict[str, Any]:
    if (loopback := params.loopback) is not None:
        return {
            "script": LOOPBACK, "loops": loopback.loops, "loop_curve": loopback.curve,
            "final_denoising": loopback.final_denoising_strength,
            "loop_interrogation": loopback.interrogation,
        }  # fmt: skip
    if (upscale := params.sd_upscale) is not None:
        return {
            "script": SD_UPSCALE, "upscaler": upscale.upscaler, "upscale_scale": upscale.scale,
            "upscale_overlap": upscale.overlap,
        }  # fmt: skip
    return {} if params.outpaint is None else _outpainted(params.outpaint)


def _outpainted(outpaint: Outpaint) -> dict[str, Any]:
    grown = {side: getattr(outpaint, side) for side in SIDES}
    return {
        "script": OUTPAINTING, "outpaint_sides": [side for side in SIDES if grown[side]],
        "outpaint_pixels": max(grown.values()), "outpaint_blur": outpaint.blur,
        "outpaint_content": outpaint.content, "outpaint_noise_q": outpaint.noise_q,
        "outpaint_color": outpaint.color_variation,
    }  # fmt: skip


def _of_extras(params: Extras, studio: Studio) -> dict[str, Any]:
    """Of photographs from a folder, too: by now they are kept as uploaded ones are."""
    defaults = restore_form.DEFAULTS
    names = params.names or tuple(str(number) for number in range(1, len(params.images) + 1))
    files = [BatchFile(key, name) for key, name in zip(params.images, names, strict=True)]
    values = {name: getattr(params, name) for name in defaults if hasattr(params, name)}
    has_faces = any(
        getattr(params, f"{name}_visibility") for name in ("gfpgan", "restoreformer", "codeformer")
    )
    if not has_faces:
        values |= {"gfpgan_visibility": defaults["gfpgan_visibility"], "what": restore_form.WHOLE}
    else:
        is_sized = params.upscaler_1 != "None"
        values["what"] = restore_form.BOTH if is_sized else restore_form.FACES
    if params.upscaler_1 == "None":
        values["upscaler_1"] = defaults["upscaler_1"] if has_faces else "None"
    if params.scratch_mask is not None:
        values["scratch_drawing"] = _drawn_scratches(params.images[0], params.scratch_mask, studio)
    return {**defaults, **values, "batch_files": write_uploads(files)}


def _drawn_scratches(picture: str, mask: str, studio: Studio) -> str:
    """The canvas with what was drawn, made of the mask it became."""
    covered = studio.inputs.image(mask).convert("L")
    strokes = Image.new("RGBA", covered.size, (255, 255, 255, 0))
    strokes.putalpha(covered)
    key = studio.inputs.keep_image(strokes)
    return canvas.Drawing(picture, key, covered.width, covered.height).to_value()


def _title(name: str, studio: Studio) -> str:
    """A checkpoint as menus list it."""
    try:
        return studio.catalog.find_checkpoint(name).title
    except CheckpointNotFoundError:
        return name


def _chips(params: Painting, values: dict[str, Any], studio: Studio) -> list[str]:
    """What the request says otherwise than the settings of now."""
    wanted = {
        key: getattr(params, name)
        for key, name in _OPTIONS_OF_PARAMS.items()
        if hasattr(params, name)
    }
    if (chosen := studio.current_checkpoint()) and chosen.name == params.checkpoint:
        del wanted["sd_model_checkpoint"]
    sampling = params.sampling.model_dump()
    eta = "eta_ddim" if params.sampler.startswith("DDIM") else "eta_ancestral"
    wanted |= {eta: sampling.pop("eta"), **sampling}
    chips = [
        f"{OPTION_BY_KEY[key].infotext}: {value}"
        for key, value in wanted.items()
        if key in OPTION_BY_KEY and OPTION_BY_KEY[key].infotext and value != studio.options[key]
    ]
    return chips if params.drawn else [*chips, *pasting.as_painted(values, studio)]
