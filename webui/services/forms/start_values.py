"""What the fields of a fresh page begin with: A1111's ui-config.json, read and written.

Source:
    A1111's keys: ``txt2img/Width/value``; from 1.9 on some lie below a script's name
    (``customscript/sampler.py/txt2img/Sampling steps/value``), so only the end counts.
"""

from __future__ import annotations

import json
import logging
import re
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
"""By tab: our field names and A1111's labels; any other field stands under its own name."""
_ENTRY = re.compile(r"(?:.*/)?([^/]+)/([^/]+)/value", re.DOTALL)
_OUR_NAME = re.compile(r"[a-z][a-z0-9_]*")


def start_values(data: Path, tab: str) -> dict[str, Any]:
    """Values by field name; nothing when the file is not there or cannot be read.

    A name need not be one of a field: whoever puts values into a form looks at that.
    """
    names = {text: name for name, text in _KEYS.get(tab, {}).items()}
    found: dict[str, Any] = {}
    for key, value in _read(data / FILE).items():
        name = _name_in(key, tab, names)
        if name:
            found[name] = str(value) if name == "seed" else value
    return found


def keep_start_values(data: Path, tab: str, values: Mapping[str, Any]) -> None:
    """Write what fresh pages begin with; other entries of the file stay.

    Args:
        values: By field name; None takes an entry away, so that the form's own default counts.
    Raises:
        SettingsError: The file cannot be read or written.
    """
    path = data / FILE
    known = _read(path, is_strict=True)
    names = {text: name for name, text in _KEYS.get(tab, {}).items()}
    texts = _KEYS.get(tab, {})
    for name, value in values.items():
        keys = [key for key in known if _name_in(key, tab, names) == name]
        if value is None:
            for key in keys:
                del known[key]
        else:
            keys = keys or [f"{tab}/{texts.get(name, name)}/value"]
            known.update(dict.fromkeys(keys, value))
    try:
        write_whole(path, json.dumps(known, ensure_ascii=False, indent=4).encode())
    except OSError as err:
        raise SettingsError(
            f"The start values were to be saved in {path}, which failed: {err}.",
            "Check that the folder may be written to and has room.",
            path=str(path),
        ) from err


def _name_in(key: str, tab: str, names: Mapping[str, str]) -> str:
    """The field that an entry belongs to: by A1111's label (``names``), else by our name; '' for
    an entry of another tab or of no field."""
    found = _ENTRY.fullmatch(key)
    if found is None or found[1] != tab:
        return ""
    if found[2] in names:
        return names[found[2]]
    is_ours = key == f"{tab}/{found[2]}/value" and _OUR_NAME.fullmatch(found[2])
    return found[2] if is_ours else ""


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
