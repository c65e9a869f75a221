"""Fooocus's own scheme: JSON in the picture, or copied from its log with the labels as keys."""

from __future__ import annotations

import re
from typing import Any

from webui.recipes.elsewhere import comfy_sampler, comfy_schedule
from webui.recipes.recipe import Draft, Recipe, plain_number, stem

_NUMBER = re.compile(r"\d+")
_TAKEN = (
    "prompt", "negative_prompt", "full_prompt", "full_negative_prompt", "steps", "resolution",
    "guidance_scale", "base_model", "base_model_hash", "refiner_model", "refiner_switch",
    "sampler", "scheduler", "seed", "clip_skip", "loras", "vae", "metadata_scheme", "version",
    "created_by", "prompt_expansion",
)  # fmt: skip
_OLD_NAMES = {"sampler_name": "sampler", "fooocus_v2_expansion": "prompt_expansion"}
_LORA = re.compile(r"lora_(?:combined_|\d|\[)")


def is_fooocus(value: dict[str, Any]) -> bool:
    """True for its metadata, in either spelling of the keys."""
    named = _named(value)
    return "base_model" in named and ("prompt" in named or "full_prompt" in named)


def read_fooocus(value: dict[str, Any]) -> Recipe:
    """The recipe. What it really encoded, styles and expansion included, becomes the prompt."""
    given = _named(value)
    draft = Draft()
    draft.prompt = _joined(given, "prompt")
    draft.negative_prompt = _joined(given, "negative_prompt")
    draft.put("Steps", _whole(given.get("steps")))
    _put_sampler(draft, given)
    draft.put("CFG scale", plain_number(_number(given.get("guidance_scale"))))
    seed = _whole(given.get("seed"))
    draft.pairs["Seed"] = -1 if seed is None else seed
    sides = [int(side) for side in _NUMBER.findall(str(given.get("resolution", "")))[:2]]
    if len(sides) == 2:
        draft.put_size(*sides)
    draft.put("Model hash", given.get("base_model_hash"))
    draft.put("Model", stem(str(given.get("base_model", ""))))
    clip_skip = _whole(given.get("clip_skip"))
    draft.put("Clip skip", clip_skip if clip_skip and clip_skip > 1 else None)
    vae = given.get("vae")
    draft.put("VAE", None if vae == "Default (model)" else vae)
    if given.get("refiner_model") not in (None, "", "None"):
        draft.put("Refiner", stem(str(given["refiner_model"])))
        draft.put("Refiner switch at", plain_number(_number(given.get("refiner_switch"))))
    draft.put("RNG", "CPU")
    for name, weight in _loras(given):
        draft.add_lora(name, weight)
    taken = {key for key in given if _LORA.match(key)}
    has_full = bool(given.get("full_prompt"))
    draft.leave_out_all(given, {*_TAKEN, *taken, *(("styles",) if has_full else ())})
    return draft.finish("Fooocus")


def _named(value: dict[str, Any]) -> dict[str, Any]:
    keys = {key: key.strip().lower().replace(" ", "_") for key in value}
    return {_OLD_NAMES.get(name, name): value[key] for key, name in keys.items()}


def _joined(given: dict[str, Any], name: str) -> str:
    """Texts that were encoded one by one stand in chunks of their own: ``BREAK``."""
    full = given.get(f"full_{name}")
    if isinstance(full, list) and full:
        return " BREAK ".join(str(part) for part in full if part)
    return str(given.get(name) or "")


def _put_sampler(draft: Draft, given: dict[str, Any]) -> None:
    names = str(given.get("sampler") or ""), str(given.get("scheduler") or "")
    sampler, schedule = comfy_sampler(names[0]), comfy_schedule(names[1])
    draft.put("Sampler", sampler)
    draft.put("Schedule type", schedule)
    for key, name, found in (("sampler", names[0], sampler), ("scheduler", names[1], schedule)):
        if name and not found:
            draft.leave_out(key, name)


def _loras(given: dict[str, Any]) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    listed = given.get("loras")
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, list) and len(entry) >= 2:
            found.append((str(entry[0]), _weight(entry[1])))
    for key, value in given.items():
        if _LORA.match(key) and isinstance(value, str):
            name, _, weight = value.rpartition(" : ")
            found.append((name or value, _weight(weight if name else None)))
    return list(dict(found).items())


def _weight(value: Any) -> float:
    found = _number(value)
    return 1.0 if found is None else found


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _whole(value: Any) -> int | None:
    """Also of the log's texts."""
    if isinstance(value, str):
        return int(value) if value.strip().lstrip("-").isdecimal() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
