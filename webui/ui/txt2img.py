"""The txt2img tab: the shared painting fields, Hires. fix, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.params import LATENT_UPSCALE_MODES
from webui.samplers.names import SAMPLERS, SCHEDULES
from webui.services.resolve import TextToImageRequest
from webui.ui import (
    cards,
    control_panel,
    extension_panels,
    painting_tab,
    pasting,
    plots,
    quicksettings,
    script_fields,
)
from webui.ui.form import (
    DEFAULTS,
    SAME_CHECKPOINT,
    SAME_SAMPLER,
    SAME_SCHEDULE,
    Form,
    make_request,
    target_size,
)
from webui.ui.painting_tab import Buttons, FieldMaker, PaintingTab
from webui.ui.quicksettings import Quicksettings
from webui.ui.session import user_of
from webui.ui.texts import label, named
from webui.ui.wiring import Values, wire

if TYPE_CHECKING:
    from webui.studio import Studio

TAB = "txt2img"
_FIELDS = FieldMaker(TAB, DEFAULTS)
_slider, _text = _FIELDS.slider, _FIELDS.text


@dataclass(frozen=True)
class Txt2Img(PaintingTab):
    """The tab's components."""

    form: Form
    script_columns: dict[str, gr.Column]
    hires_panel: gr.Column
    hires_size: gr.HTML


def draw(studio: Studio) -> Txt2Img:
    """Three areas, placed by style.css: what is asked, how it is made, what came out."""
    with gr.Row(elem_classes="dq-studio"):
        ask = painting_tab.draw_ask(TAB, studio)
        with gr.Column(elem_classes="dq-form", min_width=0):
            fields = painting_tab.draw_sampling(_FIELDS)
            size_fields, swap, aspects = painting_tab.draw_size(_FIELDS)
            seed_fields, seed_buttons, extra_panel = painting_tab.draw_seed(_FIELDS)
            hires_fields, hires_panel, hires_size = _draw_hires(studio)
            refiner_fields, refiner_panel = painting_tab.draw_refiner(_FIELDS, studio)
            tile_fields = painting_tab.draw_tiles(_FIELDS)
            control_field = control_panel.draw(_FIELDS)
            extension_fields = extension_panels.draw(_FIELDS)
            script = painting_tab.draw_script(_FIELDS, studio)
            script_columns, plot_fields = plots.draw(_FIELDS)
            scripts = script_fields.draw(studio, TAB, script)
        stage = painting_tab.draw_out(ask)
    form = Form(
        **ask.fields, **fields, **size_fields, **seed_fields, **hires_fields, **refiner_fields,
        **tile_fields, **control_field, **extension_fields, script=script, **plot_fields,
        of_scripts=scripts,
    )  # fmt: skip
    script_fields.tell_of_form(studio, scripts, TAB, form)
    buttons = Buttons(
        **ask.buttons, swap=swap, aspects=aspects, **seed_buttons,
        autosave=painting_tab.draw_autosave(TAB),
    )  # fmt: skip
    return Txt2Img(
        tab=TAB, form=form, prompts=ask.prompts, style_row=ask.style_row, buttons=buttons,
        extra_panel=extra_panel, refiner_panel=refiner_panel,
        script_columns=script_columns, hires_panel=hires_panel, hires_size=hires_size,
        kit=ask.kit, networks=ask.networks, cost=ask.cost, results=stage,
        auto_size=gr.State((DEFAULTS["width"], DEFAULTS["height"])), is_restored=gr.State(False),
    )  # fmt: skip


def _draw_hires(studio: Studio) -> tuple[dict[str, Any], gr.Column, gr.HTML]:
    with gr.Column(elem_classes="dq-hires"):
        with gr.Row(elem_classes="dq-tight dq-hireshead"):
            has_hires = gr.Checkbox(
                False, label=label("hires"), elem_id="dq-hires", container=False, scale=0,
                min_width=180,
            )  # fmt: skip
            size = gr.HTML("", elem_id="dq-hires-size")
        with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as panel:
            with gr.Row():
                upscaler = gr.Dropdown(
                    named((*LATENT_UPSCALE_MODES, *studio.weights.upscaler_names())),
                    value=DEFAULTS["hires_upscaler"], min_width=150,
                    label=label("hires_upscaler"), elem_id="dq-hires-upscaler",
                    allow_custom_value=True,
                )  # fmt: skip
                steps = _slider("hires_steps", 0, 150, 1, info=label("hires_steps_info"))
            with gr.Row():
                denoising = _slider("hires_denoising", 0, 1, 0.01)
                scale = _slider("hires_scale", 1, 4, 0.05)
            with gr.Row():
                resize_x = _slider("hires_resize_x", 0, 4096, 8)
                resize_y = _slider("hires_resize_y", 0, 4096, 8)
            with gr.Accordion(label("hires_more"), open=False):
                second = _draw_second_pass(studio)
    fields = {
        "has_hires": has_hires, "hires_upscaler": upscaler, "hires_steps": steps,
        "hires_denoising": denoising, "hires_scale": scale, "hires_resize_x": resize_x,
        "hires_resize_y": resize_y, **second,
    }  # fmt: skip
    return fields, panel, size


def _draw_second_pass(studio: Studio) -> dict[str, Any]:
    with gr.Row():
        checkpoint = _FIELDS.menu(
            "hires_checkpoint", named((SAME_CHECKPOINT, *quicksettings.checkpoint_titles(studio))),
            min_width=180, allow_custom_value=True,
        )  # fmt: skip
        cfg_scale = _slider("hires_cfg", 0, 30, 0.5, info=label("hires_cfg_info"))
    with gr.Row():
        sampler = gr.Dropdown(
            named((SAME_SAMPLER, *(info.name for info in SAMPLERS))), value=SAME_SAMPLER,
            min_width=140,
            label=label("hires_sampler"), elem_id="dq-hires-sampler",
        )  # fmt: skip
        schedule = gr.Dropdown(
            named((SAME_SCHEDULE, *(info.label for info in SCHEDULES))), value=SAME_SCHEDULE,
            min_width=140, label=label("hires_schedule"), elem_id="dq-hires-schedule",
        )  # fmt: skip
    prompt = _text("hires_prompt", lines=2, placeholder=label("hires_same_prompt"))
    negative = _text("hires_negative", lines=2, placeholder=label("hires_same_prompt"))
    return {
        "hires_checkpoint": checkpoint,
        "hires_cfg": cfg_scale,
        "hires_sampler": sampler,
        "hires_schedule": schedule,
        "hires_prompt": prompt,
        "hires_negative": negative,
    }


def connect(parts: Txt2Img, studio: Studio, browser: gr.BrowserState, quick: Quicksettings) -> None:
    """Wire the whole tab."""
    painting_tab.connect(parts, studio, browser)
    painting_tab.connect_asking(parts, studio, browser, quick, partial(_make_wishes, quick))
    _connect_hires(parts)
    painting_tab.connect_script(parts.form, parts.script_columns, studio)


def _make_wishes(
    quick: Quicksettings, given: dict[str, Any], values: Values, request: gr.Request
) -> list[TextToImageRequest]:
    wish = make_request(
        given,
        top_row=quicksettings.read(quick, values),
        overrides=pasting.read_chips(given["overrides"] or []),
        user=user_of(request),
    )
    return [wish]


def _connect_hires(parts: Txt2Img) -> None:
    """The panel opens with its check box; a line shows the final size."""
    form = parts.form

    def show_hires(values: Values) -> dict:
        given = {**DEFAULTS, **form.read(values)}
        return {
            parts.hires_panel: gr.update(visible=given["has_hires"]),
            parts.hires_size: size_line(given) if given["has_hires"] else "",
        }

    sizes = [form.width, form.height, form.hires_scale, form.hires_resize_x, form.hires_resize_y]
    triggers = [form.has_hires.change, *(part.change for part in sizes)]
    for trigger in triggers:
        wire(
            trigger, show_hires, [form.has_hires, *sizes], [parts.hires_panel, parts.hires_size],
            is_quiet=True, trigger_mode="always_last", for_guests=True,
        )  # fmt: skip


def size_line(form: dict[str, Any]) -> str:
    """``512×512 → 1024×1024``."""
    to_width, to_height = target_size(form)
    return (
        f'<span class="dq-soft">{cards.esc(form["width"])}×{cards.esc(form["height"])} → '
        f"<b>{to_width}×{to_height}</b></span>"
    )
