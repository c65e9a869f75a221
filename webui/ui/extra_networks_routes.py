"""How the cards of models reach the page: lists in parts, small pictures, notes back.

Cards are named by ids of ``ModelCards``, never by paths.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, Field

from webui.checkpoints.foreign_text import plain
from webui.checkpoints.labels import BADGES
from webui.checkpoints.scan import printable
from webui.errors import CheckpointError, CheckpointNotFoundError, WebUIError
from webui.pictures import load_upright
from webui.services.model_cards import KINDS, SORTS, Card, Wanted
from webui.ui.input_routes import FOR_EVER, read_upload
from webui.ui.said import in_language
from webui.ui.texts import language_of

if TYPE_CHECKING:
    from PIL import Image

    from webui.checkpoints.catalog import Record
    from webui.studio import Studio

MOST_AT_ONCE = 200
SHOWN_WORDS = 12
NEVER_KEPT = {"Cache-Control": "no-store"}


class NotesIn(BaseModel):
    """What a person changed in the notes about a model: some fields of A1111's editor."""

    description: str = Field("", max_length=20_000)
    sd_version: str = Field("", max_length=40)
    activation: str = Field("", max_length=20_000)
    negative: str = Field("", max_length=20_000)
    notes: str = Field("", max_length=20_000)
    weight: float = Field(0, ge=-100, le=100)


def make_card_routes(
    studio: Studio, picture_of: Callable[[Request, int], Image.Image]
) -> APIRouter:
    """``GET /cards/{kind}`` lists, ``/cards/{kind}/state`` says whether to list again;
    ``/card/{id}`` tells everything but the ``/metadata``, ``/card/{id}/thumb`` shows; posts save
    notes and previews.

    Args:
        picture_of: A painted picture by its id, provided that who asks may see it.
    """
    router = APIRouter(include_in_schema=False)
    _add_lists(router, studio)
    _add_single(router, studio)
    _add_changes(router, studio, picture_of)
    return router


def _add_lists(router: APIRouter, studio: Studio) -> None:
    cards = studio.cards

    @router.get("/cards/{kind}")
    def find(
        request: Request, kind: str, q: str = "", folder: str = "", sort: str = "name",
        down: bool = False, start: int = 0, count: int = 60,
    ) -> JSONResponse:  # fmt: skip
        if kind not in KINDS or sort not in SORTS:
            raise HTTPException(404, "There are no such cards.")
        found = cards.find(kind, Wanted(q, folder, sort, down))
        start = max(0, start)
        shown = found[start : start + min(max(count, 0), MOST_AT_ONCE)]
        chosen, language = studio.current_checkpoint(), language_of(request)
        answer = {
            "total": len(found), "start": start, "unread": cards.unread(kind),
            "state": _state(studio, kind, chosen),
            "folders": cards.folders(kind) if start == 0 else None,
            "weight": studio.options["extra_networks_default_multiplier"],
            "cards": [_summary(studio, card, chosen, language) for card in shown],
        }  # fmt: skip
        return JSONResponse(answer, headers=NEVER_KEPT)

    @router.get("/cards/{kind}/state")
    def state(kind: str) -> JSONResponse:
        if kind not in KINDS:
            raise HTTPException(404, "There are no such cards.")
        told = {"state": _state(studio, kind, studio.current_checkpoint())}
        return JSONResponse(told, headers=NEVER_KEPT)

    @router.post("/cards/refresh")
    def refresh() -> JSONResponse:
        studio.refresh_models()
        return JSONResponse({})


def _add_single(router: APIRouter, studio: Studio) -> None:
    cards = studio.cards

    @router.get("/card/{card_id}")
    def tell(card_id: str, request: Request) -> JSONResponse:
        card = _card(studio, card_id)
        return JSONResponse(_everything(studio, card, request), headers=NEVER_KEPT)

    @router.get("/card/{card_id}/metadata")
    def metadata(card_id: str) -> PlainTextResponse:
        return PlainTextResponse(cards.metadata(_card(studio, card_id)), headers=NEVER_KEPT)

    @router.get("/card/{card_id}/thumb")
    def thumb(card_id: str) -> Response:
        data = cards.thumb(_card(studio, card_id))
        if data is None:
            raise HTTPException(404, "This model has no picture.")
        return Response(data, media_type="image/webp", headers=FOR_EVER)


def _add_changes(
    router: APIRouter, studio: Studio, picture_of: Callable[[Request, int], Image.Image]
) -> None:
    cards = studio.cards

    @router.post("/card/{card_id}/notes")
    def note(card_id: str, notes: NotesIn, request: Request) -> JSONResponse:
        try:
            changed = cards.note(_card(studio, card_id), notes.model_dump(exclude_unset=True))
        except CheckpointError as err:
            raise HTTPException(409, str(err)) from err
        return JSONResponse(_everything(studio, changed, request))

    @router.post("/card/{card_id}/preview")
    async def picture(card_id: str, request: Request, painted: int | None = None) -> JSONResponse:
        data = await read_upload(request)

        def keep() -> dict[str, Any]:
            try:
                image = load_upright(data) if painted is None else picture_of(request, painted)
                changed = cards.picture(_card(studio, card_id), image)
            except WebUIError as err:
                raise HTTPException(422, str(err)) from err
            return _everything(studio, changed, request)

        return JSONResponse(await asyncio.to_thread(keep))


def _state(studio: Studio, kind: str, chosen: Record | None) -> str:
    """Another text whenever cards of a kind may show something else than before."""
    files = (studio.started_at, studio.catalog.generation, studio.cards.unread(kind))
    return " ".join(map(str, (*files, *((chosen.title, chosen.family) if chosen else ()))))


def _card(studio: Studio, card_id: str) -> Card:
    try:
        return studio.cards.get(card_id)
    except CheckpointNotFoundError as err:
        raise HTTPException(404, str(err)) from err


def _summary(studio: Studio, card: Card, chosen: Record | None, language: str) -> dict[str, Any]:
    """What one card shows and does."""
    record, fit = card.record, studio.cards.fit(card, chosen)
    thumb = f"ui/card/{card.id}/thumb?v={card.stamp}"
    return {
        "id": card.id, "kind": record.kind, "name": record.stem, "folder": card.folder,
        "file": record.name, "badge": card.badge, "problem": _short_problem(record, language),
        "is_basic": record.has_basic_support,
        "title": card.label.title, "words": list(card.label.words[:SHOWN_WORDS]),
        "note": card.note,
        "thumb": thumb if studio.cards.has_picture(card) else None,
        "fits": fit.is_fitting, "made_for": fit.made_for, "chosen_is": fit.chosen,
        "is_chosen": chosen is not None and chosen.path == record.path,
        "tags": studio.cards.words(card, studio.options["lora_preferred_name"]),
        "trigger": card.trigger, "negative": card.notes.negative, "weight": card.notes.weight,
    }  # fmt: skip


def _short_problem(record: Record, language: str) -> str:
    """What is wrong with a file, without the folders it lies in: a card has little room."""
    return in_language(record.problem, language).replace(str(record.path), record.path.name)


def _everything(studio: Studio, card: Card, request: Request) -> dict[str, Any]:
    """A card's whole view: what is known of the file, what is noted, its metadata."""
    record, notes = card.record, card.notes
    return {
        **_summary(studio, card, studio.current_checkpoint(), language_of(request)),
        "path": printable(str(record.path)), "size": record.size, "modified": record.mtime,
        "hash": record.short_hash or "", "alias": record.alias, "author": card.label.author,
        "stated": plain(card.label.description), "all_words": list(card.label.words),
        "notes": {
            "description": notes.description, "sd_version": notes.sd_version,
            "activation": notes.activation, "negative": notes.negative, "notes": notes.notes,
            "weight": notes.weight,
        },
        "versions": list(dict.fromkeys(BADGES.values())),
    }  # fmt: skip
