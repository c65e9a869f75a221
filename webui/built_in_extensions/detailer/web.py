"""The panel of the Detailer, and ADetailer's spellings in recipes and requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from webui.hookspecs import Form, ModelFile, Words, hook

from .fields import UNITS, unit_fields
from .spellings import units_in_recipe, values_of_request

NAME, THEIRS = "detailer", "adetailer"


@hook
def forms() -> list[Form]:
    """Two units, on both painting tabs."""
    return [Form(fields=tuple(one for ending in UNITS for one in unit_fields(ending)))]


@hook
def settings() -> list[ModelFile]:
    """Which detector."""
    return [
        ModelFile(
            name="detector",
            label=Words(en="Face detector", zh="人脸检测器"),
            folder="facedetection",
            endings=(".onnx",),
            otherwise=("face_detection_yunet_2023mar.onnx", "centerface.onnx"),
        )
    ]


@hook
def infotext_read(pairs: dict[str, str]) -> dict[str, str]:
    """Recipes of ADetailer."""
    return units_in_recipe(pairs)


@hook
def scripts_read(scripts: dict[str, Any], warn: Callable[[str], None]) -> dict[str, Any] | None:
    """Requests that ask for ADetailer."""
    asked = {name: entry for name, entry in scripts.items() if name.lower() == THEIRS}
    if not asked:
        return None
    kept = {name: entry for name, entry in scripts.items() if name not in asked}
    for entry in asked.values():
        arguments = entry.get("args") if isinstance(entry, dict) else entry
        if values := values_of_request(arguments, warn):
            kept[NAME] = {"args": values}
    return kept
