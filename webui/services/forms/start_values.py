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
    "prompt": "Prompt", "negative_prompt": "Negative prompt", "sampler": "Sampling method",
    "schedule": "Schedule type", "steps": "Sampling steps", "width": "Width", "height": "Height",
    "batch_count": "Batch count", "batch_size": "Batch size", "cfg_scale": "CFG Scale",
    "seed": "Seed",
}  # fmt: skip
_KEYS: dict[str, dict[str, str]] = {
    "txt2img": {
        **_BOTH, "hires_upscaler": "Upscaler", "hires_steps": "Hires steps",
        "hires_denoising": "Denoising strength", "hires_scale": "Upscale by",
        "hires_resize_x": "Resize width to", "hires_resize_y": "Resize height to",
    },
    "img2img": {
        **_BOTH, "denoising": "Denoising strength", "resize_mode": "Resize mode",
        "mask_blur": "Mask blur", "padding": "Only masked padding, pixels",
    },
}  # fmt: skip
"""By tab: our field names and A1111's labels."""


def start_values(data: Path, tab: str) -> dict[str, Any]:
    """Values by field name; nothing when the file is not there or cannot be read."""
    known = _read(data / FILE)
    found: dict[str, Any] = {}
    for name, text in _KEYS.get(tab, {}).items():
        end = f"{tab}/{text}/value"
        match = [value for key, value in known.items() if key == end or key.endswith(f"/{end}")]
        if match:
            found[name] = str(match[-1]) if name == "seed" else match[-1]
    return found


def keep_start_values(data: Path, tab: str, values: Mapping[str, Any]) -> None:
    """Write what a form holds as what fresh pages begin with; other entries of the file stay.

    Raises:
        SettingsError: The file cannot be read or written.
    """
    path = data / FILE
    known = _read(path, is_strict=True)
    for name, text in _KEYS.get(tab, {}).items():
        end = f"{tab}/{text}/value"
        keys = [key for key in known if key == end or key.endswith(f"/{end}")] or [end]
        if name in values:
            known.update(dict.fromkeys(keys, values[name]))
    try:
        write_whole(path, json.dumps(known, ensure_ascii=False, indent=4).encode())
    except OSError as err:
        raise SettingsError(
            f"The start values were to be saved in {path}, which failed: {err}.",
            "Check that the folder may be written to and has room.",
            path=str(path),
        ) from err


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
