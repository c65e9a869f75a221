"""POST /sdapi/v1/txt2img: A1111's request in our words, a place in the queue, and the wait.

The request waits in a thread of its own pool, so that a hundred waiting requests never keep
progress, interrupt or the lists from answering. A client that goes away does not end its job.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import anyio
from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from webui.api.answer import answer_of
from webui.api.errors import ApiError, SafeJSONResponse
from webui.api.infotext_fields import fill_from_infotext
from webui.api.lists import upscaler_names
from webui.api.schemas import ErrorAnswer, ImagesAnswer, TextToImageBody
from webui.api.scripts import check_scripts
from webui.errors import CheckpointNotFoundError, JobError, ParamsError, from_json
from webui.jobs.store import Job
from webui.options import OPTIONS, is_api_restricted
from webui.params import AnyParams, Hires, params_error
from webui.resolve import TextToImageRequest, known_sampler
from webui.samplers.names import find_schedule
from webui.studio import Studio

MAX_WAITING_REQUESTS = 512
WORKER_IS_DOWN_SECONDS = 40.0
"""Longer than the supervisor ever waits before it tries to start the worker again."""
WAIT_SLICE_SECONDS = 5.0
API_HIRES_DENOISING = 0.75
SAME = ("", "Use same checkpoint", "Use same sampler", "Use same scheduler", "None", "none")
OPTIONS_THAT_WIN = ("s_churn", "s_tmin", "s_tmax", "s_noise")
_DEFAULTS = {option.key: option.default for option in OPTIONS}
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
    "clip_skip": "CLIP_stop_at_last_layers",
    "vae": "sd_vae",
    "format": "samples_format",
}
"""Our field names to the names under which clients sent the value."""


@dataclass(frozen=True)
class Wish:
    """A request read: what to paint, and what to say about it.

    Attributes:
        params: Complete and in range.
        options_to_keep: Overrides that stay in memory afterwards.
        notes: What was asked for and could not be followed.
    """

    params: AnyParams
    options_to_keep: dict[str, Any]
    notes: tuple[str, ...]


def text_to_image_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """The txt2img route."""
    routes = APIRouter(route_class=route_class, tags=["generate"])
    waiting_room = anyio.CapacityLimiter(MAX_WAITING_REQUESTS)
    failures: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer} for status in (400, 404, 422, 500, 503)
    }

    @routes.post("/sdapi/v1/txt2img", response_model=ImagesAnswer, responses=failures)
    async def txt2img(body: TextToImageBody) -> Response:
        """Paint pictures; answers when they are done."""
        body, wish, job = await run_in_threadpool(begin, studio, body)

        def finish() -> Response:
            done = wait_for_end(studio, job)
            raise_failure(done)
            return SafeJSONResponse(answer_of(studio, done, wish.params, body, wish.notes))

        try:
            return await anyio.to_thread.run_sync(
                finish, limiter=waiting_room, abandon_on_cancel=True
            )
        except asyncio.CancelledError:  # the server ends; the client shall know why
            raise server_is_closing(job) from None

    return routes


def begin(studio: Studio, body: TextToImageBody) -> tuple[TextToImageBody, Wish, Job]:
    """Read a request and put it into the queue.

    Raises:
        WebUIError, ApiError: It cannot be done; nothing was changed.
    """
    body, extra_overrides = fill_from_infotext(studio, body)
    wish = read_wish(studio, body, extra_overrides)
    job = studio.submit(wish.params, origin="api", task_id=body.force_task_id or None)
    for key, value in wish.options_to_keep.items():
        studio.options.set(key, value)
    return body, wish, job


def read_wish(
    studio: Studio, body: TextToImageBody, extra_overrides: dict[str, Any] | None = None
) -> Wish:
    """Translate a client's request into complete params.

    Args:
        extra_overrides: From the request's infotext; the request's own overrides win.
    Raises:
        ApiError: An unknown sampler, upscaler, script or override, or a part that is not here.
        ParamsError: A value out of range, under the client's name for it.
        CheckpointNotFoundError: There is nothing to paint with.
    """
    check_scripts(body)
    _refuse_missing_parts(body)
    overrides = {**(extra_overrides or {}), **(body.override_settings or {})}
    overrides, notes = _known_overrides(studio, overrides)
    notes.extend(_unknown_schedules(body))
    if body.value("restore_faces"):
        notes.append("restore_faces: there is no face restorer here; the pictures are as painted.")
    try:
        params = studio.resolve(_request(studio, body, overrides))
    except ParamsError as err:
        raise in_client_words(err) from err
    keep = {} if body.value("override_settings_restore_afterwards") else _changeable(overrides)
    return Wish(params, keep, tuple(notes))


def _refuse_missing_parts(body: TextToImageBody) -> None:
    for field in ("refiner_checkpoint", "hr_checkpoint_name"):
        value = getattr(body, field)
        if value is not None and value not in SAME:
            raise ParamsError(
                f"{field} was {value!r}; a job cannot change its checkpoint midway here.",
                "Leave the field out.",
                field=field,
            )


def _known_overrides(studio: Studio, overrides: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The overrides that take effect, and a note for each that does not."""
    notes: list[str] = []
    for key in overrides:
        if key not in studio.options:
            raise ApiError(
                500,
                f"override_settings names {key!r}, which is no option of this server. "
                "GET /sdapi/v1/options lists them.",
                error="KeyError",
                errors=repr(key),
            )
    kept = dict(overrides)
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


def _request(
    studio: Studio, body: TextToImageBody, overrides: dict[str, Any]
) -> TextToImageRequest:
    options = {**studio.options.as_dict(), **overrides}
    sampler, schedule = _sampler(body)
    width, height = _first_size(body)
    current = None if "sd_model_checkpoint" in overrides else studio.current_checkpoint()
    values: dict[str, Any] = {
        "styles": tuple(body.styles or ()),
        "checkpoint": current.name if current else None,
        "width": _whole_cells(width),
        "height": _whole_cells(height),
        "sampler": sampler,
        "schedule": schedule,
        "batch_count": body.value("n_iter"),
        "seed_resize_from_w": max(0, body.value("seed_resize_from_w")),
        "seed_resize_from_h": max(0, body.value("seed_resize_from_h")),
        "tiling": body.tiling,
        "eta": body.eta,
        "s_min_uncond": body.s_min_uncond,
        "hires": _hires(studio, body),
        "save": body.value("save_images"),
        "grid": None if body.value("save_images") else False,
        "overrides": overrides,
    }
    for same in (
        "prompt", "negative_prompt", "steps", "cfg_scale", "batch_size", "seed", "subseed",
        "subseed_strength", "disable_extra_networks",
    ):  # fmt: skip
        values[same] = body.value(same)
    for knob in OPTIONS_THAT_WIN:  # as in A1111: an option that was changed beats the request
        values[knob] = getattr(body, knob) if options[knob] == _DEFAULTS[knob] else None
    try:
        return TextToImageRequest.model_validate(values)
    except ValidationError as err:
        raise params_error(err) from err


def _sampler(body: TextToImageBody) -> tuple[str, str | None]:
    """The sampler's and schedule's names as asked for, both known to exist.

    Raises:
        ApiError: 400, no sampler has that name.
    """
    name = body.sampler_name or body.value("sampler_index") or "Euler"
    _check_sampler(name, "sampler_name" if body.sampler_name else "sampler_index")
    return name, body.scheduler or None


def _check_sampler(name: str, field: str) -> None:
    try:
        known_sampler(name, None)
    except ParamsError as err:
        raise ApiError(
            400,
            f"Sampler not found: {field} was {name[:80]!r}. "
            "GET /sdapi/v1/samplers lists the names.",
        ) from err


def _unknown_schedules(body: TextToImageBody) -> list[str]:
    """A note for each schedule asked for that does not exist; A1111 paints without it too."""
    asked = {"scheduler": body.scheduler or "Automatic"}
    if body.value("enable_hr") and body.hr_scheduler not in (None, *SAME):
        asked["hr_scheduler"] = body.hr_scheduler
    return [
        f"{field} {name[:80]!r} is unknown; Automatic was used."
        for field, name in asked.items()
        if find_schedule(name) is None
    ]


def _first_size(body: TextToImageBody) -> tuple[int, int]:
    """Width and height of the first pass; the old firstphase fields replace them in hires."""
    first = body.value("firstphase_width"), body.value("firstphase_height")
    if body.value("enable_hr") and any(first):
        return first
    return body.value("width"), body.value("height")


def _whole_cells(side: int) -> int:
    """A side cut to whole latent cells, as A1111 paints it; too small ones stay, to be refused."""
    return side // 8 * 8 if side >= 64 else side


def _hires(studio: Studio, body: TextToImageBody) -> Hires | None:
    if not body.value("enable_hr"):
        return None
    upscaler = body.hr_upscaler or "Latent"
    if upscaler not in upscaler_names(studio):
        raise ApiError(
            500,
            f"could not find upscaler named {upscaler}. GET /sdapi/v1/latent-upscale-modes and "
            "/sdapi/v1/upscalers list the names.",
            error="AssertionError",
            errors=f"could not find upscaler named {upscaler}",
        )
    sampler = None if body.hr_sampler_name in SAME else body.hr_sampler_name
    if sampler:
        _check_sampler(sampler, "hr_sampler_name")
    denoising = body.denoising_strength
    values = {
        "scale": body.value("hr_scale"),
        "resize_x": body.value("hr_resize_x"),
        "resize_y": body.value("hr_resize_y"),
        "upscaler": upscaler,
        "steps": body.value("hr_second_pass_steps"),
        "denoising_strength": API_HIRES_DENOISING if denoising is None else denoising,
        "prompt": body.value("hr_prompt"),
        "negative_prompt": body.value("hr_negative_prompt"),
        "sampler": sampler,
        "schedule": None if body.hr_scheduler in SAME else body.hr_scheduler,
    }
    try:
        return Hires.model_validate(values)
    except ValidationError as err:
        inner = params_error(err)
        raise ParamsError(
            f"hires.{inner.message}", inner.hint, field=f"hires.{inner.field}"
        ) from err


def in_client_words(err: ParamsError) -> ParamsError:
    """The same error, naming the field as the client named it."""
    field: str = err.details.get("field", "")
    name: str = _CLIENT_WORDS.get(field, field)
    message = err.message
    if field and message.startswith(field):
        message = f"{name}{message[len(field) :]}"
    return type(err)(message, err.hint, **{**err.details, "field": name})


def wait_for_end(studio: Studio, job: Job) -> Job:
    """Block until a job has ended.

    Raises:
        ApiError: 503, the server is closing, or the model process does not come up.
    """
    down_since: float | None = None
    while True:
        try:
            job = studio.wait(job.id, timeout_seconds=WAIT_SLICE_SECONDS)
        except JobError:
            if studio.is_closing:  # its database is closed already
                raise server_is_closing(job) from None
            raise
        if job.is_finished:
            return job
        if studio.is_closing:
            raise server_is_closing(job)
        is_down = studio.supervisor.worker_state == "crashed"
        down_since = (down_since or time.monotonic()) if is_down else None
        if down_since is not None and time.monotonic() - down_since > WORKER_IS_DOWN_SECONDS:
            studio.cancel(job.id)
            raise _worker_is_down(studio)


def server_is_closing(job: Job) -> ApiError:
    """What a waiting client is told when the server ends before its job."""
    return ApiError(
        503,
        f"The server is stopping. Job {job.task_id} keeps its place in the queue and is painted "
        "after the next start; its saved pictures will be in the outputs folder.",
        error="JobError",
    )


def _worker_is_down(studio: Studio) -> ApiError:
    reason = from_json(studio.supervisor.worker_error or {})
    return ApiError(
        503,
        f"The model process does not start, so the job was cancelled. {reason}",
        error="JobError",
        errors=reason.message,
    )


def raise_failure(job: Job) -> None:
    """Raise what made a job fail; an interrupted job is no failure.

    Raises:
        WebUIError: The job's own error.
    """
    if job.state == "failed":
        raise from_json(job.error or {})
