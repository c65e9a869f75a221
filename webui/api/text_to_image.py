"""POST /sdapi/v1/txt2img: A1111's request in our words, a place in the queue, and the wait."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.responses import Response

from webui.api.fence import guest_of
from webui.api.other_checkpoints import other_checkpoint
from webui.api.paint import paint
from webui.api.schemas import FAILURES, ImagesAnswer, TextToImageBody
from webui.api.waiting import WaitingRoom
from webui.api.wishes import (
    SAME,
    check_sampler,
    common_values,
    known_upscaler,
    unknown_schedules,
    whole_cells,
)
from webui.errors import ParamsError
from webui.params import LATENT_UPSCALE_MODES, Hires, params_error
from webui.roles import for_guests
from webui.services.resolve import TextToImageRequest
from webui.studio import Studio

API_HIRES_DENOISING = 0.75


def text_to_image_routes(
    studio: Studio, route_class: type[APIRoute], waiting_room: WaitingRoom
) -> APIRouter:
    """The txt2img route."""
    routes = APIRouter(route_class=route_class, tags=["generate"])

    @routes.post("/sdapi/v1/txt2img", response_model=ImagesAnswer, responses=FAILURES)
    @for_guests
    async def txt2img(body: TextToImageBody, request: Request) -> Response:
        """Paint pictures; answers when they are done."""
        user = guest_of(request)
        return await paint(studio, waiting_room, body, read_request, user, _unknown_hires_schedule)

    return routes


def read_request(
    studio: Studio, body: TextToImageBody, overrides: dict[str, Any]
) -> TextToImageRequest:
    """The request in our words.

    Raises:
        ApiError: An unknown sampler, upscaler or checkpoint.
        ParamsError: A value out of range.
    """
    width, height = _first_size(body)
    values = {
        **common_values(studio, body, overrides),
        "width": whole_cells(width),
        "height": whole_cells(height),
        "hires": _hires(studio, body),
    }
    try:
        return TextToImageRequest.model_validate(values)
    except ValidationError as err:
        raise params_error(err) from err


def _unknown_hires_schedule(body: TextToImageBody) -> list[str]:
    if not body.value("enable_hr") or body.hr_scheduler in (None, *SAME):
        return []
    return unknown_schedules({"hr_scheduler": body.hr_scheduler})


def _first_size(body: TextToImageBody) -> tuple[int, int]:
    """Width and height of the first pass; the old firstphase fields replace them in hires."""
    first = body.value("firstphase_width"), body.value("firstphase_height")
    if body.value("enable_hr") and any(first):
        return first
    return body.value("width"), body.value("height")


def _hires(studio: Studio, body: TextToImageBody) -> Hires | None:
    if not body.value("enable_hr"):
        return None
    upscaler = body.hr_upscaler or "Latent"
    if upscaler not in LATENT_UPSCALE_MODES:
        upscaler = known_upscaler(studio, upscaler)
    sampler = None if body.hr_sampler_name in SAME else body.hr_sampler_name
    if sampler:
        check_sampler(sampler, "hr_sampler_name")
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
        "checkpoint": other_checkpoint(studio, body.hr_checkpoint_name),
        "cfg_scale": body.hr_cfg,
    }
    try:
        return Hires.model_validate(values)
    except ValidationError as err:
        inner = params_error(err)
        raise ParamsError(
            f"hires.{inner.message}", inner.hint, field=f"hires.{inner.field}"
        ) from err
