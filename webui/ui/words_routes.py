"""What the page asks while people write prompts: completion, tokens, combinations."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from webui.errors import WebUIError
from webui.hookspecs import MANY
from webui.params import MAX_PROMPT_CHARACTERS
from webui.prompts.chinese.translate import Translated
from webui.prompts.comments import cut_comments
from webui.prompts.token_view import SeenText
from webui.roles import for_guests

if TYPE_CHECKING:
    from webui.studio import Studio

NEVER_KEPT = {"Cache-Control": "no-store"}
MOST_TOKENS_SHOWN = 3000
KEYS = (
    "keyedit_precision_attention", "keyedit_precision_extra", "keyedit_delimiters",
    "keyedit_delimiters_whitespace", "keyedit_move",
)  # fmt: skip


class Written(BaseModel):
    """A prompt as it stands in its box."""

    text: str = Field("", max_length=MAX_PROMPT_CHARACTERS)
    negative: bool = False
    steps: int = Field(20, ge=1, le=1000)


def make_words_routes(studio: Studio) -> APIRouter:
    """``/words/…`` reads along with a prompt."""
    router = APIRouter(include_in_schema=False)

    @router.get("/words/keys")
    @for_guests
    def keys() -> JSONResponse:
        """How keys change weights; the lists of tags are read meanwhile."""
        threading.Thread(target=lambda: len(studio.completion.tags), daemon=True).start()
        found = {key: studio.options[key] for key in KEYS}
        return JSONResponse(
            {
                **found,
                "completion": studio.options["prompt_completion"],
                "draws": studio.extensions.has_drawing,
            },
            headers=NEVER_KEPT,
        )

    @router.get("/words/complete")
    @for_guests
    def complete(q: str = "") -> JSONResponse:
        offers = studio.completion.offers(q[:100], studio)
        return JSONResponse({"offers": [asdict(o) for o in offers]}, headers=NEVER_KEPT)

    @router.post("/words/look")
    @for_guests
    def look(written: Written) -> JSONResponse:
        """How many texts a prompt may become, and what it lacks."""
        return JSONResponse(_looked_at(studio, written.text), headers=NEVER_KEPT)

    @router.post("/words/chinese")
    @for_guests
    def chinese(written: Written) -> JSONResponse:
        """The English a Chinese prompt is painted by; none where there is nothing to translate."""
        if not studio.options["translate_chinese_prompts"]:
            return JSONResponse({"english": ""}, headers=NEVER_KEPT)
        told = studio.translate(written.text)
        english = told.text if told != Translated(written.text) else ""
        return JSONResponse({**asdict(told), "english": english}, headers=NEVER_KEPT)

    @router.post("/words/tokens")
    @for_guests
    def tokens(written: Written) -> JSONResponse:
        """Which text became which token; of a prompt with choices, for one of its texts."""
        is_positive = not written.negative
        meant = studio.tokens.as_counted(written.text, written.steps, (), is_positive)
        text = studio.tokens.example(meant, is_negative=written.negative)
        try:
            seen = studio.tokens.look(text, steps=written.steps, is_positive=is_positive)
        except WebUIError as err:
            raise HTTPException(422, str(err)) from err
        answer = {"texts": _rows(seen), "drawn": bool(studio.extensions.choices(meant))}
        return JSONResponse(answer, headers=NEVER_KEPT)

    return router


def _rows(seen: Sequence[SeenText]) -> list[dict[str, Any]]:
    """Texts with their tokens as the script draws them, ``MOST_TOKENS_SHOWN`` in all."""
    shown: list[dict[str, Any]] = []
    left = MOST_TOKENS_SHOWN
    for one in seen:
        chunks = []
        for chunk in one.chunks:
            rows = [
                [t.text, t.number, round(t.weight, 4), t.ends_word, t.is_embedding]
                for t in chunk[:left]
            ]
            left -= len(rows)
            chunks.append(rows)
        shown.append({"until": one.until, "chunks": chunks})
    return shown


def _looked_at(studio: Studio, text: str) -> dict[str, Any]:
    text = cut_comments(text) if studio.options["enable_prompt_comments"] else text
    found = studio.extensions.choices(text)
    count = min(MANY, math.prod(one.count for one in found))
    return {
        "count": count, "is_more": count >= MANY,
        "notes": [one.note.model_dump() for one in found if one.note.en],
        "problem": " ".join(one.problem for one in found if one.problem),
    }  # fmt: skip
