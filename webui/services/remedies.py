"""What can be tried after a failure: ways to ask for the same pictures a little differently.

One table by the code of the error (``webui/errors.py``). A way that changes nothing about a request
is not offered for it: asking for the same once more would fail in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from webui.errors import (
    BrokenValuesError,
    DeviceMemoryError,
    JobError,
    ModelProcessError,
    ModelTooLargeError,
    ParamsError,
)
from webui.params import AnyParams, ImageToImage, TextToImage, build
from webui.prompts.networks import cut_networks

Painting = TextToImage | ImageToImage
SMALLER = 0.75
"""Of both sides: 9/16 of the pixels."""
CALM_CFG = 7.0
BY_ITSELF = "None"
"""The VAE that lies in the checkpoint."""
_NOT_APPLIED = re.compile(r"<lora:([^>]*)> was not applied: ")
_NO_DETECTOR = "no face detector is in models/facedetection"
DETECTOR = "CenterFace"
"""The face detector that can be had by name."""


@dataclass(frozen=True)
class Ground:
    """What a request is painted on.

    Attributes:
        is_half: Networks calculate in half precision there.
        is_basic: A pipeline of diffusers paints it, which follows the plain wishes alone.
    """

    is_half: bool = False
    is_basic: bool = False


def _smaller(params: Painting) -> dict[str, Any]:
    if isinstance(params, TextToImage) and params.hires and not params.first_pass_image:
        return {"hires": None}
    sides = {"width": params.width, "height": params.height}
    return {name: max(64, int(side * SMALLER) // 8 * 8) for name, side in sides.items()}


def _one_by_one(params: Painting) -> dict[str, Any]:
    if isinstance(params, ImageToImage) and len(params.init_images) > 1:
        return {}  # which picture is painted from which depends on the batches
    return {"batch_size": 1, "batch_count": params.batch_size * params.batch_count}


def _in_tiles(_params: Painting) -> dict[str, Any]:
    return {"tiled_vae": True}


def _one_byte(_params: Painting) -> dict[str, Any]:
    return {"fp8_storage": "Enable"}


def _own_vae(_params: Painting) -> dict[str, Any]:
    return {"vae": BY_ITSELF}


def _calmer(params: Painting) -> dict[str, Any]:
    return {"cfg_scale": min(params.cfg_scale, CALM_CFG)}


def _without_networks(params: Painting) -> dict[str, Any]:
    """No networks in any of its texts, those of single pictures and of a second pass included."""
    values: dict[str, Any] = {name: _plain(getattr(params, name)) for name in _TEXTS}
    if params.drawn is not None:
        drawn = {name: _plain(value) for name, value in params.drawn}
        values["drawn"] = params.drawn.model_copy(update=drawn)
    if isinstance(params, TextToImage) and params.hires is not None:
        texts = {name: _plain(getattr(params.hires, name)) for name in _TEXTS}
        values["hires"] = params.hires.model_copy(update=texts)
    return values


_TEXTS = ("prompt", "negative_prompt")


def _plain(texts: Any) -> Any:
    """A text, or several, without what asks for networks; itself where nothing does."""
    if isinstance(texts, tuple):
        return tuple(map(_plain, texts))
    text, found = cut_networks(texts)
    return text.strip() if found else texts


def _in_float32(_params: Painting) -> dict[str, Any]:
    return {"no_half": True}


_WAYS: dict[str, Callable[[Painting], dict[str, Any]]] = {
    "smaller": _smaller,
    "one_by_one": _one_by_one,
    "in_tiles": _in_tiles,
    "one_byte": _one_byte,
    "own_vae": _own_vae,
    "calmer": _calmer,
    "without_networks": _without_networks,
    "in_float32": _in_float32,
}
_AFTER: dict[str, tuple[str, ...]] = {
    DeviceMemoryError.code: ("one_by_one", "in_tiles", "smaller"),
    ModelTooLargeError.code: ("one_byte",),
    BrokenValuesError.code: ("in_float32", "own_vae", "without_networks", "calmer"),
    ModelProcessError.code: ("smaller",),
}
_NOT_BASIC = ("in_tiles", "one_byte", "own_vae", "without_networks")
"""Ways that change nothing about what a pipeline of diffusers does."""


def offered(code: str, params: AnyParams | None, ground: Ground) -> Sequence[str]:
    """The ways that may help after an error of this code, the gentlest first.

    Args:
        params: What had been asked for; None when it cannot be read any more.
        ground: What it would be painted on now.
    """
    if not isinstance(params, Painting):
        return ()
    useless: set[str] = set(_NOT_BASIC) if ground.is_basic else set()
    if not ground.is_half:
        useless.add("in_float32")
    ways = (way for way in _AFTER.get(code, ()) if way not in useless)
    return tuple(way for way in ways if _changed(params, way) is not None)


def apply(params: AnyParams, way: str) -> AnyParams:
    """The request, changed in this way.

    Raises:
        JobError: There is no such way, or it changes nothing about this request.
    """
    changed = _changed(params, way) if way in _WAYS and isinstance(params, Painting) else None
    if changed is None:
        raise JobError(
            f"The job cannot be asked for in the way {way[:40]!r}.",
            "Change the form and press Generate.",
        )
    return changed


def left_out_lora(warning: str) -> str | None:
    """Name of the LoRA that a job tells it left out, being of another family; None for others."""
    found = _NOT_APPLIED.match(warning)
    return found[1] if found else None


def missing_weights(warning: str) -> str | None:
    """Name of the well-known weights that a job tells it went on without; None for others."""
    return DETECTOR if _NO_DETECTOR in warning else None


def _changed(params: Painting, way: str) -> AnyParams | None:
    values = _WAYS[way](params)
    if all(getattr(params, name) == value for name, value in values.items()):
        return None
    try:
        return build(params.kind, {**dict(params), **values})
    except ParamsError:
        return None  # this size, or so many batches, cannot be asked for
