"""Scripts by name: which a request may mention, and what the lists of scripts answer."""

from __future__ import annotations

from typing import Any

from webui.api.errors import ApiError
from webui.api.schemas import PaintingBody

BUILT_IN_SCRIPTS = ("sampler", "seed")
"""Always-on scripts the lists name. As in A1111, the plain request fields do their work."""

TOLERATED_SCRIPTS = (*BUILT_IN_SCRIPTS, "refiner", "extra options", "comments", "hypertile")
"""A1111's built-ins that clients mention out of habit; their arguments have no effect here."""


def check_scripts(body: PaintingBody) -> None:
    """Refuse scripts that do not exist, before anything is painted without them.

    Raises:
        ApiError: 422, in A1111's words.
    """
    if body.script_name:
        raise _not_found(body.script_name)
    for name in body.alwayson_scripts or {}:
        if name.lower() not in TOLERATED_SCRIPTS:
            raise _not_found(name)


def _not_found(name: str) -> ApiError:
    return ApiError(
        422, f"Script '{name[:80]}' not found. GET /sdapi/v1/scripts lists the ones there are."
    )


def script_titles() -> dict[str, list[str]]:
    """GET /sdapi/v1/scripts."""
    return {"txt2img": list(BUILT_IN_SCRIPTS), "img2img": []}


def script_infos() -> list[dict[str, Any]]:
    """GET /sdapi/v1/script-info."""
    return [
        {"name": name, "is_alwayson": True, "is_img2img": False, "args": []}
        for name in BUILT_IN_SCRIPTS
    ]
