"""Small routes the page needs beside Gradio's: previews, pictures, thumbnails, zips, a ping.

They lie on the outer application, which Gradio's login does not cover, so each one asks for the
same login here.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from PIL import ExifTags, Image

from webui.access import note_person
from webui.content_disposition import content_disposition
from webui.errors import JobNotFoundError, LibraryError, WebUIError
from webui.pictures import load_upright, open_image
from webui.roles import for_guests, is_for_guests, may_see
from webui.services.follow_ups import input_of
from webui.ui.a1111_page import make_a1111_routes
from webui.ui.control_panel import make_control_routes
from webui.ui.extension_panels import make_extension_routes
from webui.ui.extensions_routes import make_store_routes
from webui.ui.extra_networks_routes import make_card_routes
from webui.ui.gallery_routes import make_gallery_routes
from webui.ui.input_routes import make_input_routes
from webui.ui.plots import make_plot_routes
from webui.ui.presets_routes import make_presets_routes
from webui.ui.settings_routes import make_settings_routes
from webui.ui.texts import language_of, say
from webui.ui.train_routes import make_train_routes
from webui.ui.words_routes import make_words_routes

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.library.library import SavedPicture
    from webui.studio import Studio
    from webui.ui.login import Visitors
    from webui.ui.painting_tab import PaintingTab

THUMB_PIXELS = 320
SMALL_ENOUGH_BYTES = 100_000
FOR_A_DAY = {"Cache-Control": "private, max-age=86400"}
MIMES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp",
    "avif": "image/avif", "gif": "image/gif",
}  # fmt: skip


OPEN_PATH = "/ui/ping"
"""The one route that answers strangers: an open page asks whether the program is back."""


def make_routes(studio: Studio, visitors: Visitors, tabs: Sequence[PaintingTab]) -> APIRouter:
    """The page's own routes. What one login painted is not there for another.

    Every one of them, whichever file it stands in, is behind ``check``: it answers those who are
    logged in, and guests only where its function is marked ``for_guests``.

    Args:
        visitors: Tells who asks.
        tabs: The painting tabs, whose fields may have start values.
    """

    def check(request: Request) -> str:
        route = request.scope["route"]
        if route.path == OPEN_PATH:
            return ""
        person = visitors.of(request)
        if person is None:
            raise HTTPException(401, "Not authenticated")
        note_person(request.scope, person)
        if person.is_guest and not is_for_guests(route.endpoint):
            raise HTTPException(403, say("owner_only", language_of(request)))
        return person.name

    login = Depends(check)
    router = APIRouter(prefix="/ui", include_in_schema=False, dependencies=[login])

    @router.get("/ping")
    @for_guests
    def ping() -> JSONResponse:
        """Tells an open page that the program answers, and whether it is still the same run."""
        return JSONResponse({"run": studio.started_at}, headers={"Cache-Control": "no-store"})

    @router.get("/preview/{job_id}/{preview_id}")
    @for_guests
    def preview(job_id: int, preview_id: int, user: str = login) -> Response:
        live = studio.live.get(job_id)
        if live is None or live.preview is None:
            return Response(status_code=204)
        _find_job(studio, job_id, user)
        mime = MIMES.get(live.preview_format, "image/jpeg")
        return Response(live.preview, media_type=mime, headers={"Cache-Control": "private"})

    @router.get("/picture/{picture_id}")
    @for_guests
    async def picture(picture_id: int, user: str = login) -> Response:
        found = await asyncio.to_thread(_find, studio, picture_id, user)
        data = await asyncio.to_thread(_open, studio, found)
        shown = content_disposition("inline", found.path.name)
        headers = {**FOR_A_DAY, "Content-Disposition": shown}
        return Response(data, media_type=MIMES[found.format], headers=headers)

    @router.get("/thumb/{picture_id}")
    @for_guests
    async def thumb(picture_id: int, user: str = login) -> Response:
        found = await asyncio.to_thread(_find, studio, picture_id, user)
        data, mime = await asyncio.to_thread(_thumb, studio, found)
        return Response(data, media_type=mime, headers=FOR_A_DAY)

    @router.get("/before/{job_id}/{index}")
    @for_guests
    def before(job_id: int, index: int, small: bool = False, user: str = login) -> Response:
        """What a job's picture was made from, for the comparison and the queue."""
        data, mime = _input(studio, _find_job(studio, job_id, user), index)
        if small and len(data) > SMALL_ENOUGH_BYTES:
            data, mime = _shrink(data), "image/webp"
        return Response(data, media_type=mime, headers=FOR_A_DAY)

    @router.get("/video/{job_id}")
    async def film(job_id: int, download: bool = False, user: str = login) -> Response:
        """A restored video, in ranges as players ask for them."""
        await asyncio.to_thread(_find_job, studio, job_id, user)
        found = await asyncio.to_thread(studio.videos.of, job_id)
        if found is None or not await asyncio.to_thread(lambda: found.is_there):
            raise HTTPException(404, f"Job {job_id} has no video, or it was moved or deleted.")
        how = "attachment" if download else "inline"
        return FileResponse(
            found.path, filename=found.path.name, media_type="video/mp4",
            content_disposition_type=how, headers={"Cache-Control": "private"},
        )  # fmt: skip

    @router.get("/zip/{job_id}")
    @for_guests
    async def packed(job_id: int, user: str = login) -> Response:
        await asyncio.to_thread(_find_job, studio, job_id, user)
        ids = [p.id for p in await asyncio.to_thread(studio.library.images_of, job_id)]
        try:
            path: Path = await asyncio.to_thread(studio.library.zip, ids)
        except LibraryError as err:
            raise HTTPException(404, str(err)) from err
        return FileResponse(path, filename=f"job-{job_id}.zip", media_type="application/zip")

    def painted(request: Request, picture_id: int) -> Image.Image:
        return load_upright(_open(studio, _find(studio, picture_id, check(request))))

    router.include_router(make_input_routes(studio))
    router.include_router(
        make_train_routes(studio, login, lambda job, user: _find_job(studio, job, user))
    )
    router.include_router(make_plot_routes(studio))
    router.include_router(make_store_routes(studio))
    router.include_router(make_extension_routes(studio))
    router.include_router(make_a1111_routes(studio))
    router.include_router(
        make_control_routes(studio, login, lambda job, user: _find_job(studio, job, user))
    )
    router.include_router(make_words_routes(studio))
    router.include_router(make_presets_routes(studio))
    router.include_router(make_card_routes(studio, painted))
    router.include_router(make_gallery_routes(studio, login))
    router.include_router(make_settings_routes(studio, tabs))
    return router


def _find_job(studio: Studio, job_id: int, user: str) -> Job:
    """A job that this login may see.

    Raises:
        HTTPException: 404 for none, and for that of another login.
    """
    try:
        job = studio.jobs.get(job_id)
    except JobNotFoundError as err:
        raise HTTPException(404, str(err)) from err
    if not may_see(user, job.user):
        raise HTTPException(404, f"Job {job_id} was not found.")
    return job


def _find(studio: Studio, picture_id: int, user: str) -> SavedPicture:
    try:
        found = studio.library.get(picture_id)
    except LibraryError as err:
        raise HTTPException(404, str(err)) from err
    if not may_see(user, found.user):
        raise HTTPException(404, f"Picture {picture_id} was not found.")
    return found


def _input(studio: Studio, job: Job, index: int) -> tuple[bytes, str]:
    """The input picture of a job's picture, in a format that browsers show."""
    try:
        key = input_of(studio.params_of(job), index)
        if key is None:
            raise HTTPException(404, f"Job {job.id} began with no picture.")
        data = studio.inputs.path(key).read_bytes()
    except (WebUIError, OSError) as err:
        raise HTTPException(404, str(err)) from err
    mime = shown_as(data)
    if mime:
        return data, mime
    packed = io.BytesIO()
    load_upright(data).save(packed, "PNG", compress_level=1)
    return packed.getvalue(), "image/png"


def shown_as(data: bytes) -> str | None:
    """The MIME type of a file that browsers show as painting reads it; None for others."""
    with open_image(data) as image:
        is_upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
        is_still = getattr(image, "n_frames", 1) == 1
        if not (is_upright and is_still and image.mode in ("RGB", "RGBA", "L", "P")):
            return None
        return MIMES.get((image.format or "").lower())


def _open(studio: Studio, picture: SavedPicture) -> bytes:
    try:
        return studio.library.open(picture.id)
    except LibraryError as err:
        raise HTTPException(404, str(err)) from err


def _thumb(studio: Studio, picture: SavedPicture) -> tuple[bytes, str]:
    data = _open(studio, picture)
    if len(data) <= SMALL_ENOUGH_BYTES:
        return data, MIMES[picture.format]
    return _shrink(data), "image/webp"


def _shrink(data: bytes) -> bytes:
    with open_image(data) as image:
        image.thumbnail((THUMB_PIXELS, THUMB_PIXELS))
        packed = io.BytesIO()
        image.convert("RGB").save(packed, "WEBP", quality=80)
    return packed.getvalue()
