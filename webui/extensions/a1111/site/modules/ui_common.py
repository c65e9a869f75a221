"""Parts of A1111's page that several tabs have."""

from __future__ import annotations

import html
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import gradio as gr

from .ui_components import ToolButton

folder_symbol, refresh_symbol = "\U0001f4c2", "\U0001f504"
OutputPanel = namedtuple(
    "OutputPanel", ["gallery", "generation_info", "infotext", "html_log", "button_upscale"]
)


def plaintext_to_html(text: str | None, classname: str | None = None) -> str:
    """A text as paragraphs."""
    content = "<br>\n".join(html.escape(line) for line in (text or "").split("\n"))
    kind = f' class="{html.escape(classname)}"' if classname else ""
    return f"<p{kind}>{content}</p>"


def create_refresh_button(
    refresh_component: Any,
    refresh_method: Callable[[], Any],
    refreshed_args: Any,
    elem_id: str | None,
) -> Any:
    """A button that looks for new choices of one field, or of several."""
    several = isinstance(refresh_component, (list, tuple))
    components = list(refresh_component) if several else [refresh_component]

    def refresh() -> Any:
        refresh_method()
        args: Any = refreshed_args() if callable(refreshed_args) else refreshed_args
        changes: Any = [gr.update(**(args or {})) for _ in components]
        return changes if len(changes) > 1 else changes[0]

    button = ToolButton(value=refresh_symbol, elem_id=elem_id)
    button.click(refresh, [], components, api_visibility="private")
    return button


def setup_dialog(button_show: Any, dialog: Any, *, button_close: Any = None) -> None:
    """A panel that one button shows and another hides."""
    button_show.click(lambda: gr.update(visible=True), [], [dialog], api_visibility="private")
    if button_close is not None:
        button_close.click(lambda: gr.update(visible=False), [], [dialog], api_visibility="private")


def create_output_panel(tabname: str, outdir: str, toprow: Any = None) -> Any:
    """A gallery with the recipe below it."""
    with gr.Column(elem_id=f"{tabname}_results"):
        gallery = gr.Gallery(
            label="Output", show_label=False, elem_id=f"{tabname}_gallery", columns=4
        )
        info = gr.HTML(elem_id=f"html_info_{tabname}")
        log = gr.HTML(elem_id=f"html_log_{tabname}")
        generation = gr.Textbox(visible=False, elem_id=f"generation_info_{tabname}")
    return OutputPanel(gallery, generation, info, log, None)


def update_generation_info(generation_info: str, html_info: str, img_index: Any) -> tuple[Any, Any]:
    """What is shown below the picture that was chosen."""
    import json

    try:
        texts = json.loads(generation_info)["infotexts"]
        return plaintext_to_html(texts[int(img_index)]), gr.update()
    except (ValueError, KeyError, IndexError, TypeError):
        return html_info, gr.update()
