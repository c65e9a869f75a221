"""Routes of our own: plots by names instead of places in a list, without waiting for the end."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict
from starlette.concurrency import run_in_threadpool

from webui.api import image_to_image, text_to_image
from webui.api.errors import ApiError
from webui.api.file_tools import PREFIX
from webui.api.infotext_fields import fill_from_infotext
from webui.api.schemas import ImageToImageBody, TextToImageBody
from webui.api.wishes import in_client_words, read_wish
from webui.errors import ParamsError
from webui.extension_forms import Axis
from webui.jobs.store import Job
from webui.params import Plot
from webui.services.resolve import AnyRequest
from webui.studio import Studio


class PlotBody(BaseModel):
    """What is painted in every cell, and what differs.

    Attributes:
        txt2img, img2img: The body of that route; one of the two.
        script: ``kind`` names a plan, such as xyz, matrix or list; the rest are its fields.
        is_dry_run: Only tell how large it would be.
    """

    model_config = ConfigDict(extra="forbid")

    txt2img: TextToImageBody | None = None
    img2img: ImageToImageBody | None = None
    script: dict[str, Any]
    is_dry_run: bool = False


def plot_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """The routes that begin plots and look at them."""
    routes = APIRouter(prefix=PREFIX, route_class=route_class, tags=["generate"])

    @routes.post("/plots")
    async def begin(body: PlotBody) -> dict[str, Any]:
        """Put a plot into the queue, or tell how large it would be; answers at once."""
        return await run_in_threadpool(_begin, studio, body)

    @routes.get("/plots/plans")
    def plans(tab: Literal["txt2img", "img2img"] = "txt2img") -> list[dict[str, Any]]:
        """Every plan: its name for ``kind``, its title, its fields."""
        found = studio.plots.plans
        return [found.panel(owned, tab) for owned in found.all(tab)]

    @routes.get("/plots/axes")
    def axes(
        tab: Literal["txt2img", "img2img"] = "txt2img", plan: str = "xyz"
    ) -> dict[str, list[str] | None]:
        """Every axis of a plan, and the values it has to choose from (null: any)."""
        plans = studio.plots.plans
        fields = plans.named(plan, tab).plan.fields
        first = next((one for one in fields if isinstance(one, Axis)), None)
        return plans.menus(first, tab) if first else {}

    @routes.get("/plots/{task_id}")
    def look(task_id: str) -> dict[str, Any]:
        """How far a plot is, and the ids of its sheets and pictures."""
        return _view(studio, studio.jobs.by_task(task_id))

    @routes.post("/plots/{task_id}/cancel")
    def cancel(task_id: str) -> dict[str, Any]:
        """Stop a plot; what has been painted is laid out."""
        job = studio.jobs.by_task(task_id)
        _own(job)
        studio.control.cancel(job.id)
        return _view(studio, studio.jobs.get(job.id))

    return routes


def _begin(studio: Studio, body: PlotBody) -> dict[str, Any]:
    request = _request(studio, body)
    try:
        size = studio.plots.foretell(request, body.script)
        told = {
            "cells": size.cells, "pictures": size.pictures, "columns": size.columns,
            "rows": size.rows, "sheets": size.sheets, "megapixels": round(size.megapixels, 3),
        }  # fmt: skip
        if body.is_dry_run:
            return told
        job = studio.plots.submit(request, body.script, origin="api")
    except ParamsError as err:
        raise in_client_words(err) from err
    return {**told, **_view(studio, job)}


def _request(studio: Studio, body: PlotBody) -> AnyRequest:
    if (body.txt2img is None) == (body.img2img is None):
        raise ParamsError(
            "A plot needs either txt2img or img2img.",
            "Send the body of that route under its name.", field="txt2img",
        )  # fmt: skip
    if body.txt2img is not None:
        filled, overrides = fill_from_infotext(studio, body.txt2img)
        return read_wish(studio, filled, text_to_image.read_request, overrides).request
    assert body.img2img is not None, "one of the two is there"
    filled, overrides = fill_from_infotext(studio, body.img2img)
    return read_wish(studio, filled, image_to_image.read_request, overrides).request


def _own(job: Job) -> None:
    if job.kind != "plot":
        raise ApiError(404, f"Job {job.task_id} is no plot.")


def _view(studio: Studio, job: Job) -> dict[str, Any]:
    _own(job)
    params, states = studio.params_of(job), studio.jobs.part_states(job.id)
    assert isinstance(params, Plot), "checked just above"
    return {
        "job": job.id,
        "task_id": job.task_id,
        "script": params.script,
        "state": job.state,
        "states": states,
        "sheets": [picture.id for picture in studio.library.images_of(job.id)],
        "cells_painted": [
            [picture.id for picture in studio.library.images_of(cell.id)]
            for cell in studio.plots.cells(job)
        ],
        "warnings": list(job.warnings),
        "error": job.error,
    }
