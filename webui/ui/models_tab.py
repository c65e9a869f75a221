"""The Models tab: getting weights, and what can be done with files; drawn from parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.ui import models_get, models_tools
from webui.ui.models_get import Get
from webui.ui.models_tools import Tools
from webui.ui.painting_tab import PaintingTab
from webui.ui.quicksettings import Quicksettings
from webui.ui.texts import label
from webui.ui.wiring import Values

if TYPE_CHECKING:
    from webui.studio import Studio


@dataclass(frozen=True)
class ModelsTab:
    """The tab's parts, one inner tab each."""

    get: Get
    tools: Tools

    def takes(self) -> list[Any]:
        """What ``opened`` needs."""
        return [*self.get.takes(), *self.tools.takes()]

    def gives(self) -> list[Any]:
        """What ``opened`` and ``left`` change."""
        return [*self.get.gives(), *self.tools.looks()]


def draw(studio: Studio) -> ModelsTab:
    """One inner tab for each part."""
    timer = gr.Timer(models_tools.TICK_SECONDS, active=False)
    with gr.Tabs(elem_id="dq-models-tabs"):
        with gr.Tab(label("models_get"), id="models_get"):
            get = models_get.draw(studio)
        with gr.Tab(label("models_merge"), id="models_merge"):
            merger = models_tools.draw_merger()
        with gr.Tab(label("models_tools"), id="models_tools"):
            tools = models_tools.draw_tools(merger, timer)
    return ModelsTab(get, tools)


def connect(
    parts: ModelsTab,
    studio: Studio,
    browser: gr.BrowserState,
    quick: Quicksettings,
    painting: Sequence[PaintingTab],
) -> None:
    """Wire every part.

    Args:
        quick: The top row, which shows what is painted with.
        painting: The tabs that follow a checkpoint's size.
    """
    models_get.connect(parts.get, studio, quick, painting)
    models_tools.connect(parts.tools, studio, browser)


def opened(
    parts: ModelsTab, studio: Studio, values: Values, client: str, language: str
) -> dict[Any, Any]:
    """The tab comes into sight: everything as it is now."""
    return {
        **models_get.present(parts.get, studio, values, language),
        **models_tools.present(parts.tools, studio, values, client, language),
    }


def left(parts: ModelsTab) -> dict[Any, Any]:
    """Another tab is shown: looking rests."""
    return {**models_get.rest(parts.get), **models_tools.rest(parts.tools)}
