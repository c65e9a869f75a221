"""Scripts by name: which a request may mention, with which arguments, and what the lists answer.

Source:
    Titles, arguments, their order, defaults and slider ranges: A1111 1.10's scripts/ folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from webui.api.errors import ApiError
from webui.api.lenient import read_bool, read_float, read_int
from webui.api.schemas import ImageToImageBody, PaintingBody
from webui.errors import ParamsError
from webui.params import MASKED_CONTENTS, PLAIN_UPSCALERS

TOLERATED_SCRIPTS = ("refiner", "extra options", "comments", "hypertile")
"""A1111's always-on scripts that clients mention out of habit; their arguments act nowhere."""

DIRECTIONS = ("left", "right", "up", "down")


@dataclass(frozen=True)
class Argument:
    """One argument of a script.

    Attributes:
        name: Ours, for whoever reads the arguments.
        kind: How a value is read; ``note`` is a text of A1111's page and takes anything.
        minimum, maximum, step: Of A1111's slider; what is painted has ranges of its own.
    """

    name: str
    label: str | None
    value: Any
    kind: Literal["note", "int", "float", "bool", "choice", "choices"]
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()

    def info(self) -> dict[str, Any]:
        """As GET /sdapi/v1/script-info tells it."""
        return {
            "label": self.label,
            "value": list(self.value) if isinstance(self.value, tuple) else self.value,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "step": self.step,
            "choices": list(self.choices) or None,
        }


@dataclass(frozen=True)
class Script:
    """A script that a request may name.

    Attributes:
        name: Its title in lower case.
        is_alwayson: Goes into ``alwayson_scripts``; the others into ``script_name``.
        is_img2img: For img2img; the others are for txt2img.
    """

    name: str
    is_alwayson: bool
    is_img2img: bool
    arguments: tuple[Argument, ...] = ()

    def read(self, values: Sequence[Any], field: str) -> dict[str, Any]:
        """The arguments by name; those left out, and nulls, have their defaults.

        Args:
            field: What the client called the list.
        Raises:
            ParamsError: Too many arguments, or one that cannot be read.
        """
        if len(values) > len(self.arguments):
            names = ", ".join(a.label or "a note" for a in self.arguments)
            raise ParamsError(
                f"{field} has {len(values)} entries; «{self.name}» takes {len(self.arguments)}: "
                f"{names}.",
                "GET /sdapi/v1/script-info describes them.",
                field=field,
            )
        read = {argument.name: argument.value for argument in self.arguments}
        for place, (argument, value) in enumerate(zip(self.arguments, values, strict=False)):
            if value is not None:
                read[argument.name] = self._read_one(argument, value, f"{field}[{place}]")
        return read

    def with_upscalers(self, names: Sequence[str]) -> Script:
        """The same script offering these upscalers, where it offers any."""
        arguments = (
            replace(argument, choices=tuple(names)) if argument.name == "upscaler" else argument
            for argument in self.arguments
        )
        return replace(self, arguments=tuple(arguments))

    def _read_one(self, argument: Argument, value: Any, place: str) -> Any:
        try:
            return _READERS[argument.kind](argument, value)
        except ValueError as err:
            raise ParamsError(
                f"{place} («{argument.label}» of «{self.name}») was {str(value)[:80]!r}; {err}.",
                "Change that value and send it again.",
                field=place,
            ) from err


def _read_choice(argument: Argument, value: Any) -> str:
    """A choice by its text, capitals aside, or by its number."""
    if isinstance(value, str):
        for choice in argument.choices:
            if choice.lower() == value.strip().lower():
                return choice
    elif not isinstance(value, bool) and value in range(len(argument.choices)):
        return argument.choices[int(value)]
    names = ", ".join(argument.choices)
    raise ValueError(f"one of {names} is needed, or its number from 0")


def _read_choices(argument: Argument, value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list):
        raise ValueError(f"a list of {', '.join(argument.choices)} is needed")
    return tuple(_read_choice(argument, one) for one in values)


_READERS: dict[str, Any] = {
    "note": lambda argument, value: None,
    "int": lambda argument, value: read_int(value),
    "float": lambda argument, value: read_float(value),
    "bool": lambda argument, value: read_bool(value),
    "choice": _read_choice,
    "choices": _read_choices,
}

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
SCRIPTS = (
    *(Script(name, is_alwayson=True, is_img2img=False) for name in ("sampler", "seed")),
    *(Script(name, is_alwayson=True, is_img2img=True) for name in ("sampler", "seed")),
    SOFT_INPAINTING,
    LOOPBACK,
    OUTPAINTING,
    POOR_MANS_OUTPAINTING,
    SD_UPSCALE,
)
"""All scripts there are. As in A1111, plain request fields do the work of «sampler» and «seed»."""


def check_scripts(body: PaintingBody) -> None:
    """Refuse scripts that do not exist, before anything is painted without them.

    Raises:
        ApiError: 422, in A1111's words.
        ParamsError: An entry of ``alwayson_scripts`` that is no object with a list ``args``.
    """
    selected_script(body)
    known = {script.name: script for script in _scripts_for(body)}
    for name, entry in (body.alwayson_scripts or {}).items():
        script = known.get(name.lower())
        if script is None and name.lower() not in TOLERATED_SCRIPTS:
            raise _not_found(name)
        if script is not None and not script.is_alwayson:
            raise ApiError(
                422,
                "Cannot have a selectable script in the always on scripts params: "
                f"'{name[:80]}'. Name it in script_name.",
            )
        _arguments_of(name, entry)


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
    for name, entry in (body.alwayson_scripts or {}).items():
        if name.lower() == script.name:
            values = _arguments_of(name, entry)[: len(script.arguments)]
            return script.read(values, f"alwayson_scripts.{name}.args")
    return script.read((), "")


def _arguments_of(name: str, entry: Any) -> list[Any]:
    arguments = entry.get("args") if isinstance(entry, dict) else None
    if isinstance(entry, dict) and arguments is None:
        return []
    if isinstance(arguments, list):
        return arguments
    raise ParamsError(
        f"alwayson_scripts.{name[:80]} was {str(entry)[:80]!r}; "
        'an object with a list is needed: {"args": […]}.',
        field="alwayson_scripts",
    )


def _scripts_for(body: PaintingBody) -> list[Script]:
    is_img2img = isinstance(body, ImageToImageBody)
    return [script for script in SCRIPTS if script.is_img2img == is_img2img]


def _not_found(name: str) -> ApiError:
    return ApiError(
        422, f"Script '{name[:80]}' not found. GET /sdapi/v1/scripts lists the ones there are."
    )


def script_titles() -> dict[str, list[str]]:
    """GET /sdapi/v1/scripts."""
    return {
        "txt2img": [script.name for script in SCRIPTS if not script.is_img2img],
        "img2img": [script.name for script in SCRIPTS if script.is_img2img],
    }


def script_infos(upscalers: Sequence[str]) -> list[dict[str, Any]]:
    """GET /sdapi/v1/script-info.

    Args:
        upscalers: Names of those that are here.
    """
    return [
        {
            "name": script.name,
            "is_alwayson": script.is_alwayson,
            "is_img2img": script.is_img2img,
            "args": [argument.info() for argument in script.arguments],
        }
        for script in (script.with_upscalers(upscalers) for script in SCRIPTS)
    ]
