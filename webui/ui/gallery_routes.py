"""How the gallery reaches the page: pictures by numbers, in parts, for those who may see them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Body, HTTPException
from fastapi.responses import FileResponse, JSONResponse, Response

from webui.content_disposition import content_disposition
from webui.errors import WebUIError
from webui.roles import for_guests
from webui.ui.extra_networks_routes import NEVER_KEPT
from webui.ui.input_routes import FOR_EVER

if TYPE_CHECKING:
    from webui.services.gallery.deeds import GalleryDeeds
    from webui.studio import Studio

MIMES = {
    "png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "avif": "image/avif",
    "gif": "image/gif",
}  # fmt: skip
_BODY = Body()
THUMB_THREADS = 2
"""So many small copies are made at once; other requests have threads of their own."""


def make_gallery_routes(studio: Studio, login: Any) -> APIRouter:
    """``/gallery/…``: find, look at one, change some.

    Args:
        login: Dependency that gives the login of a request, or refuses it.
    """
    router = APIRouter(prefix="/gallery", include_in_schema=False)
    _add_answers(router, studio.gallery.deeds, login)
    _add_files(router, studio.gallery.deeds, login)
    return router


def _add_answers(router: APIRouter, deeds: GalleryDeeds, login: Any) -> None:
    @router.get("/find")
    @for_guests
    def find(
        text: str = "", place: str = "all", sort: str = "new", start: int = 0, count: int = 60,
        user: str = login,
    ) -> JSONResponse:  # fmt: skip
        wanted = {"text": text, "place": place, "sort": sort, "start": start, "count": count}
        return _told(lambda: deeds.find(user, **wanted))

    @router.get("/ids")
    @for_guests
    def ids(
        text: str = "", place: str = "all", sort: str = "new", user: str = login
    ) -> JSONResponse:
        return _told(lambda: deeds.ids(user, text=text, place=place, sort=sort))

    @router.get("/places")
    @for_guests
    def places(user: str = login) -> JSONResponse:
        return _told(lambda: deeds.places(user))

    @router.get("/state")
    @for_guests
    def state(user: str = login) -> JSONResponse:
        return _told(deeds.state)

    @router.get("/one/{picture_id}")
    @for_guests
    def one(picture_id: int, user: str = login) -> JSONResponse:
        return _told(lambda: deeds.everything(picture_id, user))

    @router.get("/compare/{first}/{second}")
    @for_guests
    def compare(first: int, second: int, user: str = login) -> JSONResponse:
        return _told(lambda: deeds.compare(first, second, user))

    @router.post("/do/{deed}")
    @for_guests
    def do(deed: str, body: dict[str, Any] = _BODY, user: str = login) -> JSONResponse:
        if deed not in deeds.names:
            raise HTTPException(404, "Not Found")
        return _told(lambda: deeds.do(deed, body, user))


def _add_files(router: APIRouter, deeds: GalleryDeeds, login: Any) -> None:
    small = ThreadPoolExecutor(THUMB_THREADS, "thumbs")

    @router.get("/thumb/{picture_id}")
    @for_guests
    async def thumb(picture_id: int, user: str = login) -> Response:
        loop = asyncio.get_running_loop()
        try:
            data = await loop.run_in_executor(small, deeds.thumb, picture_id, user)
        except WebUIError as err:
            raise HTTPException(404, str(err)) from err
        return Response(data, media_type="image/webp", headers=FOR_EVER)

    @router.get("/file/{picture_id}")
    @for_guests
    def file(picture_id: int, download: bool = False, user: str = login) -> Response:
        try:
            picture, data = deeds.picture(picture_id, user)
        except WebUIError as err:
            raise HTTPException(404, str(err)) from err
        how = "attachment" if download else "inline"
        shown = content_disposition(how, picture.path.name)
        headers = {**FOR_EVER, "Content-Disposition": shown}
        return Response(data, media_type=MIMES[picture.format], headers=headers)

    @router.get("/zip/{token}")
    @for_guests
    def packed(token: str, user: str = login) -> Response:
        try:
            path = deeds.zip_file(token, user)
        except WebUIError as err:
            raise HTTPException(404, str(err)) from err
        return FileResponse(path, filename=path.name, media_type="application/zip")


def _told(answer: Callable[[], dict[str, Any]]) -> JSONResponse:
    try:
        return JSONResponse(answer(), headers=NEVER_KEPT)
    except WebUIError as err:
        raise HTTPException(422, str(err)) from err
