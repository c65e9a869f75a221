"""Panels of img2img that are shown only where they count: inpainting, and the script chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.ui import cards, painting_tab, plots
from webui.ui.img2img_form import (
    CURVES,
    INPAINT_MASKED,
    INPAINT_NOT_MASKED,
    INTERROGATIONS,
    LOOPBACK,
    MATCHED_NOISE,
    ONLY_MASKED,
    OUTPAINT_CONTENTS,
    OUTPAINTING,
    SD_UPSCALE,
    SIDES,
    WHOLE_PICTURE,
    WITHOUT_MASK,
    Img2ImgForm,
    has_mask,
)
from webui.ui.painting_tab import FieldMaker
from webui.ui.texts import label, language_of, named, say
from webui.ui.wiring import Values, wire

if TYPE_CHECKING:
    from webui.studio import Studio


@dataclass(frozen=True)
class Panels:
    """Columns that come and go."""

    inpaint: gr.Column
    scripts: ScriptPanels


@dataclass(frozen=True)
class ScriptPanels:
    """What belongs to the menu of scripts.

    Attributes:
        note: Says that the script does not go together with a mask.
        columns: Panels by the script they belong to.
        matched: Fields of outpainting that only matched noise has.
    """

    note: gr.HTML
    columns: dict[str, gr.Column]
    matched: gr.Row


def draw_inpaint(fields: FieldMaker) -> tuple[gr.Column, dict[str, Any]]:
    """How the masked part is repainted."""
    with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as panel:
        blur = fields.slider("mask_blur", 0, 64, 1)
        with gr.Row():
            mode = fields.radio(
                "mask_mode",
                [
                    (label("mask_masked"), INPAINT_MASKED),
                    (label("mask_not_masked"), INPAINT_NOT_MASKED),
                ],
                elem_classes="dq-radio", min_width=220,
            )  # fmt: skip
            content = fields.radio(
                "mask_content",
                [
                    (label("content_fill"), "fill"),
                    (label("content_original"), "original"),
                    (label("content_noise"), "latent noise"),
                    (label("content_nothing"), "latent nothing"),
                ],
                elem_classes="dq-radio", min_width=260,
            )  # fmt: skip
        with gr.Row():
            area = fields.radio(
                "inpaint_area",
                [(label("area_whole"), WHOLE_PICTURE), (label("area_masked"), ONLY_MASKED)],
                elem_classes="dq-radio", min_width=220,
            )  # fmt: skip
            padding = fields.slider("padding", 0, 256, 4, min_width=220)
        soft = _draw_soft(fields)
    drawn = {
        "mask_blur": blur, "mask_mode": mode, "mask_content": content, "inpaint_area": area,
        "padding": padding, **soft,
    }  # fmt: skip
    return panel, drawn


def _draw_soft(fields: FieldMaker) -> dict[str, Any]:
    with gr.Accordion(label("soft"), open=False, elem_id=fields.id("soft"), elem_classes="dq-fold"):
        has_soft = fields.check("has_soft")
        with gr.Row():
            bias = fields.slider("soft_bias", 0, 8, 0.1)
            preservation = fields.slider("soft_preservation", 0, 8, 0.05)
        with gr.Row():
            contrast = fields.slider("soft_contrast", 1, 32, 0.5)
            influence = fields.slider("soft_influence", 0, 1, 0.05)
        with gr.Row():
            threshold = fields.slider("soft_threshold", 0, 8, 0.25)
            difference = fields.slider("soft_difference", 0, 8, 0.25)
    return {
        "has_soft": has_soft, "soft_bias": bias, "soft_preservation": preservation,
        "soft_contrast": contrast, "soft_influence": influence, "soft_threshold": threshold,
        "soft_difference": difference,
    }  # fmt: skip


def draw_scripts(fields: FieldMaker, studio: Studio) -> tuple[ScriptPanels, dict[str, Any]]:
    """The menu of scripts, and a panel for each."""
    script = painting_tab.draw_script(
        fields,
        studio,
        [
            (label("script_loopback"), LOOPBACK),
            (label("script_outpainting"), OUTPAINTING),
            (label("script_sd_upscale"), SD_UPSCALE),
        ],
    )
    note = gr.HTML("", elem_id=fields.id("script_note"))
    with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as loopback:
        loopback_fields = _draw_loopback(fields)
    with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as outpaint:
        matched, outpaint_fields = _draw_outpaint(fields)
    with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as upscale:
        upscale_fields = _draw_upscale(fields, studio)
    plot_columns, plot_fields = plots.draw(fields)
    columns = {LOOPBACK: loopback, OUTPAINTING: outpaint, SD_UPSCALE: upscale, **plot_columns}
    drawn = {
        "script": script, **loopback_fields, **outpaint_fields, **upscale_fields, **plot_fields,
    }  # fmt: skip
    return ScriptPanels(note, columns, matched), drawn


def _draw_loopback(fields: FieldMaker) -> dict[str, Any]:
    with gr.Row():
        loops = fields.slider("loops", 1, 32, 1)
        final = fields.slider("final_denoising", 0, 1, 0.01)
    curve = fields.menu("loop_curve", [(label(text), name) for name, text in CURVES.items()])
    asked = [(label(text), name) for name, text in INTERROGATIONS.items()]
    return {
        "loops": loops, "final_denoising": final, "loop_curve": curve,
        "loop_interrogation": fields.menu("loop_interrogation", asked),
    }  # fmt: skip


def _draw_outpaint(fields: FieldMaker) -> tuple[gr.Row, dict[str, Any]]:
    sides = gr.CheckboxGroup(
        [(label(f"side_{side}"), side) for side in SIDES], value=[],
        label=label("outpaint_sides"), info=label("outpaint_hint"),
        elem_id=fields.id("outpaint_sides"), elem_classes="dq-sides",
    )  # fmt: skip
    with gr.Row():
        pixels = fields.slider("outpaint_pixels", 8, 512, 8)
        blur = fields.slider("outpaint_blur", 0, 64, 1)
    contents = [(label(text), name) for name, text in OUTPAINT_CONTENTS.items()]
    content = fields.menu("outpaint_content", contents)
    with gr.Row(visible=False) as matched:
        noise_q = fields.slider("outpaint_noise_q", 0, 4, 0.01)
        color = fields.slider("outpaint_color", 0, 1, 0.01)
    return matched, {
        "outpaint_sides": sides, "outpaint_pixels": pixels, "outpaint_blur": blur,
        "outpaint_content": content, "outpaint_noise_q": noise_q, "outpaint_color": color,
    }  # fmt: skip


def _draw_upscale(fields: FieldMaker, studio: Studio) -> dict[str, Any]:
    with gr.Row():
        upscaler = fields.menu(
            "upscaler",
            named(studio.weights.upscaler_names()),
            min_width=180,
            allow_custom_value=True,
        )
        scale = fields.slider("upscale_scale", 1, 4, 0.05)
    overlap = fields.slider("upscale_overlap", 0, 256, 16)
    return {"upscaler": upscaler, "upscale_scale": scale, "upscale_overlap": overlap}


def connect(panels: Panels, form: Img2ImgForm, studio: Studio) -> None:
    """Panels follow the sub-tab and the script."""

    def show_inpaint(values: Values) -> dict:
        return {panels.inpaint: gr.update(visible=has_mask(form.read(values)))}

    def show_note(values: Values, request: gr.Request) -> dict:
        note = script_note(form.read(values), language_of(request))
        return {scripts.note: note}

    def show_matched(values: Values) -> dict:
        is_matched = values[form.outpaint_content] == MATCHED_NOISE
        return {scripts.matched: gr.update(visible=is_matched)}

    scripts = panels.scripts
    about_masks = [form.mode, form.batch_source, form.batch_mask_dir]
    for part in about_masks:
        wire(
            part.change, show_inpaint, about_masks, [panels.inpaint], is_quiet=True, for_guests=True
        )
    for part in (*about_masks, form.script):
        wire(
            part.change, show_note, [*about_masks, form.script], [scripts.note], is_quiet=True,
            trigger_mode="always_last", for_guests=True,
        )  # fmt: skip
    painting_tab.connect_script(form, scripts.columns, studio)
    wire(
        form.outpaint_content.change, show_matched, [form.outpaint_content], [scripts.matched],
        is_quiet=True, for_guests=True,
    )  # fmt: skip


def script_note(form: Mapping[str, Any], language: str) -> str:
    """A word about a script that cannot be used where there is a mask; empty when all is well."""
    script = form["script"]
    if script not in WITHOUT_MASK or not has_mask(form):
        return ""
    name = say(_SCRIPT_TEXTS[script], language)
    text = cards.esc(say("script_without_mask", language, script=name))
    return f'<div class="dq-note" role="status">{text}</div>'


_SCRIPT_TEXTS = {OUTPAINTING: "script_outpainting", SD_UPSCALE: "script_sd_upscale"}
