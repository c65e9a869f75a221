"""The checkpoint merger, and the tools beside it: convert, extract, merge LoRAs, look inside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.checkpoints.report import report_on
from webui.errors import ParamsError
from webui.params import FILE_TOOL_KINDS, AnyFileTool
from webui.services.file_tools import find_file
from webui.ui import cards
from webui.ui.models_tools_form import (
    CONVERTIBLE,
    LORA_ROWS,
    NO_VAE,
    file_choices,
    make_request,
)
from webui.ui.models_tools_view import job_card, report_card, tool_title
from webui.ui.results import cancel, retry
from webui.ui.session import client_name, user_of, visitor_of
from webui.ui.texts import label, language_of, say
from webui.ui.wiring import Values, tell, wire

if TYPE_CHECKING:
    from webui.studio import Studio

TICK_SECONDS = 1.0
METHODS = (
    ("method_none", "No interpolation"),
    ("method_sum", "Weighted sum"),
    ("method_difference", "Add difference"),
)
PRECISIONS = ("fp32", "fp16", "bf16")
Fields = dict[str, Any]


@dataclass(frozen=True)
class Tools:
    """The components: fields by tool and name, a button for each, and where jobs are shown.

    Attributes:
        stages: Places that show the latest job, one in each inner tab.
        menus: Menus of files → kind, and the choice that stands for none (or None).
        shown: What the stages show and the catalog's state the menus show, so that only changes
            are sent.
    """

    fields: dict[str, Fields]
    go: dict[str, gr.Button]
    about: gr.HTML
    read_metadata: gr.Button
    inside: gr.HTML
    stages: tuple[gr.HTML, ...]
    menus: dict[Any, tuple[str, tuple[str, str] | None]]
    shown: gr.State
    timer: gr.Timer

    def looks(self) -> list[Any]:
        """What a look changes."""
        return [*self.stages, *self.menus, *self._by_kind(), self.shown, self.timer]

    def takes(self) -> list[Any]:
        """What a look needs."""
        return [self.shown, self.fields["convert"]["model_kind"], self.fields["info"]["kind"]]

    def _by_kind(self) -> list[Any]:
        return [self.fields["convert"]["name"], self.fields["info"]["name"]]


@dataclass(frozen=True)
class Merger:
    """The merger's own components."""

    fields: Fields
    go: gr.Button
    about: gr.HTML
    read_metadata: gr.Button
    stage: gr.HTML


def draw_merger() -> Merger:
    """A1111's tab, field by field."""
    with gr.Row(elem_classes="dq-page dq-filetools"):
        with gr.Column(scale=3, min_width=300, elem_classes="dq-form"):
            about = gr.HTML(_about("Weighted sum"), elem_id="dq-merge-about")
            with gr.Row(elem_classes="dq-tight dq-wrap"):
                models = {
                    name: gr.Dropdown(
                        [], value=None, label=label(f"merge_{letter}"), min_width=200,
                        elem_id=f"dq-merge-{letter}",
                    )
                    for name, letter in zip(
                        ("primary", "secondary", "tertiary"), "abc", strict=True
                    )
                }  # fmt: skip
            fields: Fields = {
                **models,
                "custom_name": gr.Textbox(label=label("merge_name"), max_lines=1),
                "multiplier": gr.Slider(0, 1, 0.3, step=0.05, label=label("merge_m")),
                "interpolation": gr.Radio(
                    [(label(key), name) for key, name in METHODS], value="Weighted sum",
                    label=label("merge_method"), elem_id="dq-merge-method",
                ),
                "format": gr.Radio(
                    ["safetensors"], value="safetensors", label=label("merge_format"),
                    info=label("merge_format_info"),
                ),
                "save_as_half": gr.Checkbox(False, label=label("merge_half")),
                "config_source": gr.Radio(
                    [(label("config_any"), "A, B or C"), "B", "C", (label("config_none"), "Don't")],
                    value="A, B or C", label=label("merge_config"),
                ),
            }  # fmt: skip
            with gr.Row(elem_classes="dq-tight dq-wrap"):
                fields["bake_in_vae"] = gr.Dropdown(
                    [(label("none"), NO_VAE)], value=NO_VAE, label=label("merge_vae"), min_width=200
                )
                fields["discard_weights"] = gr.Textbox(
                    label=label("merge_discard"), placeholder=label("merge_discard_hint"),
                    max_lines=1, min_width=200,
                )  # fmt: skip
            read = _draw_metadata(fields)
            go = gr.Button(label("merge_go"), variant="primary", elem_id="dq-merge-go")
        with gr.Column(scale=2, min_width=280):
            stage = gr.HTML("", js_on_load=cards.ACTIONS_JS, elem_id="dq-merge-stage")
    return Merger(fields, go, about, read, stage)


def _draw_metadata(fields: Fields) -> gr.Button:
    with gr.Accordion(label("merge_metadata"), open=False):
        for name, key in (
            ("save_metadata", "merge_save_metadata"), ("add_merge_recipe", "merge_recipe"),
            ("copy_metadata_fields", "merge_copy"),
        ):  # fmt: skip
            fields[name] = gr.Checkbox(True, label=label(key))
        fields["metadata_json"] = gr.Textbox("{}", lines=4, label=label("merge_json"))
        return gr.Button(label("merge_read"), size="sm")


def _about(method: str) -> str:
    """Both languages, like all that is drawn once; the browser's is shown."""
    return f'<p class="dq-soft">{_both(f"merge_about_{method}")}</p>'


def _both(key: str) -> str:
    english, chinese = (cards.esc(say(key, language)) for language in ("en", "zh"))
    return f'<span lang="en">{english}</span> <span lang="zh">{chinese}</span>'


def draw_tools(merger: Merger, timer: gr.Timer) -> Tools:
    """The other tools, one below the other.

    Args:
        timer: Drawn outside the inner tabs: what lies in one that was never open does not run.
    """
    fields: dict[str, Fields] = {"merge": merger.fields}
    go: dict[str, gr.Button] = {"merge": merger.go}
    with gr.Row(elem_classes="dq-page dq-filetools"):
        with gr.Column(scale=3, min_width=300, elem_classes="dq-form"):
            for tool, draw, is_open in (
                ("convert", _draw_convert, True), ("extract", _draw_extract, False),
                ("loras", _draw_loras, False), ("info", _draw_info, False),
            ):  # fmt: skip
                with gr.Accordion(label(f"{tool}_title"), open=is_open, elem_id=f"dq-tool-{tool}"):
                    gr.HTML(f'<p class="dq-soft">{_both(f"{tool}_about")}</p>')
                    fields[tool] = draw()
                    go[tool] = gr.Button(
                        label(f"{tool}_go"), variant="primary", elem_id=f"dq-{tool}-go"
                    )
        with gr.Column(scale=2, min_width=280):
            stage = gr.HTML("", js_on_load=cards.ACTIONS_JS, elem_id="dq-tools-stage")
            inside = gr.HTML("", elem_id="dq-tools-inside")
    return Tools(
        fields, go, merger.about, merger.read_metadata, inside, (merger.stage, stage),
        _menus(fields), gr.State(("", -1)), timer,
    )  # fmt: skip


def _menus(fields: dict[str, Fields]) -> dict[Any, tuple[str, tuple[str, str] | None]]:
    merge, loras = fields["merge"], fields["loras"]
    found: dict[Any, tuple[str, tuple[str, str] | None]] = {
        merge[name]: ("checkpoint", None) for name in ("primary", "secondary", "tertiary")
    }
    found[merge["bake_in_vae"]] = ("vae", ("none", NO_VAE))
    for name in ("model_tuned", "model_org"):
        found[fields["extract"][name]] = ("checkpoint", None)
    found[loras["into"]] = ("checkpoint", ("loras_alone", ""))
    for n in range(LORA_ROWS):
        found[loras[f"lora_{n}"]] = ("lora", ("none", ""))
    return found


def _draw_convert() -> Fields:
    with gr.Row(elem_classes="dq-tight dq-wrap"):
        kinds = [(label(f"weights_{kind}"), kind) for kind in CONVERTIBLE]
        kind = gr.Dropdown(
            kinds, value="checkpoint", label=label("tool_kind"), scale=1, min_width=140,
            elem_id="dq-convert-kind",
        )  # fmt: skip
        name = gr.Dropdown(
            [], value=None, label=label("tool_file"), scale=3, min_width=200,
            elem_id="dq-convert-file",
        )  # fmt: skip
    return {
        "model_kind": kind,
        "name": name,
        "precision": _precision(),
        "pruning": gr.Radio(
            [(label(f"pruning_{way}"), way) for way in ("disabled", "no-ema", "ema-only")],
            value="disabled", label=label("convert_pruning"),
        ),
        "layout": gr.Radio(
            [(label(f"layout_{form}"), form) for form in ("single-file", "diffusers")],
            value="single-file", label=label("convert_layout"),
        ),
        "custom_name": gr.Textbox(label=label("merge_name"), max_lines=1),
    }  # fmt: skip


def _precision(*, keeps: bool = True, value: str = "keep") -> gr.Radio:
    kept = [(label("precision_keep"), "keep")] if keeps else []
    return gr.Radio([*kept, *PRECISIONS], value=value, label=label("tool_precision"))


def _draw_extract() -> Fields:
    with gr.Row(elem_classes="dq-tight dq-wrap"):
        tuned = gr.Dropdown([], value=None, label=label("extract_tuned"), min_width=200)
        original = gr.Dropdown([], value=None, label=label("extract_original"), min_width=200)
    with gr.Row(elem_classes="dq-tight dq-wrap"):
        dim = gr.Slider(1, 320, 64, step=1, label=label("extract_dim"), min_width=200)
        conv = gr.Slider(0, 320, 0, step=1, label=label("extract_conv"), min_width=200)
    with gr.Row(elem_classes="dq-tight dq-wrap"):
        clamp = gr.Slider(0.9, 1, 0.99, step=0.005, label=label("extract_clamp"), min_width=200)
        least = gr.Number(0.01, label=label("extract_min"), step=0.001, min_width=200)
    return {
        "model_tuned": tuned,
        "model_org": original,
        "dim": dim,
        "conv_dim": conv,
        "clamp_quantile": clamp,
        "min_diff": least,
        "precision": _precision(keeps=False, value="fp16"),
        "custom_name": gr.Textbox(label=label("merge_name"), max_lines=1),
    }


def _draw_loras() -> Fields:
    fields: Fields = {}
    for n in range(LORA_ROWS):
        with gr.Row(elem_classes="dq-tight"):
            fields[f"lora_{n}"] = gr.Dropdown(
                [(label("none"), "")], value="", label=label("loras_one"), scale=3, min_width=160
            )
            fields[f"weight_{n}"] = gr.Number(
                1.0, label=label("loras_weight"), step=0.05, scale=1, min_width=90
            )
    fields["into"] = gr.Dropdown(
        [(label("loras_alone"), "")], value="", label=label("loras_into"), elem_id="dq-loras-into"
    )
    fields["dim"] = gr.Slider(0, 320, 0, step=1, label=label("loras_dim"))
    fields["precision"] = _precision(value="fp16")
    fields["custom_name"] = gr.Textbox(label=label("merge_name"), max_lines=1)
    return fields


def _draw_info() -> Fields:
    with gr.Row(elem_classes="dq-tight dq-wrap"):
        kinds = [*CONVERTIBLE, "hypernetwork", "controlnet"]
        kind = gr.Dropdown(
            [(label(f"weights_{kind}"), kind) for kind in kinds], value="checkpoint",
            label=label("tool_kind"), scale=1, min_width=140, elem_id="dq-info-kind",
        )  # fmt: skip
        name = gr.Dropdown(
            [], value=None, label=label("tool_file"), scale=3, min_width=200, elem_id="dq-info-file"
        )
    return {"kind": kind, "name": name, "hashes": gr.Checkbox(False, label=label("info_hash"))}


def connect(parts: Tools, studio: Studio, browser: gr.BrowserState) -> None:
    """The timer runs while the tab is open and a job of this browser is not finished."""
    takes = [browser, *parts.takes()]

    def look(values: Values, request: gr.Request) -> dict:
        return _look(parts, studio, values, browser, request)

    def on_act(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        deeds = {"cancel": cancel, "retry": retry}
        visitor = visitor_of(values[browser], request)
        deeds[event._data["act"]](studio, int(event._data["job"]), visitor)
        return _look(parts, studio, values, browser, request)

    quiet: dict[str, Any] = {"is_quiet": True, "trigger_mode": "always_last"}
    wire(parts.timer.tick, look, takes, parts.looks(), **quiet)
    for stage in parts.stages:
        wire(stage.act, on_act, takes, parts.looks())
    for tool in ("merge", "convert", "extract", "loras"):
        _connect_go(parts, studio, browser, tool)
    _connect_menus(parts, studio)
    _connect_metadata(parts, studio)
    _connect_info(parts, studio)


def _connect_go(parts: Tools, studio: Studio, browser: gr.BrowserState, tool: str) -> None:
    fields = parts.fields[tool]

    def begin(values: Values, request: gr.Request) -> dict:
        form = {name: values[field] for name, field in fields.items()}
        user = user_of(request)
        wish = make_request(tool, form, studio, language_of(request), user=user)
        studio.submit(wish, client=client_name(values[browser], request))
        tell("tool_begun", request)
        return _look(parts, studio, values, browser, request)

    takes = [browser, *parts.takes(), *fields.values()]
    wire(parts.go[tool].click, begin, takes, parts.looks(), trigger_mode="once")


def _connect_menus(parts: Tools, studio: Studio) -> None:
    for tool, kind_field in (("convert", "model_kind"), ("info", "kind")):
        fields = parts.fields[tool]
        kind, name = fields[kind_field], fields["name"]

        def choose(values: Values, kind: Any = kind, name: Any = name) -> dict:
            return {name: gr.update(choices=file_choices(studio, values[kind]), value=None)}

        wire(kind.change, choose, [kind], [name], is_quiet=True)
    method = parts.fields["merge"]["interpolation"]

    def tell_method(values: Values) -> dict:
        return {parts.about: _about(values[method])}

    wire(method.change, tell_method, [method], [parts.about], is_quiet=True)


def _connect_metadata(parts: Tools, studio: Studio) -> None:
    fields = parts.fields["merge"]
    models = [fields[name] for name in ("primary", "secondary", "tertiary")]

    def read(values: Values) -> dict:
        found: dict[str, str] = {}
        for model in models:
            if values[model]:
                found |= studio.catalog.metadata(studio.catalog.find_checkpoint(values[model]))
        return {fields["metadata_json"]: json.dumps(found, indent=4, ensure_ascii=False)}

    wire(parts.read_metadata.click, read, models, [fields["metadata_json"]])


def _connect_info(parts: Tools, studio: Studio) -> None:
    fields = parts.fields["info"]

    def look_inside(values: Values, request: gr.Request) -> dict:
        language = language_of(request)
        if not values[fields["name"]]:
            raise ParamsError(say("info_choose", language), field="name")
        record = find_file(studio.catalog, values[fields["kind"]], values[fields["name"]])
        has_hashes = bool(values[fields["hashes"]]) and not studio.settings.no_hashing
        report = report_on(
            record, studio.catalog, has_hashes=has_hashes, should_stop=lambda: studio.is_closing
        )
        return {parts.inside: report_card(report, language)}

    wire(parts.go["info"].click, look_inside, fields.values(), [parts.inside])


def _look(
    parts: Tools, studio: Studio, values: Values, browser: gr.BrowserState, request: gr.Request
) -> dict[Any, Any]:
    client = client_name(values[browser], request)
    return present(parts, studio, values, client, language_of(request))


def present(
    parts: Tools, studio: Studio, values: Values, client: str, language: str
) -> dict[Any, Any]:
    """The latest job of a browser and the menus, where they differ from what is shown."""
    job = studio.jobs.current(client, FILE_TOOL_KINDS) if client else None
    view = studio.view(job.id) if job is not None else None
    params = studio.params_of(job) if job is not None else None
    title = tool_title(params, language) if isinstance(params, AnyFileTool) else ""
    html = job_card(view, title, language)
    before_html, before_generation = values[parts.shown]
    generation = studio.catalog.generation
    changes: dict[Any, Any] = dict.fromkeys(parts.looks(), gr.skip())
    if html != before_html:
        changes |= dict.fromkeys(parts.stages, html)
    if generation != before_generation:
        changes |= _fresh_menus(parts, studio, values, language)
    is_busy = view is not None and not view.is_finished
    return {**changes, parts.shown: (html, generation), parts.timer: gr.Timer(active=is_busy)}


def _fresh_menus(parts: Tools, studio: Studio, values: Values, language: str) -> dict[Any, Any]:
    by_kind = {kind: file_choices(studio, kind) for kind, _ in parts.menus.values()}
    changes: dict[Any, Any] = {}
    for menu, (kind, none) in parts.menus.items():
        first = [(say(none[0], language), none[1])] if none else []
        changes[menu] = gr.update(choices=[*first, *by_kind[kind]])
    for tool, kind_field in (("convert", "model_kind"), ("info", "kind")):
        fields = parts.fields[tool]
        choices = file_choices(studio, values[fields[kind_field]])
        changes[fields["name"]] = gr.update(choices=choices)
    return changes


def rest(parts: Tools) -> dict[Any, Any]:
    """Nobody looks."""
    return {**dict.fromkeys(parts.looks(), gr.skip()), parts.timer: gr.Timer(active=False)}
