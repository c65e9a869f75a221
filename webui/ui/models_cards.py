"""HTML of the Models tab."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webui.checkpoints.known_weights import KNOWN, KnownWeights
from webui.ui import cards
from webui.ui.cards import esc
from webui.ui.texts import say

if TYPE_CHECKING:
    from webui.studio import Studio


def catalog(studio: Studio, wanted: str, language: str) -> str:
    """The well-known weights whose name, file or kind holds every word."""
    words = wanted.casefold().split()
    found = [known for known in KNOWN if all(word in _text(known) for word in words)]
    if not found:
        return cards.note(say("get_found_none", language))
    here = {record.path.name for record in studio.catalog.upscalers()}
    rows = "".join(_row(known, known.file in here, language) for known in found)
    return f'<ul class="dq-getlist">{rows}</ul>'


def _text(known: KnownWeights) -> str:
    return f"{known.name} {known.file} {known.kind}".casefold()


def _row(known: KnownWeights, is_here: bool, language: str) -> str:
    here = say("get_is_here", language) if is_here else ""
    return f"<li><b>{esc(known.name)}</b> {esc(known.licence)} {esc(here)}</li>"
