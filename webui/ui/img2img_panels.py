"""Panels of img2img that are shown only where they count: inpainting, and the script chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from webui.params import PLAIN_UPSCALERS
from webui.ui.batch import FOLDER
from webui.ui.img2img_form import (
    DEFAULTS,
    INPAINT_MASKED,
    INPAINT_MODES,
    INPAINT_NOT_MASKED,
    LOOPBACK,
    NO_SCRIPT,
    ONLY_MASKED,
    OUTPAINTING,
    SD_UPSCALE,
    SIDES,
    WHOLE_PICTURE,
    Img2ImgForm,
)
from webui.ui.painting_tab import FieldMaker
from webui.ui.texts import label
from webui.ui.wiring import Values, wire


@dataclass(frozen=True)
class Panels:
    """Columns that come and go; ``scripts`` by the script they belong to."""

    inpaint: gr.Column
    scripts: dict[str, gr.Column]

    def with_scripts(self, scripts: dict[str, gr.Column]) -> Panels:
        """The same with the panels of scripts."""
        return replace(self, scripts=scripts)


def draw_inpaint(fields: FieldMaker) -> tuple[Panels, dict[str, Any]]:
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
    return Panels(panel, {}), drawn


def _draw_soft(fields: FieldMaker) -> dict[str, Any]:
    with gr.Accordion(label("soft"), open=False, elem_id=fields.id("soft")):
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


def draw_scripts(fields: FieldMaker) -> tuple[dict[str, gr.Column], dict[str, Any]]:
    """The menu of scripts, and a panel for each."""
    script = fields.menu(
        "script",
        [
            (label("script_none"), NO_SCRIPT),
            (label("script_loopback"), LOOPBACK),
            (label("script_outpainting"), OUTPAINTING),
            (label("script_sd_upscale"), SD_UPSCALE),
        ],
    )
    panels: dict[str, gr.Column] = {}
    drawn: dict[str, Any] = {"script": script}
    for name, draw in (
        (LOOPBACK, _draw_loopback), (OUTPAINTING, _draw_outpaint), (SD_UPSCALE, _draw_upscale),
    ):  # fmt: skip
        with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as panel:
            drawn |= draw(fields)
        panels[name] = panel
    return panels, drawn


def _draw_loopback(fields: FieldMaker) -> dict[str, Any]:
    with gr.Row():
        loops = fields.slider("loops", 1, 32, 1)
        final = fields.slider("final_denoising", 0, 1, 0.01)
    curve = fields.menu(
        "loop_curve",
        [
            (label("curve_aggressive"), "Aggressive"),
            (label("curve_linear"), "Linear"),
            (label("curve_lazy"), "Lazy"),
        ],
    )
    return {"loops": loops, "final_denoising": final, "loop_curve": curve}


def _draw_outpaint(fields: FieldMaker) -> dict[str, Any]:
    sides = gr.CheckboxGroup(
        [(label(f"side_{side}"), side) for side in SIDES], value=[],
        label=label("outpaint_sides"), elem_id=fields.id("outpaint_sides"), elem_classes="dq-sides",
    )  # fmt: skip
    with gr.Row():
        pixels = fields.slider("outpaint_pixels", 8, 512, 8)
        blur = fields.slider("outpaint_blur", 0, 64, 1)
    content = fields.menu(
        "outpaint_content",
        [
            (label("content_continue"), "continue"),
            (label("content_matched"), "matched noise"),
            (label("content_fill"), "fill"),
            (label("content_original"), "original"),
            (label("content_noise"), "latent noise"),
            (label("content_nothing"), "latent nothing"),
        ],
    )
    with gr.Row():
        noise_q = fields.slider("outpaint_noise_q", 0, 4, 0.01)
        color = fields.slider("outpaint_color", 0, 1, 0.01)
    return {
        "outpaint_sides": sides, "outpaint_pixels": pixels, "outpaint_blur": blur,
        "outpaint_content": content, "outpaint_noise_q": noise_q, "outpaint_color": color,
    }  # fmt: skip


def _draw_upscale(fields: FieldMaker) -> dict[str, Any]:
    with gr.Row():
        upscaler = fields.menu("upscaler", PLAIN_UPSCALERS, allow_custom_value=True)
        scale = fields.slider("upscale_scale", 1, 4, 0.05)
    overlap = fields.slider("upscale_overlap", 0, 256, 16)
    return {"upscaler": upscaler, "upscale_scale": scale, "upscale_overlap": overlap}


def connect(panels: Panels, form: Img2ImgForm) -> None:
    """Panels follow the sub-tab and the script."""

    def show_inpaint(values: Values) -> dict:
        is_folder = values[form.batch_source] == FOLDER and values[form.mode] == "batch"
        has_masks = is_folder and bool(values[form.batch_mask_dir])
        is_shown = has_masks or values[form.mode] in INPAINT_MODES
        return {panels.inpaint: gr.update(visible=is_shown)}

    def show_script(values: Values) -> dict:
        chosen = values[form.script] or DEFAULTS["script"]
        return {panel: gr.update(visible=name == chosen) for name, panel in panels.scripts.items()}

    for part in (takes := [form.mode, form.batch_source, form.batch_mask_dir]):
        wire(
            part.change, show_inpaint, takes, [panels.inpaint],
            is_quiet=True,
        )  # fmt: skip
    wire(form.script.change, show_script, [form.script], panels.scripts.values(), is_quiet=True)
