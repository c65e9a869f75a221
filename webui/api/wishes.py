"""What txt2img and img2img requests have in common on their way from A1111's words to ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from webui.api.control_units import control_units
from webui.api.dynamic_prompts import dynamic_notes, dynamic_overrides, is_combinatorial
from webui.api.errors import ApiError
from webui.api.extension_wishes import extension_forms, extension_wishes
from webui.api.other_checkpoints import refiner_values
from webui.api.plot_scripts import plan_scripts
from webui.api.schemas import ImageToImageBody, PaintingBody, SomeBody
from webui.api.scripts import check_scripts
from webui.errors import CheckpointNotFoundError, ParamsError
from webui.option_values import checked_value
from webui.options import OPTION_DEFAULTS, is_api_restricted
from webui.params import ImageToImage, TextToImage
from webui.roles import is_guest
from webui.samplers.names import find_schedule
from webui.services.resolve import AnyRequest, known_sampler
from webui.studio import Studio

SAME = ("", "Use same checkpoint", "Use same sampler", "Use same scheduler", "None", "none")
OPTIONS_THAT_WIN = ("s_churn", "s_tmin", "s_tmax", "s_noise")
FREE_OVERRIDES = ("sd_model_checkpoint", "sd_vae")
"""Options that name files: looked up, not checked by type."""
_CLIENT_WORDS = {
    "batch_count": "n_iter",
    "sampler": "sampler_name",
    "schedule": "scheduler",
    "hires.scale": "hr_scale",
    "hires.resize_x": "hr_resize_x",
    "hires.resize_y": "hr_resize_y",
    "hires.steps": "hr_second_pass_steps",
    "hires.denoising_strength": "denoising_strength",
    "hires.prompt": "hr_prompt",
    "hires.negative_prompt": "hr_negative_prompt",
    "hires.cfg_scale": "hr_cfg",
    "extra_noise": "img2img_extra_noise",
    "switch_at": "refiner_switch_at",
    "inpaint.blur_x": "mask_blur_x",
    "inpaint.blur_y": "mask_blur_y",
    "inpaint.padding": "inpaint_full_res_padding",
    "inpaint.conditioning_weight": "inpainting_mask_weight",
    "background": "img2img_background_color",
    "clip_skip": "CLIP_stop_at_last_layers",
    "vae": "sd_vae",
    "weight": "code_former_weight",
    "format": "samples_format",
}
"""Our field names to the names under which clients sent the value."""


@dataclass(frozen=True)
class Wish:
    """A request read: what to paint, and what to say about it.

    Attributes:
        request: What was asked for, in our words. params: The same, complete and in range.
        options_to_keep: Overrides that stay in memory afterwards.
        notes: What was asked for and could not be followed.
    """

    request: AnyRequest
    params: TextToImage | ImageToImage
    options_to_keep: dict[str, Any]
    notes: tuple[str, ...]


def read_wish(
    studio: Studio,
    body: SomeBody,
    make_request: Callable[[Studio, SomeBody, dict[str, Any]], AnyRequest],
    extra_overrides: dict[str, Any] | None = None,
    user: str = "",
    scripts: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Wish:
    """Translate a client's request into complete params.

    Args:
        make_request: (studio, body, overrides) to our request.
        extra_overrides: From the request's infotext; the request's own overrides win.
        user: The guest who asks; '' = the owner.
        scripts: What it says to A1111 scripts; the body does not name them any more.
    Raises:
        ApiError: An unknown sampler, upscaler, script or override, or a part that is not here.
        ParamsError: A value out of range, under the client's name for it.
        CheckpointNotFoundError: There is nothing to paint with.
    """
    tab = "img2img" if isinstance(body, ImageToImageBody) else "txt2img"
    body, told = _with_scripts_read(studio, body)
    check_scripts(body, extension_forms(studio, tab), plan_scripts(studio.plots.plans))
    overrides = {
        **(extra_overrides or {}), **(body.override_settings or {}), **dynamic_overrides(body),
    }  # fmt: skip
    overrides, notes = _known_overrides(studio, overrides)
    notes += [*told, *dynamic_notes(body, has_drawing=studio.extensions.has_drawing)]
    notes.extend(unknown_schedules({"scheduler": body.scheduler or "Automatic"}))
    try:
        request = make_request(studio, body, overrides)
        said = {"user": user, "extensions": {**request.extensions, **scripts}}
        request = request.model_copy(update=said)
        params = studio.resolve(request)
    except ParamsError as err:
        raise in_client_words(err) from err
    assert isinstance(params, (TextToImage, ImageToImage)), "only these two are asked for here"
    is_kept = not body.value("override_settings_restore_afterwards") and not is_guest(user)
    keep = _changeable(overrides) if is_kept else {}
    return Wish(request, params, keep, tuple(notes))


def _with_scripts_read(studio: Studio, body: SomeBody) -> tuple[SomeBody, list[str]]:
    """The request with its scripts as extensions read them, and what they do not follow."""
    notes: list[str] = []
    if not body.alwayson_scripts:
        return body, notes
    read = studio.extensions.read_scripts(body.alwayson_scripts, notes.append)
    return body.model_copy(update={"alwayson_scripts": read}), notes


def _known_overrides(studio: Studio, overrides: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The overrides that take effect, and a note for each that does not."""
    notes: list[str] = []
    for key in overrides:
        if key not in studio.options:
            raise ApiError(
                422,
                f"override_settings names {key!r}, which is no option of this server. "
                "GET /sdapi/v1/options lists them.",
                error="KeyError",
                errors=repr(key),
            )
    kept = {
        key: value if key in FREE_OVERRIDES else checked_value(key, value)
        for key, value in overrides.items()
    }
    alias = kept.pop("sd_model_checkpoint", None)
    if alias:
        try:
            kept["sd_model_checkpoint"] = studio.checkpoint(str(alias)).title
        except CheckpointNotFoundError as err:
            notes.append(f"override_settings: {err.message} The chosen checkpoint was used.")
    vae = kept.get("sd_vae")
    if vae not in (None, "", "Automatic", "None"):
        studio.catalog.find_vae(str(vae))
    return kept, notes


def _changeable(overrides: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in overrides.items() if not is_api_restricted(key)}


def common_values(studio: Studio, body: PaintingBody, overrides: dict[str, Any]) -> dict[str, Any]:
    """The fields of a ``PaintingRequest`` that both kinds of request fill alike.

    Raises:
        ApiError: An unknown sampler or refiner.
    """
    options = {**studio.options.as_dict(), **overrides}
    sampler, schedule = _sampler(body)
    current = None if "sd_model_checkpoint" in overrides else studio.current_checkpoint()
    values: dict[str, Any] = {
        "styles": tuple(body.styles or ()),
        "checkpoint": current.name if current else None,
        "width": whole_cells(body.value("width")),
        "height": whole_cells(body.value("height")),
        "sampler": sampler,
        "schedule": schedule,
        "batch_count": body.value("n_iter"),
        "seed_resize_from_w": max(0, body.value("seed_resize_from_w")),
        "seed_resize_from_h": max(0, body.value("seed_resize_from_h")),
        "tiling": body.tiling,
        "restore_faces": body.restore_faces,
        "eta": body.eta,
        "s_min_uncond": body.s_min_uncond,
        "save": body.value("save_images"),
        "grid": None if body.value("save_images") else False,
        "overrides": overrides,
        "combinatorial": is_combinatorial(body),
        "extensions": extension_wishes(studio, body),
        "control": control_units(studio, body),
        **refiner_values(studio, body),
    }
    for same in (
        "prompt", "negative_prompt", "steps", "cfg_scale", "batch_size", "seed", "subseed",
        "subseed_strength", "disable_extra_networks",
    ):  # fmt: skip
        values[same] = body.value(same)
    for knob in OPTIONS_THAT_WIN:  # as in A1111: an option that was changed beats the request
        values[knob] = getattr(body, knob) if options[knob] == OPTION_DEFAULTS[knob] else None
    return values


def _sampler(body: PaintingBody) -> tuple[str, str | None]:
    """The sampler's and schedule's names as asked for, both known to exist.

    Raises:
        ApiError: 400, no sampler has that name.
    """
    name = body.sampler_name or body.value("sampler_index") or "Euler"
    check_sampler(name, "sampler_name" if body.sampler_name else "sampler_index")
    return name, body.scheduler or None


def check_sampler(name: str, field: str) -> None:
    """Refuse a sampler that does not exist.

    Raises:
        ApiError: 400, naming the field.
    """
    try:
        known_sampler(name, None)
    except ParamsError as err:
        raise ApiError(
            400,
            f"Sampler not found: {field} was {name[:80]!r}. "
            "GET /sdapi/v1/samplers lists the names.",
        ) from err


def unknown_schedules(asked: dict[str, str]) -> list[str]:
    """A note for each schedule asked for that does not exist; A1111 paints without it too.

    Args:
        asked: Schedule names by request field.
    """
    return [
        f"{field} {name[:80]!r} is unknown; Automatic was used."
        for field, name in asked.items()
        if find_schedule(name) is None
    ]


def known_upscaler(studio: Studio, name: str) -> str:
    """An upscaler of pictures as it is listed.

    Raises:
        ApiError: 404 in A1111's words, there is none of that name.
        CheckpointNotFoundError: A well-known one whose file is not there.
    """
    found = studio.weights.find_upscaler(name)
    if found is not None:
        return found
    raise ApiError(
        404,
        f"could not find upscaler named {name}. GET /sdapi/v1/latent-upscale-modes and "
        "/sdapi/v1/upscalers list the names.",
        error="AssertionError",
        errors=f"could not find upscaler named {name}",
    )


def whole_cells(side: int) -> int:
    """A side cut to whole latent cells, as A1111 paints it; too small ones stay, to be refused."""
    return side // 8 * 8 if side >= 64 else side


def in_client_words(err: ParamsError) -> ParamsError:
    """The same error, naming the field as the client named it."""
    field: str = err.details.get("field", "")
    name: str = _CLIENT_WORDS.get(field, field)
    message = err.message
    for ours in (field, field.rpartition(".")[2]):
        if ours and message.startswith(f"{ours} "):
            message = f"{name}{message[len(ours) :]}"
            break
    return type(err)(message, err.hint, **{**err.details, "field": name})
