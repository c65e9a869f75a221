"""What the owner's page and the guests' have in common: their head, and img2img's draft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.ui import cost, draft, input_history, news, quicksettings
from webui.ui.img2img import Img2Img
from webui.ui.quicksettings import Quicksettings
from webui.ui.session import load_secret
from webui.ui.texts import label, language_of
from webui.ui.wiring import draws_for_guests

if TYPE_CHECKING:
    from webui.studio import Studio

TITLE = "Danqing 丹青"
BRAND = """<div class="dq-brand" role="img" aria-label="Danqing"><b>丹</b><i>青</i></div>
<button type="button" class="dq-language" lang="zh" data-language="zh">中文</button>
<button type="button" class="dq-language" lang="en" data-language="en">English</button>
<button type="button" class="dq-language" data-simple aria-pressed="false">Simple</button>"""


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
