"""What the Extensions tab asks: fetch, look at, put in, update, take back, remove, restore.

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
from webui.services.extensions.fetching import MOST_ZIP_BYTES
from webui.services.extensions.listing import listed
from webui.services.extensions.prepared import Prepared
from webui.services.extensions.states import FOLDER, States
from webui.services.extensions.store import Store
from webui.services.extensions.trash import Trash
from webui.ui.said import error_in_language, in_language
from webui.ui.texts import language_of

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
    """An extension, or a folder in the trash, or a saved state."""

    name: str = Field(max_length=300)


class Version(BaseModel):
    """One commit of an extension."""

    name: str
    commit: str = Field(max_length=64)


class Read(BaseModel):
    """What a person has read."""

    prints: str


class IndexAddress(BaseModel):
    """Where the list lies; empty = as it is set."""

    url: str = Field("", max_length=2000)


def make_store_routes(studio: Studio, page_number: Callable[[], int] = lambda: 0) -> APIRouter:
    """``/extension-store…``.

    Args:
        page_number: Of the present build of the owner's page.
    """
    router = APIRouter(prefix="/extension-store", include_in_schema=False)
    folder, turn = studio.settings.folders.data / FOLDER, studio.extension_store.turn
    states = States(studio.extensions, folder, turn)
    _add_lists(router, studio, states, page_number)
    _add_fetching(router, studio.extension_store)
    _add_putting_in(router, studio.extension_store)
    _add_trash(router, studio.extension_store.trash)
    _add_states(router, states)
    _add_install_scripts(router, studio.extension_store)
    return router


def _add_lists(
    router: APIRouter, studio: Studio, states: States, page_number: Callable[[], int]
) -> None:
    """What there is: here, in the trash, waiting, saved, elsewhere."""
    store, options = studio.extension_store, studio.options

    @router.get("")
    def state(request: Request) -> JSONResponse:
        return _answer({
            "extensions": [
                _shown(listed(studio.extensions, known), request) | store.facts(known.extension)
                for known in studio.extensions.all()
            ],
            "allowed": store.turn.is_allowed, "busy": store.turn.busy,
            "index": options["extensions_index"], "page": page_number(),
            "waiting": [_offered(made, request) for made in store.waiting()],
            "trash": [_plain(one, "id", "folder", "time") for one in store.trash.all()],
            "states": [_plain(one, "id", "name", "time") for one in states.all()],
        })  # fmt: skip

    @router.post("/index")
    async def index(wanted: IndexAddress) -> JSONResponse:
        def look() -> dict[str, Any]:
            url = wanted.url.strip() or options["extensions_index"]
            told = store.index(url)
            if url != options["extensions_index"]:
                options.set("extensions_index", url)
                options.save()
            return told

        return _answer(await _apart(look))

    @router.post("/check")
    async def check(request: Request) -> JSONResponse:
        told, language = await _apart(store.check), language_of(request)
        return _answer({
            name: one if isinstance(one, str) else error_in_language(one, language)
            for name, one in told.items()
        })  # fmt: skip


def _add_fetching(router: APIRouter, store: Store) -> None:
    """What comes and is shown."""

    @router.post("/fetch")
    async def fetch(request: Request, wanted: Address) -> JSONResponse:
        made = await _apart(lambda: store.prepare_url(wanted.url, wanted.branch, wanted.name))
        return _answer(_offered(made, request))

    @router.post("/upload")
    async def upload(request: Request, name: str) -> JSONResponse:
        _told(store.turn.check)
        archive = await _received(request)
        try:
            made = await _apart(lambda: store.prepare_zip(archive, name))
        finally:
            archive.unlink(missing_ok=True)
        return _answer(_offered(made, request))

    @router.post("/update")
    async def update(request: Request, wanted: Named) -> JSONResponse:
        made = await _apart(lambda: store.prepare_update(wanted.name))
        return _answer(_offered(made, request) if made else {})

    @router.post("/packages")
    async def packages(request: Request, wanted: Named) -> JSONResponse:
        made = await _apart(lambda: store.prepare_packages(wanted.name))
        return _answer(_offered(made, request))

    @router.post("/version")
    async def version(request: Request, wanted: Version) -> JSONResponse:
        made = await _apart(lambda: store.prepare_version(wanted.name, wanted.commit))
        return _answer(_offered(made, request) if made else {})

    @router.post("/cancel")
    def cancel() -> JSONResponse:
        store.turn.cancel()
        return _answer({})


def _add_putting_in(router: APIRouter, store: Store) -> None:
    """What becomes of it, and of what is there."""

    @router.post("/apply")
    async def apply(chosen: Chosen) -> JSONResponse:
        name = await _apart(lambda: store.apply(chosen.token, with_packages=chosen.with_packages))
        return _answer({"name": name})

    @router.post("/discard")
    def discard(chosen: Chosen) -> JSONResponse:
        store.discard(chosen.token)
        return _answer({})

    @router.post("/roll-back")
    async def roll_back(wanted: Named) -> JSONResponse:
        await _apart(lambda: store.roll_back(wanted.name))
        return _answer({})

    @router.post("/remove")
    async def remove(wanted: Named) -> JSONResponse:
        return _answer({"path": str(await _apart(lambda: store.remove(wanted.name)))})


def _add_trash(router: APIRouter, trash: Trash) -> None:
    @router.post("/trash/restore")
    async def restore(wanted: Named) -> JSONResponse:
        return _answer({"path": str(await _apart(lambda: trash.restore(wanted.name)))})

    @router.post("/trash/delete")
    async def delete(wanted: Named) -> JSONResponse:
        await _apart(lambda: trash.delete(wanted.name))
        return _answer({})


def _add_states(router: APIRouter, states: States) -> None:
    @router.post("/states/save")
    def save(wanted: Named) -> JSONResponse:
        return _answer({"id": _told(lambda: states.save(wanted.name)).id})

    @router.post("/states/compare")
    def compare(wanted: Named) -> JSONResponse:
        return _answer({"changes": _told(lambda: states.compare(states.read(wanted.name)))})

    @router.post("/states/switch")
    async def switch(wanted: Named) -> JSONResponse:
        await _apart(lambda: states.switch(states.read(wanted.name)))
        return _answer({})

    @router.post("/states/delete")
    def delete(wanted: Named) -> JSONResponse:
        _told(lambda: states.delete(wanted.name))
        return _answer({})


def _add_install_scripts(router: APIRouter, store: Store) -> None:
    """``install.py`` of A1111 folders: read, then run."""

    @router.get("/{name}/install.py")
    def install_text(name: str) -> JSONResponse:
        text, prints = _told(lambda: store.install_text(name))
        if len(text) > MOST_TEXT:
            raise HTTPException(413, "install.py is too long to be read here.")
        return _answer({"text": text, "prints": prints})

    @router.post("/{name}/install.py")
    async def install(name: str, read: Read) -> JSONResponse:
        done = await _apart(lambda: store.run_install(name, read.prints))
        return _answer({"is_done": done.is_done, "output": done.output})


def _shown(told: dict[str, Any], request: Request) -> dict[str, Any]:
    """What is told of an extension, its problems in the page's language."""
    language = language_of(request)
    told["why"] = in_language(told["why"], language)
    told["notes"] = [in_language(note, language) for note in told["notes"]]
    for trouble in told["troubles"]:
        trouble["message"] = in_language(trouble["message"], language)
    return told


def _offered(made: Prepared, request: Request) -> dict[str, Any]:
    """The same of what waits."""
    told, language = made.to_json(), language_of(request)
    told["problem"] = in_language(told["problem"], language)
    conflicts = told["packages"]["conflicts"]
    told["packages"]["conflicts"] = [in_language(one, language) for one in conflicts]
    return told


def _plain(thing: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in names}


async def _received(request: Request) -> Path:
    """The body in a temporary file.

    Raises:
        HTTPException: 413, it is larger than ``MOST_ZIP_BYTES``; 507, the disk is full.
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
    except BaseException as err:
        file.unlink(missing_ok=True)
        if isinstance(err, OSError):
            raise HTTPException(507, f"The zip cannot be kept: {err.strerror or err}.") from err
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
