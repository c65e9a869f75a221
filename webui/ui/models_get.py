"""Getting weights: the well-known ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.ui import models_cards
from webui.ui.texts import label, language_of
from webui.ui.wiring import Values, wire

if TYPE_CHECKING:
    from webui.studio import Studio


@dataclass(frozen=True)
class Get:
    """The part's components."""

    search: gr.Textbox
    catalog: gr.HTML

    def gives(self) -> list[Any]:
        """What ``present`` and ``rest`` change."""
        return [self.catalog]


def draw(_studio: Studio) -> Get:
    """The search and the list."""
    with gr.Column(elem_classes="dq-page"):
        search = gr.Textbox(
            label=label("get_search"), placeholder=label("get_search_hint"), max_lines=1,
            elem_id="dq-get-search",
        )  # fmt: skip
        catalog = gr.HTML("", elem_id="dq-get-catalog")
    return Get(search, catalog)


def connect(parts: Get, studio: Studio) -> None:
    """The list follows what is typed."""

    def find(values: Values, request: gr.Request) -> dict:
        html = models_cards.catalog(studio, values[parts.search], language_of(request))
        return {parts.catalog: html}

    wire(
        parts.search.change, find, [parts.search], [parts.catalog], is_quiet=True,
        trigger_mode="always_last",
    )  # fmt: skip


def present(parts: Get, studio: Studio, language: str) -> dict[Any, Any]:
    """Everything as it is now."""
    return {parts.catalog: models_cards.catalog(studio, "", language)}


def rest(parts: Get) -> dict[Any, Any]:
    """Nobody looks."""
    return {}
