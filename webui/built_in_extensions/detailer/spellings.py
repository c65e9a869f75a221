"""ADetailer's own words in recipes and requests.

Source:
    Names and defaults of ADetailer's API arguments and recipe keys, as its users know them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .fields import FACE, KNOWN, NONE, UNITS, recipe_key

Warn = Callable[[str], None]
NOT_DONE = {
    "ad_use_checkpoint": "an own checkpoint", "ad_use_vae": "an own VAE",
    "ad_use_clip_skip": "an own clip skip", "ad_use_noise_multiplier": "an own noise multiplier",
    "ad_restore_face": "face restoration",
}  # fmt: skip
"""Switches whose work the Detailer does not do."""
OLD_KEYS = {"ADetailer mask only top k largest": "ADetailer mask only top k"}


def is_face_model(name: str) -> bool:
    """True for ADetailer's names of models that find faces, and for our own."""
    return "face" in name.lower() or name in ("YuNet", "CenterFace")


def units_in_recipe(pairs: Mapping[str, str]) -> dict[str, str]:
    """A recipe's pairs with ADetailer's spellings put into ours."""
    changed = {OLD_KEYS.get(key, key): value for key, value in pairs.items()}
    for ending in UNITS:
        key = recipe_key("ADetailer model", ending)
        if key in changed:
            changed[key] = FACE if is_face_model(changed[key]) else NONE
    if recipe_key("ADetailer model", UNITS[1]) in changed and "ADetailer model" not in changed:
        changed["ADetailer model"] = NONE
    return changed


def values_of_request(arguments: Any, warn: Warn) -> dict[str, Any]:
    """ADetailer's ``args`` as values of our form; empty when nothing is to be done.

    Args:
        arguments: Up to two switches, then an object for each unit; or one object.
        warn: Told what is not done, or done otherwise.
    """
    given = [arguments] if isinstance(arguments, Mapping) else list(arguments or ())
    switches = [one for one in given if isinstance(one, bool)]
    units = [one for one in given if isinstance(one, Mapping)]
    if switches[:1] == [False]:
        return {}
    if switches[1:2] == [True]:
        warn("ADetailer's skip_img2img is not done here; ask for a low denoising strength.")
    units = [unit for unit in units if unit.get("ad_tab_enable", True)]
    if len(units) > len(UNITS):
        warn(f"The Detailer has {len(UNITS)} units; of ADetailer's {len(units)} the first count.")
    values: dict[str, Any] = {"model": NONE}
    for ending, unit in zip(UNITS, units, strict=False):
        values |= {name + ending: value for name, value in _unit(unit, warn).items()}
    is_on = any(values.get("model" + ending) == FACE for ending in UNITS)
    return values if is_on else {}


def _unit(unit: Mapping[str, Any], warn: Warn) -> dict[str, Any]:
    found: dict[str, Any] = {"model": _model(str(unit.get("ad_model", "None")), warn)}
    if found["model"] == NONE:
        return found
    for known in KNOWN:
        value, needs = unit.get(known.adetailer), known.asked[0]
        if known.field.name == "model" or value is None or (needs and not unit.get(needs)):
            continue
        found[known.field.name] = value
    wanted = [words for key, words in NOT_DONE.items() if unit.get(key)]
    if unit.get("ad_controlnet_model", "None") not in ("None", "", None):
        wanted.append("a ControlNet of its own")
    if wanted:
        warn(f"ADetailer was asked for what the Detailer does not do: {', '.join(wanted)}.")
    return found


def _model(name: str, warn: Warn) -> str:
    if name in ("None", ""):
        return NONE
    if is_face_model(name):
        warn(f"{name}: the Detailer finds faces with its own detector.")
        return FACE
    warn(f"{name} was left out: the Detailer finds faces only.")
    return NONE
