"""What the fields of a fresh page begin with: A1111's ui-config.json, read and written.

Source:
    A1111's keys: ``txt2img/Width/value``; from 1.9 on some lie below a script's name
    (``customscript/sampler.py/txt2img/Sampling steps/value``), so only the end counts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from webui.errors import SettingsError
from webui.library.files import write_whole

logger = logging.getLogger(__name__)
FILE = "ui-config.json"
_BOTH = {
    "prompt": "Prompt", "negative_prompt": "Negative prompt", "styles": "Styles",
    "sampler": "Sampling method", "schedule": "Schedule type", "steps": "Sampling steps",
    "width": "Width", "height": "Height", "batch_count": "Batch count", "batch_size": "Batch size",
    "cfg_scale": "CFG Scale", "seed": "Seed", "has_extra": "Extra", "subseed": "Variation seed",
    "subseed_strength": "Variation strength", "seed_resize_from_w": "Resize seed from width",
    "seed_resize_from_h": "Resize seed from height", "tiling": "Tiling", "has_refiner": "Refiner",
    "refiner_checkpoint": "", "refiner_switch_at": "Switch at", "script": "Script",
    "has_tiles": "", "tile_method": "", "tile_width": "", "tile_height": "", "tile_overlap": "",
    "tile_batch": "", "combinatorial": "",
}  # fmt: skip
FIELDS: dict[str, dict[str, str]] = {
    "txt2img": {
        **_BOTH, "has_hires": "Hires. fix", "hires_upscaler": "Upscaler",
        "hires_steps": "Hires steps", "hires_denoising": "Denoising strength",
        "hires_scale": "Upscale by", "hires_resize_x": "Resize width to",
        "hires_resize_y": "Resize height to", "hires_sampler": "Hires sampling method",
        "hires_schedule": "Hires schedule type", "hires_checkpoint": "Hires checkpoint",
        "hires_cfg": "Hires CFG Scale", "hires_prompt": "Hires prompt",
        "hires_negative": "Hires negative prompt",
    },
    "img2img": {
        **_BOTH, "mode": "", "denoising": "Denoising strength", "resize_mode": "Resize mode",
        "resize_scale": "Scale", "size_rule": "", "resize_upscaler": "", "mask_blur": "Mask blur",
        "padding": "Only masked padding, pixels", "mask_mode": "Mask mode",
        "mask_content": "Masked content", "inpaint_area": "Inpaint area",
        "image_cfg": "Image CFG Scale", "has_soft": "Soft inpainting",
        "soft_bias": "Schedule bias", "soft_preservation": "Preservation strength",
        "soft_contrast": "Transition contrast boost", "soft_influence": "Mask influence",
        "soft_threshold": "Difference threshold", "soft_difference": "Difference contrast",
        "loops": "Loops", "final_denoising": "Final denoising strength",
        "loop_curve": "Denoising strength curve",
        "loop_interrogation": "Append interrogated prompt at each iteration",
        "outpaint_sides": "Outpainting direction",
        "outpaint_pixels": "Pixels to expand", "outpaint_blur": "", "outpaint_content": "",
        "outpaint_noise_q": "Fall-off exponent (lower=higher detail)",
        "outpaint_color": "Color variation", "upscaler": "Upscaler",
        "upscale_scale": "Scale Factor", "upscale_overlap": "Tile overlap", "batch_source": "",
        "has_png_info": "Append png info to prompts", "png_info_fields": "",
    },
}  # fmt: skip
"""By tab: our field names and A1111's labels; a field without one stands under its own name."""


def _text(tab: str, name: str) -> str:
    return FIELDS[tab][name] or name


def start_values(data: Path, tab: str) -> dict[str, Any]:
    """Values by field name; nothing when the file is not there or cannot be read."""
    known = _read(data / FILE)
    found: dict[str, Any] = {}
    for name in FIELDS.get(tab, {}):
        keys = _keys_of(known, tab, name)
        if keys:
            found[name] = str(known[keys[-1]]) if name == "seed" else known[keys[-1]]
    return found


def keep_start_values(data: Path, tab: str, values: Mapping[str, Any]) -> None:
    """Write what fresh pages begin with; other entries of the file stay.

    Args:
        values: By field name; None takes an entry away, so that the form's own default counts.
            Names that ``FIELDS`` does not have are left out.
    Raises:
        SettingsError: The file cannot be read or written.
    """
    path = data / FILE
    known = _read(path, is_strict=True)
    for name in FIELDS.get(tab, {}):
        if name not in values:
            continue
        keys = _keys_of(known, tab, name)
        if values[name] is None:
            for key in keys:
                del known[key]
        else:
            keys = keys or [f"{tab}/{_text(tab, name)}/value"]
            known.update(dict.fromkeys(keys, values[name]))
    try:
        write_whole(path, json.dumps(known, ensure_ascii=False, indent=4).encode())
    except OSError as err:
        raise SettingsError(
            f"The start values were to be saved in {path}, which failed: {err}.",
            "Check that the folder may be written to and has room.",
            path=str(path),
        ) from err


def _keys_of(known: Mapping[str, Any], tab: str, name: str) -> list[str]:
    """The entries that hold a field's value."""
    end = f"{tab}/{_text(tab, name)}/value"
    return [key for key in known if key == end or key.endswith(f"/{end}")]


def _read(path: Path, *, is_strict: bool = False) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as err:
        if is_strict:
            raise SettingsError(
                f"{path} holds something else than start values: {err}.",
                "Mend it or move it away, then try again.",
                path=str(path),
            ) from err
        logger.warning("%s cannot be read, start values are the usual ones: %s", path, err)
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
