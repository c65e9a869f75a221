"""InvokeAI, in the three ways it has stored its recipes."""

from __future__ import annotations

import re
from typing import Any

from webui.recipes.elsewhere import invoke_sampler
from webui.recipes.recipe import Draft, Recipe, load_json, mapping, plain_number, stem

_PRESENT = (
    "positive_prompt", "negative_prompt", "positive_style_prompt", "negative_style_prompt", "width",
    "height", "seed", "rand_device", "cfg_scale", "steps", "scheduler", "model", "vae", "loras",
    "clip_skip", "generation_mode", "strength", "seamless_x", "seamless_y", "app_version",
    "cfg_rescale_multiplier",
)  # fmt: skip
_DREAM = re.compile(r'"(?P<prompt>.*)"(?P<flags>[^"]*)$', re.DOTALL)
_FLAG = re.compile(r"\s-{1,2}([A-Za-z]\w*)((?:\s+(?!-{1,2}[A-Za-z])\S+)*)")
_NEGATIVE = re.compile(r"(?<!\\)\[([^\[\]]*)\]")
_GROUP = re.compile(r"\(([^()]+)\)(\d*\.?\d+|\++|-+)")
_WORD = re.compile(r"(?<![\w(])([\w'’]+(?:-[\w'’]+)*)(\++|(?<!-)-+)(?=[\s,.)]|$)")


def is_invokeai(value: dict[str, Any]) -> bool:
    """True for its present metadata."""
    return "positive_prompt" in value or str(value.get("app_id", "")) == "invoke-ai/InvokeAI"


def read_invokeai(value: dict[str, Any]) -> Recipe:
    """Metadata of version 3 and later; of ``sd-metadata`` before it."""
    if isinstance(value.get("image"), dict):
        return _read_old(value)
    draft = Draft()
    draft.prompt = weights_as_ours(str(value.get("positive_prompt") or ""))
    draft.negative_prompt = weights_as_ours(str(value.get("negative_prompt") or ""))
    draft.put("Steps", value.get("steps"))
    _put_sampler(draft, str(value.get("scheduler") or ""))
    draft.put("CFG scale", plain_number(value.get("cfg_scale")))
    draft.pairs["Seed"] = value.get("seed", -1)
    draft.put_size(value.get("width"), value.get("height"))
    model, vae = mapping(value.get("model")), mapping(value.get("vae"))
    draft.put("Model", stem(str(model.get("name") or model.get("model_name") or "")))
    draft.put("VAE", vae.get("name") or vae.get("model_name"))
    skipped = value.get("clip_skip")
    draft.put("Clip skip", skipped + 1 if isinstance(skipped, int) and skipped > 0 else None)
    if "img2img" in str(value.get("generation_mode")):
        draft.put("Denoising strength", plain_number(value.get("strength")))
    if value.get("seamless_x") and value.get("seamless_y"):
        draft.put("Tiling", True)
    draft.put("RNG", "CPU" if value.get("rand_device") == "cpu" else None)
    for lora in map(mapping, value.get("loras") or []):
        named = mapping(lora.get("model") or lora.get("lora"))
        draft.add_lora(named.get("name") or named.get("model_name"), lora.get("weight"))
    draft.leave_out("prompt of style", value.get("positive_style_prompt"))
    draft.leave_out("negative prompt of style", value.get("negative_style_prompt"))
    if value.get("cfg_rescale_multiplier"):
        draft.leave_out("cfg_rescale_multiplier", value["cfg_rescale_multiplier"])
    draft.leave_out_all(value, _PRESENT)
    return draft.finish("InvokeAI")


def _read_old(value: dict[str, Any]) -> Recipe:
    image, draft = mapping(value["image"]), Draft()
    prompts = image.get("prompt")
    if isinstance(prompts, list):
        prompts = " ".join(str(mapping(part).get("prompt", "")) for part in prompts)
    _put_old_prompt(draft, str(prompts or ""))
    draft.put("Steps", image.get("steps"))
    _put_sampler(draft, str(image.get("sampler") or ""))
    draft.put("CFG scale", plain_number(image.get("cfg_scale")))
    draft.pairs["Seed"] = image.get("seed", -1)
    draft.put_size(image.get("width"), image.get("height"))
    draft.put("Model", stem(str(value.get("model_weights") or "")))
    draft.put("Tiling", image.get("seamless") or None)
    known = (
        "prompt", "steps", "sampler", "cfg_scale", "seed", "width", "height", "seamless", "type",
        "threshold", "perlin",
    )  # fmt: skip
    draft.leave_out_all(image, known)
    for name in ("threshold", "perlin"):
        draft.leave_out(name, image.get(name) or None)
    return draft.finish("InvokeAI")


def is_dream(text: str) -> bool:
    """True for the command line of version 1: a prompt in quotes, then flags."""
    found = _DREAM.match(text.strip())
    return bool(found) and " -S" in found["flags"] and " -s" in found["flags"]


def read_dream(text: str) -> Recipe:
    """``"a prompt [what not]" -s 50 -S 298 -W 512 -H 768 -C 5 -A k_lms``."""
    found = _DREAM.match(text.strip())
    assert found is not None
    draft = Draft()
    _put_old_prompt(draft, found["prompt"])
    flags = {name: value.strip() for name, value in _FLAG.findall(" " + found["flags"])}
    draft.put("Steps", flags.pop("s", None))
    _put_sampler(draft, flags.pop("A", ""))
    draft.put("CFG scale", flags.pop("C", None))
    draft.pairs["Seed"] = flags.pop("S", "-1")
    width, height = flags.pop("W", ""), flags.pop("H", "")
    if width.isdecimal() and height.isdecimal():
        draft.put_size(int(width), int(height))
    for name, value in flags.items():
        draft.leave_out(f"-{name}", value or "yes")
    return draft.finish("InvokeAI")


def _put_sampler(draft: Draft, name: str) -> None:
    if not name:
        return
    sampler, schedule = invoke_sampler(name)
    draft.put("Sampler", sampler)
    draft.put("Schedule type", schedule if sampler else None)
    if sampler is None:
        draft.leave_out("sampler", name)


def _put_old_prompt(draft: Draft, text: str) -> None:
    """What stood in square brackets was not wanted."""
    draft.negative_prompt = weights_as_ours(", ".join(_NEGATIVE.findall(text)))
    draft.prompt = weights_as_ours(_NEGATIVE.sub("", text).strip())


def weights_as_ours(text: str) -> str:
    """``word++``, ``(some words)1.3`` and ``-`` as ``(word:1.21)``, ``(some words:1.3)``.

    A plus counts 1.1 and a minus 0.9, as InvokeAI's documentation says.
    """
    text = _GROUP.sub(lambda found: f"({found[1]}:{_weight(found[2])})", text)
    return _WORD.sub(lambda found: f"({found[1]}:{_weight(found[2])})", text)


def _weight(sign: str) -> str:
    if sign[0] not in "+-":
        return f"{float(sign):g}"
    return f"{(1.1 if sign[0] == '+' else 0.9) ** len(sign):.4g}"


def read_stored(items: dict[str, Any]) -> Recipe | None:
    """What a picture's texts hold of InvokeAI, the newest way first."""
    for key in ("invokeai_metadata", "sd-metadata"):
        value = mapping(load_json(items.get(key)))
        if value:
            return read_invokeai(value)
    dream = items.get("Dream")
    return read_dream(dream) if isinstance(dream, str) and is_dream(dream) else None
