"""Routes of our own: the gallery. A login finds its own pictures and those of nobody's login."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Body, Request
from fastapi.responses import FileResponse, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from webui.api.errors import ApiError
from webui.api.fence import user_of
from webui.api.file_tools import PREFIX
from webui.errors import LibraryError
from webui.roles import for_guests
from webui.studio import Studio

MIMES = {"jpg": "image/jpeg"}
Found = TypeVar("Found")
_ANY = Body(default_factory=dict)


def gallery_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """``/danqing/v1/gallery/…``: find pictures, look at one, change some, paint one again."""
    routes = APIRouter(prefix=f"{PREFIX}/gallery", route_class=route_class, tags=["gallery"])
    deeds = studio.gallery.deeds

    @routes.get("")
    @for_guests
    def find(
        request: Request, text: str = "", place: str = "all", sort: str = "new", start: int = 0,
        count: int = 60,
    ) -> dict[str, Any]:  # fmt: skip
        """A part of the pictures that a search finds."""
        wanted = {"text": text, "place": place, "sort": sort, "start": start, "count": count}
        return deeds.find(user_of(request), **wanted)

    @routes.get("/places")
    @for_guests
    def places(request: Request) -> dict[str, Any]:
        """Boards, folders, and what the look through the folders does."""
        return deeds.places(user_of(request))

    @routes.get("/compare/{first}/{second}")
    @for_guests
    def compare(request: Request, first: int, second: int) -> dict[str, Any]:
        """In what the recipes of two pictures differ."""
        return _there(lambda: deeds.compare(first, second, user_of(request)))

    @routes.get("/zip/{token}")
    @for_guests
    def packed(request: Request, token: str) -> Response:
        """The file that the deed ``zip`` has made."""
        path = _there(lambda: deeds.zip_file(token, user_of(request)))
        return FileResponse(path, filename=path.name, media_type="application/zip")

    @routes.get("/{picture_id}")
    @for_guests
    def one(request: Request, picture_id: int) -> dict[str, Any]:
        """A picture with its recipe, boards and history."""
        return _there(lambda: deeds.everything(picture_id, user_of(request)))

    @routes.get("/{picture_id}/file")
    @for_guests
    def file(request: Request, picture_id: int) -> Response:
        """Its file."""
        picture, data = _there(lambda: deeds.picture(picture_id, user_of(request)))
        mime = MIMES.get(picture.format, f"image/{picture.format}")
        return Response(data, media_type=mime)

    @routes.get("/{picture_id}/thumb")
    @for_guests
    def thumb(request: Request, picture_id: int) -> Response:
        """A small WebP copy."""
        data = _there(lambda: deeds.thumb(picture_id, user_of(request)))
        return Response(data, media_type="image/webp")

    @routes.post("/{picture_id}/again")
    @for_guests
    def again(request: Request, picture_id: int) -> dict[str, Any]:
        """Put the job that paints it once more into the queue."""
        user = user_of(request)
        params = _there(lambda: studio.gallery.paint_again(picture_id, user))
        if params is None:
            raise ApiError(
                422, "No job here painted this picture. Send its infotext to /sdapi/v1/txt2img."
            )
        job = studio.submit(params.model_copy(update={"user": user}), origin="api")
        return {"job": job.id, "task": job.task_id}

    @routes.post("/{deed}")
    @for_guests
    async def do(request: Request, deed: str, body: dict[str, Any] = _ANY) -> dict[str, Any]:
        """Change something; the deeds and their fields are in docs/api.md."""
        if deed not in deeds.names:
            raise ApiError(404, f"There is no deed {deed!r}. Use one of {', '.join(deeds.names)}.")
        user = user_of(request)
        return await run_in_threadpool(_there, lambda: deeds.do(deed, body, user))

    return routes


def _there(answer: Callable[[], Found]) -> Found:
    """The answer; 404 for what is not there for this login.

    Raises:
        ApiError: It is not.
    """
    try:
        return answer()
    except LibraryError as err:
        raise ApiError(404, str(err)) from err
