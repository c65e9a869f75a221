"""From a wish to a complete request: every open question is answered here, once.

A request may leave anything open (None); ``resolve`` answers from the options, the catalog and
the styles, and returns params that need nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from webui.errors import ParamsError
from webui.params import (
    AnyParams,
    ControlUnit,
    ExtensionValues,
    FaceRestoration,
    Hires,
    Inpaint,
    Loopback,
    MaskedContent,
    Outpaint,
    Output,
    Painting,
    Refiner,
    ResizeMode,
    Sampling,
    SdUpscale,
    SoftInpainting,
    TiledDiffusion,
    build,
    params_error,
)
from webui.preprocessors.names import complete
from webui.prompts.chinese.translate import Translated, in_english
from webui.prompts.comments import cut_comments
from webui.prompts.networks import HYPERNET_TYPES, LORA_TYPES
from webui.prompts.styles import Style, apply_styles
from webui.samplers.names import SAMPLERS, SCHEDULES, Resolved, resolve_sampler
from webui.services.forms.drawn_texts import Draw, drawn_texts, nobody_draws
from webui.services.lora_files import network_names

MAX_RANDOM_SEED = 4294967293  # A1111 draws from 0 … 2**32 − 3


class PaintingRequest(BaseModel):
    """What a door was asked for. None means: whatever the options say.

    ``combinatorial``: one picture of every combination of the prompt's choices and wildcards,
    instead of pictures whose seeds choose. ``extensions``: those whose forms are switched on, with
    what stands in their fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str = ""
    negative_prompt: str = ""
    styles: tuple[str, ...] = ()
    checkpoint: str | None = None
    vae: str | None = None
    width: int = 512
    height: int = 512
    steps: int = 20
    cfg_scale: float = 7.0
    sampler: str | None = None
    schedule: str | None = None
    batch_size: int = 1
    batch_count: int = 1
    seed: Any = -1
    subseed: Any = -1
    subseed_strength: float = 0.0
    seed_resize_from_w: int = 0
    seed_resize_from_h: int = 0
    clip_skip: int | None = None
    tiling: bool | None = None
    restore_faces: bool | None = None
    eta: float | None = None
    s_churn: float | None = None
    s_tmin: float | None = None
    s_tmax: float | None = None
    s_noise: float | None = None
    s_min_uncond: float | None = None
    disable_extra_networks: bool = False
    combinatorial: bool = False
    control: tuple[ControlUnit, ...] = ()
    refiner_checkpoint: str | None = None
    refiner_switch_at: float = 0.8
    tiled_diffusion: TiledDiffusion | None = None
    tiled_vae: bool | None = None
    save: bool = True
    grid: bool | None = None
    output_folder: str = ""
    file_stem: str = ""
    user: str = ""
    overrides: Mapping[str, Any] = {}
    extensions: Mapping[str, Mapping[str, Any]] = {}


class TextToImageRequest(PaintingRequest):
    """A wish for pictures from a prompt."""

    kind: Literal["txt2img"] = "txt2img"
    hires: Hires | None = None
    first_pass_image: str | None = None


class InpaintRequest(BaseModel):
    """The inpainting part of an ``ImageToImageRequest``; see ``params.Inpaint``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mask: str
    blur_x: int = 4
    blur_y: int = 4
    is_inverted: bool = False
    content: MaskedContent = "original"
    only_masked: bool = False
    padding: int = 32
    round_mask: bool = True
    soft: SoftInpainting | None = None
    conditioning_weight: float | None = None
    keep_rest: bool | None = None


class ImageToImageRequest(PaintingRequest):
    """A wish for pictures from a picture; inputs are keys that ``Studio.inputs.keep`` gave."""

    kind: Literal["img2img"] = "img2img"
    init_images: tuple[str, ...]
    resize_mode: ResizeMode = "Just resize"
    denoising_strength: float = 0.75
    fix_steps: bool | None = None
    initial_noise_multiplier: float | None = None
    extra_noise: float | None = None
    image_cfg_scale: float | None = None
    color_correction: bool | None = None
    background: str | None = None
    upscaler: str | None = None
    inpaint: InpaintRequest | None = None
    outpaint: Outpaint | None = None
    sd_upscale: SdUpscale | None = None
    loopback: Loopback | None = None


AnyRequest = TextToImageRequest | ImageToImageRequest


def request_from_json(text: str) -> AnyRequest:
    """Read a request back, as ``model_dump_json`` wrote it.

    Raises:
        ValueError: The text is no request this version knows.
    """
    return TypeAdapter(AnyRequest).validate_json(text)


@dataclass(frozen=True)
class Known:
    """What there is to answer a request with.

    Attributes:
        find_checkpoint: Any alias (or None for the chosen one) to a catalog name; raises
            CheckpointNotFoundError.
        styles: By name.
        find_controlnet: Any name of a ControlNet to its catalog name.
        extensions: Those that act on the request, with all their values.
        rewrite: What extensions make of a prompt, by the name of its field.
        draw: What they make of it in each picture.
        translate: The English of a prompt in Chinese.
    """

    find_checkpoint: Callable[[str | None], str]
    styles: Mapping[str, Style] = field(default_factory=dict)
    find_controlnet: Callable[[str], str] = str
    extensions: ExtensionValues = field(default_factory=dict)
    rewrite: Callable[[str, str], str] = lambda text, which: text
    draw: Draw = nobody_draws
    translate: Callable[[str], Translated] = Translated


def resolve(
    request: AnyRequest,
    options: Mapping[str, Any],
    known: Known,
) -> AnyParams:
    """Answer everything a request leaves open.

    Args:
        request: The wish; styles in it that are not known have no effect.
        options: Present option values, the request's overrides already on top.
    Returns:
        Complete params; two calls differ only in seeds that were left open.
    Raises:
        ParamsError: A value out of range, an unknown sampler, or who draws refuses a prompt.
        CheckpointNotFoundError: From ``known``.
    """
    values = {
        **_as_asked(request),
        **_prompts(request, options, known),
        **_answers(request, options, known),
        "extensions": known.extensions,
    }
    if isinstance(request, ImageToImageRequest):
        values.update(_picture_values(request, options))
    else:
        values["hires"] = _resolve_hires(request, options, known)
        values["first_pass_image"] = request.first_pass_image
    if not options["dynamic_prompts"]:
        return build(request.kind, values)
    return _with_drawn_texts(request, values, known.draw)


def _as_asked(request: PaintingRequest) -> dict[str, Any]:
    """What a request cannot leave open."""
    return {
        name: getattr(request, name)
        for name in (
            "width", "height", "steps", "cfg_scale", "batch_size", "batch_count", "styles", "user",
            "subseed_strength", "seed_resize_from_w", "seed_resize_from_h", "tiled_diffusion",
            "disable_extra_networks",
        )
    }  # fmt: skip


def _prompts(request: PaintingRequest, options: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """Both prompts with their styles, in English, as extensions want them."""
    styles = _chosen(request, known)
    typed = _finish_prompt(request.prompt, [s.prompt for s in styles], options)
    typed_negative = _finish_prompt(
        request.negative_prompt, [s.negative_prompt for s in styles], options
    )
    prompt, negative = in_english(typed, typed_negative, known.translate)
    is_translated = known.translate(typed_negative).text != typed_negative
    return {
        "prompt": _with_usual_networks(known.rewrite(prompt, "prompt"), request, options),
        "negative_prompt": known.rewrite(negative, "negative_prompt"),
        "chinese_prompt": typed if prompt != typed else "",
        "chinese_negative_prompt": typed_negative if is_translated else "",
    }


def _answers(request: PaintingRequest, options: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """What options, the catalog and chance answer where the request does not."""
    sampler = known_sampler(request.sampler, request.schedule)
    only_options = (
        "eta_noise_seed_delta", "randn_source", "emphasis", "comma_padding_backtrack",
        "use_old_scheduling", "fp8_storage", "cache_fp16_weight",
    )  # fmt: skip
    return {
        **{name: options[name] for name in only_options},
        "checkpoint": known.find_checkpoint(request.checkpoint or options["sd_model_checkpoint"]),
        "vae": _first(request.vae, options["sd_vae"], "Automatic"),
        "sampler": sampler.sampler,
        "schedule": sampler.schedule_label,
        "sampling": _sampling(request, options, sampler.sampler),
        "seed": draw_seed(request.seed),
        "subseed": draw_seed(request.subseed),
        "clip_skip": _first(request.clip_skip, options["CLIP_stop_at_last_layers"]),
        "tiling": _first(request.tiling, options["tiling"]),
        "tiled_vae": _first(request.tiled_vae, options["tiled_vae"]),
        "restore_faces": _restore_faces(request, options),
        "refiner": _refiner(request, options, known),
        "control": [
            complete(unit.model_copy(update={"model": known.find_controlnet(unit.model)}))
            for unit in request.control
        ],
        "output": _output(request, options),
    }


def _chosen(request: PaintingRequest, known: Known) -> list[Style]:
    return [known.styles[name] for name in request.styles if name in known.styles]


def _with_drawn_texts(request: AnyRequest, values: dict[str, Any], draw: Draw) -> AnyParams:
    """The params, with the prompts of each picture drawn by its seed, or all there are in turn."""
    params = build(request.kind, values)
    assert isinstance(params, Painting)
    drawn = drawn_texts(values, params.image_count, draw, is_combinatorial=request.combinatorial)
    return build(request.kind, {**values, **drawn}) if drawn else params


def _restore_faces(request: PaintingRequest, options: Mapping[str, Any]) -> FaceRestoration | None:
    if not _first(request.restore_faces, options["face_restoration"]):
        return None
    try:
        return FaceRestoration(
            model=options["face_restoration_model"], weight=options["code_former_weight"]
        )
    except ValidationError as err:
        raise params_error(err) from err


def _picture_values(request: ImageToImageRequest, options: Mapping[str, Any]) -> dict[str, Any]:
    """What only a request with input pictures has."""
    values: dict[str, Any] = {
        "fix_steps": _first(request.fix_steps, options["img2img_fix_steps"]),
        "initial_noise_multiplier": _first(
            request.initial_noise_multiplier, options["initial_noise_multiplier"]
        ),
        "extra_noise": _first(request.extra_noise, options["img2img_extra_noise"]),
        "color_correction": _first(request.color_correction, options["img2img_color_correction"]),
        "background": _first(request.background, options["img2img_background_color"]),
        "upscaler": _first(request.upscaler, options["upscaler_for_img2img"]) or None,
        "inpaint": _inpaint(request.inpaint, options),
    }
    for same in (
        "init_images", "resize_mode", "denoising_strength", "image_cfg_scale", "outpaint",
        "sd_upscale", "loopback",
    ):  # fmt: skip
        values[same] = getattr(request, same)
    return values


def _inpaint(request: InpaintRequest | None, options: Mapping[str, Any]) -> Inpaint | None:
    if request is None:
        return None
    weight = _first(request.conditioning_weight, options["inpainting_mask_weight"])
    keep_rest = _first(request.keep_rest, options["overlay_inpaint"])
    answered = {"conditioning_weight": weight, "keep_rest": keep_rest}
    try:
        return Inpaint.model_validate({**dict(request), **answered})
    except ValidationError as err:
        inner = params_error(err)
        field = f"inpaint.{inner.details.get('field', '')}"
        raise ParamsError(inner.message, inner.hint, field=field) from err


def _refiner(request: PaintingRequest, options: Mapping[str, Any], known: Known) -> Refiner | None:
    if not request.refiner_checkpoint:
        return None
    try:
        return Refiner(
            checkpoint=known.find_checkpoint(request.refiner_checkpoint),
            switch_at=request.refiner_switch_at,
            by_steps=options["refiner_switch_by_sample_steps"],
            hires_pass=options["hires_fix_refiner_pass"],
        )
    except ValidationError as err:
        raise params_error(err) from err


def known_sampler(sampler: str | None, schedule: str | None) -> Resolved:
    """Canonical sampler and schedule names.

    Raises:
        ParamsError: No sampler has that name, with or without a schedule suffix.
    """
    found = resolve_sampler(sampler, schedule)
    spellings = [""] + [f" {text}" for info in SCHEDULES for text in info.spellings]
    if sampler and sampler not in [found.sampler + spelling for spelling in spellings]:
        names = ", ".join(info.name for info in SAMPLERS)
        raise ParamsError(
            f"Sampler not found: {sampler!r}.", f"Known samplers: {names}.", field="sampler_name"
        )
    return found


def draw_seed(seed: Any) -> int:
    """A seed as a number; empty, −1 and unreadable ones are drawn at random, as A1111 does."""
    try:
        number = int(seed)
    except (TypeError, ValueError, OverflowError):
        number = -1
    return number if number >= 0 else random.SystemRandom().randint(0, MAX_RANDOM_SEED)


def _finish_prompt(text: str, styles: Sequence[str], options: Mapping[str, Any]) -> str:
    has_comments = bool(options["enable_prompt_comments"])
    text = apply_styles(text, styles, should_cut_comments=has_comments)
    return cut_comments(text).strip() if has_comments else text


def _with_usual_networks(prompt: str, request: PaintingRequest, options: Mapping[str, Any]) -> str:
    """The prompt with what the options put into every one (``sd_lora``, ``sd_hypernetwork``)."""
    weight = options["extra_networks_default_multiplier"]
    tags = ""
    for option, types in (("sd_hypernetwork", HYPERNET_TYPES), ("sd_lora", LORA_TYPES)):
        name = options[option]
        if name not in ("None", "", *network_names([prompt], types)):
            tags += f"<{types[0]}:{name}:{weight}>"
    return prompt if request.disable_extra_networks else prompt + tags


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _resolve_hires(
    request: TextToImageRequest, options: Mapping[str, Any], known: Known
) -> Hires | None:
    """The second pass: its own prompts get the styles too; empty ones stay «as in the first»."""
    hires = request.hires
    if hires is None:
        return None
    changes: dict[str, Any] = {}
    styles = _chosen(request, known)
    if hires.prompt:
        finished = _finish_prompt(hires.prompt, [s.prompt for s in styles], options)
        finished = known.rewrite(known.translate(finished).text, "hires_prompt")
        changes["prompt"] = _with_usual_networks(finished, request, options)
    if hires.negative_prompt:
        texts = [s.negative_prompt for s in styles]
        finished = _finish_prompt(hires.negative_prompt, texts, options)
        english = known.translate(finished).text
        changes["negative_prompt"] = known.rewrite(english, "hires_negative_prompt")
    if hires.checkpoint:
        changes["checkpoint"] = known.find_checkpoint(hires.checkpoint)
    if hires.sampler or hires.schedule:
        second = known_sampler(hires.sampler, hires.schedule)
        changes["sampler"] = second.sampler if hires.sampler else None
        changes["schedule"] = second.schedule_label
    changes["extra_noise"] = _first(hires.extra_noise, options["img2img_extra_noise"])
    try:
        return Hires.model_validate({**dict(hires), **changes})
    except ValidationError as err:
        raise params_error(err) from err


def _sampling(request: PaintingRequest, options: Mapping[str, Any], sampler: str) -> Sampling:
    """Request values win over options; eta's option depends on the kind of sampler."""
    values = {name: options[name] for name in Sampling.model_fields if name in options}
    for name in ("s_churn", "s_tmin", "s_tmax", "s_noise", "s_min_uncond"):
        if getattr(request, name) is not None:
            values[name] = getattr(request, name)
    eta_option = "eta_ddim" if sampler.startswith("DDIM") else "eta_ancestral"
    values["eta"] = _first(request.eta, options[eta_option])
    try:
        return Sampling.model_validate(values)
    except ValidationError as err:
        raise params_error(err) from err


def _output(request: PaintingRequest, options: Mapping[str, Any]) -> Output:
    image_format = str(options["samples_format"]).lower()
    try:
        return Output(
            save=request.save and bool(options["samples_save"]),
            grid=bool(options["grid_save"]) if request.grid is None else request.grid,
            format="jpg" if image_format == "jpeg" else image_format,  # type: ignore[arg-type]
            quality=options["jpeg_quality"],
            lossless=options["webp_lossless"],
            embed_infotext=options["enable_pnginfo"],
            save_text=options["save_txt"],
            filename_pattern=options["samples_filename_pattern"],
            directory_pattern=_directory_pattern(request, options),
            prompt_words=options["directories_max_prompt_words"],
            add_number=options["save_images_add_number"],
            grid_rows=options["n_rows"],
            folder=request.output_folder,
            file_stem=request.file_stem,
        )
    except ValidationError as err:
        raise params_error(err) from err


def output_of_extras(options: Mapping[str, Any], *, save: bool) -> Output:
    """How pictures that were only worked over are written: no sheet of them.

    Args:
        save: Write into the outputs folders, unless the options say never.
    Raises:
        ParamsError: An option out of range.
    """
    return _output(PaintingRequest(save=save, grid=False), options)


def _directory_pattern(request: PaintingRequest, options: Mapping[str, Any]) -> str:
    """Subfolders belong to the outputs folder; a folder that was named is taken as it is."""
    if request.output_folder or not options["save_to_dirs"]:
        return ""
    return options["directories_filename_pattern"]
