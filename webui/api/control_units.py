"""The units of ``alwayson_scripts`` «ControlNet», in our words.

Source:
    Names, their old aliases and what may stand in them: sd-webui-controlnet 1.1.455 and Forge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from webui.api.errors import ApiError
from webui.api.pictures import keep_picture
from webui.api.schemas import PaintingBody
from webui.api.scripts import CONTROLNET, script_entry
from webui.errors import LibraryError, ParamsError
from webui.lenient import read_bool, read_float, read_int
from webui.params import (
    CONTROL_MODES,
    CONTROL_PASSES,
    CONTROL_RESIZE_MODES,
    MAX_CONTROL_UNITS,
    ControlUnit,
    params_error,
)
from webui.studio import Studio

_ALIASES: Final = {
    "input_image": "image", "mask_image": "mask", "lowvram": "low_vram", "guidance": "guidance_end",
    "guessmode": "guess_mode",
}  # fmt: skip
_RESIZE_ALIASES: Final = {
    "inner fit (scale to fit)": 1, "scale to fit (inner fit)": 1, "crop and resize": 1,
    "outer fit (shrink to fit)": 2, "envelope (outer fit)": 2, "just resize": 0,
    "just resize (latent upscale)": 0, "resize and fill": 2, "resize": 0, "inner_fit": 1,
    "outer_fit": 2,
}  # fmt: skip
_MODE_ALIASES: Final = {"balanced": 0, "prompt": 1, "control": 2}
_PASS_ALIASES: Final = {"both": 0, "low_res_only": 1, "high_res_only": 2}
_CANNOT: Final = ("advanced_weighting", "effective_region_mask", "ipadapter_input")
"""What the extension takes and this version does not follow."""
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_NOTHING: Final = ("", "none")


def control_units(studio: Studio, body: PaintingBody) -> tuple[ControlUnit, ...]:
    """The units that are switched on.

    Raises:
        ApiError: A picture that cannot be read.
        ParamsError: A value that cannot be read or is out of range, named by its place.
    """
    name, entries = script_entry(body, CONTROLNET)
    units: list[ControlUnit] = []
    for number, entry in enumerate(entries):
        if isinstance(entry, Mapping):  # other programs' leading switches are no units
            unit = _unit(studio, entry, f"alwayson_scripts.{name}.args[{number}]")
            units += [] if unit is None else [unit]
    if len(units) > MAX_CONTROL_UNITS:
        raise ParamsError(
            f"{len(units)} ControlNet units are switched on; at most {MAX_CONTROL_UNITS} act.",
            "Switch some off.",
            field=f"alwayson_scripts.{name}.args",
        )
    return tuple(units)


def _unit(studio: Studio, entry: Mapping[str, Any], place: str) -> ControlUnit | None:
    """None for one that is switched off or says nothing."""
    given = {_ALIASES.get(str(key), str(key)): value for key, value in entry.items()}
    if not _read(read_bool, given.get("enabled", True), f"{place}.enabled"):
        return None
    model = str(given.get("model") or "")
    image, mask = _pictures(given.get("image"), given.get("mask"), place)
    if model.lower() in _NOTHING:
        if not image:
            return None
        raise ParamsError(
            f"{place}.model was {model!r}, which guides nothing.",
            "Choose a ControlNet. GET /controlnet/model_list lists them.",
            field=f"{place}.model",
        )
    for name in _CANNOT:
        if given.get(name) is not None:
            raise ParamsError(
                f"{place}.{name} was given, which this server cannot follow.",
                "Leave it out.",
                field=f"{place}.{name}",
            )
    values = {
        "model": model,
        "image": _kept(studio, image, f"{place}.image"),
        "mask": _kept(studio, mask, f"{place}.mask"),
        **_plain(given, place),
        **_choices(given, place),
    }
    try:
        return ControlUnit.model_validate(values)
    except ValidationError as err:
        inner = params_error(err)
        field = f"{place}.{inner.details.get('field', '')}"
        raise ParamsError(f"{place}: {inner.message}", inner.hint, field=field) from err


_READERS: Final = {
    "weight": read_float, "guidance_start": read_float, "guidance_end": read_float,
    "processor_res": read_int, "threshold_a": read_float, "threshold_b": read_float,
    "pixel_perfect": read_bool, "low_vram": read_bool, "save_detected_map": read_bool,
}  # fmt: skip


def _plain(given: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Numbers and switches; those left out, and nulls, have their defaults."""
    values: dict[str, Any] = {"module": str(given.get("module") or "none")}
    for name, read in _READERS.items():
        if given.get(name) is not None:
            values[name] = _read(read, given[name], f"{place}.{name}")
    return values


def _choices(given: Mapping[str, Any], place: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, choices, aliases in (
        ("resize_mode", CONTROL_RESIZE_MODES, _RESIZE_ALIASES),
        ("control_mode", CONTROL_MODES, _MODE_ALIASES),
        ("hr_option", CONTROL_PASSES, _PASS_ALIASES),
    ):
        if given.get(name) is not None:
            values[name] = _choice(given[name], choices, aliases, f"{place}.{name}")
    if "control_mode" not in values and given.get("guess_mode"):
        values["control_mode"] = CONTROL_MODES[2]
    return values


def _choice(value: Any, choices: Sequence[str], aliases: Mapping[str, int], place: str) -> str:
    """One of the choices by its text, capitals aside, an old name, or its number."""
    if isinstance(value, str):
        text = value.strip().rpartition(".")[2].lower()
        for number, choice in enumerate(choices):
            if text == choice.lower() or text == str(number):
                return choice
        if text in aliases:
            return choices[aliases[text]]
    elif not isinstance(value, bool) and value in range(len(choices)):
        return choices[int(value)]
    known = ", ".join(f"{number} {choice}" for number, choice in enumerate(choices))
    raise ParamsError(f"{place} was {str(value)[:80]!r}.", f"Send one of: {known}.", field=place)


def _pictures(image: Any, mask: Any, place: str) -> tuple[str, str]:
    """Picture and mask out of the forms in which clients send them; '' = none."""
    if isinstance(image, list | tuple) and image:
        pair: list[Any] = list(image)
        image = pair[0]
        is_with_mask = isinstance(image, str) and len(pair) == 2
        if len(pair) > 1 and not is_with_mask:
            raise ParamsError(
                f"{place}.image holds {len(pair)} pictures; a unit follows one.",
                "Send one picture, or a picture and its mask.",
                field=f"{place}.image",
            )
        mask = pair[1] if is_with_mask else mask
    if isinstance(image, Mapping):
        image, mask = image.get("image"), image.get("mask") or mask
    return _text(image, f"{place}.image"), _text(mask, f"{place}.mask")


def _text(value: Any, place: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise ParamsError(
        f"{place} was {str(value)[:80]!r}; base64 text is needed.",
        "Send a picture as base64, or its sha256 where it was sent before.",
        field=place,
    )


def _kept(studio: Studio, text: str, place: str) -> str | None:
    """The key of a picture among the inputs.

    Raises:
        ApiError: It cannot be read, or no picture of that sha256 was ever sent.
    """
    if not text:
        return None
    if not _KEY.fullmatch(text):
        return keep_picture(studio, text, place)
    try:
        studio.inputs.path(text)
    except LibraryError as err:
        raise ApiError(404, f"{place}: {err}") from err
    return text


def _read(read: Any, value: Any, place: str) -> Any:
    try:
        return read(value)
    except ValueError as err:
        raise ParamsError(
            f"{place} was {str(value)[:80]!r}; {err}.", "Change that value.", field=place
        ) from err
