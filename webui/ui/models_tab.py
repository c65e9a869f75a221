"""The Models tab: getting weights, and what can be done with files; drawn from parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.ui import models_get
from webui.ui.models_get import Get
from webui.ui.quicksettings import Quicksettings
from webui.ui.texts import label
from webui.ui.wiring import Values

if TYPE_CHECKING:
    from webui.studio import Studio


@dataclass(frozen=True)
class ModelsTab:
    """The tab's parts, one inner tab each."""

    get: Get

    def takes(self) -> list[Any]:
        """What ``opened`` needs."""
        return self.get.takes()

    def gives(self) -> list[Any]:
        """What ``opened`` and ``left`` change."""
        return self.get.gives()


def draw(studio: Studio) -> ModelsTab:
    """One inner tab for each part."""
    with gr.Tabs(elem_id="dq-models-tabs"), gr.Tab(label("models_get"), id="models_get"):
        get = models_get.draw(studio)
    return ModelsTab(get)


def connect(parts: ModelsTab, studio: Studio, quick: Quicksettings) -> None:
    """Wire every part.

    Args:
        quick: The top row, which shows what is painted with.
    """
    models_get.connect(parts.get, studio, quick)


def opened(parts: ModelsTab, studio: Studio, values: Values, language: str) -> dict[Any, Any]:
    """The tab comes into sight: everything as it is now."""
    return models_get.present(parts.get, studio, values, language)


def left(parts: ModelsTab) -> dict[Any, Any]:
    """Another tab is shown: looking rests."""
    return models_get.rest(parts.get)
