"""What the owner's page and the guests' have in common: their head, painting, what a tab that
comes into sight and a page that opens look at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.ui import (
    cost,
    draft,
    img2img,
    input_history,
    news,
    queue_tab,
    quicksettings,
    results,
    txt2img,
)
from webui.ui.img2img import Img2Img
from webui.ui.queue_tab import QueueTab
from webui.ui.quicksettings import Quicksettings
from webui.ui.results import Results
from webui.ui.session import client_name, load_secret, new_browser_id
from webui.ui.texts import label, language_of
from webui.ui.txt2img import Txt2Img
from webui.ui.wiring import Values, draws_for_guests, wire

if TYPE_CHECKING:
    from webui.studio import Studio

TITLE = "Danqing 丹青"
BRAND = """<h1 class="dq-brand" aria-label="Danqing"><b>丹</b><i>青</i></h1>
<button type="button" class="dq-language" lang="zh" data-language="zh">中文</button>
<button type="button" class="dq-language" lang="en" data-language="en">English</button>
<button type="button" class="dq-language" data-simple aria-pressed="false">Simple</button>"""

Changes = dict[Any, Any]


@dataclass(frozen=True)
class PaintingPage:
    """What was drawn of a page on which one can paint."""

    browser: gr.BrowserState
    tabs: gr.Tabs
    open_tab: gr.Textbox
    quick: Quicksettings
    txt2img: Txt2Img
    img2img: Img2Img
    gallery: gr.HTML
    queue: QueueTab

    @property
    def stages(self) -> dict[str, Results]:
        """The stages of the page by their tabs' ids."""
        return {"txt2img": self.txt2img.results, "img2img": self.img2img.results}


@dataclass(frozen=True)
class RestingTab:
    """A tab, neither stage nor queue, that rests while it is not open.

    Attributes:
        takes: Components whose values it needs. gives: Components it may change.
        opened: What to show when it is opened. left: What ends when it is left.
    """

    id: str
    takes: Sequence[Any]
    gives: Sequence[Any]
    opened: Callable[[Values, gr.Request], Changes]
    left: Callable[[], Changes]


def draw_head(studio: Studio) -> tuple[gr.BrowserState, Quicksettings]:
    """The browser's lasting id and the top row."""
    secret = load_secret(studio.settings.folders.database.parent)
    browser = gr.BrowserState("", storage_key="danqing-browser", secret=secret)
    if not draws_for_guests():
        news.draw(studio)
    with gr.Row(elem_classes="dq-top"):
        gr.HTML(BRAND, elem_classes="dq-brandbox")
        quick = quicksettings.draw(studio)
        if studio.access.page:
            gr.Button(
                label("logout"), link="logout", size="sm", scale=0, min_width=90,
                elem_id="dq-logout",
            )  # fmt: skip
    return browser, quick


def connect_img2img_draft(repainting: Img2Img, browser: gr.BrowserState, studio: Studio) -> None:
    """A draft that holds another picture than the one before sends the old one to the strip."""

    def keep_inputs(
        client: str, before: dict[str, Any], now: dict[str, Any], request: gr.Request
    ) -> dict[Any, Any]:
        strip = input_history.keep(studio, client, before, now)
        return {
            repainting.earlier: input_history.render(strip, language_of(request)),
            **keep_cost(client, before, now, request),
        }

    keep_cost = cost.on_keep(repainting, studio)
    gives = [repainting.earlier, repainting.cost]
    draft.connect(repainting, studio, browser, keep_inputs, gives)


def connect_painting(page: PaintingPage, studio: Studio) -> None:
    """Both painting tabs with their drafts."""
    txt2img.connect(page.txt2img, studio, page.browser, page.quick)
    keep_cost, cost_lines = cost.on_keep(page.txt2img, studio), [page.txt2img.cost]
    draft.connect(page.txt2img, studio, page.browser, keep_cost, cost_lines)
    img2img.connect(page.img2img, studio, page.browser, page.quick)
    connect_img2img_draft(page.img2img, page.browser, studio)


def connect_tabs(page: PaintingPage, studio: Studio, others: Sequence[RestingTab] = ()) -> None:
    """Stages, the queue and others are looked at only while their tab is open.

    A choice is written down on the page at once, and answered from there: when several tabs are
    opened in quick succession, the last answer is the one of the tab that is open.
    """

    def open_tab(values: Values, request: gr.Request) -> Changes:
        chosen = values[page.open_tab]
        changes: Changes = {page.queue.timer: gr.Timer(active=chosen == "queue")}
        for tab, stage in page.stages.items():
            if chosen == tab:
                changes |= results.refresh(
                    stage, studio, values, page.browser, request, sends_all=True
                )
            else:
                changes |= results.rest(stage)
        if chosen == "queue":
            values[page.queue.html] = ""  # whatever it shows, it is sent anew
            changes |= queue_tab.refresh(page.queue, studio, values, page.browser, request)
        for other in others:
            changes |= other.opened(values, request) if chosen == other.id else other.left()
        return changes

    takes = [page.open_tab, page.browser, page.queue.html, *_taken_by_stages(page)]
    gives = [page.queue.timer, *page.queue.gives(), *_given_by_stages(page)]
    for other in others:
        takes += other.takes
        gives += other.gives
    for tab in page.tabs.children:
        assert isinstance(tab, gr.Tab)
        tab.select(None, None, page.open_tab, js=f"() => {json.dumps(tab.id)}")
    wire(page.open_tab.change, open_tab, takes, gives, for_guests=draws_for_guests())


def connect_load(
    page: PaintingPage,
    blocks: gr.Blocks,
    studio: Studio,
    present: Callable[[Values, str, str], Changes] | None = None,
    presents: Iterable[Any] = (),
) -> None:
    """A page that opens: who is it, what was in its form, what are its jobs doing.

    Args:
        present: What else there is to show, from the values, the client and the language.
        presents: The components it may change.
    """

    def load(values: Values, request: gr.Request) -> Changes:
        browser_id = values[page.browser] or new_browser_id()
        values = {**values, page.browser: browser_id}
        client, language = client_name(browser_id, request), language_of(request)
        changes: Changes = {page.browser: browser_id}
        changes |= quicksettings.present(page.quick, studio)
        for tab in (page.txt2img, page.img2img):
            changes |= draft.restore(tab, studio, client, language)
        changes |= img2img.present(page.img2img, studio, client, language)
        changes |= present(values, client, language) if present else {}
        for stage in page.stages.values():
            changes |= results.refresh(stage, studio, values, page.browser, request)
        return changes

    gives = [
        page.browser, *page.quick.components(), *draft.gives(page.txt2img),
        *draft.gives(page.img2img), *img2img.presents(page.img2img), *_given_by_stages(page),
        *presents,
    ]  # fmt: skip
    takes = [page.browser, *_taken_by_stages(page)]
    opened = wire(blocks.load, load, takes, gives, for_guests=draws_for_guests())
    opened.then(None, js="() => window.danqingOpened()")


def _taken_by_stages(page: PaintingPage) -> list[Any]:
    return [part for stage in page.stages.values() for part in stage.takes()]


def _given_by_stages(page: PaintingPage) -> list[Any]:
    return [part for stage in page.stages.values() for part in stage.gives()]
