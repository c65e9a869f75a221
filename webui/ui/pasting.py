"""From a picture's recipe to values of the form and chips of settings that differ.

No Gradio here: text in, plain values out. Key meanings: A1111's paste fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from webui.errors import ParamsError, WebUIError
from webui.infotext import Infotext, with_defaults
from webui.options import OPTION_BY_KEY, OPTION_OF_INFOTEXT_KEY
from webui.params import MASKED_CONTENTS
from webui.prompts.chinese.translate import in_english
from webui.prompts.styles import extract_styles
from webui.recipes import Recipe, read_text
from webui.services.plots.plans import Plans
from webui.services.plots.recipe import NEGATIVE as SHEET_NEGATIVE
from webui.services.plots.recipe import PROMPT as SHEET_PROMPT
from webui.services.resolve import known_sampler
from webui.ui import control_panel, extension_panels, plots
from webui.ui.form import SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE
from webui.ui.img2img_form import (
    CURVES,
    INPAINT_MASKED,
    INPAINT_NOT_MASKED,
    LOOPBACK,
    ONLY_MASKED,
    OUTPAINT_CONTENTS,
    OUTPAINTING,
    SD_UPSCALE,
    SIDES,
    WHOLE_PICTURE,
)
from webui.ui.painting_form import NO_SCRIPT

if TYPE_CHECKING:
    from webui.studio import Studio


CHINESE_PROMPT, CHINESE_NEGATIVE = "Chinese prompt", "Chinese negative prompt"
_NUMBERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Steps": ("steps", int),
    "CFG scale": ("cfg_scale", float),
    "Size-1": ("width", int),
    "Size-2": ("height", int),
    "Batch size": ("batch_size", int),
    "Seed": ("seed", str),
    "Variation seed": ("subseed", str),
    "Variation seed strength": ("subseed_strength", float),
    "Seed resize from-1": ("seed_resize_from_w", int),
    "Seed resize from-2": ("seed_resize_from_h", int),
    "Hires upscale": ("hires_scale", float),
    "Hires steps": ("hires_steps", int),
    "Hires resize-1": ("hires_resize_x", int),
    "Hires resize-2": ("hires_resize_y", int),
    "Denoising strength": ("hires_denoising", float),
    "Hires CFG Scale": ("hires_cfg", float),
    "Refiner switch at": ("refiner_switch_at", float),
}
_PICTURE_NUMBERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Denoising strength": ("denoising", float),
    "Mask blur": ("mask_blur", int),
    "Masked area padding": ("padding", int),
    "Soft inpainting schedule bias": ("soft_bias", float),
    "Soft inpainting preservation strength": ("soft_preservation", float),
    "Soft inpainting transition contrast boost": ("soft_contrast", float),
    "Soft inpainting mask influence": ("soft_influence", float),
    "Soft inpainting difference threshold": ("soft_threshold", float),
    "Soft inpainting difference contrast": ("soft_difference", float),
    "Image CFG scale": ("image_cfg", float),
    "Outpaint blur": ("outpaint_blur", int),
    "Outpaint fall-off": ("outpaint_noise_q", float),
    "Outpaint color variation": ("outpaint_color", float),
    "Loops": ("loops", int),
    "Final denoising strength": ("final_denoising", float),
    "SD upscale overlap": ("upscale_overlap", int),
    "SD upscale factor": ("upscale_scale", float),
}
"""Fields only img2img has; a form without them leaves them out."""
_TEXTS = {
    "Hires upscaler": "hires_upscaler",
    "Hires prompt": "hires_prompt",
    "Hires negative prompt": "hires_negative",
    "SD upscale upscaler": "upscaler",
}


PROMPTS = ("prompt", "negative_prompt", "hires_prompt", "hires_negative")
AS_PAINTED = "Dynamic prompts: False"
_ELSEWHERE = frozenset(
    {
        "Sampler", "Schedule type", "Hires sampler", "Hires schedule type", "Hires checkpoint",
        "Refiner", "Tiling", "Mask mode", "Masked content", "Inpaint area", "Denoising curve",
        "Soft inpainting enabled", "Outpaint content", *(f"Outpaint {side}" for side in SIDES),
        "Model", "VAE", "VAE hash", "Lora hashes", "TI hashes", "Hashes",
    }
)  # fmt: skip
"""Keys that have a meaning of their own in this module, or that check what others name."""
_SAYS_NO_MORE = frozenset(
    {
        "Version", "User", "App", "Init image hash", "Hypernet", "Hypernet strength", "Template",
        CHINESE_PROMPT, CHINESE_NEGATIVE,
        "Negative Template", "Lora layers",
    }
)  # fmt: skip
"""Nothing is lost without them, or they were put into the prompt."""
_INTO_OTHERS = ("AddNet ", "First pass size-")


@dataclass(frozen=True)
class Pasted:
    """What a recipe says.

    Attributes:
        values: By field name. chips: Settings that differ.
        missing: Names of models that are not here.
        left_out: What has no place here, each as ``name: value``.
        pairs: The recipe itself, for fields of A1111 scripts.
    """

    values: dict[str, Any]
    chips: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    pairs: Mapping[str, str] = field(default_factory=dict[str, str])


def has_recipe(text: str) -> bool:
    """True when the text is more than a prompt."""
    return read_text(text).has_more_than_a_prompt


def left_out(recipe: Recipe, of_extensions: Set[str] = frozenset()) -> list[str]:
    """What a recipe says that has no place here, each as ``name: value``.

    Args:
        of_extensions: Keys that fields of extensions have.
    """
    known = {*of_extensions, *_NUMBERS, *_PICTURE_NUMBERS, *_TEXTS, *OPTION_OF_INFOTEXT_KEY}
    known |= _ELSEWHERE | _SAYS_NO_MORE
    unknown = [
        f"{key}: {value}"
        for key, value in recipe.infotext.params.items()
        if key not in known and not key.startswith(_INTO_OTHERS) and not control_panel.is_told(key)
    ]
    return [*recipe.left_out, *unknown]


def paste(text: str, studio: Studio) -> Pasted:
    """Read a recipe of any program with this installation's options, styles and models."""
    options = studio.options
    recipe = read_text(text, studio.native_size(studio.current_checkpoint()))
    read = with_defaults(
        recipe.infotext,
        auto_backcompat=bool(options["auto_backcompat"]),
        skip=options["infotext_skip_pasting"] or [],
    )
    params, told = studio.extensions.read_recipe(read.params)
    read = replace(read, params=params)
    others, others_missing = _other_checkpoints(params, studio)
    plans = studio.plots.plans
    values = {**_prompts(read, studio), **_fields(params, plans), **_switches(params), **others}
    keys = studio.extensions.recipe_keys()
    if keys:
        values |= extension_panels.pasted(told)
    control, controlnets_missing = control_panel.pasted(params, studio)
    values |= control
    missing = _missing(params, studio) + others_missing + controlnets_missing
    chips = [*_chips(params, studio), *as_painted(values, studio)]
    scripts = studio.extensions.scripts
    keys |= scripts.recipe_keys() if scripts else set()
    keys |= plots.sheet_keys(params, plans)
    return Pasted(values, list(dict.fromkeys(chips)), missing, left_out(recipe, keys), params)


def as_painted(values: Mapping[str, Any], studio: Studio) -> list[str]:
    """The chip without which prompts that were painted as they stand would be drawn once more."""
    is_drawn = any(studio.extensions.choices(values.get(name) or "") for name in PROMPTS)
    return [AS_PAINTED] if is_drawn else []


def _prompts(read: Infotext, studio: Studio) -> dict[str, Any]:
    """Prompts, with the texts of known styles taken out as option infotext_styles says."""
    prompt, negative = _as_typed(
        read.params,
        read.params.get(SHEET_PROMPT, read.prompt),
        read.params.get(SHEET_NEGATIVE, read.negative_prompt),
        studio,
    )
    wanted = studio.options["infotext_styles"]
    if wanted == "Ignore":
        return {"prompt": prompt, "negative_prompt": negative}
    found, short, short_negative = extract_styles(
        prompt, negative, list(studio.styles.by_name().values())
    )
    values: dict[str, Any] = {"prompt": short, "negative_prompt": short_negative}
    if wanted == "Apply" or (wanted == "Apply if any" and found):
        values["styles"] = list(found)
    return values


def _as_typed(
    params: Mapping[str, str], prompt: str, negative: str, studio: Studio
) -> tuple[str, str]:
    """The Chinese that the prompts were translated from, where it becomes the very same English
    here and now; else the English, so that the same picture comes of it."""
    typed = params.get(CHINESE_PROMPT, prompt)
    unwanted = ", ".join(studio.translate(typed).unwanted)
    typed_negative = negative.removesuffix(unwanted).removesuffix(", ") if unwanted else negative
    texts = typed, params.get(CHINESE_NEGATIVE, typed_negative)
    is_on = studio.options["translate_chinese_prompts"]
    is_same = is_on and in_english(*texts, studio.translate) == (prompt, negative)
    return texts if is_same else (prompt, negative)


def _other_checkpoints(
    params: Mapping[str, str], studio: Studio
) -> tuple[dict[str, Any], list[str]]:
    """Refiner and checkpoint of the second pass, as menu entries; and those that are not here."""
    titles: dict[str, str] = {}
    missing = []
    for key in ("Refiner", "Hires checkpoint"):
        wanted = params.get(key)
        if not wanted or wanted in ("None", SAME_CHECKPOINT):
            continue
        record = studio.catalog.closest_checkpoint(wanted)
        if record is None:
            missing.append(wanted)
        else:
            titles[key] = record.title
    values: dict[str, Any] = {
        "has_refiner": "Refiner" in titles,
        "hires_checkpoint": titles.get("Hires checkpoint", SAME_CHECKPOINT),
    }
    if "Refiner" in titles:
        values["refiner_checkpoint"] = titles["Refiner"]
    if "Hires CFG Scale" not in params:
        values["hires_cfg"] = 0.0
    return values, missing


def _fields(params: Mapping[str, str], plans: Plans) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, (name, read) in (*_NUMBERS.items(), *_PICTURE_NUMBERS.items()):
        if key in params:
            try:
                values[name] = read(params[key])
            except ValueError:  # somebody wrote words there: the field stays as it is
                continue
    for key, name in _TEXTS.items():
        if key in params:
            values[name] = params[key]
    if "hires_denoising" in values:  # the same key for img2img and the second pass of txt2img
        values["denoising"] = values["hires_denoising"]
    return {**values, **_samplers(params), **_masks(params), **_script(params, plans)}


def _masks(params: Mapping[str, str]) -> dict[str, Any]:
    """How a mask was used; what the recipe leaves out was as usual."""
    content = params.get("Masked content")
    is_inverted = params.get("Mask mode") == INPAINT_NOT_MASKED
    is_only_masked = params.get("Inpaint area") == ONLY_MASKED
    return {
        "mask_mode": INPAINT_NOT_MASKED if is_inverted else INPAINT_MASKED,
        "mask_content": content if content in MASKED_CONTENTS else "original",
        "inpaint_area": ONLY_MASKED if is_only_masked else WHOLE_PICTURE,
        "has_soft": params.get("Soft inpainting enabled") == "True",
    }


def _script(params: Mapping[str, str], plans: Plans) -> dict[str, Any]:
    """The script that a picture was made with; none when the recipe tells of none.

    The form grows all chosen sides alike; of a recipe's different widths it takes the largest.
    """
    if sheet := plots.pasted(params, plans):
        return sheet
    if "Loops" in params:
        curve = params.get("Denoising curve")
        return {"script": LOOPBACK, **({"loop_curve": curve} if curve in CURVES else {})}
    if "SD upscale overlap" in params:
        return {"script": SD_UPSCALE}
    grown = {side: _pixels(params.get(f"Outpaint {side}")) for side in SIDES}
    sides = [side for side in SIDES if grown[side]]
    if not sides:
        return {"script": NO_SCRIPT}
    content = params.get("Outpaint content")
    values = {
        "script": OUTPAINTING,
        "outpaint_sides": sides,
        "outpaint_pixels": max(grown.values()),
    }
    return {**values, **({"outpaint_content": content} if content in OUTPAINT_CONTENTS else {})}


def _pixels(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _samplers(params: Mapping[str, str]) -> dict[str, Any]:
    """Menu entries; old fused names such as "DPM++ 2M Karras" are taken apart."""
    values: dict[str, Any] = {}
    first = _sampler(params.get("Sampler"), params.get("Schedule type"))
    if first:
        values["sampler"], values["schedule"] = first
    second, schedule = params.get("Hires sampler"), params.get("Hires schedule type")
    values["hires_sampler"], values["hires_schedule"] = SAME_SAMPLER, SAME_SCHEDULE
    if second and second != SAME_SAMPLER:
        found = _sampler(second, None if schedule == SAME_SCHEDULE else schedule)
        if found:
            values["hires_sampler"] = found[0]
    if schedule and schedule != SAME_SCHEDULE:
        values["hires_schedule"] = schedule
    return values


def _sampler(name: str | None, schedule: str | None) -> tuple[str, str] | None:
    """Sampler and schedule label; None for a sampler of another program."""
    if not name:
        return None
    has_own = schedule in (None, "Automatic")
    try:
        found = known_sampler(name, None if has_own else schedule)
    except ParamsError:
        return None
    return found.sampler, found.schedule_label


def _switches(params: Mapping[str, str]) -> dict[str, bool]:
    return {
        "has_hires": "Denoising strength" in params and "Hires resize-1" in params,
        "has_extra": "Variation seed" in params or "Seed resize from-1" in params,
        "tiling": params.get("Tiling") == "True",
    }


def _chips(params: Mapping[str, str], studio: Studio) -> list[str]:
    """Settings of the recipe that are not the present ones."""
    chips = []
    for label, key in OPTION_OF_INFOTEXT_KEY.items():
        if label not in params or not _is_usable(label, params[label], studio):
            continue
        wanted = _typed(key, params[label])
        if wanted is not None and wanted != _typed(key, str(studio.options[key])):
            chips.append(f"{label}: {params[label]}")
    return chips


def _missing(params: Mapping[str, str], studio: Studio) -> list[str]:
    """Models of the recipe that this machine does not have."""
    names = []
    model, vae = params.get("Model hash") or params.get("Model"), params.get("VAE")
    try:
        if model:
            studio.catalog.find_checkpoint(model)
    except WebUIError:
        names.append(params.get("Model", model))
    try:
        if vae and vae not in ("None", "Automatic"):
            studio.catalog.find_vae(vae)
    except WebUIError:
        names.append(vae)
    return names


def _is_usable(label: str, value: str, studio: Studio) -> bool:
    """False for a model or VAE that is not here or is not to be swapped."""
    try:
        if label == "Model hash":
            record = studio.current_checkpoint()
            wanted = studio.catalog.find_checkpoint(value)
            is_same = record is not None and record.path == wanted.path
            return not studio.options["disable_weights_auto_swap"] and not is_same
        if label == "VAE":
            studio.catalog.find_vae(value)
    except WebUIError:
        return False
    return True


def read_chips(chips: list[str]) -> dict[str, Any]:
    """Option values out of chips.

    Raises:
        ParamsError: A chip names no setting, or its value does not fit.
    """
    found: dict[str, Any] = {}
    for chip in chips:
        label, _, value = chip.partition(": ")
        key = OPTION_OF_INFOTEXT_KEY.get(label)
        typed = _typed(key, value) if key else None
        if key is None or typed is None:
            raise ParamsError(
                f"The override “{chip}” cannot be read.",
                "Write it as the pasted ones are, such as “Clip skip: 2”, or remove it.",
                field="overrides",
            )
        found[key] = typed
    return found


def _typed(key: str, value: str) -> Any:
    """A setting's value as its own type; None when it does not fit."""
    default, choices = OPTION_BY_KEY[key].default, OPTION_BY_KEY[key].choices
    if isinstance(default, bool):
        return {"True": True, "False": False}.get(value)
    if isinstance(default, (int, float)):
        try:
            return type(default)(float(value))
        except (ValueError, OverflowError):
            return None
    return value if not choices or value in choices else None
