"""What the Extensions tab asks: fetch, look at, put in, update, take back, remove.

All of it is refused where the server is reached from outside (``Store``); guests have none of it.
Nothing here is part of the API.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from webui.errors import WebUIError
from webui.services.extensions.listing import list_extensions
from webui.services.extensions.prepared import AccessOffError
from webui.services.extensions.store import MOST_ZIP_BYTES

if TYPE_CHECKING:
    from webui.studio import Studio

NEVER_KEPT = {"Cache-Control": "no-store"}
MOST_TEXT = 100_000
T = TypeVar("T")


class Address(BaseModel):
    """Where an extension lies."""

    url: str = Field(max_length=2000)
    branch: str = Field("", max_length=200)
    name: str = Field("", max_length=200)


class Chosen(BaseModel):
    """What a person said of something prepared."""

    token: str
    with_packages: bool = True


class Named(BaseModel):
    """An extension."""

    name: str


class IndexAddress(BaseModel):
    """Where the list lies; empty = as it is set."""

    url: str = Field("", max_length=2000)


def make_store_routes(studio: Studio) -> APIRouter:
    """``/extension-store…``."""
    router = APIRouter(prefix="/extension-store", include_in_schema=False)
    store, room = studio.extension_store, studio.extensions

    @router.get("")
    def state() -> JSONResponse:
        listed = list_extensions(room)
        for one in listed:
            one |= _told(lambda name=one["name"]: store.facts(name))
        return _answer({
            "extensions": listed, "allowed": store.is_allowed, "busy": store.busy,
            "index": studio.options["extensions_index"],
        })  # fmt: skip

    @router.post("/index")
    async def index(wanted: IndexAddress) -> JSONResponse:
        def look() -> dict[str, Any]:
            url = wanted.url.strip() or studio.options["extensions_index"]
            told = store.index(url)
            if url != studio.options["extensions_index"]:
                studio.options.set("extensions_index", url)
                studio.options.save()
            return told

        return _answer(await _apart(look))

    @router.post("/fetch")
    async def fetch(wanted: Address) -> JSONResponse:
        made = await _apart(lambda: store.prepare_url(wanted.url, wanted.branch, wanted.name))
        return _answer(made.to_json())

    @router.post("/upload")
    async def upload(request: Request, name: str) -> JSONResponse:
        if not store.is_allowed:
            raise HTTPException(AccessOffError.http_status, "Extensions cannot be installed here.")
        archive = await _received(request)
        try:
            made = await _apart(lambda: store.prepare_zip(archive, name))
        finally:
            archive.unlink(missing_ok=True)
        return _answer(made.to_json())

    @router.post("/update")
    async def update(wanted: Named) -> JSONResponse:
        made = await _apart(lambda: store.prepare_update(wanted.name))
        return _answer(made.to_json() if made else {})

    @router.post("/apply")
    async def apply(chosen: Chosen) -> JSONResponse:
        name = await _apart(lambda: store.apply(chosen.token, with_packages=chosen.with_packages))
        return _answer({"name": name})

    @router.post("/discard")
    def discard(chosen: Chosen) -> JSONResponse:
        store.discard(chosen.token)
        return _answer({})

    @router.post("/cancel")
    def cancel() -> JSONResponse:
        store.cancel()
        return _answer({})

    @router.post("/roll-back")
    async def roll_back(wanted: Named) -> JSONResponse:
        await _apart(lambda: store.roll_back(wanted.name))
        return _answer({})

    @router.post("/remove")
    async def remove(wanted: Named) -> JSONResponse:
        return _answer({"path": str(await _apart(lambda: store.remove(wanted.name)))})

    @router.get("/{name}/install.py")
    def install_text(name: str) -> JSONResponse:
        return _answer({"text": _told(lambda: store.install_text(name))[:MOST_TEXT]})

    @router.post("/{name}/install.py")
    async def install(name: str) -> JSONResponse:
        done = await _apart(lambda: store.run_install(name))
        return _answer({"is_done": done.is_done, "output": done.output})

    return router


async def _received(request: Request) -> Path:
    """The body in a temporary file.

    Raises:
        HTTPException: 413, it is larger than ``MOST_ZIP_BYTES``.
    """
    handle, name = tempfile.mkstemp(suffix=".zip")
    file, size = Path(name), 0
    try:
        with os.fdopen(handle, "wb") as goal:
            async for part in request.stream():
                size += len(part)
                if size > MOST_ZIP_BYTES:
                    raise HTTPException(413, f"The zip is over {MOST_ZIP_BYTES >> 20} MiB.")
                goal.write(part)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return file


async def _apart(deed: Callable[[], T]) -> T:
    """The deed's answer, made in a thread."""
    return await asyncio.to_thread(_told, deed)


def _told(deed: Callable[[], T]) -> T:
    try:
        return deed()
    except WebUIError as err:
        raise HTTPException(err.http_status, str(err)) from err


def _answer(content: dict[str, Any]) -> JSONResponse:
    return JSONResponse(content, headers=NEVER_KEPT)
