"""JSON with A1111's notions under other names: Civitai's ``meta``, requests to A1111's API."""

from __future__ import annotations

from typing import Any

from webui.recipes.recipe import Draft, Recipe, load_json, mapping, plain_number, stem

_NAMES = {
    "steps": "Steps",
    "sampler": "Sampler",
    "sampler_name": "Sampler",
    "sampler_index": "Sampler",
    "scheduler": "Schedule type",
    "schedule type": "Schedule type",
    "cfgscale": "CFG scale",
    "cfg_scale": "CFG scale",
    "cfg scale": "CFG scale",
    "seed": "Seed",
    "size": "Size",
    "model hash": "Model hash",
    "model": "Model",
    "vae": "VAE",
    "clipskip": "Clip skip",
    "clip skip": "Clip skip",
    "clip_skip": "Clip skip",
    "denoise": "Denoising strength",
    "denoising strength": "Denoising strength",
    "denoising_strength": "Denoising strength",
    "ensd": "ENSD",
    "tiling": "Tiling",
    "restore_faces": "Face restoration",
    "hr_scale": "Hires upscale",
    "hr_upscaler": "Hires upscaler",
    "hr_second_pass_steps": "Hires steps",
    "subseed": "Variation seed",
    "subseed_strength": "Variation seed strength",
}
_FOR_HIRES = ("Hires upscale", "Hires upscaler", "Hires steps", "Denoising strength")
_UNSAID = {"Seed": (), "Variation seed": (-1, "-1"), "Hires steps": (0,), "Clip skip": (1,)}
_SILENT = ("created date", "civitairesources", "workflow", "width", "height", "enable_hr")


def is_civitai(value: dict[str, Any]) -> bool:
    """True for an object with a prompt and A1111's settings."""
    names = {key.lower() for key in value}
    settings = {"cfgscale", "cfg_scale", "sampler", "sampler_name", "negativeprompt", "steps"}
    return ("prompt" in names or "negativeprompt" in names) and bool(names & settings)


def read_civitai(value: dict[str, Any]) -> Recipe:
    """The recipe; resources that are LoRAs and that the prompt does not name are added to it."""
    draft = Draft(
        prompt=str(value.get("prompt") or ""),
        negative_prompt=str(value.get("negativePrompt") or value.get("negative_prompt") or ""),
    )
    told: dict[str, Any] = {}
    for key, given in value.items():
        name = _NAMES.get(key.lower())
        if name is None:
            told[key] = given
        elif given not in _UNSAID.get(name, (None, "", 0, False)):
            draft.pairs[name] = plain_number(given) or given
    if value.get("enable_hr") is False:
        for name in _FOR_HIRES:
            draft.pairs.pop(name, None)
    if "Model" in draft.pairs:
        draft.pairs["Model"] = stem(str(draft.pairs["Model"]))
    if draft.pairs.get("Face restoration") is True:
        draft.leave_out("Face restoration", draft.pairs.pop("Face restoration"))
    draft.put_size(value.get("width"), value.get("height"))
    _add_resources(draft, told.pop("resources", None))
    for taken in ("prompt", "negativePrompt", "negative_prompt", "hashes", "Hashes"):
        told.pop(taken, None)
    draft.leave_out_all({k: v for k, v in told.items() if k.lower() not in _SILENT})
    return draft.finish("Civitai")


def _add_resources(draft: Draft, resources: Any) -> None:
    for resource in map(mapping, resources if isinstance(resources, list) else []):
        name, kind = resource.get("name"), str(resource.get("type", "")).lower()
        if kind in ("lora", "locon", "lycoris") and isinstance(name, str):
            if f"<lora:{stem(name)}" not in draft.prompt:
                draft.add_lora(name, resource.get("weight", 1.0))
        elif kind in ("model", "checkpoint") and isinstance(name, str):
            draft.pairs.setdefault("Model", stem(name))
            if resource.get("hash"):
                draft.pairs.setdefault("Model hash", resource["hash"])


def read_extra(value: dict[str, Any]) -> Recipe | None:
    """What Civitai's own generator puts beside the graph it ran."""
    inner = mapping(load_json(value.get("extraMetadata")))
    return read_civitai(inner) if is_civitai(inner) else None
