"""Scripts by name: which a request may mention, with which arguments, and what the lists answer.

Source:
    Titles, arguments, their order, defaults and slider ranges: A1111 1.10's scripts/ folder.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any

from webui.api.errors import ApiError
from webui.api.plot_scripts import plan_scripts
from webui.api.schemas import ImageToImageBody, PaintingBody
from webui.api.script_arguments import Argument, Script, arguments_of
from webui.params import MASKED_CONTENTS, PLAIN_UPSCALERS
from webui.services.plots.plans import Plans

TOLERATED_SCRIPTS = ("refiner", "extra options", "comments", "hypertile")
"""A1111's always-on scripts that clients mention out of habit; their arguments act nowhere."""

_VERSION = re.compile(r" v\d[\w.]*$")

DIRECTIONS = ("left", "right", "up", "down")

_PIXELS = Argument("pixels", "Pixels to expand", 128, "int", 8, 256, 8)
_DIRECTION = Argument(
    "direction", "Outpainting direction", DIRECTIONS, "choices", choices=DIRECTIONS
)

LOOPBACK = Script(
    "loopback",
    is_alwayson=False,
    is_img2img=True,
    arguments=(
        Argument("loops", "Loops", 4, "int", 1, 32, 1),
        Argument("final_strength", "Final denoising strength", 0.5, "float", 0, 1, 0.01),
        Argument(
            "curve",
            "Denoising strength curve",
            "Linear",
            "choice",
            choices=("Aggressive", "Linear", "Lazy"),
        ),
        Argument(
            "interrogation",
            "Append interrogated prompt at each iteration",
            "None",
            "choice",
            choices=("None", "CLIP", "DeepBooru"),
        ),
    ),
)
OUTPAINTING = Script(
    "outpainting mk2",
    is_alwayson=False,
    is_img2img=True,
    arguments=(
        Argument("note", None, "", "note"),
        _PIXELS,
        Argument("mask_blur", "Mask blur", 8, "int", 0, 64, 1),
        _DIRECTION,
        Argument(
            "noise_q", "Fall-off exponent (lower=higher detail)", 1.0, "float", 0.0, 4.0, 0.01
        ),
        Argument("color_variation", "Color variation", 0.05, "float", 0.0, 1.0, 0.01),
    ),
)
POOR_MANS_OUTPAINTING = Script(
    "poor man's outpainting",
    is_alwayson=False,
    is_img2img=True,
    arguments=(
        _PIXELS,
        Argument("mask_blur", "Mask blur", 4, "int", 0, 64, 1),
        Argument("content", "Masked content", "fill", "choice", choices=MASKED_CONTENTS),
        _DIRECTION,
    ),
)
SD_UPSCALE = Script(
    "sd upscale",
    is_alwayson=False,
    is_img2img=True,
    arguments=(
        Argument("note", None, "", "note"),
        Argument("overlap", "Tile overlap", 64, "int", 0, 256, 16),
        Argument("upscaler", "Upscaler", "None", "choice", choices=PLAIN_UPSCALERS),
        Argument("scale", "Scale Factor", 2.0, "float", 1.0, 4.0, 0.05),
    ),
)
SOFT_INPAINTING = Script(
    "soft inpainting",
    is_alwayson=True,
    is_img2img=True,
    arguments=(
        Argument("is_enabled", "Soft inpainting", False, "bool"),
        Argument("schedule_bias", "Schedule bias", 1.0, "float", 0, 8, 0.1),
        Argument("preservation_strength", "Preservation strength", 0.5, "float", 0, 8, 0.05),
        Argument(
            "transition_contrast_boost", "Transition contrast boost", 4.0, "float", 1, 32, 0.5
        ),
        Argument("mask_influence", "Mask influence", 0.0, "float", 0, 1, 0.05),
        Argument("difference_threshold", "Difference threshold", 0.5, "float", 0, 8, 0.25),
        Argument("difference_contrast", "Difference contrast", 2.0, "float", 0, 8, 0.25),
    ),
)
DYNAMIC_PROMPTS = Script(
    "dynamic prompts",
    is_alwayson=True,
    is_img2img=False,
    arguments=(
        Argument("is_enabled", "Dynamic Prompts enabled", True, "bool"),
        Argument("is_combinatorial", "Combinatorial generation", False, "bool"),
        Argument("combinatorial_batches", "Combinatorial batches", 1, "int", 1, 10, 1),
        Argument("is_magic_prompt", "Magic prompt", False, "bool"),
        Argument("is_feeling_lucky", "I'm feeling lucky", False, "bool"),
        Argument("is_attention_grabber", "Attention grabber", False, "bool"),
        Argument("min_attention", "Minimum attention", 1.1, "float", -1, 2, 0.1),
        Argument("max_attention", "Maximum attention", 1.5, "float", -1, 2, 0.1),
        Argument("magic_length", "Max magic prompt length", 100, "int", 30, 300, 10),
        Argument("magic_creativity", "Magic prompt creativity", 0.7, "float", 0.1, 3, 0.1),
        Argument("use_fixed_seed", "Fixed seed", False, "bool"),
        Argument("unlink_seed", "Unlink seed from prompt", False, "bool"),
        Argument("disable_negative_prompt", "Don't apply to negative prompts", True, "bool"),
        Argument("has_jinja", "Enable Jinja2 templates", False, "bool"),
        Argument("no_images", "Don't generate images", False, "bool"),
        Argument("max_generations", "Max generations", 0, "int", 0, 1000, 1),
        Argument("magic_model", "Magic prompt model", "", "text"),
        Argument("magic_blocklist", "Magic prompt blocklist regex", "", "text"),
    ),
)
"""As of sd-dynamic-prompts 2.x, whose title ends with its version."""
CONTROLNET = Script("controlnet", is_alwayson=True, is_img2img=False)
"""Its arguments are units, which ``control_units.py`` reads."""
SCRIPTS = (
    *(
        replace(script, is_img2img=is_img2img)
        for is_img2img in (False, True)
        for script in (CONTROLNET, DYNAMIC_PROMPTS)
    ),
    *(Script(name, is_alwayson=True, is_img2img=False) for name in ("sampler", "seed")),
    *(Script(name, is_alwayson=True, is_img2img=True) for name in ("sampler", "seed")),
    SOFT_INPAINTING,
    LOOPBACK,
    OUTPAINTING,
    POOR_MANS_OUTPAINTING,
    SD_UPSCALE,
)
"""All scripts but plans of extensions. As in A1111, plain request fields do the work of «sampler»
and «seed»."""


def check_scripts(
    body: PaintingBody, others: Container[str] = (), plans: Sequence[Script] = ()
) -> None:
    """Refuse scripts that do not exist, before anything is painted without them.

    Args:
        others: Names that are somebody else's to read: those of extensions.
        plans: Those of extensions that ``script_name`` may name.
    Raises:
        ApiError: 422, in A1111's words.
        ParamsError: An entry of ``alwayson_scripts`` that is no object with a list ``args``.
    """
    selected_script(body)
    known = {script.name: script for script in (*_scripts_for(body), *plans)}
    for name, entry in (body.alwayson_scripts or {}).items():
        if name.lower() in others:
            continue
        script = known.get(_without_version(name))
        if script is None and name.lower() not in TOLERATED_SCRIPTS:
            raise _not_found(name)
        if script is not None and not script.is_alwayson:
            raise ApiError(
                422,
                "Cannot have a selectable script in the always on scripts params: "
                f"'{name[:80]}'. Name it in script_name.",
            )
        arguments_of(name, entry)


def selected_script(body: PaintingBody) -> Script | None:
    """The script a request chooses by ``script_name``, None when it chooses none.

    Raises:
        ApiError: 422, there is none of that name.
    """
    if not body.script_name:
        return None
    for script in _scripts_for(body):
        if script.name == body.script_name.lower() and not script.is_alwayson:
            return script
    raise _not_found(body.script_name)


def alwayson_arguments(body: PaintingBody, script: Script) -> dict[str, Any]:
    """An always-on script's arguments in a request; its defaults where it is not mentioned.

    As in A1111, arguments beyond those the script has are ignored.

    Raises:
        ParamsError: One cannot be read.
    """
    name, values = script_entry(body, script)
    return script.read(values[: len(script.arguments)], f"alwayson_scripts.{name}.args")


def script_entry(body: PaintingBody, script: Script) -> tuple[str, list[Any]]:
    """What a request calls an always-on script, and its arguments as they were sent; none where it
    is not mentioned.

    Raises:
        ParamsError: Its entry is no object with a list ``args``.
    """
    for name, entry in (body.alwayson_scripts or {}).items():
        if _without_version(name) == script.name:
            return name, arguments_of(name, entry)
    return script.name, []


def _without_version(name: str) -> str:
    return _VERSION.sub("", name.lower())


def _scripts_for(body: PaintingBody) -> list[Script]:
    is_img2img = isinstance(body, ImageToImageBody)
    return [script for script in SCRIPTS if script.is_img2img == is_img2img]


def _not_found(name: str) -> ApiError:
    return ApiError(
        422, f"Script '{name[:80]}' not found. GET /sdapi/v1/scripts lists the ones there are."
    )


def script_titles(plans: Plans) -> dict[str, list[str]]:
    """GET /sdapi/v1/scripts."""
    scripts = (*SCRIPTS, *plan_scripts(plans))
    return {
        "txt2img": [script.name for script in scripts if not script.is_img2img],
        "img2img": [script.name for script in scripts if script.is_img2img],
    }


def script_infos(upscalers: Sequence[str], plans: Plans) -> list[dict[str, Any]]:
    """GET /sdapi/v1/script-info.

    Args:
        upscalers: Names of those that are here.
    """
    scripts = (*SCRIPTS, *plan_scripts(plans))
    return [
        {
            "name": script.name,
            "is_alwayson": script.is_alwayson,
            "is_img2img": script.is_img2img,
            "args": [argument.info() for argument in script.arguments],
        }
        for script in (script.with_upscalers(upscalers) for script in scripts)
    ]
