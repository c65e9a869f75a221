"""From a wish to a complete request: every open question is answered here, once.

A ``TextToImageRequest`` may leave anything open (None); ``resolve`` answers from the options,
the catalog and the styles, and returns params that need nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from webui.errors import ParamsError
from webui.params import Hires, Output, Sampling, TextToImage, build, params_error
from webui.prompts.comments import cut_comments
from webui.prompts.styles import Style, apply_styles
from webui.samplers.names import SAMPLERS, SCHEDULES, Resolved, resolve_sampler

MAX_RANDOM_SEED = 4294967293  # A1111 draws from 0 … 2**32 − 3


class TextToImageRequest(BaseModel):
    """What a door was asked for. None means: whatever the options say."""

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
    eta: float | None = None
    s_churn: float | None = None
    s_tmin: float | None = None
    s_tmax: float | None = None
    s_noise: float | None = None
    s_min_uncond: float | None = None
    disable_extra_networks: bool = False
    hires: Hires | None = None
    save: bool = True
    grid: bool | None = None
    user: str = ""
    overrides: Mapping[str, Any] = {}


def resolve(
    request: TextToImageRequest,
    options: Mapping[str, Any],
    *,
    find_checkpoint: Callable[[str | None], str],
    styles: Mapping[str, Style],
) -> TextToImage:
    """Answer everything a request leaves open.

    Args:
        request: The wish.
        options: Present option values, the request's overrides already on top.
        find_checkpoint: Any alias (or None for the chosen one) to a catalog name.
        styles: Known styles by name; unknown names in the request have no effect.
    Returns:
        Complete params; two calls differ only in seeds that were left open.
    Raises:
        ParamsError: A value out of range or an unknown sampler.
        CheckpointNotFoundError: From ``find_checkpoint``.
    """
    chosen = [styles[name] for name in request.styles if name in styles]
    sampler = known_sampler(request.sampler, request.schedule)
    values: dict[str, Any] = {
        "prompt": _finish_prompt(request.prompt, [s.prompt for s in chosen], options),
        "negative_prompt": _finish_prompt(
            request.negative_prompt, [s.negative_prompt for s in chosen], options
        ),
        "styles": request.styles,
        "checkpoint": find_checkpoint(request.checkpoint or options["sd_model_checkpoint"]),
        "vae": _first(request.vae, options["sd_vae"], "Automatic"),
        "sampler": sampler.sampler,
        "schedule": sampler.schedule_label,
        "seed": draw_seed(request.seed),
        "subseed": draw_seed(request.subseed),
        "clip_skip": _first(request.clip_skip, options["CLIP_stop_at_last_layers"]),
        "tiling": _first(request.tiling, options["tiling"]),
        "eta_noise_seed_delta": options["eta_noise_seed_delta"],
        "randn_source": options["randn_source"],
        "emphasis": options["emphasis"],
        "comma_padding_backtrack": options["comma_padding_backtrack"],
        "use_old_scheduling": options["use_old_scheduling"],
        "hires": _resolve_hires(request.hires, chosen, options),
        "sampling": _sampling(request, options, sampler.sampler),
        "output": _output(request, options),
        "user": request.user,
    }
    for same in (
        "width", "height", "steps", "cfg_scale", "batch_size", "batch_count", "subseed_strength",
        "seed_resize_from_w", "seed_resize_from_h", "disable_extra_networks",
    ):  # fmt: skip
        values[same] = getattr(request, same)
    return build("txt2img", values)


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


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _resolve_hires(
    hires: Hires | None, styles: Sequence[Style], options: Mapping[str, Any]
) -> Hires | None:
    """The second pass: its own prompts get the styles too; empty ones stay «as in the first»."""
    if hires is None:
        return None
    changes: dict[str, Any] = {}
    if hires.prompt:
        changes["prompt"] = _finish_prompt(hires.prompt, [s.prompt for s in styles], options)
    if hires.negative_prompt:
        texts = [s.negative_prompt for s in styles]
        changes["negative_prompt"] = _finish_prompt(hires.negative_prompt, texts, options)
    if hires.sampler or hires.schedule:
        second = known_sampler(hires.sampler, hires.schedule)
        changes["sampler"] = second.sampler if hires.sampler else None
        changes["schedule"] = second.schedule_label
    return hires.model_copy(update=changes)


def _sampling(request: TextToImageRequest, options: Mapping[str, Any], sampler: str) -> Sampling:
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


def _output(request: TextToImageRequest, options: Mapping[str, Any]) -> Output:
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
            directory_pattern=(
                options["directories_filename_pattern"] if options["save_to_dirs"] else ""
            ),
            add_number=options["save_images_add_number"],
            grid_rows=options["n_rows"],
        )
    except ValidationError as err:
        raise params_error(err) from err
