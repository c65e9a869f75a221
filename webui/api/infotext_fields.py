"""The ``infotext`` field of a request: a picture's recipe fills every field left out.

Only fields absent from the JSON are filled. Settings the recipe names become overrides where they
differ from the present ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from webui.api.schemas import PaintingBody, SomeBody
from webui.errors import CheckpointNotFoundError, ParamsError
from webui.infotext import Infotext, parse_infotext, with_defaults
from webui.option_values import checked_value
from webui.options import OPTION_OF_INFOTEXT_KEY
from webui.params import MASKED_CONTENTS
from webui.prompts.styles import extract_styles
from webui.studio import Studio

FIELD_KEYS = {
    "steps": "Steps",
    "sampler_name": "Sampler",
    "scheduler": "Schedule type",
    "cfg_scale": "CFG scale",
    "width": "Size-1",
    "height": "Size-2",
    "batch_size": "Batch size",
    "denoising_strength": "Denoising strength",
    "hr_scale": "Hires upscale",
    "hr_upscaler": "Hires upscaler",
    "hr_second_pass_steps": "Hires steps",
    "hr_resize_x": "Hires resize-1",
    "hr_resize_y": "Hires resize-2",
    "hr_checkpoint_name": "Hires checkpoint",
    "hr_cfg": "Hires CFG Scale",
    "hr_sampler_name": "Hires sampler",
    "hr_scheduler": "Hires schedule type",
    "hr_prompt": "Hires prompt",
    "hr_negative_prompt": "Hires negative prompt",
    "seed": "Seed",
    "subseed": "Variation seed",
    "subseed_strength": "Variation seed strength",
    "seed_resize_from_w": "Seed resize from-1",
    "seed_resize_from_h": "Seed resize from-2",
    "image_cfg_scale": "Image CFG scale",
    "tiling": "Tiling",
    "refiner_checkpoint": "Refiner",
    "refiner_switch_at": "Refiner switch at",
}
"""Request fields and the infotext keys that fill them."""

PROMPTS = ("prompt", "negative_prompt", "hr_prompt", "hr_negative_prompt")
HANDLED_APART = ("VAE", "Model hash")
"""Recipe keys of options that name files; these may be missing here."""

MASK_FIELD_KEYS = {
    "mask_blur": "Mask blur",
    "inpainting_mask_invert": "Mask mode",
    "inpainting_fill": "Masked content",
    "inpaint_full_res": "Inpaint area",
    "inpaint_full_res_padding": "Masked area padding",
}
"""Fields of img2img that a recipe fills when it tells of a mask."""

MASK_WORDS: dict[str, tuple[str, ...]] = {
    "Mask mode": ("Inpaint masked", "Inpaint not masked"),
    "Masked content": MASKED_CONTENTS,
    "Inpaint area": ("Whole picture", "Only masked"),
}
"""What recipes write for the numbers 0, 1, … of a field."""

HIRES_KEYS = ("Hires upscale", "Hires upscaler", "Hires resize-1")


def fill_from_infotext(studio: Studio, body: SomeBody) -> tuple[SomeBody, dict[str, Any]]:
    """The request with its infotext's values, and the overrides that belong to them.

    Raises:
        ParamsError: A value in the infotext cannot be read as its field.
    """
    if not body.infotext:
        return body, {}
    written = parse_infotext(body.infotext)
    found = with_defaults(
        written,
        auto_backcompat=bool(studio.options["auto_backcompat"]),
        skip=studio.options["infotext_skip_pasting"] or (),
    )
    pairs, told = studio.extensions.read_recipe(found.params)
    found = replace(found, params=pairs)
    values = {
        **_field_values(written, found),
        **_mask_values(written, found),
        **_prompts_and_styles(studio, found),
        **({"alwayson_scripts": {k: {"args": v} for k, v in told.items()}} if told else {}),
    }
    open_fields = {k: v for k, v in values.items() if k not in body.model_fields_set}
    for name, value in open_fields.items():
        _check_field(type(body), name, value)
    sent = body.model_dump(exclude_unset=True)
    overrides = _overrides(studio, found)
    if any(studio.extensions.choices(str(open_fields.get(name) or "")) for name in PROMPTS):
        overrides["dynamic_prompts"] = False  # it was painted as it stands
    return type(body).model_validate({**sent, **open_fields}), overrides


def _field_values(written: Infotext, found: Infotext) -> dict[str, Any]:
    params = found.params
    values: dict[str, Any] = {
        name: params[key] for name, key in FIELD_KEYS.items() if key in params
    }
    if "Schedule type" not in written.params:  # an old sampler name may end in its schedule
        values.pop("scheduler", None)
    values["restore_faces"] = "Face restoration" in written.params
    has_hires = any(key in written.params or params.get(key, "0") != "0" for key in HIRES_KEYS)
    values["enable_hr"] = "Denoising strength" in params and has_hires
    return values


def _mask_values(written: Infotext, found: Infotext) -> dict[str, Any]:
    """How the picture was inpainted; a recipe that tells of no mask leaves the API's defaults."""
    if not any(key in written.params for key in MASK_FIELD_KEYS.values()):
        return {}
    params = found.params
    return {
        name: _number(key, params[key]) if key in MASK_WORDS else params[key]
        for name, key in MASK_FIELD_KEYS.items()
        if key in params
    }


def _number(key: str, word: str) -> int:
    if word not in MASK_WORDS[key]:
        raise ParamsError(
            f"The infotext says «{key}: {word}»; known are: {', '.join(MASK_WORDS[key])}.",
            "Mend the infotext, or send the field yourself.",
            field="infotext",
        )
    return MASK_WORDS[key].index(word)


def _prompts_and_styles(studio: Studio, found: Infotext) -> dict[str, Any]:
    """The prompts, without the styles they were made with unless the option says otherwise."""
    wish = studio.options["infotext_styles"]
    prompt, negative_prompt = found.prompt, found.negative_prompt
    if wish == "Ignore":
        return {"prompt": prompt, "negative_prompt": negative_prompt}
    known = studio.styles.by_name().values()
    names, prompt, negative_prompt = extract_styles(prompt, negative_prompt, known)
    values: dict[str, Any] = {"prompt": prompt, "negative_prompt": negative_prompt}
    if wish == "Apply" or (wish == "Apply if any" and names):
        values["styles"] = names
    return values


def _check_field(kind: type[PaintingBody], name: str, value: Any) -> None:
    try:
        kind.model_validate({name: value})
    except ValidationError as err:
        key = {**FIELD_KEYS, **MASK_FIELD_KEYS}.get(name, name)
        raise ParamsError(
            f"The infotext says «{key}: {value}», which cannot be read as {name}.",
            f"Send {name} yourself, or mend the infotext.",
            field=name,
        ) from err


def _overrides(studio: Studio, found: Infotext) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for key, option in OPTION_OF_INFOTEXT_KEY.items():
        if key in found.params and key not in HANDLED_APART:
            value = checked_value(option, found.params[key])
            if value != studio.options[option]:
                overrides[option] = value
    model = found.params.get("Model hash")
    if model and not studio.options["disable_weights_auto_swap"]:
        overrides["sd_model_checkpoint"] = model
    vae = found.params.get("VAE")
    if vae and vae != studio.options["sd_vae"] and _has_vae(studio, vae):
        overrides["sd_vae"] = vae
    return overrides


def _has_vae(studio: Studio, name: str) -> bool:
    try:
        studio.catalog.find_vae(name)
    except CheckpointNotFoundError:
        return False
    return True
