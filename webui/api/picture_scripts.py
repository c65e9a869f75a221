"""What A1111's img2img scripts mean in our words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from webui.api.schemas import ImageToImageBody
from webui.api.scripts import (
    LOOPBACK,
    OUTPAINTING,
    POOR_MANS_OUTPAINTING,
    SD_UPSCALE,
    SOFT_INPAINTING,
    alwayson_arguments,
    selected_script,
)
from webui.errors import ParamsError
from webui.params import Loopback, Outpaint, SdUpscale, SoftInpainting, params_error

A1111_STEP = 64
"""Its outpainting scripts grow pictures to multiples of this many pixels."""


@dataclass(frozen=True)
class ScriptCase:
    """What a script needs to know of its request.

    Attributes:
        arguments: Of the script, by our names.
        body: The request.
        size: Width and height of the first input picture, in pixels.
    """

    arguments: dict[str, Any]
    body: ImageToImageBody
    size: tuple[int, int]


def script_values(
    body: ImageToImageBody, size: tuple[int, int], upscalers: Sequence[str]
) -> dict[str, Any]:
    """Fields of an ``ImageToImageRequest`` that the chosen script sets; none without a script.

    Args:
        size: Width and height of the first input picture, in pixels.
        upscalers: Names of those that are here.
    Raises:
        ApiError: 422, no script of that name.
        ParamsError: An argument that cannot be read or is out of range.
    """
    script = selected_script(body)
    if script is None or script.name not in _MEANINGS:
        return {}
    script = script.with_upscalers(upscalers)
    arguments = script.read(body.script_args or (), "script_args")
    return _MEANINGS[script.name](ScriptCase(arguments, body, size))


def soft_inpainting(body: ImageToImageBody) -> SoftInpainting | None:
    """The knobs of A1111's always-on script, None while it is off.

    Raises:
        ParamsError: One cannot be read or is out of range.
    """
    arguments = alwayson_arguments(body, SOFT_INPAINTING)
    is_enabled = arguments.pop("is_enabled")
    return _checked(SoftInpainting, arguments, "soft inpainting") if is_enabled else None


def _loopback(case: ScriptCase) -> dict[str, Any]:
    wanted = {
        "loops": case.arguments["loops"],
        "final_denoising_strength": case.arguments["final_strength"],
        "curve": case.arguments["curve"],
        "interrogation": case.arguments["interrogation"],
    }
    return {"loopback": _checked(Loopback, wanted, "loopback"), "batch_size": 1}


def _outpainting(case: ScriptCase) -> dict[str, Any]:
    keys = ("noise_q", "color_variation")
    more = {key: case.arguments[key] for key in keys}
    return _grown(case, {"content": "matched noise", "blur": 5 * _mask_blur(case), **more})


def _poor_mans_outpainting(case: ScriptCase) -> dict[str, Any]:
    more = {"content": case.arguments["content"], "blur": 4 * _mask_blur(case)}
    return {**_grown(case, more), "batch_size": 1}


def _mask_blur(case: ScriptCase) -> int:
    """A1111's mask begins 1 (mk2) or 2 (poor man's) of these inside the old picture, and is then
    blurred by a Gaussian of 4 or 2 of them."""
    return case.arguments["mask_blur"]


def _grown(case: ScriptCase, more: dict[str, Any]) -> dict[str, Any]:
    pixels, directions = case.arguments["pixels"], case.arguments["direction"]
    left, right = _sides(case.size[0], *(pixels * (d in directions) for d in ("left", "right")))
    up, down = _sides(case.size[1], *(pixels * (d in directions) for d in ("up", "down")))
    wanted = {"left": left, "right": right, "up": up, "down": down, **more}
    return {"outpaint": _checked(Outpaint, wanted, "outpaint"), "inpaint": None}


def _sides(side: int, before: int, after: int) -> tuple[int, int]:
    """Pixels added before and after so that the whole becomes a multiple of 64, as in A1111."""
    asked = before + after
    if asked <= 0:
        return before, after
    added = -(-(side + asked) // A1111_STEP) * A1111_STEP - side
    before = before * added // asked
    return before, added - before


def _sd_upscale(case: ScriptCase) -> dict[str, Any]:
    overlap = case.arguments["overlap"]
    tile = min(case.body.value("width"), case.body.value("height"))
    if overlap >= tile:
        raise ParamsError(
            f"script_args: an overlap of {overlap} is no smaller than a tile of "
            f"{case.body.value('width')}x{case.body.value('height')}.",
            "Lower the overlap, or raise width and height, which are the size of a tile.",
            field="script_args",
        )
    wanted = {key: case.arguments[key] for key in ("overlap", "upscaler", "scale")}
    if wanted["upscaler"] == "None":  # as in A1111: not enlarged
        wanted["scale"] = 1.0
    return {"sd_upscale": _checked(SdUpscale, wanted, "sd upscale"), "inpaint": None}


_MEANINGS: dict[str, Callable[[ScriptCase], dict[str, Any]]] = {
    LOOPBACK.name: _loopback,
    OUTPAINTING.name: _outpainting,
    POOR_MANS_OUTPAINTING.name: _poor_mans_outpainting,
    SD_UPSCALE.name: _sd_upscale,
}


def _checked(kind: type[BaseModel], values: dict[str, Any], name: str) -> Any:
    try:
        return kind.model_validate(values)
    except ValidationError as err:
        inner = params_error(err)
        raise ParamsError(f"{name}: {inner.message}", inner.hint, field="script_args") from err
