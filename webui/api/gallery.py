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
from webui.studio import Studio

MIMES = {"jpg": "image/jpeg"}
Found = TypeVar("Found")
_ANY = Body(default_factory=dict)


def gallery_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """``/danqing/v1/gallery/…``: find pictures, look at one, change some, paint one again."""
    routes = APIRouter(prefix=f"{PREFIX}/gallery", route_class=route_class, tags=["gallery"])
    deeds, settings = studio.gallery.deeds, studio.settings
    has_logins = bool(settings.api_logins or settings.page_logins)

    def who(request: Request) -> str:
        return user_of(request) if has_logins else ""

    @routes.get("")
    def find(
        request: Request, text: str = "", place: str = "all", sort: str = "new", start: int = 0,
        count: int = 60,
    ) -> dict[str, Any]:  # fmt: skip
        """A part of the pictures that a search finds."""
        wanted = {"text": text, "place": place, "sort": sort, "start": start, "count": count}
        return deeds.find(who(request), **wanted)

    @routes.get("/places")
    def places(request: Request) -> dict[str, Any]:
        """Boards, folders, and what the look through the folders does."""
        return deeds.places(who(request))

    @routes.get("/compare/{first}/{second}")
    def compare(request: Request, first: int, second: int) -> dict[str, Any]:
        """In what the recipes of two pictures differ."""
        return _there(lambda: deeds.compare(first, second, who(request)))

    @routes.get("/zip/{token}")
    def packed(request: Request, token: str) -> Response:
        """The file that the deed ``zip`` has made."""
        path = _there(lambda: deeds.zip_file(token, who(request)))
        return FileResponse(path, filename=path.name, media_type="application/zip")

    @routes.get("/{picture_id}")
    def one(request: Request, picture_id: int) -> dict[str, Any]:
        """A picture with its recipe, boards and history."""
        return _there(lambda: deeds.everything(picture_id, who(request)))

    @routes.get("/{picture_id}/file")
    def file(request: Request, picture_id: int) -> Response:
        """Its file."""
        picture, data = _there(lambda: deeds.picture(picture_id, who(request)))
        mime = MIMES.get(picture.format, f"image/{picture.format}")
        return Response(data, media_type=mime)

    @routes.get("/{picture_id}/thumb")
    def thumb(request: Request, picture_id: int) -> Response:
        """A small WebP copy."""
        data = _there(lambda: deeds.thumb(picture_id, who(request)))
        return Response(data, media_type="image/webp")

    @routes.post("/{picture_id}/again")
    def again(request: Request, picture_id: int) -> dict[str, Any]:
        """Put the job that paints it once more into the queue."""
        user = who(request)
        params = _there(lambda: studio.gallery.paint_again(picture_id, user))
        if params is None:
            raise ApiError(
                422, "No job here painted this picture. Send its infotext to /sdapi/v1/txt2img."
            )
        job = studio.submit(params.model_copy(update={"user": user}), origin="api")
        return {"job": job.id, "task": job.task_id}

    @routes.post("/{deed}")
    async def do(request: Request, deed: str, body: dict[str, Any] = _ANY) -> dict[str, Any]:
        """Change something; the deeds and their fields are in docs/api.md."""
        if deed not in deeds.names:
            raise ApiError(404, f"There is no deed {deed!r}. Use one of {', '.join(deeds.names)}.")
        user = who(request)
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
