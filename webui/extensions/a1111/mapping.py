"""Between our requests and ``p``: fields that mean the same under other names.

A ``p`` that was made of a request remembers what it was told; only what a script has changed since
then goes back, so that nothing is lost on the way. A ``p`` that a script made itself counts as
changed in all its fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from webui.extensions.a1111.processing import (
    StableDiffusionProcessing,
    StableDiffusionProcessingImg2Img,
    StableDiffusionProcessingTxt2Img,
)
from webui.params import (
    MASKED_CONTENTS,
    RESIZE_MODES,
    DrawnTexts,
    FaceRestoration,
    Hires,
    ImageToImage,
    Inpaint,
    Painting,
    Refiner,
    Sampling,
    TextToImage,
    build,
)

SAME = {
    "steps": "steps",
    "cfg_scale": "cfg_scale",
    "batch_size": "batch_size",
    "n_iter": "batch_count",
    "subseed_strength": "subseed_strength",
    "disable_extra_networks": "disable_extra_networks",
}
"""Fields of ``p`` and ours that have the same values."""
SAMPLING = ("eta", "s_churn", "s_tmin", "s_tmax", "s_noise", "s_min_uncond")
CHECKPOINT = "sd_model_checkpoint"
"""The setting that names the checkpoint; who paints knows what it means."""
EXTRA_NOISE = "img2img_extra_noise"
"""The setting that the second pass of txt2img heeds, too."""
OPTIONS = {
    "sd_vae": "vae",
    "CLIP_stop_at_last_layers": "clip_skip",
    "eta_noise_seed_delta": "eta_noise_seed_delta",
    "randn_source": "randn_source",
    "comma_padding_backtrack": "comma_padding_backtrack",
    "use_old_scheduling": "use_old_scheduling",
    "emphasis": "emphasis",
    "img2img_color_correction": "color_correction",
    "img2img_background_color": "background",
    "img2img_fix_steps": "fix_steps",
    EXTRA_NOISE: "extra_noise",
    "upscaler_for_img2img": "upscaler",
}
"""Settings that ``override_settings`` may change, and our fields for them; those of samplers and
schedules have the same names as here."""
NOT_INHERITED = frozenset({"drawn", "control", "extensions", "refiner"})
"""Fields that a ``p`` of a script's own does not take over from the job it is made in."""
Put = Callable[[Any], str]
"""Keeps a picture (PIL) for the length of the job; returns its key."""


class Resolved(Protocol):
    @property
    def sampler(self) -> str: ...

    @property
    def schedule_label(self) -> str: ...


FindSampler = Callable[[str | None, str | None], Resolved]


def job_of(params: Painting, picture: Callable[[str], Any]) -> StableDiffusionProcessing:
    """``p`` for a request.

    Args:
        picture: An input picture (PIL) by its key.
    """
    values: dict[str, Any] = {ours: getattr(params, field) for ours, field in SAME.items()}
    values |= {name: getattr(params.sampling, name) for name in SAMPLING}
    values |= {
        "prompt": params.prompt,
        "negative_prompt": params.negative_prompt,
        "styles": list(params.styles),
        "seed": params.seed,
        "subseed": params.subseed,
        "seed_resize_from_w": params.seed_resize_from_w or -1,
        "seed_resize_from_h": params.seed_resize_from_h or -1,
        "sampler_name": params.sampler,
        "scheduler": params.schedule,
        "width": params.width,
        "height": params.height,
        "restore_faces": params.restore_faces is not None,
        "tiling": params.tiling,
        "do_not_save_samples": not params.output.save,
        "do_not_save_grid": not params.output.grid,
        "refiner_checkpoint": params.refiner.checkpoint if params.refiner else None,
        "refiner_switch_at": params.refiner.switch_at if params.refiner else None,
    }
    made: StableDiffusionProcessing
    if isinstance(params, ImageToImage):
        made = StableDiffusionProcessingImg2Img(**values, **_of_pictures(params, picture))
    else:
        hires = params.hires if isinstance(params, TextToImage) else None
        made = StableDiffusionProcessingTxt2Img(**values, **_of_hires(hires))
    if params.clip_skip != 1:
        made.override_settings["CLIP_stop_at_last_layers"] = params.clip_skip  # type: ignore[index]
    made.user, made.base = params.user, params
    made.sd_model_name = params.checkpoint.rpartition("/")[2].rpartition(".")[0]
    made.told = _fields(made)  # type: ignore[attr-defined]
    return made


def _of_pictures(params: ImageToImage, picture: Callable[[str], Any]) -> dict[str, Any]:
    values: dict[str, Any] = {
        "init_images": [picture(key) for key in params.init_images],
        "resize_mode": RESIZE_MODES.index(params.resize_mode),
        "denoising_strength": params.denoising_strength,
        "image_cfg_scale": params.image_cfg_scale,
        "initial_noise_multiplier": params.initial_noise_multiplier,
    }
    inpaint = params.inpaint
    if inpaint is not None:
        values |= {
            "mask": picture(inpaint.mask),
            "mask_blur_x": inpaint.blur_x,
            "mask_blur_y": inpaint.blur_y,
            "mask_round": inpaint.round_mask,
            "inpainting_fill": MASKED_CONTENTS.index(inpaint.content),
            "inpaint_full_res": inpaint.only_masked,
            "inpaint_full_res_padding": inpaint.padding,
            "inpainting_mask_invert": int(inpaint.is_inverted),
        }
    return values


def _of_hires(hires: Hires | None) -> dict[str, Any]:
    if hires is None:
        return {"denoising_strength": None}
    return {
        "enable_hr": True,
        "denoising_strength": hires.denoising_strength,
        "hr_scale": hires.scale,
        "hr_upscaler": hires.upscaler,
        "hr_second_pass_steps": hires.steps,
        "hr_resize_x": hires.resize_x,
        "hr_resize_y": hires.resize_y,
        "hr_checkpoint_name": hires.checkpoint,
        "hr_sampler_name": hires.sampler,
        "hr_scheduler": hires.schedule,
        "hr_prompt": hires.prompt,
        "hr_negative_prompt": hires.negative_prompt,
        "hr_cfg": hires.cfg_scale,
    }


def _fields(p: StableDiffusionProcessing) -> dict[str, Any]:
    """What ``p`` says now; lists are copied, so that changes in place are seen."""
    kept: dict[str, Any] = {}
    for name, value in vars(p).items():
        kept[name] = value.copy() if isinstance(value, (list, dict)) else value
    return kept


def params_of(
    p: Any, job: Painting, put: Put, find_sampler: FindSampler, overrides: Mapping[str, Any]
) -> Painting:
    """The request that paints ``p``; its checkpoint is the job's.

    Args:
        job: The request of the job at work: what ``p`` does not say is as there.
        put: Keeps input pictures.
        find_sampler: Names of sampler and schedule as we have them.
        overrides: Settings that hold for it alone, see ``all_overrides``.
    Raises:
        ParamsError: A value out of its range.
    """
    told: dict[str, Any] = getattr(p, "told", {})
    base: Painting = p.base if isinstance(p.base, Painting) else job

    def changed(name: str) -> bool:
        return name not in told or told[name] != getattr(p, name, None)

    kind = "img2img" if isinstance(p, StableDiffusionProcessingImg2Img) else "txt2img"
    is_own = p.base is None
    left = NOT_INHERITED if is_own else frozenset[str]()
    target = ImageToImage if kind == "img2img" else TextToImage
    values = {
        name: getattr(base, name)
        for name in target.model_fields
        if name != "kind" and hasattr(base, name) and name not in left
    }
    values |= _common(p, base, changed, find_sampler)
    values |= _texts(p, base)
    if kind == "img2img":
        values |= _pictures(p, base, changed, put)
    else:
        values |= _hires(p, base, changed, find_sampler, overrides.get(EXTRA_NOISE))
    values |= _options(overrides, target, values["sampling"])
    return build(kind, values)  # type: ignore[return-value]


def _common(
    p: Any, base: Painting, changed: Callable[[str], bool], find_sampler: FindSampler
) -> dict[str, Any]:
    values: dict[str, Any] = {ours: getattr(p, name) for name, ours in SAME.items()}
    values["seed"], values["subseed"] = p.all_seeds[0], p.all_subseeds[0]
    values["styles"] = tuple(p.styles)
    for name in ("width", "height"):
        values[name] = int(getattr(p, name)) // 8 * 8
    for name in ("seed_resize_from_w", "seed_resize_from_h"):
        values[name] = max(0, int(getattr(p, name) or 0))
    if changed("sampler_name") or changed("scheduler"):
        found = find_sampler(p.sampler_name or base.sampler, p.scheduler)
        values |= {"sampler": found.sampler, "schedule": found.schedule_label}
    if p.tiling is not None:
        values["tiling"] = bool(p.tiling)
    if changed("restore_faces") and p.restore_faces is not None:
        usual = base.restore_faces or FaceRestoration()
        values["restore_faces"] = usual if p.restore_faces else None
    knobs = {n: getattr(p, n) for n in SAMPLING if changed(n) and getattr(p, n, None) is not None}
    values["sampling"] = base.sampling.model_copy(update=knobs)
    if changed("refiner_checkpoint") or changed("refiner_switch_at"):
        has_one = p.refiner_checkpoint not in (None, "", "None") and p.refiner_switch_at
        values["refiner"] = (
            Refiner(checkpoint=str(p.refiner_checkpoint), switch_at=p.refiner_switch_at or 0.8)
            if has_one
            else None
        )
    return values


def _texts(p: Any, base: Painting) -> dict[str, Any]:
    """Prompts: one for all pictures, or each its own."""
    texts, negatives = tuple(p.all_prompts), tuple(p.all_negative_prompts)
    template = base.drawn.templates() if base.drawn and p.base is not None else DrawnTexts()
    drawn: dict[str, Any] = {}
    if len(set(texts)) > 1:
        drawn["prompts"] = texts
    if len(set(negatives)) > 1:
        drawn["negative_prompts"] = negatives
    for name in ("hires_prompts", "hires_negative_prompts"):
        if base.drawn and p.base is not None and getattr(base.drawn, name):
            drawn[name] = getattr(base.drawn, name)
    kept = template.model_copy(update=drawn)
    values: dict[str, Any] = {"prompt": texts[0], "negative_prompt": negatives[0]}
    return {**values, "drawn": kept if kept != DrawnTexts() else None}


def _pictures(p: Any, base: Painting, changed: Callable[[str], bool], put: Put) -> dict[str, Any]:
    before = base if isinstance(base, ImageToImage) else None
    values: dict[str, Any] = {"denoising_strength": p.denoising_strength}
    if changed("init_images") or before is None:
        pictures = list(p.init_images)
        wanted = pictures[: p.batch_size] if len(pictures) >= p.batch_size else pictures[:1]
        values["init_images"] = tuple(put(picture) for picture in wanted)
    values["resize_mode"] = RESIZE_MODES[int(p.resize_mode)]
    values["image_cfg_scale"] = p.image_cfg_scale
    if p.initial_noise_multiplier is not None:
        values["initial_noise_multiplier"] = p.initial_noise_multiplier
    if p.image_mask is None:
        return {**values, "inpaint": None}
    usual = before.inpaint if before else None
    is_new = usual is None or changed("image_mask")
    content = p.inpainting_fill
    return {
        **values,
        "inpaint": Inpaint(
            mask=put(p.image_mask) if is_new or usual is None else usual.mask,
            blur_x=int(p.mask_blur_x),
            blur_y=int(p.mask_blur_y),
            is_inverted=bool(p.inpainting_mask_invert),
            content=MASKED_CONTENTS[int(content)],
            only_masked=bool(p.inpaint_full_res),
            padding=int(p.inpaint_full_res_padding),
            round_mask=bool(p.mask_round),
            soft=usual.soft if usual else None,
            conditioning_weight=usual.conditioning_weight if usual else 1.0,
            keep_rest=usual.keep_rest if usual else True,
        ),
        **({"outpaint": None, "sd_upscale": None} if before and is_new else {}),
    }


def _hires(
    p: Any,
    base: Painting,
    changed: Callable[[str], bool],
    find_sampler: FindSampler,
    extra_noise: Any,
) -> dict[str, Any]:
    if not getattr(p, "enable_hr", False):
        return {"hires": None, "first_pass_image": None}
    usual = base.hires if isinstance(base, TextToImage) and base.hires else Hires()
    second: dict[str, Any] = {
        "denoising_strength": p.denoising_strength,
        "scale": p.hr_scale,
        "upscaler": p.hr_upscaler or usual.upscaler,
        "steps": int(p.hr_second_pass_steps),
        "resize_x": int(p.hr_resize_x),
        "resize_y": int(p.hr_resize_y),
        "checkpoint": p.hr_checkpoint_name,
        "prompt": p.hr_prompt,
        "negative_prompt": p.hr_negative_prompt,
        "cfg_scale": p.hr_cfg,
        "extra_noise": usual.extra_noise if extra_noise is None else extra_noise,
    }
    if changed("hr_sampler_name") or changed("hr_scheduler"):
        found = find_sampler(p.hr_sampler_name or p.sampler_name, p.hr_scheduler)
        second["sampler"] = found.sampler if p.hr_sampler_name else None
        second["schedule"] = found.schedule_label if p.hr_scheduler else None
    return {"hires": Hires.model_validate({**dict(usual), **second})}


def all_overrides(p: Any, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that hold for one painting.

    Args:
        changed: What scripts have changed in ``shared.opts`` during the job: it counts more than
            what the job came with, and less than what a script put into ``p.override_settings``.
    """
    told = getattr(p, "told", {}).get("override_settings", {})
    came = {k: v for k, v in p.override_settings.items() if k in told and told[k] == v}
    own = {k: v for k, v in p.override_settings.items() if k not in came}
    return {**came, **changed, **own}


def _options(overrides: Mapping[str, Any], target: type[Painting], sampling: Any) -> dict[str, Any]:
    """What settings change; those of other kinds do nothing here."""
    values: dict[str, Any] = {}
    for key, value in overrides.items():
        field = OPTIONS.get(key)
        if field in target.model_fields and value is not None:
            values[field] = value
    knobs = {k: v for k, v in overrides.items() if k in type(sampling).model_fields}
    return {**values, "sampling": sampling.model_copy(update=knobs)} if knobs else values


def without_effect(p: Any) -> list[str]:
    """Settings in ``override_settings`` that cannot be changed for one job here."""
    known = (CHECKPOINT, *OPTIONS, *Sampling.model_fields)
    return [key for key in p.override_settings if key not in known]


def picture_key(image: Any) -> str:
    """The key of a picture in memory: a hash of its pixels."""
    facts = f"{image.mode} {image.size}".encode()
    return hashlib.sha256(facts + image.tobytes()).hexdigest()


def texts_of(params: Painting, count: int) -> tuple[list[str], list[str]]:
    """Prompts and negative prompts of so many pictures of a request."""
    own = [params.of_picture(index) for index in range(count)]
    return [one.prompt for one in own], [one.negative_prompt for one in own]
