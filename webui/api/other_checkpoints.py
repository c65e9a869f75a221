"""Request fields that name a checkpoint besides the chosen one: refiner, second pass of hires."""

from __future__ import annotations

from typing import Any

from webui.api.errors import ApiError
from webui.api.schemas import PaintingBody
from webui.studio import Studio

SAME_CHECKPOINT = ("", "None", "none", "Use same checkpoint")


def other_checkpoint(studio: Studio, name: str | None) -> str | None:
    """The catalog name of what a field asks for; None where it asks for no other checkpoint.

    Raises:
        ApiError: 404 in A1111's words, no checkpoint is meant by that name.
    """
    if name is None or name in SAME_CHECKPOINT:
        return None
    record = studio.catalog.closest_checkpoint(name)
    if record is None:
        told = f"Could not find checkpoint with name {name[:200]}"
        raise ApiError(
            404,
            f"{told}. GET /sdapi/v1/sd-models lists the names.",
            error="RuntimeError",
            errors=told,
        )
    return record.name


def refiner_values(studio: Studio, body: PaintingBody) -> dict[str, Any]:
    """The refiner fields of a ``PaintingRequest``; a refiner with no moment takes over at once.

    Raises:
        ApiError: As ``other_checkpoint``.
    """
    checkpoint = other_checkpoint(studio, body.refiner_checkpoint)
    if checkpoint is None:
        return {}
    at = body.refiner_switch_at
    return {"refiner_checkpoint": checkpoint, "refiner_switch_at": 0.0 if at is None else at}
