"""The Extensions tab: what is installed, what can be had, and pages of extensions.

Gradio gets one empty element; assets/extensions.js draws it from what ``extensions_routes`` tells,
once the tab is opened.
"""

from __future__ import annotations

import gradio as gr

MOUNT_JS = "window.danqingExtensionsTab(element);"


def draw() -> gr.HTML:
    """The tab's one element."""
    return gr.HTML(
        '<div class="dq-xt"></div>', js_on_load=MOUNT_JS, elem_id="dq-extensions",
        elem_classes="dq-page",
    )  # fmt: skip
