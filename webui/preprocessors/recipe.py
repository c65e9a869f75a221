"""How a control unit stands in a recipe, written and read.

Source:
    ``ControlNet 0: "Module: canny, Model: name [hash8], …"`` of sd-webui-controlnet 1.1.455, and
    the older ``ControlNet: "preprocessor: canny, model: …, starting/ending: (0, 1), …"``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from webui.params import ControlUnit

KEY: Final = "ControlNet"
_FIELDS: Final = {
    "Module": "module", "Model": "model", "Weight": "weight", "Resize Mode": "resize_mode",
    "Processor Res": "processor_res", "Threshold A": "threshold_a", "Threshold B": "threshold_b",
    "Guidance Start": "guidance_start", "Guidance End": "guidance_end",
    "Pixel Perfect": "pixel_perfect", "Control Mode": "control_mode", "Hr Option": "hr_option",
}  # fmt: skip
_OLD_FIELDS: Final = {
    "preprocessor": ("module",), "model": ("model",), "weight": ("weight",),
    "starting/ending": ("guidance_start", "guidance_end"), "resize mode": ("resize_mode",),
    "pixel perfect": ("pixel_perfect",), "control mode": ("control_mode",),
    "preprocessor params": ("processor_res", "threshold_a", "threshold_b"),
}  # fmt: skip
_NUMBERED: Final = re.compile(rf"{KEY}(?: (\d+))?$")
_PAIR: Final = re.compile(r"\s*([^:,]+):\s*(\([^)]*\)|[^,]*)")
_ENUM: Final = re.compile(r"[A-Z]\w+\.(\w+)$")
_OLD_NAMES: Final = {
    "RESIZE": "Just Resize", "INNER_FIT": "Crop and Resize", "OUTER_FIT": "Resize and Fill",
    "BALANCED": "Balanced", "PROMPT": "My prompt is more important",
    "CONTROL": "ControlNet is more important",
}  # fmt: skip


def unit_pairs(units: tuple[ControlUnit, ...], titles: Mapping[str, str]) -> dict[str, str]:
    """The pairs of a recipe that tell its units.

    Args:
        titles: ``stem [hash8]`` of ControlNets by their catalog names.
    """
    return {f"{KEY} {number}": _written(unit, titles) for number, unit in enumerate(units)}


def _written(unit: ControlUnit, titles: Mapping[str, str]) -> str:
    values = dict(unit) | {"model": titles.get(unit.model, unit.model)}
    cut = str.maketrans("", "", ",:")
    return ", ".join(
        f"{name}: {str(values[field]).translate(cut)}"
        for name, field in _FIELDS.items()
        if values[field] != -1 and not (field == "hr_option" and values[field] == "Both")
    )


def read_units(params: Mapping[str, str]) -> dict[int, dict[str, Any]]:
    """What a recipe tells of units: by number, values by ``ControlUnit``'s names, the model as it
    is called there. What cannot be read is left out."""
    found: dict[int, dict[str, Any]] = {}
    for key, text in params.items():
        if match := _NUMBERED.match(key):
            values = _read(text)
            if values.get("model"):
                found[int(match[1] or 0)] = values
    return found


def _read(text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in _PAIR.findall(text):
        name = name.strip()
        if name in _FIELDS:
            values[_FIELDS[name]] = _value(value)
        elif name in _OLD_FIELDS:
            parts = value.strip("() ").split(",") if "," in value else [value]
            values |= dict(zip(_OLD_FIELDS[name], map(_value, parts), strict=False))
    return values


def _value(text: str) -> Any:
    text = text.strip()
    if text in ("True", "False"):
        return text == "True"
    if match := _ENUM.match(text):
        return _OLD_NAMES.get(match[1], text)
    try:
        return float(text)
    except ValueError:
        return text
