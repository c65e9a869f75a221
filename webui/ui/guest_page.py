"""The guests' page: painting, their own pictures, the queue; a Gradio application of its own.

What is not drawn here has no component and no event a guest could call. Within the tabs that both
pages share, ``wiring.wire`` leaves out every event that is not ``for_guests``, and the buttons and
menus that nothing listens to are put out of sight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.ui import (
    cost,
    draft,
    gallery,
    img2img,
    picture_buttons,
    queue_tab,
    quicksettings,
    results,
    txt2img,
)
from webui.ui.img2img import Img2Img
from webui.ui.page_parts import TITLE, connect_img2img_draft, draw_head
from webui.ui.queue_tab import QueueTab
from webui.ui.quicksettings import Quicksettings
from webui.ui.results import Results
from webui.ui.session import client_name, new_browser_id
from webui.ui.texts import label, language_of
from webui.ui.txt2img import Txt2Img
from webui.ui.wiring import Values, drawing_for_guests, wire

if TYPE_CHECKING:
    from webui.studio import Studio


@dataclass(frozen=True)
class GuestPage:
    """Everything that was drawn."""

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


def build_guest_page(studio: Studio) -> gr.Blocks:
    """Draw and wire the whole page for guests of one studio."""
    with (
        drawing_for_guests(studio.guests.told),
        gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks,
    ):
        page = _draw(studio)
        _connect(page, blocks, studio)
    hide_what_does_nothing(blocks)
    return blocks


def _draw(studio: Studio) -> GuestPage:
    browser, quick = draw_head(studio)
    with gr.Tabs(elem_id="dq-tabs") as tabs:
        with gr.Tab(label("tab_txt2img"), id="txt2img"):
            painting = txt2img.draw(studio)
        with gr.Tab(label("tab_img2img"), id="img2img"):
            repainting = img2img.draw(studio)
        with gr.Tab(label("tab_gallery"), id=gallery.TAB):
            pictures = gallery.draw()
        with gr.Tab(label("tab_queue"), id="queue"):
            queue = queue_tab.draw(studio)
    open_tab = gr.Textbox("txt2img", visible="hidden", elem_id="dq-open-tab")
    return GuestPage(browser, tabs, open_tab, quick, painting, repainting, pictures, queue)


def _connect(page: GuestPage, blocks: gr.Blocks, studio: Studio) -> None:
    txt2img.connect(page.txt2img, studio, page.browser, page.quick)
    keep_cost, cost_lines = cost.on_keep(page.txt2img, studio), [page.txt2img.cost]
    draft.connect(page.txt2img, studio, page.browser, keep_cost, cost_lines)
    img2img.connect(page.img2img, studio, page.browser, page.quick)
    connect_img2img_draft(page.img2img, page.browser, studio)
    queue_tab.connect(page.queue, studio, page.browser)
    queue_tab.connect_editing(
        page.queue, studio, page.browser, page.tabs, [page.txt2img, page.img2img]
    )
    targets = picture_buttons.connect_painting(
        page.txt2img, page.img2img, [], page.tabs, page.quick, page.browser, studio
    )
    gallery.connect(page.gallery, studio, page.browser, page.quick, targets)
    _connect_tabs(page, studio)
    _connect_load(page, blocks, studio)


def _connect_tabs(page: GuestPage, studio: Studio) -> None:
    """As on the owner's page: only what is in sight is looked at."""

    def open_tab(values: Values, request: gr.Request) -> dict:
        chosen = values[page.open_tab]
        changes: dict[Any, Any] = {page.queue.timer: gr.Timer(active=chosen == "queue")}
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
        return changes

    stages = list(page.stages.values())
    takes = [page.open_tab, page.browser, page.queue.html]
    takes += [part for stage in stages for part in stage.takes()]
    gives = [page.queue.timer, *page.queue.gives()]
    gives += [part for stage in stages for part in stage.gives()]
    for tab in page.tabs.children:
        assert isinstance(tab, gr.Tab)
        tab.select(None, None, page.open_tab, js=f'() => "{tab.id}"')
    wire(page.open_tab.change, open_tab, takes, gives, for_guests=True)


def _connect_load(page: GuestPage, blocks: gr.Blocks, studio: Studio) -> None:
    """A page that opens: who is it, what was in its form, what are its jobs doing."""

    def load(values: Values, request: gr.Request) -> dict:
        browser_id = values[page.browser] or new_browser_id()
        values = {**values, page.browser: browser_id}
        client, language = client_name(browser_id, request), language_of(request)
        changes: dict[Any, Any] = {page.browser: browser_id}
        for stage in page.stages.values():
            changes |= results.refresh(stage, studio, values, page.browser, request)
        return {
            **changes,
            **quicksettings.present(page.quick, studio),
            **draft.restore(page.txt2img, studio, client),
            **draft.restore(page.img2img, studio, client),
            **img2img.present(page.img2img, studio, client, language),
        }

    stages = list(page.stages.values())
    gives = [
        page.browser, *page.quick.components(), *draft.gives(page.txt2img),
        *draft.gives(page.img2img), *img2img.presents(page.img2img),
        *(part for stage in stages for part in stage.gives()),
    ]  # fmt: skip
    takes = [page.browser, *(part for stage in stages for part in stage.takes())]
    opened = wire(blocks.load, load, takes, gives, for_guests=True)
    opened.then(None, js="() => window.danqingOpened()")


def hide_what_does_nothing(blocks: gr.Blocks) -> None:
    """Put buttons out of sight that no event listens to: what they do is the owner's alone."""
    heard = {target for fn in blocks.fns.values() for target, _ in fn.targets}
    for block in blocks.blocks.values():
        if not isinstance(block, gr.Button) or block.visible is not True:
            continue
        if block._id not in heard and not leads_somewhere(block):
            block.visible = False


def leads_somewhere(button: gr.Button) -> bool:
    """True for a button that is, or becomes, a link."""
    return bool(button.link) or button.link_target == "_blank"
