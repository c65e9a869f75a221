"""Small routes the page needs beside Gradio's: previews, pictures, thumbnails, zips, a ping.

They lie on the outer application, which Gradio's login does not cover, so each one asks for the
same login here.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from PIL import Image

from webui.errors import LibraryError

if TYPE_CHECKING:
    from webui.library.library import SavedPicture
    from webui.studio import Studio

THUMB_PIXELS = 320
SMALL_ENOUGH_BYTES = 100_000
FOR_A_DAY = {"Cache-Control": "private, max-age=86400"}
MIMES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp",
    "avif": "image/avif", "gif": "image/gif",
}  # fmt: skip


def make_routes(studio: Studio, is_let_in: Callable[[Request], bool]) -> APIRouter:
    """The page's own routes.

    Args:
        is_let_in: Whether a request carries the page's login.
    """

    def check(request: Request) -> None:
        if not is_let_in(request):
            raise HTTPException(401, "Not authenticated")

    router = APIRouter(prefix="/ui", include_in_schema=False)
    fenced = APIRouter(dependencies=[Depends(check)])

    @router.get("/ping")
    def ping() -> JSONResponse:
        """Tells an open page that the program answers, and whether it is still the same run."""
        return JSONResponse({"run": studio.started_at}, headers={"Cache-Control": "no-store"})

    @fenced.get("/preview/{job_id}/{preview_id}")
    def preview(job_id: int, preview_id: int) -> Response:
        live = studio.live.get(job_id)
        if live is None or live.preview is None:
            return Response(status_code=204)
        mime = MIMES.get(live.preview_format, "image/jpeg")
        return Response(live.preview, media_type=mime, headers={"Cache-Control": "private"})

    @fenced.get("/picture/{picture_id}")
    async def picture(picture_id: int) -> Response:
        found = await asyncio.to_thread(_find, studio, picture_id)
        data = await asyncio.to_thread(_open, studio, found)
        name = found.path.name.encode("ascii", "ignore").decode() or "picture"
        headers = {**FOR_A_DAY, "Content-Disposition": f'inline; filename="{name}"'}
        return Response(data, media_type=MIMES[found.format], headers=headers)

    @fenced.get("/thumb/{picture_id}")
    async def thumb(picture_id: int) -> Response:
        found = await asyncio.to_thread(_find, studio, picture_id)
        data, mime = await asyncio.to_thread(_thumb, studio, found)
        return Response(data, media_type=mime, headers=FOR_A_DAY)

    @fenced.get("/zip/{job_id}")
    async def packed(job_id: int) -> Response:
        ids = [p.id for p in await asyncio.to_thread(studio.library.images_of, job_id)]
        try:
            path: Path = await asyncio.to_thread(studio.library.zip, ids)
        except LibraryError as err:
            raise HTTPException(404, str(err)) from err
        return FileResponse(path, filename=f"job-{job_id}.zip", media_type="application/zip")

    router.include_router(fenced)
    return router


def _find(studio: Studio, picture_id: int) -> SavedPicture:
    try:
        return studio.library.get(picture_id)
    except LibraryError as err:
        raise HTTPException(404, str(err)) from err


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
    with Image.open(io.BytesIO(data)) as image:
        image.thumbnail((THUMB_PIXELS, THUMB_PIXELS))
        packed = io.BytesIO()
        image.convert("RGB").save(packed, "WEBP", quality=80)
    return packed.getvalue()
