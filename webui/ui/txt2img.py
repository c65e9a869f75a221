"""The txt2img tab: prompts, all fields, the buttons that ask for pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import CheckpointNotFoundError
from webui.samplers.names import SAMPLERS, SCHEDULES
from webui.ui import cards, pasting, prompt_box, quicksettings, results
from webui.ui.form import (
    ASPECTS,
    DEFAULTS,
    SAME_SAMPLER,
    SAME_SCHEDULE,
    UPSCALERS,
    Form,
    aspect_size,
    corrections,
    make_request,
    target_size,
)
from webui.ui.prompt_box import PromptBox, StyleRow, icon_button
from webui.ui.quicksettings import Quicksettings
from webui.ui.results import Results
from webui.ui.session import client_name, user_of
from webui.ui.texts import label, language_of, say
from webui.ui.wiring import Values, show_warning, wire

if TYPE_CHECKING:
    from webui.studio import Studio


@dataclass(frozen=True)
class Buttons:
    """What can be pressed beside the fields."""

    generate: gr.Button
    interrupt: gr.Button
    skip: gr.Button
    forever: gr.Checkbox
    paste: gr.Button
    clear: gr.Button
    swap: gr.Button
    aspects: gr.HTML
    seed_random: gr.Button
    seed_reuse: gr.Button
    autosave: gr.Button


@dataclass(frozen=True)
class Txt2Img:
    """The tab's components. ``auto_size`` is the size the checkpoint gave, until a person
    chooses another; ``is_restored`` guards the draft against being saved before it was read."""

    form: Form
    prompts: PromptBox
    style_row: StyleRow
    buttons: Buttons
    extra_panel: gr.Column
    hires_panel: gr.Column
    hires_size: gr.HTML
    results: Results
    auto_size: gr.State
    is_restored: gr.State


def draw(studio: Studio) -> Txt2Img:
    """Three areas, placed by style.css: what is asked, how it is made, what came out."""
    with gr.Row(elem_classes="dq-studio"):
        with gr.Column(elem_classes="dq-ask", min_width=0):
            prompts = prompt_box.draw_prompts()
            generate, interrupt, skip, forever, paste, clear = _draw_actions()
            style_row = prompt_box.draw_styles(list(studio.styles.by_name()))
            overrides = gr.Dropdown(
                [], value=[], multiselect=True, allow_custom_value=True, visible=False,
                label=label("overrides"), info=label("overrides_hint"), elem_id="dq-overrides",
            )  # fmt: skip
        with gr.Column(elem_classes="dq-form", min_width=0):
            fields = _draw_sampling()
            size_fields, swap, aspects = _draw_size()
            seed_fields, seed_random, seed_reuse, extra_panel = _draw_seed()
            hires_fields, hires_panel, hires_size = _draw_hires()
        with gr.Column(elem_classes="dq-out", min_width=0):
            stage = results.draw(interrupt, skip, forever)
    form = Form(
        prompt=prompts.prompt, negative_prompt=prompts.negative_prompt, styles=style_row.styles,
        overrides=overrides, **fields, **size_fields, **seed_fields, **hires_fields,
    )  # fmt: skip
    autosave = gr.Button("save draft", visible="hidden", elem_id="dq-autosave")
    buttons = Buttons(
        generate, interrupt, skip, forever, paste, clear, swap, aspects, seed_random, seed_reuse,
        autosave,
    )  # fmt: skip
    return Txt2Img(
        form, prompts, style_row, buttons, extra_panel, hires_panel, hires_size, stage,
        auto_size=gr.State((DEFAULTS["width"], DEFAULTS["height"])), is_restored=gr.State(False),
    )  # fmt: skip


def _draw_actions() -> tuple[Any, ...]:
    with gr.Row(elem_classes="dq-actions"):
        generate = gr.Button(
            label("generate"), variant="primary", elem_id="dq-generate", scale=6, min_width=120
        )
        interrupt = gr.Button(
            label("interrupt"), variant="stop", interactive=False, elem_id="dq-interrupt",
            scale=2, min_width=70,
        )  # fmt: skip
        skip = gr.Button(label("skip"), interactive=False, elem_id="dq-skip", scale=2, min_width=60)
    with gr.Row(elem_classes="dq-tools"):
        forever = gr.Checkbox(
            False, label=label("forever"), elem_id="dq-forever", container=False, min_width=120
        )
        paste = icon_button("dq-paste")
        clear = icon_button("dq-clear")
    return generate, interrupt, skip, forever, paste, clear


def _draw_sampling() -> dict[str, Any]:
    with gr.Row():
        sampler = gr.Dropdown(
            [info.name for info in SAMPLERS], value=DEFAULTS["sampler"], label=label("sampler"),
            elem_id="dq-sampler", min_width=130, scale=1,
        )  # fmt: skip
        schedule = gr.Dropdown(
            [info.label for info in SCHEDULES], value=DEFAULTS["schedule"],
            label=label("schedule"), elem_id="dq-schedule", min_width=130, scale=1,
        )  # fmt: skip
        steps = _slider("steps", 1, 150, 1, scale=2, min_width=220)
    return {"sampler": sampler, "schedule": schedule, "steps": steps}


def _slider(name: str, low: float, high: float, step: float, **options: Any) -> gr.Slider:
    options.setdefault("min_width", 160)
    return gr.Slider(
        low, high, value=DEFAULTS[name], step=step, label=label(name), buttons=[],
        elem_id=f"dq-{name.replace('_', '-')}", **options,
    )  # fmt: skip


def _draw_size() -> tuple[dict[str, Any], gr.Button, gr.HTML]:
    with gr.Row(elem_classes="dq-size"):
        with gr.Column(scale=5, min_width=180):
            width = _slider("width", 64, 2048, 8)
            height = _slider("height", 64, 2048, 8)
        swap = icon_button("dq-swap")
        with gr.Column(scale=4, min_width=160):
            batch_count = _slider("batch_count", 1, 100, 1)
            batch_size = _slider("batch_size", 1, 8, 1)
    chips = "".join(
        cards.action("aspect", name, classes="dq-chip", aspect=name) for name, _, _ in ASPECTS
    )
    aspects = gr.HTML(
        f'<div class="dq-chips dq-aspects">{chips}</div>', js_on_load=cards.ACTIONS_JS,
        elem_id="dq-aspects",
    )  # fmt: skip
    fields = {
        "width": width,
        "height": height,
        "batch_count": batch_count,
        "batch_size": batch_size,
    }
    return fields, swap, aspects


def _draw_seed() -> tuple[dict[str, Any], gr.Button, gr.Button, gr.Column]:
    with gr.Row():
        cfg_scale = _slider("cfg_scale", 1, 30, 0.5, scale=3)
        with gr.Row(elem_classes="dq-tight dq-seedrow"):
            seed = _text("seed", max_lines=1, min_width=90, scale=4)
            dice = icon_button("dq-seed-random")
            reuse = icon_button("dq-seed-reuse")
    with gr.Row(elem_classes="dq-checks"):
        has_extra = gr.Checkbox(
            False, label=label("seed_extra"), elem_id="dq-seed-extra", container=False, min_width=80
        )
        tiling = gr.Checkbox(
            False, label=label("tiling"), elem_id="dq-tiling", container=False, min_width=80
        )
    with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as panel:
        with gr.Row():
            subseed = _text("subseed", max_lines=1, min_width=110)
            strength = _slider("subseed_strength", 0, 1, 0.01)
        with gr.Row():
            resize_w = _slider("seed_resize_from_w", 0, 2048, 8)
            resize_h = _slider("seed_resize_from_h", 0, 2048, 8)
    fields = {
        "cfg_scale": cfg_scale, "seed": seed, "has_extra": has_extra, "tiling": tiling,
        "subseed": subseed, "subseed_strength": strength, "seed_resize_from_w": resize_w,
        "seed_resize_from_h": resize_h,
    }  # fmt: skip
    return fields, dice, reuse, panel


def _text(name: str, text: str = "", **options: Any) -> gr.Textbox:
    return gr.Textbox(
        DEFAULTS[name], label=label(text or name), elem_id=f"dq-{name.replace('_', '-')}", **options
    )


def _draw_hires() -> tuple[dict[str, Any], gr.Column, gr.HTML]:
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
                    list(UPSCALERS), value=DEFAULTS["hires_upscaler"], min_width=150,
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
                second = _draw_second_pass()
    fields = {
        "has_hires": has_hires, "hires_upscaler": upscaler, "hires_steps": steps,
        "hires_denoising": denoising, "hires_scale": scale, "hires_resize_x": resize_x,
        "hires_resize_y": resize_y, **second,
    }  # fmt: skip
    return fields, panel, size


def _draw_second_pass() -> dict[str, Any]:
    with gr.Row():
        sampler = gr.Dropdown(
            [SAME_SAMPLER, *(info.name for info in SAMPLERS)], value=SAME_SAMPLER, min_width=140,
            label=label("hires_sampler"), elem_id="dq-hires-sampler",
        )  # fmt: skip
        schedule = gr.Dropdown(
            [SAME_SCHEDULE, *(info.label for info in SCHEDULES)], value=SAME_SCHEDULE,
            min_width=140, label=label("hires_schedule"), elem_id="dq-hires-schedule",
        )  # fmt: skip
    prompt = _text("hires_prompt", lines=2, placeholder=label("hires_same_prompt"))
    negative = _text("hires_negative", lines=2, placeholder=label("hires_same_prompt"))
    return {
        "hires_sampler": sampler,
        "hires_schedule": schedule,
        "hires_prompt": prompt,
        "hires_negative": negative,
    }


def connect(parts: Txt2Img, studio: Studio, browser: gr.BrowserState, quick: Quicksettings) -> None:
    """Wire the whole tab."""
    results.connect(parts.results, studio, browser)
    _connect_asking(parts, studio, browser, quick)
    _connect_size(parts, studio, quick)
    _connect_seed(parts, studio)
    _connect_panels(parts)
    prompt_box.connect(parts.prompts, parts.buttons.clear)
    prompt_box.connect_styles(parts.style_row, parts.prompts, studio)


def _connect_asking(
    parts: Txt2Img, studio: Studio, browser: gr.BrowserState, quick: Quicksettings
) -> None:
    form, buttons, stage = parts.form, parts.buttons, parts.results

    def correct(given: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        changed = corrections(given)
        for name in ("seed", "subseed"):
            if name in changed and (name == "seed" or given["has_extra"]):
                show_warning(say("not_a_seed", language_of(request), value=given[name]))
        return changed

    def submit(values: Values, request: gr.Request, **changed: Any) -> dict:
        given = {**form.read(values), **changed}
        corrected = correct(given, request)
        wish = make_request(
            {**given, **corrected},
            top_row=quicksettings.read(quick, values),
            overrides=pasting.read_chips(values[form.overrides] or []),
            user=user_of(request),
        )
        client = client_name(values[browser], request)
        studio.submit(wish, client=client, forever=bool(values[buttons.forever]))
        values[stage.shown] = replace(values[stage.shown], picked=None)
        seen = results.refresh(stage, studio, values, browser, request)
        return {**form.write(corrected), **seen}

    def generate(values: Values, request: gr.Request) -> dict:
        return submit(values, request)

    def use_example(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        if event._data["act"] != "example":
            return {stage.shown: gr.skip()}
        prompt = event._data["prompt"]
        tokens = prompt_box.counter(*studio.count_tokens(prompt))
        return {
            form.prompt: prompt,
            parts.prompts.prompt_tokens: tokens,
            **submit(values, request, prompt=prompt),
        }

    takes = [*form.components(), *quick.components(), buttons.forever, browser, stage.shown]
    corrected_fields = [form.width, form.height, form.seed, form.subseed]
    gives = [*corrected_fields, *stage.gives()]
    wire(buttons.generate.click, generate, takes, gives, trigger_mode="multiple")
    wire(stage.stage.act, use_example, takes, [form.prompt, parts.prompts.prompt_tokens, *gives])


def _connect_size(parts: Txt2Img, studio: Studio, quick: Quicksettings) -> None:
    form, buttons = parts.form, parts.buttons

    def swap(values: Values) -> dict:
        return {form.width: values[form.height], form.height: values[form.width]}

    def use_aspect(values: Values, event: gr.EventData) -> dict:
        record = studio.current_checkpoint()
        width, height = aspect_size(event._data["aspect"], studio.native_size(record))
        return {form.width: width, form.height: height}

    def choose_checkpoint(values: Values) -> dict:
        try:
            record = studio.choose_checkpoint(values[quick.checkpoint] or "")
        except CheckpointNotFoundError as err:
            show_warning(str(err))
            return {quick.checkpoint: gr.update(value=quicksettings.chosen_title(studio))}
        return follow_native_size(parts, studio.native_size(record), values)

    size = [form.width, form.height]
    wire(buttons.swap.click, swap, size, size)
    wire(buttons.aspects.act, use_aspect, [], size)
    wire(
        quick.checkpoint.input, choose_checkpoint, [quick.checkpoint, *size, parts.auto_size],
        [quick.checkpoint, *size, parts.auto_size],
    )  # fmt: skip


def follow_native_size(parts: Txt2Img, native: int, values: Values) -> dict:
    """Give the form the checkpoint's size, unless a person has chosen another one."""
    form = parts.form
    if (values[form.width], values[form.height]) != tuple(values[parts.auto_size]):
        return {parts.auto_size: (native, native)}
    return {form.width: native, form.height: native, parts.auto_size: (native, native)}


def _connect_seed(parts: Txt2Img, studio: Studio) -> None:
    form, buttons, stage = parts.form, parts.buttons, parts.results

    def random_seed(_values: Values) -> dict:
        return {form.seed: "-1"}

    def reuse_seed(values: Values, request: gr.Request) -> dict:
        picture = results.shown_picture(studio, values[stage.shown], language_of(request))
        return {form.seed: str(picture.seed if picture.seed is not None else -1)}

    wire(buttons.seed_random.click, random_seed, [], [form.seed])
    wire(buttons.seed_reuse.click, reuse_seed, [stage.shown], [form.seed])


def _connect_panels(parts: Txt2Img) -> None:
    """The two panels open with their check boxes, and the line that shows the final size."""
    form = parts.form

    def open_extra(values: Values) -> dict:
        return {parts.extra_panel: gr.update(visible=values[form.has_extra])}

    def show_hires(values: Values) -> dict:
        given = {**DEFAULTS, **form.read(values)}
        return {
            parts.hires_panel: gr.update(visible=given["has_hires"]),
            parts.hires_size: size_line(given) if given["has_hires"] else "",
        }

    wire(form.has_extra.change, open_extra, [form.has_extra], [parts.extra_panel], is_quiet=True)
    sizes = [form.width, form.height, form.hires_scale, form.hires_resize_x, form.hires_resize_y]
    triggers = [form.has_hires.change, *(part.change for part in sizes)]
    for trigger in triggers:
        wire(
            trigger, show_hires, [form.has_hires, *sizes], [parts.hires_panel, parts.hires_size],
            is_quiet=True, trigger_mode="always_last",
        )  # fmt: skip


def size_line(form: dict[str, Any]) -> str:
    """``512×512 → 1024×1024``."""
    to_width, to_height = target_size(form)
    return (
        f'<span class="dq-soft">{cards.esc(form["width"])}×{cards.esc(form["height"])} → '
        f"<b>{to_width}×{to_height}</b></span>"
    )


def fill_form(parts: Txt2Img, pasted: pasting.Pasted, studio: Studio) -> dict[Any, Any]:
    """Changes that put a recipe into the form, with chips for settings that differ."""
    styles = list(studio.styles.by_name())
    chips = pasted.chips
    return {
        **parts.form.write(pasted.values),
        parts.form.styles: gr.update(choices=styles, value=pasted.values.get("styles", [])),
        parts.form.overrides: gr.update(choices=chips, value=chips, visible=bool(chips)),
    }
