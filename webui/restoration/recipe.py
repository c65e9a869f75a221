"""What a restored picture says about its making: A1111's extras keys, and ours behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from webui.infotext import write_infotext
from webui.params import Extras, Repairs


def extras_pairs(params: Repairs, image: int = 0, gfpgan: str = "") -> dict[str, Any]:
    """Keys and values of one picture, in A1111's order; None values are left out.

    Args:
        image: Number of the picture in the request.
        gfpgan: Which GFPGAN it was, for the record.
    """
    has_upscaler = params.upscaler_1 != "None"
    to_size = params.resize_mode == "to"
    size = f"{params.upscaling_resize_w}x{params.upscaling_resize_h}"
    has_second = params.upscaler_2 != "None" and params.extras_upscaler_2_visibility > 0
    faces = params.refused_faces if isinstance(params, Extras) else ()
    refused = [str(r.face) for r in faces if r.image == image]
    has_faces = params.gfpgan_visibility or params.codeformer_visibility
    has_faces = bool(has_faces or params.restoreformer_visibility)

    def if_set(value: float) -> float | None:
        return value if value > 0 else None

    pairs: dict[str, Any] = {
        "Postprocess upscale by": params.upscaling_resize if not to_size else None,
        "Postprocess upscale to": size if to_size else None,
        "Postprocess crop to": size if to_size and params.upscaling_crop else None,
        "Max side length": params.max_side or None,
        "Postprocess upscaler": params.upscaler_1,
        "Postprocess upscaler 2": params.upscaler_2 if has_second else None,
    }
    if not has_upscaler:
        pairs = {}
    second = params.extras_upscaler_2_visibility
    mixes = params.upscaler_denoising < 1 and "General 4xV3" in params.upscaler_1
    pairs = {
        **pairs,
        "Postprocess upscaler 2 visibility": second if has_upscaler and has_second else None,
        "Postprocess upscaler denoising": params.upscaler_denoising if mixes else None,
        "GFPGAN visibility": if_set(params.gfpgan_visibility),
        "GFPGAN model": gfpgan or None if params.gfpgan_visibility else None,
        "RestoreFormer visibility": if_set(params.restoreformer_visibility),
        "CodeFormer visibility": if_set(params.codeformer_visibility),
        "CodeFormer weight": params.codeformer_weight if params.codeformer_visibility else None,
        "Faces from": "enlarged" if params.upscale_first and has_faces else None,
        "Faces refused": " ".join(refused) or None if has_faces else None,
        "Only centre face": True if params.only_centre_face and has_faces else None,
        "Colour repair": if_set(params.colour_repair),
        "Scratch repair": "drawn" if _has_mask(params) else if_set(params.scratch_repair),
    }
    return {key: _short(value) for key, value in pairs.items()}


def _has_mask(params: Repairs) -> bool:
    return isinstance(params, Extras) and params.scratch_mask is not None


def _short(value: Any) -> Any:
    """Whole numbers without «.0», as people type them."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def extras_infotext(existing: str | None, pairs: dict[str, Any]) -> str:
    """The recipe of a restored picture: that of the input, if it has one, goes on.

    Args:
        existing: Infotext of the input picture.
    """
    new = write_infotext("", "", pairs)
    if not existing or not existing.strip():
        return new
    return f"{existing.rstrip()}, {new}" if new else existing


def shown_pairs(pairs: dict[str, Any]) -> Sequence[tuple[str, Any]]:
    """The pairs that have a value."""
    return [(key, value) for key, value in pairs.items() if value is not None]
