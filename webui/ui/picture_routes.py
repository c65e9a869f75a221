"""Pictures, previews, videos and zips for the page. What one login painted is not there for
another.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, Response
from PIL import ExifTags

from webui.content_disposition import content_disposition
from webui.errors import JobNotFoundError, LibraryError, WebUIError
from webui.pictures import load_upright, open_image
from webui.roles import for_guests, may_see
from webui.services.follow_ups import input_of

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.library.library import SavedPicture
    from webui.studio import Studio

THUMB_PIXELS = 320
SMALL_ENOUGH_BYTES = 100_000
FOR_A_DAY = {"Cache-Control": "private, max-age=86400"}
MIMES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp",
    "avif": "image/avif", "gif": "image/gif",
}  # fmt: skip


def make_picture_routes(studio: Studio, login: Any) -> APIRouter:
    """Single pictures: made, small, in the making, and what they were made from.

    Args:
        login: The dependency that tells who asks.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/preview/{job_id}/{preview_id}")
    @for_guests
    def preview(job_id: int, preview_id: int, user: str = login) -> Response:
        find_job(studio, job_id, user)
        live = studio.live.get(job_id)
        if live is None or live.preview is None:
            return Response(status_code=204)
        mime = MIMES.get(live.preview_format, "image/jpeg")
        return Response(live.preview, media_type=mime, headers={"Cache-Control": "private"})

    @router.get("/picture/{picture_id}")
    @for_guests
    async def picture(picture_id: int, user: str = login) -> Response:
        found = await asyncio.to_thread(find_picture, studio, picture_id, user)
        data = await asyncio.to_thread(open_picture, studio, found)
        shown = content_disposition("inline", found.path.name)
        headers = {**FOR_A_DAY, "Content-Disposition": shown}
        return Response(data, media_type=MIMES[found.format], headers=headers)

    @router.get("/thumb/{picture_id}")
    @for_guests
    async def thumb(picture_id: int, user: str = login) -> Response:
        found = await asyncio.to_thread(find_picture, studio, picture_id, user)
        data, mime = await asyncio.to_thread(_thumb, studio, found)
        return Response(data, media_type=mime, headers=FOR_A_DAY)

    @router.get("/before/{job_id}/{index}")
    @for_guests
    def before(job_id: int, index: int, small: bool = False, user: str = login) -> Response:
        """What a job's picture was made from, for the comparison and the queue."""
        data, mime = _input(studio, find_job(studio, job_id, user), index)
        if small and len(data) > SMALL_ENOUGH_BYTES:
            data, mime = _shrink(data), "image/webp"
        return Response(data, media_type=mime, headers=FOR_A_DAY)

    return router


def make_file_routes(studio: Studio, login: Any) -> APIRouter:
    """What a job made, as a file: its video, all its pictures; ``login`` as above."""
    router = APIRouter(include_in_schema=False)

    @router.get("/video/{job_id}")
    async def film(job_id: int, download: bool = False, user: str = login) -> Response:
        """A restored video, in ranges as players ask for them."""
        await asyncio.to_thread(find_job, studio, job_id, user)
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
        await asyncio.to_thread(find_job, studio, job_id, user)
        ids = [p.id for p in await asyncio.to_thread(studio.library.images_of, job_id)]
        try:
            path: Path = await asyncio.to_thread(studio.library.zip, ids)
        except LibraryError as err:
            raise HTTPException(404, str(err)) from err
        return FileResponse(path, filename=f"job-{job_id}.zip", media_type="application/zip")

    return router


def find_job(studio: Studio, job_id: int, user: str) -> Job:
    """A job that this login may see. Raises as ``_owned``."""
    return _owned(studio.jobs.get, job_id, user, "Job")


def find_picture(studio: Studio, picture_id: int, user: str) -> SavedPicture:
    """A picture that this login may see. Raises as ``_owned``."""
    return _owned(studio.library.get, picture_id, user, "Picture")


class _Owned(Protocol):
    @property
    def user(self) -> str: ...


_Found = TypeVar("_Found", bound=_Owned)


def _owned(get: Callable[[int], _Found], number: int, user: str, name: str) -> _Found:
    """What has that number, for this login.

    Raises:
        HTTPException: 404 for none, and for that of another login.
    """
    try:
        found = get(number)
    except (JobNotFoundError, LibraryError) as err:
        raise HTTPException(404, str(err)) from err
    if not may_see(user, found.user):
        raise HTTPException(404, f"{name} {number} was not found.")
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


def open_picture(studio: Studio, picture: SavedPicture) -> bytes:
    """What is in its file.

    Raises:
        HTTPException: 404, it cannot be read.
    """
    try:
        return studio.library.open(picture.id)
    except LibraryError as err:
        raise HTTPException(404, str(err)) from err


def _thumb(studio: Studio, picture: SavedPicture) -> tuple[bytes, str]:
    data = open_picture(studio, picture)
    if len(data) <= SMALL_ENOUGH_BYTES:
        return data, MIMES[picture.format]
    return _shrink(data), "image/webp"


def _shrink(data: bytes) -> bytes:
    with open_image(data) as image:
        image.thumbnail((THUMB_PIXELS, THUMB_PIXELS))
        packed = io.BytesIO()
        image.convert("RGB").save(packed, "WEBP", quality=80)
    return packed.getvalue()
