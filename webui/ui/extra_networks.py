"""The sub-tabs under the prompt: Generation, and cards of models to click, as A1111 has them.

Gradio gets one empty element for each painting tab. The script draws the row of sub-tabs, and asks
for cards (extra_networks_routes.py) when one of them is opened.
"""

from __future__ import annotations

import gradio as gr

from webui.ui.tab_ids import elem_id
from webui.ui.wiring import draws_for_guests

MOUNT_JS = "window.danqingNetworks(element, (data) => trigger('act', data));"


def draw(tab: str) -> gr.HTML:
    """The element of one painting tab. Its ``act`` event comes with the ``id`` of a checkpoint's
    card that was clicked. Guests have no cards: choosing a checkpoint there is choosing it for
    all."""
    if draws_for_guests():
        return gr.HTML("", visible=False)
    return gr.HTML(
        f'<div class="dq-net" data-prefix="{elem_id(tab, "")}"></div>', js_on_load=MOUNT_JS,
        elem_id=elem_id(tab, "networks"), elem_classes="dq-nets",
    )  # fmt: skip
