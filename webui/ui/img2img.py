"""The img2img tab: six ways to begin with a picture, over the fields all painting tabs share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.services.resolve import ImageToImageRequest
from webui.ui import (
    batch,
    batch_panel,
    canvas,
    cards,
    control_panel,
    extension_panels,
    img2img_panels,
    input_history,
    painting_tab,
    pasting,
    quicksettings,
    script_fields,
)
from webui.ui.img2img_form import (
    CANVASES,
    DEFAULTS,
    MASK_UPLOAD,
    MODES,
    RESIZE_BY,
    RESIZE_TO,
    Img2ImgForm,
    make_request,
    scaled,
    source_of,
    upscaler_choices,
)
from webui.ui.painting_tab import Buttons, FieldMaker, PaintingTab, size_like
from webui.ui.prompt_box import icon_button
from webui.ui.quicksettings import Quicksettings
from webui.ui.session import user_of
from webui.ui.texts import label, language_of, say
from webui.ui.wiring import Values, show_warning, wire

if TYPE_CHECKING:
    from webui.studio import Studio

TAB = "img2img"
_FIELDS = FieldMaker(TAB, DEFAULTS)
_DRAW_MODES: dict[str, canvas.Mode] = {
    "img2img": "picture", "sketch": "colour", "inpaint": "mask", "inpaint_sketch": "colour",
    "inpaint_upload": "picture",
}  # fmt: skip


@dataclass(frozen=True)
class Img2Img(PaintingTab):
    """The tab's components.

    Attributes:
        copies: The row of chips that copies a picture to another sub-tab.
        earlier: Inputs of this browser that were replaced, to bring back.
        measure: Takes the size of the picture. scaled_size: Shows what "Resize by" comes to.
    """

    form: Img2ImgForm
    copies: gr.HTML
    earlier: gr.HTML
    measure: gr.Button
    size_to: gr.Column
    size_by: gr.Row
    scaled_size: gr.HTML
    panels: img2img_panels.Panels
    batch: batch_panel.BatchPanel


def draw(studio: Studio) -> Img2Img:
    """Three areas, placed by style.css: what is asked, how it is made, what came out."""
    with gr.Row(elem_classes="dq-studio dq-i2i"):
        ask = painting_tab.draw_ask(TAB, studio)
        with gr.Column(elem_classes="dq-form", min_width=0):
            canvases, copies, earlier, several = _draw_modes(studio)
            inpaint_panel, panel_fields = img2img_panels.draw_inpaint(_FIELDS)
            denoising = _FIELDS.slider("denoising", 0, 1, 0.01, "denoising_strength")
            image_cfg = _FIELDS.slider(
                "image_cfg", 0, 3, 0.05, info=label("image_cfg_info"),
                visible=quicksettings.edits_pictures(studio),
            )  # fmt: skip
            resize_mode = _FIELDS.radio("resize_mode", _resize_choices(), elem_classes="dq-radio")
            fields = painting_tab.draw_sampling(_FIELDS)
            size = _draw_size(studio)
            seed_fields, seed_buttons, extra_panel = painting_tab.draw_seed(_FIELDS)
            refiner_fields, refiner_panel = painting_tab.draw_refiner(_FIELDS, studio)
            tile_fields = painting_tab.draw_tiles(_FIELDS)
            control_field = control_panel.draw(_FIELDS)
            extension_fields = extension_panels.draw(_FIELDS)
            own_scripts, own_fields = img2img_panels.draw_scripts(_FIELDS, studio)
            scripts = script_fields.draw(studio, TAB, own_fields["script"])
        stage = painting_tab.draw_out(ask)
    form = Img2ImgForm(
        denoising=denoising, image_cfg=image_cfg, resize_mode=resize_mode,
        **ask.fields, **canvases, **fields, **size["fields"], **seed_fields, **refiner_fields,
        **tile_fields, **control_field, **extension_fields, **panel_fields, **own_fields,
        of_scripts=scripts,
    )  # fmt: skip
    script_fields.tell_of_form(studio, scripts, TAB, form)
    buttons = Buttons(
        **ask.buttons, swap=size["swap"], aspects=size["aspects"], **seed_buttons,
        autosave=painting_tab.draw_autosave(TAB),
    )  # fmt: skip
    return Img2Img(
        tab=TAB, form=form, prompts=ask.prompts, style_row=ask.style_row, buttons=buttons,
        extra_panel=extra_panel, refiner_panel=refiner_panel, kit=ask.kit,
        networks=ask.networks, cost=ask.cost, results=stage,
        copies=copies, earlier=earlier,
        measure=size["measure"], size_to=size["to"], size_by=size["by"],
        scaled_size=size["scaled"], batch=several,
        panels=img2img_panels.Panels(inpaint_panel, own_scripts),
        auto_size=gr.State((DEFAULTS["width"], DEFAULTS["height"])), is_restored=gr.State(False),
    )  # fmt: skip


def _draw_modes(
    studio: Studio,
) -> tuple[dict[str, Any], gr.HTML, gr.HTML, batch_panel.BatchPanel]:
    """The choice of a mode and a column for each; canvas.css shows the chosen one's."""
    mode = gr.Radio(
        [(label(f"mode_{name}"), name) for name in MODES], value=DEFAULTS["mode"],
        label=label("modes"), show_label=False, container=False, elem_id=_FIELDS.id("mode"),
        elem_classes="dq-modes",
    )  # fmt: skip
    drawn: dict[str, Any] = {"mode": mode}
    for name, field in CANVASES.items():
        with gr.Column(min_width=0, elem_classes=["dq-mode", f"dq-mode-{name}"]):
            drawn[field] = canvas.draw(_FIELDS.id(f"canvas_{field}"), _DRAW_MODES[name])
            if name == "inpaint_upload":
                drawn[MASK_UPLOAD] = canvas.draw(_FIELDS.id("canvas_mask_upload"), "picture")
    with gr.Column(min_width=0, elem_classes=["dq-mode", "dq-mode-batch"]):
        several, batch_fields = batch_panel.draw(studio, _FIELDS)
    copies = gr.HTML("", js_on_load=cards.ACTIONS_JS, elem_id=_FIELDS.id("copies"))
    earlier = gr.HTML("", js_on_load=cards.ACTIONS_JS, elem_id=_FIELDS.id("earlier"))
    return drawn | batch_fields, copies, earlier, several


def _resize_choices() -> list[tuple[Any, str]]:
    return [
        (label("resize_just"), "Just resize"),
        (label("resize_crop"), "Crop and resize"),
        (label("resize_fill"), "Resize and fill"),
        (label("resize_latent"), "Just resize (latent upscale)"),
    ]


def _draw_size(studio: Studio) -> dict[str, Any]:
    with gr.Row(elem_classes="dq-sizehead"):
        rule = gr.Radio(
            [(label("resize_to"), RESIZE_TO), (label("resize_by"), RESIZE_BY)], value=RESIZE_TO,
            show_label=False, container=False, elem_id=_FIELDS.id("size_rule"),
            elem_classes="dq-radio", label=label("size_rule"),
        )  # fmt: skip
        measure = icon_button("dq-measure", TAB)
    with gr.Column(min_width=0, elem_classes="dq-sizeto") as to:
        fields, swap, aspects = painting_tab.draw_size(_FIELDS)
    with gr.Row(visible=False) as by:
        scale = _FIELDS.slider("resize_scale", 0.05, 4, 0.05)
        shown = gr.HTML("", elem_id=_FIELDS.id("scaled-size"), elem_classes="dq-scaled")
    upscaler = _FIELDS.menu(
        "resize_upscaler",
        upscaler_choices(studio.weights.upscaler_names()),
        allow_custom_value=True,
    )
    fields |= {"size_rule": rule, "resize_scale": scale, "resize_upscaler": upscaler}
    return {
        "fields": fields, "swap": swap, "aspects": aspects, "measure": measure, "to": to, "by": by,
        "scaled": shown,
    }  # fmt: skip


def connect(parts: Img2Img, studio: Studio, browser: gr.BrowserState, quick: Quicksettings) -> None:
    """Wire the whole tab."""
    painting_tab.connect(parts, studio, browser)
    painting_tab.connect_asking(
        parts, studio, browser, quick, partial(_make_wishes, studio, quick), examples_paint=False
    )
    _connect_modes(parts)
    _connect_pictures(parts, studio)
    _connect_copies(parts, studio)
    input_history.connect(parts, studio, browser)
    _connect_size(parts)
    _connect_image_cfg(parts, studio, quick)
    img2img_panels.connect(parts.panels, parts.form, studio)
    batch_panel.connect(parts.batch, parts.form, studio)


def _make_wishes(
    studio: Studio, quick: Quicksettings, given: dict[str, Any], values: Values,
    request: gr.Request,
) -> list[ImageToImageRequest]:  # fmt: skip
    language = language_of(request)
    around = {
        "top_row": quicksettings.read(quick, values),
        "overrides": pasting.read_chips(given["overrides"] or []),
        "user": user_of(request),
    }
    if given["mode"] != "batch":
        return [make_request(given, source_of(given, studio.inputs, language), **around)]
    made = batch.make_batch(given, studio, language, **around)
    if made.skipped:
        show_warning(say("batch_skipped", language, names="; ".join(made.skipped)))
    return made.wishes


def present(parts: Img2Img, studio: Studio, client: str, language: str) -> dict[Any, Any]:
    """What a page that opens shows besides the draft: the sub-tab's chips, the earlier inputs."""
    mode = studio.drafts.load(client, TAB).get("mode", DEFAULTS["mode"])
    strip = input_history.load(studio, client)
    return {
        parts.copies: copy_chips(mode, language),
        parts.earlier: input_history.render(strip, language),
        **_image_cfg(parts, studio),
    }


def presents(parts: Img2Img) -> list[Any]:
    """What ``present`` changes."""
    return [parts.copies, parts.earlier, parts.form.image_cfg]


def _connect_modes(parts: Img2Img) -> None:
    form = parts.form

    def show(values: Values, request: gr.Request) -> dict:
        return {parts.copies: copy_chips(values[form.mode], language_of(request))}

    wire(form.mode.change, show, [form.mode], [parts.copies], is_quiet=True, for_guests=True)


def copy_chips(mode: str, language: str) -> str:
    """Buttons that copy the picture in sight to the other sub-tabs; nothing for a batch."""
    if mode not in CANVASES:
        return ""
    chips = "".join(
        cards.action("copy", say(f"mode_{other}", language), classes="dq-chip", mode=other)
        for other in CANVASES
        if other != mode
    )
    title = cards.esc(say("copy_to", language))
    return f'<div class="dq-chips"><span class="dq-soft">{title}</span>{chips}</div>'


def _connect_copies(parts: Img2Img, studio: Studio) -> None:
    form = parts.form

    def copy(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        given, target = form.read(values), event._data["mode"]
        drawing = canvas.read(given[CANVASES[given["mode"]]])
        if drawing is None:
            return {form.mode: target}
        has_colours = _DRAW_MODES[given["mode"]] == "colour"
        key = canvas.keep_composite(studio.inputs, drawing) if has_colours else drawing.picture
        return put_picture(parts, studio, key, target)

    canvases = [form.canvas(mode) for mode in CANVASES]
    wire(parts.copies.act, copy, [form.mode, *canvases], [form.mode, *canvases], for_guests=True)


def put_picture(parts: Img2Img, studio: Studio, key: str, mode: str) -> dict[Any, Any]:
    """Changes that put a kept picture on a sub-tab's canvas and choose that sub-tab.

    What stood there goes to the strip of earlier inputs when the draft is next saved.

    Args:
        key: As ``studio.inputs`` gave it.
        mode: One of ``CANVASES``.
    Raises:
        LibraryError: The picture is not there any more.
        KeyError: That sub-tab has no canvas.
    """
    value = canvas.holding(studio.inputs, key).to_value()
    return {parts.form.canvas(mode): value, parts.form.mode: mode}


def _connect_pictures(parts: Img2Img, studio: Studio) -> None:
    """A new picture: the size follows its aspect, unless a person has chosen a size."""
    form = parts.form
    size = [form.width, form.height, parts.auto_size]

    def follow(values: Values, event: gr.EventData) -> dict:
        drawing = canvas.read(event._data.get("after"))
        before = tuple(values[parts.auto_size])
        if not drawing or not drawing.width or not drawing.height:
            return {parts.auto_size: gr.skip()}
        native = studio.native_size(studio.current_checkpoint())
        now = size_like((drawing.width, drawing.height), native)
        if (values[form.width], values[form.height]) != before:
            return {parts.auto_size: now}
        return {form.width: now[0], form.height: now[1], parts.auto_size: now}

    for mode in CANVASES:
        wire(form.canvas(mode).put, follow, size, size, for_guests=True)


def _image_cfg(parts: Img2Img, studio: Studio) -> dict[Any, Any]:
    return {parts.form.image_cfg: gr.update(visible=quicksettings.edits_pictures(studio))}


def _connect_image_cfg(parts: Img2Img, studio: Studio, quick: Quicksettings) -> None:
    """The field is there while the chosen checkpoint is guided by the picture, too."""

    def show(_values: Values) -> dict:
        return _image_cfg(parts, studio)

    wire(
        quick.checkpoint.change, show, [], [parts.form.image_cfg], is_quiet=True,
        trigger_mode="always_last", for_guests=True,
    )  # fmt: skip


def _connect_size(parts: Img2Img) -> None:
    form = parts.form
    canvases = [form.canvas(mode) for mode in CANVASES]

    def drawing_of(values: Values) -> canvas.Drawing | None:
        mode = values[form.mode]
        return canvas.read(values[form.canvas(mode)]) if mode in CANVASES else None

    def measure(values: Values) -> dict:
        drawing = drawing_of(values)
        if drawing is None:
            return {form.width: gr.skip()}
        width, height = scaled((drawing.width, drawing.height), 1)
        return {form.width: width, form.height: height, form.resize_scale: 1.0}

    def show(values: Values) -> dict:
        is_by = values[form.size_rule] == RESIZE_BY
        drawing = drawing_of(values)
        line = ""
        if is_by and drawing:
            before = (drawing.width, drawing.height)
            after = scaled(before, float(values[form.resize_scale] or 1))
            line = '<span class="dq-soft">{}×{} → <b>{}×{}</b></span>'.format(*before, *after)
        return {
            parts.size_to: gr.update(elem_classes=["dq-sizeto", "dq-by"] if is_by else "dq-sizeto"),
            parts.size_by: gr.update(visible=is_by),
            parts.scaled_size: line,
        }

    takes = [form.mode, *canvases]
    wire(
        parts.measure.click,
        measure,
        takes,
        [form.width, form.height, form.resize_scale],
        for_guests=True,
    )
    shown = [parts.size_to, parts.size_by, parts.scaled_size]
    for trigger in (form.size_rule.change, form.resize_scale.change, form.mode.change):
        wire(
            trigger, show, [*takes, form.size_rule, form.resize_scale], shown, is_quiet=True,
            trigger_mode="always_last", for_guests=True,
        )  # fmt: skip
