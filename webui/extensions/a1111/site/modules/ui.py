"""Small things of A1111's page that extensions use."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from .ui_common import create_output_panel, create_refresh_button, plaintext_to_html
from .ui_components import FormGroup, FormHTML, FormRow, ToolButton

__all__ = [
    "FormGroup",
    "FormHTML",
    "FormRow",
    "ToolButton",
    "create_output_panel",
    "create_refresh_button",
    "gr_show",
    "ordered_ui_categories",
    "plaintext_to_html",
    "refresh_symbol",
    "switch_values_symbol",
]  # fmt: skip

random_symbol, reuse_symbol, paste_symbol = "\U0001f3b2", "♻️", "↙️"
refresh_symbol, save_style_symbol, apply_style_symbol = "\U0001f504", "\U0001f4be", "\U0001f4cb"
clear_prompt_symbol, extra_networks_symbol = "\U0001f5d1️", "\U0001f3b4"
switch_values_symbol, restore_progress_symbol, detect_image_size_symbol = (
    "⇅",
    "\U0001f300",
    "\U0001f4d0",
)
folder_symbol = "\U0001f4c2"
txt2img_paste_fields: list[Any] = []
img2img_paste_fields: list[Any] = []


def gr_show(visible: bool = True) -> Any:
    """A change that shows or hides a field."""
    return gr.update(visible=visible)


def ordered_ui_categories() -> list[str]:
    """The parts of A1111's form, in their order."""
    return [
        "prompt", "image", "inpaint", "sampler", "accordions", "checkboxes", "hires_fix",
        "dimensions", "cfg", "denoising", "seed", "batch", "override_settings", "scripts",
    ]  # fmt: skip


def create_sampler_and_steps_selection(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Fields for steps and sampler."""
    from . import sd_samplers

    steps = gr.Slider(1, 150, value=20, step=1, label="Sampling steps")
    names = sd_samplers.visible_sampler_names()
    return steps, gr.Dropdown(names, value=names[0] if names else None, label="Sampling method")


def apply_styles(prompt: str, prompt_neg: str, styles: list[str]) -> list[Any]:
    """Prompts with styles merged, and an empty choice of styles."""
    from . import shared

    with_styles = shared.prompt_styles
    texts = with_styles.apply_styles_to_prompt(prompt, styles)
    negative = with_styles.apply_negative_styles_to_prompt(prompt_neg, styles)
    return [gr.update(value=texts), gr.update(value=negative), gr.update(value=[])]


def escaped(text: str) -> str:
    """A text as HTML shows it."""
    return html.escape(text)
