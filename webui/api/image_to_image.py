"""POST /sdapi/v1/img2img: A1111's request in our words, a place in the queue, and the wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.responses import Response

from webui.api.errors import ApiError
from webui.api.fence import guest_of
from webui.api.paint import paint
from webui.api.picture_scripts import script_values, soft_inpainting
from webui.api.pictures import keep_picture
from webui.api.schemas import FAILURES, ImagesAnswer, ImageToImageBody
from webui.api.waiting import WaitingRoom
from webui.api.wishes import common_values
from webui.errors import ParamsError
from webui.params import MASKED_CONTENTS, RESIZE_MODES, params_error
from webui.roles import for_guests
from webui.services.resolve import ImageToImageRequest, InpaintRequest
from webui.studio import Studio


def image_to_image_routes(
    studio: Studio, route_class: type[APIRoute], waiting_room: WaitingRoom
) -> APIRouter:
    """The img2img route."""
    routes = APIRouter(route_class=route_class, tags=["generate"])

    @routes.post("/sdapi/v1/img2img", response_model=ImagesAnswer, responses=FAILURES)
    @for_guests
    async def img2img(body: ImageToImageBody, request: Request) -> Response:
        """Paint pictures from pictures; answers when they are done."""
        user = guest_of(request)
        return await paint(studio, waiting_room, body, read_request, user)

    return routes


def read_request(
    studio: Studio, body: ImageToImageBody, overrides: dict[str, Any]
) -> ImageToImageRequest:
    """The request in our words; its pictures are kept with the studio's inputs.

    Raises:
        ApiError: No input picture, too many, one that is no picture, an unknown sampler.
        ParamsError: A value out of range.
    """
    texts = _input_texts(body)
    common = common_values(studio, body, overrides)
    resize_mode = _one_of("resize_mode", body.value("resize_mode"), RESIZE_MODES)
    inputs = [keep_picture(studio, text, f"init_images[{i}]") for i, text in enumerate(texts)]
    if len(inputs) > 1:
        common["batch_size"] = len(inputs)
    try:
        values = {
            **common,
            "init_images": tuple(inputs),
            "resize_mode": resize_mode,
            "denoising_strength": body.value("denoising_strength"),
            "initial_noise_multiplier": body.initial_noise_multiplier,
            "image_cfg_scale": body.image_cfg_scale,
            "inpaint": _inpaint(studio, body),
            **script_values(
                body,
                studio.inputs.image(inputs[0]).size if body.script_name else (0, 0),
                studio.weights.upscaler_names(),
            ),
        }
        return ImageToImageRequest.model_validate(values)
    except ValidationError as err:
        raise params_error(err) from err


def _input_texts(body: ImageToImageBody) -> list[str]:
    """The input pictures as they were sent.

    Raises:
        ApiError: 404, there are none; 422, more than the batch has pictures.
    """
    texts = body.init_images
    if not texts:
        raise ApiError(
            404, "Init image not found. Send at least one picture in init_images, as base64."
        )
    batch_size = body.value("batch_size")
    if len(texts) > max(batch_size, 1):
        told = f"bad number of images passed: {len(texts)}; expecting {batch_size} or less"
        raise ApiError(
            422,
            f"{told}. Send one picture for the whole batch, or raise batch_size.",
            error="RuntimeError",
            errors=told,
        )
    return [text or "" for text in texts]


def _inpaint(studio: Studio, body: ImageToImageBody) -> InpaintRequest | None:
    if not body.mask:
        return None
    both = body.mask_blur
    return InpaintRequest(
        mask=keep_picture(studio, body.mask, "mask"),
        blur_x=body.value("mask_blur_x") if both is None else both,
        blur_y=body.value("mask_blur_y") if both is None else both,
        is_inverted=bool(body.value("inpainting_mask_invert")),
        content=_one_of("inpainting_fill", body.value("inpainting_fill"), MASKED_CONTENTS),
        only_masked=body.value("inpaint_full_res"),
        padding=body.value("inpaint_full_res_padding"),
        round_mask=body.value("mask_round"),
        soft=soft_inpainting(body),
    )


def _one_of(field: str, number: int, meanings: Sequence[str]) -> Any:
    if 0 <= number < len(meanings):
        return meanings[number]
    known = ", ".join(f"{i} {meaning}" for i, meaning in enumerate(meanings))
    raise ParamsError(f"{field} was {number}.", f"Send one of: {known}.", field=field)
