"""POST /sdapi/v1/extra-single-image and extra-batch-images: finished pictures worked over.

Jobs of kind ``extras`` in the same queue as everything that is painted; results are handed back
and not saved, as in A1111.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from webui.api.errors import SafeJSONResponse
from webui.api.pictures import keep_picture
from webui.api.schemas import (
    FAILURES,
    ExtrasBatchAnswer,
    ExtrasBatchBody,
    ExtrasBody,
    ExtrasSingleAnswer,
    ExtrasSingleBody,
)
from webui.api.waiting import WaitingRoom
from webui.api.wishes import known_upscaler
from webui.errors import JobCancelled
from webui.infotext import write_infotext
from webui.jobs.store import Job
from webui.params import Extras, build
from webui.services.resolve import output_of_extras
from webui.studio import Studio

A1111_STEP = 8
"""Sides of enlarged pictures are rounded down to multiples of this."""

NO_UPSCALER = "None"


def extras_routes(
    studio: Studio, route_class: type[APIRoute], waiting_room: WaitingRoom
) -> APIRouter:
    """The routes that work over finished pictures."""
    routes = APIRouter(prefix="/sdapi/v1", route_class=route_class, tags=["pictures"])

    @routes.post("/extra-single-image", response_model=ExtrasSingleAnswer, responses=FAILURES)
    async def extra_single_image(body: ExtrasSingleBody) -> Response:
        """Enlarge a picture and restore its faces; answers when it is done."""
        job = await run_in_threadpool(_begin_single, studio, body)
        return await waiting_room.answer(studio, job, lambda done: _single_answer(studio, done))

    @routes.post("/extra-batch-images", response_model=ExtrasBatchAnswer, responses=FAILURES)
    async def extra_batch_images(body: ExtrasBatchBody) -> Response:
        """Enlarge pictures and restore their faces; answers when all are done."""
        job = await run_in_threadpool(_begin_batch, studio, body)
        return await waiting_room.answer(
            studio, job, lambda done: _batch_answer(studio, done, body)
        )

    return routes


def _begin_single(studio: Studio, body: ExtrasSingleBody) -> Job:
    values = _common_values(studio, body)
    image = keep_picture(studio, body.value("image"), "image")
    return _submit(studio, [image], values)


def _begin_batch(studio: Studio, body: ExtrasBatchBody) -> Job:
    values = _common_values(studio, body)
    images = [
        keep_picture(studio, file.value("data"), f"imageList[{place}]")
        for place, file in enumerate(body.imageList)
    ]
    names = [file.value("name") for file in body.imageList]
    return _submit(studio, images, {**values, "names": names if any(names) else ()})


def _submit(studio: Studio, images: Sequence[str], values: dict[str, Any]) -> Job:
    params = build("extras", {**values, "images": images})
    assert isinstance(params, Extras), "only these are asked for here"
    return studio.submit(params, origin="api")


def _common_values(studio: Studio, body: ExtrasBody) -> dict[str, Any]:
    """The fields of ``Extras`` that a body sets, looked up before any picture is kept.

    Raises:
        ApiError: An unknown upscaler.
        CheckpointNotFoundError: Weights that are asked for are not there.
    """
    if body.value("gfpgan_visibility") > 0:
        studio.weights.find_face_restorer("GFPGAN")
    if body.value("codeformer_visibility") > 0:
        studio.weights.find_face_restorer("CodeFormer")
    values: dict[str, Any] = {
        "resize_mode": "to" if body.value("resize_mode") else "by",
        "upscaler_1": known_upscaler(studio, body.upscaler_1 or NO_UPSCALER),
        "upscaler_2": known_upscaler(studio, body.upscaler_2 or NO_UPSCALER),
        "multiple_of": A1111_STEP,
        "upscale_first": True,  # as in A1111, whose faces are always those of the enlarged picture
        "keep_grey": False,
        "output": output_of_extras(studio.options.as_dict(), save=False),
    }
    for same in (
        "upscaling_resize", "upscaling_resize_w", "upscaling_resize_h", "upscaling_crop",
        "extras_upscaler_2_visibility", "gfpgan_visibility", "codeformer_visibility",
        "codeformer_weight",
    ):  # fmt: skip
        values[same] = body.value(same)
    return values


def _single_answer(studio: Studio, job: Job) -> Response:
    pictures = _pictures(studio, job)
    if not pictures:
        raise JobCancelled("The picture was not finished: the job was interrupted.", "Ask again.")
    return SafeJSONResponse({"html_info": html_info(job), "image": pictures[0][1]})


def _batch_answer(studio: Studio, job: Job, body: ExtrasBatchBody) -> Response:
    pictures = _pictures(studio, job)
    answer = {
        "html_info": html_info(job),
        "images": [text for _, text in pictures],
        "names": [body.imageList[index].value("name") for index, _ in pictures],
    }
    return SafeJSONResponse(answer)


def _pictures(studio: Studio, job: Job) -> list[tuple[int, str]]:
    """Finished pictures in order, by their places in the request, as base64 texts."""
    found = [p for p in studio.library.images_of(job.id) if p.kind == "image"]
    return [
        (picture.index, base64.b64encode(studio.library.open(picture.id)).decode("ascii"))
        for picture in sorted(found, key=lambda picture: picture.index)
    ]


def html_info(job: Job) -> str:
    """What was done to the last picture and what there is to know, as A1111 shows it: HTML."""
    pairs = (job.result or {}).get("extra_generation_params") or {}
    lines = [write_infotext("", "", pairs), *job.warnings]
    text = "<br>\n".join(html.escape(line) for line in lines if line)
    return f"<p>{text}</p>"
