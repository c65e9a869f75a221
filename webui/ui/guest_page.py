"""The guests' page: painting, their own pictures, the queue; a Gradio application of its own.

What is not drawn here has no component and no event a guest could call. Within the tabs that both
pages share, ``wiring.wire`` leaves out every event that is not ``for_guests``, and the buttons and
menus that nothing listens to are put out of sight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from webui.ui import gallery, img2img, picture_buttons, queue_tab, txt2img
from webui.ui.blocks import PageBlocks
from webui.ui.page_parts import (
    TITLE,
    PaintingPage,
    connect_load,
    connect_painting,
    connect_tabs,
    draw_head,
)
from webui.ui.texts import label
from webui.ui.wiring import drawing_for_guests

if TYPE_CHECKING:
    from webui.studio import Studio


def build_guest_page(studio: Studio) -> gr.Blocks:
    """Draw and wire the whole page for guests of one studio."""
    with (
        drawing_for_guests(studio.guests.told),
        PageBlocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks,
    ):
        page = _draw(studio)
        _connect(page, blocks, studio)
    hide_what_does_nothing(blocks)
    return blocks


def _draw(studio: Studio) -> PaintingPage:
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
    return PaintingPage(browser, tabs, open_tab, quick, painting, repainting, pictures, queue)


def _connect(page: PaintingPage, blocks: gr.Blocks, studio: Studio) -> None:
    connect_painting(page, studio)
    queue_tab.connect(page.queue, studio, page.browser)
    queue_tab.connect_editing(
        page.queue, studio, page.browser, page.tabs, [page.txt2img, page.img2img]
    )
    targets = picture_buttons.connect_painting(
        page.txt2img, page.img2img, [], page.tabs, page.quick, page.browser, studio
    )
    gallery.connect(page.gallery, studio, page.browser, page.quick, targets)
    connect_tabs(page, studio)
    connect_load(page, blocks, studio)


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
