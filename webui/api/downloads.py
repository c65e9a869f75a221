"""Routes of our own: weights that are fetched. They answer at once; a download takes minutes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Body
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from webui.api.errors import ApiError
from webui.api.file_tools import PREFIX
from webui.checkpoints.download.hubs import Offer
from webui.checkpoints.download.known import places_of
from webui.checkpoints.download.naming import KINDS
from webui.checkpoints.known_weights import KNOWN
from webui.services.downloads import Download
from webui.studio import Studio

_ANY = Body(default_factory=dict)


def download_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """The list of well-known weights, and downloads: begin, look, stop, go on, forget."""
    routes = APIRouter(prefix=PREFIX, route_class=route_class, tags=["models"])
    downloads = studio.downloads

    @routes.get("/known-weights")
    async def known_weights() -> list[dict[str, Any]]:
        """Weights that can be had by name, and whether they are here."""
        return await run_in_threadpool(_known, studio)

    @routes.get("/downloads")
    async def look() -> list[dict[str, Any]]:
        """All downloads, those under way first."""
        found = await run_in_threadpool(downloads.all)
        return [_view(one) for one in found]

    @routes.post("/downloads")
    async def begin(body: dict[str, Any] = _ANY) -> dict[str, Any]:
        """Get ``name`` of the well-known ones, or what ``link`` leads to."""
        return await run_in_threadpool(_begin, studio, body)

    @routes.post("/downloads/{number}/{deed}")
    async def act(number: int, deed: str) -> dict[str, Any]:
        """``stop`` one, or let it go on (``resume``)."""
        deeds = {"stop": downloads.stop, "resume": downloads.resume}
        if deed not in deeds:
            raise ApiError(404, "Not Found")
        await run_in_threadpool(_one, studio, number)
        await run_in_threadpool(deeds[deed], number)
        return await run_in_threadpool(_one, studio, number)

    @routes.delete("/downloads/{number}")
    async def forget(number: int) -> dict[str, Any]:
        """Take one that does not run off the list, and its unfinished file away."""
        await run_in_threadpool(downloads.forget, number)
        return {}

    return routes


def _known(studio: Studio) -> list[dict[str, Any]]:
    folders = studio.settings.folders
    return [
        {
            "name": known.name,
            "kind": known.kind,
            "file": known.file,
            "licence": known.licence,
            "size": known.size_bytes,
            "sha256": known.sha256,
            "family": known.family,
            "urls": list(known.urls),
            "is_here": any(path.exists() for path in places_of(known, folders)),
        }
        for known in KNOWN
    ]


def _begin(studio: Studio, body: dict[str, Any]) -> dict[str, Any]:
    name, link, kind = (str(body.get(key) or "") for key in ("name", "link", "kind"))
    if kind and kind not in KINDS:
        raise ApiError(422, f"There is no kind {kind!r}. These are known: {', '.join(KINDS)}.")
    if bool(name) == bool(link):
        raise ApiError(422, "Give either «name», of the well-known weights, or «link».")
    if name:
        return _one(studio, studio.downloads.add_known(name))
    offer = _chosen(studio.downloads.offers(link, kind), str(body.get("file") or ""))
    return _one(studio, studio.downloads.add(offer))


def _chosen(offers: list[Offer], file: str) -> Offer:
    fitting = [o for o in offers if not file or file in (o.label, o.wanted.name)]
    mains = [o for o in fitting if o.is_main]
    for found in (fitting, mains):
        if len(found) == 1:
            return found[0]
    labels = ", ".join(o.label for o in offers)
    raise ApiError(422, f"There are several files at this link: {labels}. Say which as «file».")


def _one(studio: Studio, number: int) -> dict[str, Any]:
    return _view(studio.downloads.get(number))


def _view(one: Download) -> dict[str, Any]:
    state = one.state
    return {
        "id": one.id,
        "title": one.title,
        "state": one.stage,
        "kind": one.wanted.kind,
        "done_bytes": state.done_bytes if state else one.kept_bytes,
        "total_bytes": state.total_bytes if state else one.wanted.size_bytes,
        "bytes_per_second": round(state.bytes_per_second) if state else 0,
        "host": state.host if state else "",
        "mirror_of": state.mirror_of if state else "",
        "path": one.path,
        "error": one.error,
    }
