"""How the canvas hands pictures and drawings over, and gets them back."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image

from webui.access import person_of
from webui.errors import LibraryError
from webui.pictures import open_image
from webui.recipes import Recipe, read_picture, read_text
from webui.roles import for_guests
from webui.ui import pasting, plots

if TYPE_CHECKING:
    from webui.studio import Studio

MAX_UPLOAD_BYTES = 256_000_000
MAX_TEXT_BYTES = 4_000_000
THUMB_PIXELS = 160
SHOWN_AS_THEY_ARE = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""Formats every browser draws; anything else is handed out as PNG."""
OWNERS_THREADS, GUESTS_THREADS = 2, 1
"""So many pictures are unpacked at once. They have threads of their own: a small file may be a
large picture, and many of them would keep everybody's other requests waiting."""
FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}


def make_input_routes(studio: Studio) -> APIRouter:
    """``POST /input`` keeps the picture in its body, ``GET /input/{key}`` gives one back,
    ``POST /recipe`` reads what stands in its body, a picture or a text."""
    router = APIRouter(include_in_schema=False)
    threads = UploadThreads()

    @router.post("/input")
    @for_guests
    async def keep(request: Request) -> JSONResponse:
        data = await read_upload(request)
        try:
            return JSONResponse(await threads.run(request, lambda: _keep(studio, data)))
        except LibraryError as err:
            raise HTTPException(422, str(err)) from err

    @router.post("/recipe")
    @for_guests
    async def recipe(request: Request) -> JSONResponse:
        data = await read_upload(request)
        found = await threads.run(request, lambda: _recipe(data))
        keys = studio.extensions.recipe_keys()
        keys |= plots.sheet_keys(found.infotext.params, studio.plots.plans) if found else set()
        return JSONResponse(
            {"text": found.text, "left_out": pasting.left_out(found, keys)}
            if found
            else {"text": ""}
        )

    @router.get("/input/{key}")
    @for_guests
    async def show(request: Request, key: str, small: bool = False) -> Response:
        try:
            data, mime = await threads.run(request, lambda: _read(studio, key, small))
        except LibraryError as err:
            raise HTTPException(404, str(err)) from err
        return Response(data, media_type=mime, headers=FOR_EVER)

    return router


_Found = TypeVar("_Found")


class UploadThreads:
    """Where pictures that people send are unpacked; guests wait for guests alone."""

    def __init__(self) -> None:
        self._owners = ThreadPoolExecutor(OWNERS_THREADS, "uploads")
        self._guests = ThreadPoolExecutor(GUESTS_THREADS, "guests-uploads")

    async def run(self, request: Request, work: Callable[[], _Found]) -> _Found:
        """Do it for who asks; raises what it raises."""
        pool = self._guests if person_of(request.scope).is_guest else self._owners
        return await asyncio.get_running_loop().run_in_executor(pool, work)


def _recipe(data: bytes) -> Recipe | None:
    """The recipe in a picture or in a text; None where there is none."""
    try:
        return read_picture(data)
    except LibraryError:
        found = read_text(data[:MAX_TEXT_BYTES].decode("utf-8-sig", "replace"))
        return found if found.has_more_than_a_prompt else None


async def read_upload(request: Request) -> bytes:
    """The body of a request, which is one file.

    Raises:
        HTTPException: 413 for more than ``MAX_UPLOAD_BYTES``.
    """
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MAX_UPLOAD_BYTES:
            raise HTTPException(413, "The file is larger than 256 MB.")
    return bytes(data)


def _keep(studio: Studio, data: bytes) -> dict[str, object]:
    key = studio.inputs.keep(data)
    width, height = studio.inputs.image(key).size
    return {"key": key, "width": width, "height": height}


def _read(studio: Studio, key: str, small: bool) -> tuple[bytes, str]:
    """The picture as a browser can show it."""
    path = studio.inputs.path(key)
    with open_image(path) as image:
        mime = SHOWN_AS_THEY_ARE.get(image.format or "")
        is_plain = image.mode in ("RGB", "RGBA", "L", "LA", "P") and not _is_animated(image)
    if mime and is_plain and not small:
        return path.read_bytes(), mime
    upright = studio.inputs.image(key)
    packed = io.BytesIO()
    if small:
        upright.thumbnail((THUMB_PIXELS, THUMB_PIXELS))
        upright.save(packed, "WEBP", quality=80)
        return packed.getvalue(), "image/webp"
    upright.save(packed, "PNG", compress_level=1)
    return packed.getvalue(), "image/png"


def _is_animated(image: Image.Image) -> bool:
    return bool(getattr(image, "is_animated", False))
