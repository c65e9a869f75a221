"""The Restore tab: photographs in, clear ones out; for people who never used such a tool."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.checkpoints.known_weights import GFPGAN, GFPGAN_VERSIONS
from webui.errors import JobError, LibraryError
from webui.params import Extras
from webui.ui import (
    batch,
    batch_panel,
    canvas,
    cards,
    draft,
    extension_panels,
    restore_cards,
    restore_videos,
    results,
)
from webui.ui.follow import RESTORING_KINDS
from webui.ui.painting_tab import FieldMaker
from webui.ui.restore_form import (
    AUTOMATIC,
    BOTH,
    DEFAULTS,
    FACES,
    TAB,
    WHOLE,
    Plan,
    first_choice,
    make_fetch,
    make_plan,
    make_requests,
    photograph_to_draw_on,
    refuse,
)
from webui.ui.restore_videos import is_video
from webui.ui.results import Results
from webui.ui.sending import SendTarget, Sent
from webui.ui.session import client_name, user_of, visitor_of
from webui.ui.texts import label, language_of, named, say
from webui.ui.wiring import Values, show_warning, show_warnings, tell, wire, wire_then_press

if TYPE_CHECKING:
    from webui.studio import Studio

_FIELDS = FieldMaker(TAB, DEFAULTS)
SCALES = (1.0, 2.0, 4.0)
"""The sizes with a large button of their own."""


@dataclass(frozen=True)
class RestoreForm:
    """Components under the names of ``restore_form.DEFAULTS``."""

    what: gr.Radio
    batch_source: gr.Radio
    batch_files: gr.Textbox
    video_files: gr.Textbox
    batch_input_dir: gr.Textbox
    batch_output_dir: gr.Textbox
    resize_mode: gr.Radio
    upscaling_resize: gr.Slider
    upscaling_resize_w: gr.Slider
    upscaling_resize_h: gr.Slider
    upscaling_crop: gr.Checkbox
    max_side: gr.Slider
    upscaler_1: gr.Dropdown
    upscaler_2: gr.Dropdown
    extras_upscaler_2_visibility: gr.Slider
    upscaler_denoising: gr.Slider
    gfpgan_visibility: gr.Slider
    gfpgan_model: gr.Dropdown
    restoreformer_visibility: gr.Slider
    codeformer_visibility: gr.Slider
    codeformer_weight: gr.Slider
    only_centre_face: gr.Checkbox
    is_aligned: gr.Checkbox
    all_directions: gr.Checkbox
    upscale_first: gr.Checkbox
    colour_repair: gr.Slider
    scratch_repair: gr.Slider
    keep_grey: gr.Checkbox
    scratch_drawing: gr.HTML
    extensions: gr.HTML

    def by_name(self) -> dict[str, Any]:
        """Every component under its field name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def components(self) -> list[Any]:
        """Every component."""
        return list(self.by_name().values())

    def read_files(self, values: Values) -> dict[str, Any]:
        """What is to be restored, of a handler that was given these two fields."""
        return {name: values[getattr(self, name)] for name in ("batch_files", "video_files")}

    def read(self, values: Values) -> dict[str, Any]:
        """What the fields hold, by name."""
        return {name: values[component] for name, component in self.by_name().items()}

    def write(self, values: Mapping[str, Any]) -> dict[Any, Any]:
        """Changes that put values into the fields."""
        parts = self.by_name()
        return {parts[name]: gr.update(value=value) for name, value in values.items()}


@dataclass(frozen=True)
class Restore:
    """The tab's components.

    Attributes:
        drop: Takes photographs. listed: Shows them. clear: Takes them away.
        scale: The three usual sizes; writes the factor. plan: What will be done.
        get: Fetches weights. again: Looks for weights once more. shown_plan: What ``plan`` shows.
        autosave: The hidden button page.js presses a moment after a change.
    """

    form: RestoreForm
    drop: gr.File
    listed: gr.HTML
    clear: gr.Button
    uploads: gr.Column
    folders: gr.Column
    scale: gr.Radio
    size: gr.Column
    plan: gr.HTML
    get: gr.Button
    again: gr.Button
    go: gr.Button
    shown_plan: gr.State
    autosave: gr.Button
    results: Results

    def plan_gives(self) -> list[Any]:
        """What a new plan may change."""
        return [
            self.plan, self.get, self.again, self.go, self.shown_plan, self.form.upscaler_1,
            self.form.upscaler_2, self.form.gfpgan_model,
        ]  # fmt: skip


def draw(studio: Studio) -> Restore:
    """Photographs and the choice at the left, the result at the right."""
    with gr.Row(elem_classes="dq-studio dq-rst"):
        with gr.Column(elem_classes="dq-ask", min_width=0):
            title = f'<h2 class="dq-rst-title">{_both("restore_title")}</h2>'
            gr.HTML(title, elem_id=_FIELDS.id("title"))
            fields, photographs = _draw_photographs(studio)
            what = gr.Radio(
                [(label(f"restore_{name}"), name) for name in (BOTH, FACES, WHOLE)],
                value=DEFAULTS["what"], label=label("restore_what"), elem_id=_FIELDS.id("what"),
                elem_classes="dq-big",
            )  # fmt: skip
            with gr.Column(min_width=0) as size:
                scale = gr.Radio(
                    [(label(f"restore_scale_{value:.0f}"), value) for value in SCALES],
                    value=DEFAULTS["upscaling_resize"], label=label("restore_scale"),
                    elem_id=_FIELDS.id("scale"), elem_classes="dq-big",
                )  # fmt: skip
            go, interrupt, skip, forever = _draw_actions()
            plan = gr.HTML("", js_on_load=cards.ACTIONS_JS, elem_id=_FIELDS.id("plan"))
            with gr.Row(elem_classes="dq-tight"):
                get = gr.Button("", visible=False, size="md", elem_id=_FIELDS.id("get"))
                again = gr.Button(
                    label("needs_again"), visible=False, size="md", elem_id=_FIELDS.id("again")
                )
        with gr.Column(elem_classes="dq-form dq-rst-form", min_width=0):
            fields |= _draw_settings(studio)
        with gr.Column(elem_classes="dq-out", min_width=0):
            stage = results.draw(interrupt, skip, forever, TAB, RESTORING_KINDS)
    autosave = gr.Button("save draft", visible="hidden", elem_id=_FIELDS.id("autosave"))
    return Restore(
        form=RestoreForm(what=what, **fields), **photographs, scale=scale, size=size, plan=plan,
        get=get, again=again, go=go, shown_plan=gr.State(""), autosave=autosave, results=stage,
    )  # fmt: skip


def _draw_actions() -> tuple[gr.Button, gr.Button, gr.Button, gr.Checkbox]:
    """Restore, Interrupt, Skip; "forever" is not for photographs and stays hidden."""
    with gr.Row(elem_classes="dq-actions"):
        go = gr.Button(
            label("restore_go"), variant="primary", elem_id=_FIELDS.id("generate"), scale=6,
            min_width=120,
        )  # fmt: skip
        interrupt = gr.Button(
            label("interrupt"), variant="stop", interactive=False, scale=2, min_width=70,
            elem_id=_FIELDS.id("interrupt"),
        )  # fmt: skip
        skip = gr.Button(
            label("skip"), interactive=False, scale=2, min_width=60, elem_id=_FIELDS.id("skip")
        )
    forever = gr.Checkbox(False, visible=False, elem_id=_FIELDS.id("forever"))
    return go, interrupt, skip, forever


def _draw_photographs(studio: Studio) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields and parts for what is to be restored."""
    with gr.Column(min_width=0) as uploads:
        drop = gr.File(
            file_count="multiple", file_types=["image", "video"], label=label("restore_drop"),
            height=150,
            elem_id=_FIELDS.id("drop"), elem_classes="dq-rst-drop",
        )  # fmt: skip
        listed = gr.HTML("", elem_id=_FIELDS.id("listed"))
        clear = gr.Button(
            label("restore_clear"), size="sm", visible=False, elem_id=_FIELDS.id("clear")
        )
    files = gr.Textbox("[]", visible="hidden", elem_id=_FIELDS.id("batch_files"))
    videos = gr.Textbox("[]", visible="hidden", elem_id=_FIELDS.id("video_files"))
    with gr.Column(visible=False, elem_classes="dq-panel dq-rst-folders", min_width=0) as folders:
        if not batch.folders_are_allowed(studio.settings):
            gr.HTML(f'<div class="dq-note">{_both("batch_refused")}</div>')
        input_dir = _FIELDS.text("batch_input_dir", placeholder=label("batch_folder_hint"))
        output_dir = _FIELDS.text("batch_output_dir", placeholder=label("batch_output_hint"))
    fields = {
        "batch_files": files, "video_files": videos, "batch_input_dir": input_dir,
        "batch_output_dir": output_dir,
    }  # fmt: skip
    parts = {
        "drop": drop, "listed": listed, "clear": clear, "uploads": uploads, "folders": folders,
    }  # fmt: skip
    return fields, parts


def _both(key: str) -> str:
    """A text for HTML that is drawn once for all browsers; style.css shows one of the two."""
    english, chinese = (cards.esc(say(key, language)) for language in ("en", "zh"))
    return f'<span lang="en">{english}</span> <span lang="zh">{chinese}</span>'


def _draw_settings(studio: Studio) -> dict[str, Any]:
    """Everything that can be set, below one fold."""
    with gr.Accordion(label("restore_all"), open=False, elem_id=_FIELDS.id("all")):
        fields: dict[str, Any] = {
            "batch_source": _FIELDS.radio(
                "batch_source",
                [(label("batch_upload"), "Upload"), (label("batch_directory"), batch.FOLDER)],
                "restore_source", elem_classes="dq-radio",
            )
        }  # fmt: skip
        fields |= _draw_size(studio)
        fields |= _draw_faces()
        with gr.Accordion(label("restore_group_photo"), open=True, elem_classes="dq-fold"):
            fields["colour_repair"] = _FIELDS.slider("colour_repair", 0, 1, 0.05)
            fields["scratch_repair"] = _FIELDS.slider("scratch_repair", 0, 1, 0.05)
            fields["keep_grey"] = _FIELDS.check("keep_grey")
            gr.HTML(f'<p class="dq-soft">{_both("scratch_draw")}</p>')
            fields["scratch_drawing"] = canvas.draw(_FIELDS.id("canvas_scratches"), "mask")
        fields |= extension_panels.draw(_FIELDS, "extras")
    return fields


def _draw_size(studio: Studio) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    with gr.Accordion(label("restore_group_size"), open=True, elem_classes="dq-fold"):
        fields["resize_mode"] = _FIELDS.radio(
            "resize_mode", [(label("restore_by"), "by"), (label("restore_to"), "to")],
            "restore_resize_mode", elem_classes="dq-radio",
        )  # fmt: skip
        with gr.Row():
            fields["upscaling_resize"] = _FIELDS.slider("upscaling_resize", 1, 8, 0.05)
            fields["max_side"] = _FIELDS.slider("max_side", 0, 16384, 64)
        with gr.Row():
            fields["upscaling_resize_w"] = _FIELDS.slider(
                "upscaling_resize_w", 64, 8192, 8, "width"
            )
            fields["upscaling_resize_h"] = _FIELDS.slider(
                "upscaling_resize_h", 64, 8192, 8, "height"
            )
        fields["upscaling_crop"] = _FIELDS.check("upscaling_crop")
        with gr.Row():
            fields["upscaler_1"] = _FIELDS.menu("upscaler_1", upscaler_choices(studio), scale=1)
            fields["upscaler_2"] = _FIELDS.menu(
                "upscaler_2", named(studio.weights.upscaler_names()), scale=1
            )
        fields["extras_upscaler_2_visibility"] = _FIELDS.slider(
            "extras_upscaler_2_visibility", 0, 1, 0.05
        )
        fields["upscaler_denoising"] = _FIELDS.slider("upscaler_denoising", 0, 1, 0.05)
    return fields


def _draw_faces() -> dict[str, Any]:
    fields: dict[str, Any] = {}
    with gr.Accordion(label("restore_group_faces"), open=True, elem_classes="dq-fold"):
        with gr.Row():
            fields["gfpgan_visibility"] = _FIELDS.slider("gfpgan_visibility", 0, 1, 0.05)
            versions = [(label("gfpgan_newest"), GFPGAN), *((v, v) for v in GFPGAN_VERSIONS)]
            fields["gfpgan_model"] = _FIELDS.menu("gfpgan_model", versions)
        fields["restoreformer_visibility"] = _FIELDS.slider("restoreformer_visibility", 0, 1, 0.05)
        with gr.Row():
            fields["codeformer_visibility"] = _FIELDS.slider(
                "codeformer_visibility", 0, 1, 0.05, info=label("codeformer_licence")
            )
            fields["codeformer_weight"] = _FIELDS.slider(
                "codeformer_weight", 0, 1, 0.05, info=label("codeformer_weight_info")
            )
        for name in ("upscale_first", "only_centre_face", "all_directions", "is_aligned"):
            fields[name] = _FIELDS.check(name)
    return fields


def upscaler_choices(studio: Studio) -> list[Any]:
    """What the first menu of upscalers offers."""
    names = [name for name in studio.weights.upscaler_names() if name != "None"]
    return [(label("upscaler_automatic"), AUTOMATIC), *named(names)]


def connect(parts: Restore, studio: Studio, browser: gr.BrowserState) -> None:
    """Wire the tab."""
    looked = results.connect(parts.results, studio, browser)
    _connect_photographs(parts, studio)
    _connect_scale(parts)
    _connect_plan(parts, studio, looked.then)
    _connect_asking(parts, studio, browser)
    _connect_faces(parts, studio, browser)
    form = parts.form

    def keep(values: Values, request: gr.Request) -> None:
        client = client_name(values[browser], request)
        if client and values[parts.shown_plan]:  # what stood here was put back before
            studio.drafts.save(client, TAB, form.read(values))

    draft.save_after_changes(form.components(), parts.autosave)
    wire(
        parts.autosave.click, keep, [*form.components(), parts.shown_plan, browser],
        is_quiet=True, trigger_mode="always_last",
    )  # fmt: skip


def _connect_photographs(parts: Restore, studio: Studio) -> None:
    form = parts.form

    def take(values: Values) -> dict:
        paths = [Path(name) for name in values[parts.drop] or []]
        films = [path for path in paths if is_video(path)]
        pictures = [path for path in paths if not is_video(path)]
        text = add_files(studio, values[form.batch_files], pictures)
        videos = add_videos(studio, values[form.video_files], films)
        return {parts.drop: None, form.batch_files: text, form.video_files: videos}

    def clear(_values: Values) -> dict:
        return {form.batch_files: "[]", form.video_files: "[]"}

    def lay_under(values: Values) -> dict:
        return {
            form.scratch_drawing: drawing_over(studio, values[form.scratch_drawing], values, form)
        }

    def show(values: Values, request: gr.Request) -> dict:
        return show_files(parts, form.read_files(values), language_of(request))

    def show_source(values: Values) -> dict:
        is_folder = values[form.batch_source] == batch.FOLDER
        return {
            parts.uploads: gr.update(visible=not is_folder),
            parts.folders: gr.update(visible=is_folder),
        }

    files = [form.batch_files, form.video_files]
    taken = [parts.drop, *files]
    wire(parts.drop.upload, take, taken, taken)
    wire(parts.clear.click, clear, [], files)
    listed = [parts.listed, parts.clear]
    for field in files:
        wire(field.change, show, files, listed, is_quiet=True, trigger_mode="always_last")
    drawn = [form.batch_files, form.batch_source, form.scratch_drawing]
    wire(form.batch_files.change, lay_under, drawn, [form.scratch_drawing], is_quiet=True)
    source = [parts.uploads, parts.folders]
    wire(form.batch_source.change, show_source, [form.batch_source], source, is_quiet=True)


def add_files(studio: Studio, listed: Any, paths: Sequence[Path]) -> str:
    """The list of photographs with more of them, as a draft keeps it; bad files are told of."""
    kept, bad = batch.keep_uploads(studio, paths)
    show_warnings(bad)
    files = batch.read_uploads(listed)
    known = {(file.key, file.stem) for file in files}
    return batch.write_uploads([*files, *(f for f in kept if (f.key, f.stem) not in known)])


def add_videos(studio: Studio, text: Any, paths: Sequence[Path]) -> str:
    """The list of videos with more of them; bad files are told of."""
    kept, bad = restore_videos.keep_videos(studio, paths)
    show_warnings(bad)
    files = restore_videos.read_videos(text)
    known = {(file.key, file.stem) for file in files}
    new = [file for file in kept if (file.key, file.stem) not in known]
    return restore_videos.write_videos([*files, *new])


def drawing_over(studio: Studio, value: Any, values: Values, form: RestoreForm) -> Any:
    """The canvas for scratches with the single photograph on it, or empty.

    What was drawn over the same photograph stays.
    """
    fields = {"batch_files": values[form.batch_files], "batch_source": values[form.batch_source]}
    key, drawing = photograph_to_draw_on(fields), canvas.read(value)
    if (drawing.picture if drawing else "") == key:
        return gr.skip()
    try:
        return canvas.holding(studio.inputs, key).to_value() if key else ""
    except LibraryError:
        return ""


def show_files(parts: Restore, files: Mapping[str, Any], language: str) -> dict[Any, Any]:
    """Small copies of the photographs that are to be restored, and the videos by name.

    Args:
        files: The fields ``batch_files`` and ``video_files``.
    """
    pictures, films = files["batch_files"], files["video_files"]
    has_any = batch.read_uploads(pictures) or restore_videos.read_videos(films)
    return {
        parts.listed: batch_panel.render(pictures, language)
        + restore_videos.listed(films, language),
        parts.clear: gr.update(visible=bool(has_any)),
    }


def _connect_scale(parts: Restore) -> None:
    """The three sizes and the exact factor say the same thing."""
    form = parts.form

    def choose(values: Values) -> dict:
        return {form.upscaling_resize: values[parts.scale], form.resize_mode: "by"}

    def follow(values: Values) -> dict:
        factor = float(values[form.upscaling_resize] or 1)
        is_usual = values[form.resize_mode] == "by" and factor in SCALES
        return {parts.scale: factor if is_usual else None}

    size = [form.upscaling_resize, form.resize_mode]
    wire(parts.scale.input, choose, [parts.scale], size)
    for trigger in (form.upscaling_resize.change, form.resize_mode.change):
        wire(trigger, follow, size, [parts.scale], is_quiet=True, trigger_mode="always_last")


def _connect_plan(parts: Restore, studio: Studio, after_look: Any) -> None:
    """What will be done is told anew whenever it changes, and when new weights have come.

    Args:
        after_look: The event after each look at the jobs: the one that sees a job's end is the
            last, so what it gives must be read after it.
    """
    form = parts.form

    def tell_plan(values: Values, request: gr.Request) -> dict:
        return present_plan(parts, studio, values, language_of(request))

    def look_again(values: Values, request: gr.Request) -> dict:
        studio.refresh_models()
        return present_plan(parts, studio, values, language_of(request))

    takes = [*form.components(), parts.shown_plan]
    gives = [*parts.plan_gives(), parts.size]
    fields = (
        form.what, form.upscaler_1, form.upscaler_2, form.extras_upscaler_2_visibility,
        form.gfpgan_visibility, form.gfpgan_model, form.restoreformer_visibility,
        form.codeformer_visibility, form.is_aligned, form.video_files, form.batch_source,
    )  # fmt: skip
    for field in fields:
        wire(field.change, tell_plan, takes, gives, is_quiet=True, trigger_mode="always_last")
    wire(after_look, tell_plan, takes, gives, is_quiet=True)
    wire(parts.again.click, look_again, takes, gives)

    def download(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        name = event._data["name"]
        studio.downloads.add_known(name)
        tell("get_begun", request, name=name)
        return present_plan(parts, studio, values, language_of(request))

    wire(parts.plan.act, download, takes, gives)


def present_plan(parts: Restore, studio: Studio, values: Values, language: str) -> dict[Any, Any]:
    """What will be done and what is missing, if that differs from what the page shows."""
    form = parts.form.read(values)
    plan = make_plan(form, studio)
    html = restore_cards.plan_view(plan, studio.settings.folders.models[0], language)
    seen = "\n".join((html, form["what"], *plan.to_fetch, "", *studio.weights.upscaler_names()))
    if seen == values[parts.shown_plan]:
        return {parts.shown_plan: gr.skip()}
    return {
        parts.shown_plan: seen,
        parts.plan: html,
        parts.get: gr.update(
            visible=bool(plan.wanted),
            value=say("needs_get", language, size=plan.fetch_megabytes)
            if plan.to_fetch
            else say("needs_getting", language),
            interactive=bool(plan.to_fetch),
        ),
        parts.again: gr.update(visible=bool(plan.missing or plan.programs or plan.on_the_way)),
        parts.go: gr.update(interactive=not plan.programs),
        parts.size: gr.update(visible=form["what"] != FACES),
        parts.form.upscaler_1: gr.update(choices=upscaler_choices(studio)),
        parts.form.upscaler_2: gr.update(choices=named(studio.weights.upscaler_names())),
    }


def _connect_asking(parts: Restore, studio: Studio, browser: gr.BrowserState) -> None:
    form, stage = parts.form, parts.results

    def restore(values: Values, request: gr.Request) -> dict:
        language, client = language_of(request), client_name(values[browser], request)
        given = form.read(values)
        wishes, skipped = make_requests(given, studio, language, user=user_of(request))
        if skipped:
            show_warning(say("batch_skipped", language, names="; ".join(skipped)))
        for wish in wishes:
            if not studio.control.replace(wish, client):
                studio.submit(wish, client=client)
        studio.drafts.save(client, TAB, given)
        return {stage.picked: None}

    def get(values: Values, request: gr.Request) -> dict:
        plan: Plan = make_plan(form.read(values), studio)
        if plan.to_fetch:
            wish = make_fetch(plan.to_fetch, user_of(request))
            studio.submit(wish, client=client_name(values[browser], request))
        return {stage.picked: None, **present_plan(parts, studio, values, language_of(request))}

    takes = [*form.components(), browser]
    wire_then_press(stage.wake, parts.go.click, restore, takes, [stage.picked])
    takes, gives = [*takes, parts.shown_plan], [stage.picked, parts.size, *parts.plan_gives()]
    wire_then_press(stage.wake, parts.get.click, get, takes, gives, trigger_mode="once")


def _connect_faces(parts: Restore, studio: Studio, browser: gr.BrowserState) -> None:
    """ "Apply again": the photograph once more, without the faces that were unticked."""
    stage = parts.results

    def again(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        data = event._data
        if data["act"] != "again":
            return {stage.picked: gr.skip()}
        refused = [int(number) for number in data.get("refused", "").split(",") if number]
        language, visitor = language_of(request), visitor_of(values[browser], request)
        job_id, image = int(data["job"]), int(data["image"])
        submit_again(studio, job_id, image, refused, visitor, language)
        return {stage.picked: None}

    wire_then_press(stage.wake, stage.stage.act, again, [browser], [stage.picked])


def submit_again(
    studio: Studio, job_id: int, image: int, refused: Sequence[int], visitor: Any, language: str
) -> None:
    """Ask for a photograph of a job once more.

    Args:
        refused: Numbers of the faces that shall stay as they were.
        visitor: Who asks.
    Raises:
        JobError: The job is another person's, is none of photographs, or nothing would change.
    """
    job = studio.jobs.get(job_id)
    if not visitor.owns(job.client, job.user):
        raise JobError("This job belongs to another person.", "Only they can change it.")
    params = studio.params_of(job)
    if not isinstance(params, Extras):
        raise JobError(say("faces_gone", language))
    faces = [face for face in studio.faces.of(job_id) if face.image == image]
    if {face.number for face in faces if not face.is_pasted} == set(refused):
        raise JobError(say("faces_unchanged", language))
    studio.submit(refuse(params, image, refused, visitor.user), client=visitor.client)


def present(
    parts: Restore, studio: Studio, client: str, values: Values, language: str
) -> dict[Any, Any]:
    """What a page that opens shows: the fields as they were left, and the plan."""
    kept = studio.drafts.load(client, TAB)
    form = {**DEFAULTS, "what": first_choice(studio), **kept}
    form = {name: form[name] for name in DEFAULTS}
    by_name = parts.form.by_name()
    values = {**values, **{by_name[name]: value for name, value in form.items()}}
    values[parts.shown_plan] = ""
    plan = present_plan(parts, studio, values, language)
    changes = {by_name[name]: value for name, value in form.items()}
    for menu in (parts.form.upscaler_1, parts.form.upscaler_2):
        plan[menu] = {**plan[menu], "value": changes[menu]}
    return {**changes, **plan, **show_files(parts, form, language)}


def presents(parts: Restore) -> list[Any]:
    """What ``present`` changes."""
    rest = (parts.size, parts.listed, parts.clear)
    return list(dict.fromkeys((*parts.form.components(), *parts.plan_gives(), *rest)))


def send_target(parts: Restore, tabs: gr.Tabs, studio: Studio) -> SendTarget:
    """A picture that is sent here is the only one to restore."""
    form = parts.form

    def send(sent: Sent, request: gr.Request) -> dict[Any, Any]:
        file = batch.BatchFile(sent.keep(studio), sent.path.stem, sent.infotext)
        tell("sent_restore", request)
        return {
            form.batch_files: batch.write_uploads([file]),
            form.video_files: DEFAULTS["video_files"],
            form.batch_source: DEFAULTS["batch_source"],
            tabs: gr.Tabs(selected=TAB),
        }

    return SendTarget(TAB, [form.batch_files, form.video_files, form.batch_source, tabs], send)
