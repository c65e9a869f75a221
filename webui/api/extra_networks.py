"""A1111's small routes about cards of models, for programs that ask its page's own questions."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from fastapi.routing import APIRoute

from webui.api.errors import ApiError
from webui.services.model_cards import Card, Wanted
from webui.studio import Studio

PAGES = {
    "lora": "lora", "checkpoints": "checkpoint", "hypernetworks": "hypernetwork",
    "textual inversion": "embedding", "textual_inversion": "embedding",
}  # fmt: skip
"""A1111's names of the sub-tabs, and the kinds of files they show."""


def extra_networks_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """``GET /sd_extra_networks/thumb`` and ``/metadata``."""
    routes = APIRouter(
        prefix="/sd_extra_networks", route_class=route_class, tags=["extra networks"]
    )

    @routes.get("/thumb")
    def thumb(filename: str = "") -> Response:
        """A model's preview picture, small; only those that cards show have an answer."""
        card = next((c for c in _all(studio) if c.preview and c.preview == filename), None)
        data = studio.cards.thumb(card) if card else None
        if data is None:
            raise ApiError(404, "No card shows a picture of that name.")
        return Response(data, media_type="image/webp")

    @routes.get("/metadata")
    def metadata(page: str = "", item: str = "") -> dict[str, str]:
        """The metadata of a model file as text; {} where there is none."""
        kind = PAGES.get(page.lower())
        cards = studio.cards.find(kind, Wanted()) if kind else ()
        found = next((c for c in cards if item in (c.record.stem, c.record.name)), None)
        told = studio.cards.metadata(found) if found else ""
        return {"metadata": told} if told else {}

    return routes


def _all(studio: Studio) -> list[Card]:
    return [card for kind in set(PAGES.values()) for card in studio.cards.find(kind, Wanted())]
