"""The fields of txt2img as one named set: drawn once, read and written by name only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gradio as gr

from webui.errors import ParamsError
from webui.params import LATENT_UPSCALE_MODES, Hires
from webui.services.resolve import TextToImageRequest
from webui.ui.painting_form import (
    PAINTING_DEFAULTS,
    FilesThere,
    PaintingForm,
    number,
    painting_values,
)
from webui.ui.texts import named

SAME_SAMPLER, SAME_SCHEDULE = "Use same sampler", "Use same scheduler"
SAME_CHECKPOINT = "Use same checkpoint"

DEFAULTS: dict[str, Any] = {
    **PAINTING_DEFAULTS,
    "has_hires": False,
    "hires_upscaler": "Latent",
    "hires_steps": 0,
    "hires_denoising": 0.7,
    "hires_scale": 2.0,
    "hires_resize_x": 0,
    "hires_resize_y": 0,
    "hires_sampler": SAME_SAMPLER,
    "hires_schedule": SAME_SCHEDULE,
    "hires_checkpoint": SAME_CHECKPOINT,
    "hires_cfg": 0.0,
    "hires_prompt": "",
    "hires_negative": "",
}


@dataclass(frozen=True)
class Form(PaintingForm):
    """The components, under the names of DEFAULTS."""

    tab: ClassVar[str] = "txt2img"
    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    has_hires: gr.Checkbox
    hires_upscaler: gr.Dropdown
    hires_steps: gr.Slider
    hires_denoising: gr.Slider
    hires_scale: gr.Slider
    hires_resize_x: gr.Slider
    hires_resize_y: gr.Slider
    hires_sampler: gr.Dropdown
    hires_schedule: gr.Dropdown
    hires_checkpoint: gr.Dropdown
    hires_cfg: gr.Slider
    hires_prompt: gr.Textbox
    hires_negative: gr.Textbox

    def file_menus(self, there: FilesThere) -> dict[gr.Dropdown, list[Any]]:
        """See ``PaintingForm``."""
        return {
            **super().file_menus(there),
            self.hires_checkpoint: named((SAME_CHECKPOINT, *there.checkpoints)),
            self.hires_upscaler: named((*LATENT_UPSCALE_MODES, *there.upscalers)),
        }


def make_request(
    form: dict[str, Any], *, top_row: dict[str, Any], overrides: dict[str, Any], user: str
) -> TextToImageRequest:
    """Turn what the form holds into a request; arguments and errors as ``painting_values``."""
    return TextToImageRequest(
        **painting_values(form, top_row=top_row, overrides=overrides, user=user),
        hires=_make_hires(form) if form["has_hires"] else None,
    )


def _make_hires(form: dict[str, Any]) -> Hires:
    sampler, schedule = form["hires_sampler"], form["hires_schedule"]
    checkpoint = form["hires_checkpoint"]
    try:
        return Hires(
            upscaler=form["hires_upscaler"] or "Latent",
            steps=_number(form, "hires_steps"),
            denoising_strength=_number(form, "hires_denoising"),
            scale=_number(form, "hires_scale"),
            resize_x=_number(form, "hires_resize_x"),
            resize_y=_number(form, "hires_resize_y"),
            sampler=None if sampler in (None, SAME_SAMPLER) else sampler,
            schedule=None if schedule in (None, SAME_SCHEDULE) else schedule,
            checkpoint=None if checkpoint in (None, "", SAME_CHECKPOINT) else checkpoint,
            cfg_scale=_number(form, "hires_cfg") or None,
            prompt=form["hires_prompt"] or "",
            negative_prompt=form["hires_negative"] or "",
        )
    except ValueError as err:
        raise ParamsError(
            "A value of Hires. fix cannot be used.", "Put its sliders back into their range.",
            field="hires",
        ) from err  # fmt: skip


def _number(form: dict[str, Any], name: str) -> Any:
    return number(form, name, DEFAULTS)


def target_size(form: dict[str, Any]) -> tuple[int, int]:
    """The size after Hires. fix, for the line that shows it; multiples of 8.

    One given side keeps the aspect; both given are taken as they are; none: scale times the size.
    """
    width, height = _number(form, "width"), _number(form, "height")
    to_width, to_height = _number(form, "hires_resize_x"), _number(form, "hires_resize_y")
    if not to_width and not to_height:
        scale = _number(form, "hires_scale")
        to_width, to_height = int(width * scale), int(height * scale)
    elif not to_height:
        to_height = to_width * height // max(1, width)
    elif not to_width:
        to_width = to_height * width // max(1, height)
    return to_width // 8 * 8, to_height // 8 * 8
