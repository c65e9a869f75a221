"""POST /sdapi/v1/interrogate: what a picture shows, as a prompt."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from webui.api.errors import ApiError, SafeJSONResponse
from webui.api.pictures import keep_picture
from webui.api.schemas import FAILURES, InterrogateAnswer, InterrogateBody
from webui.api.waiting import WaitingRoom
from webui.jobs.store import Job
from webui.params import Interrogate
from webui.services.describers import OF_API, first_of
from webui.studio import Studio


def interrogate_routes(
    studio: Studio, route_class: type[APIRoute], waiting_room: WaitingRoom
) -> APIRouter:
    """The interrogate route."""
    routes = APIRouter(route_class=route_class, tags=["pictures"])

    @routes.post("/sdapi/v1/interrogate", response_model=InterrogateAnswer, responses=FAILURES)
    async def interrogate(body: InterrogateBody) -> Response:
        """Say what a picture shows; answers when it is known."""
        job = await run_in_threadpool(_begin, studio, body)
        return await waiting_room.answer(studio, job, _answer)

    return routes


def _begin(studio: Studio, body: InterrogateBody) -> Job:
    """Put the question into the queue.

    Raises:
        ApiError: 404 in A1111's words: no picture, or another model than these.
        CheckpointNotFoundError: Their weights are not there; names the files.
    """
    if not body.image:
        raise ApiError(404, "Image not found")
    name = _describer(studio, body.model or "")
    image = keep_picture(studio, body.image, "image")
    return studio.submit(Interrogate(describer=name, image=image), origin="api")


def _describer(studio: Studio, model: str) -> str:
    if model in studio.extensions.offered("taggers"):
        return model
    kind = OF_API.get(model)
    if kind is None:
        raise ApiError(404, "Model not found")
    return first_of(studio.settings.folders, kind).name


def _answer(job: Job) -> Response:
    return SafeJSONResponse({"caption": str((job.result or {}).get("caption", ""))})
