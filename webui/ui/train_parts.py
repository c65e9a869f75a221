"""The components of the Train tab."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.training.presets import MEMORIES, SUBJECTS
from webui.ui import cards
from webui.ui.painting_tab import FieldMaker
from webui.ui.texts import label, say
from webui.ui.train_form import DEFAULTS, EXPERT, SIMPLE, TAB
from webui.ui.train_view import MOUNT_JS
from webui.ui.wiring import Values

if TYPE_CHECKING:
    from webui.studio import Studio

_FIELDS = FieldMaker(TAB, DEFAULTS)
TICK_SECONDS = 2.0
KNOWN_FILES = ["image", ".txt", ".caption", ".avif", ".jxl", ".zip"]


@dataclass(frozen=True)
class TrainForm:
    """Components under the names of ``train_form.DEFAULTS``."""

    view: gr.Radio
    set_name: gr.Dropdown
    word: gr.Textbox
    subject: gr.Radio
    class_set: gr.Dropdown
    memory: gr.Radio
    checkpoint: gr.Dropdown
    changes: gr.Textbox

    def components(self) -> list[Any]:
        """Every component."""
        return [getattr(self, field.name) for field in dataclasses.fields(self)]

    def read(self, values: Values) -> dict[str, Any]:
        """What the fields hold, by name."""
        return {f.name: values[getattr(self, f.name)] for f in dataclasses.fields(self)}


@dataclass(frozen=True)
class Words:
    """Changing the words of many pictures.

    Attributes:
        tools: Fields and buttons. from_names: Words out of file names.
        shown: How far a look at the pictures is. job: The job that looks. timer: Looks after it.
    """

    tools: gr.HTML
    from_names: gr.Button
    shown: gr.HTML
    job: gr.State
    timer: gr.Timer


@dataclass(frozen=True)
class Faces:
    """A look for faces.

    Attributes:
        job: The job that looks. timer: Looks after it while it runs.
    """

    look: gr.Button
    shown: gr.HTML
    job: gr.State
    timer: gr.Timer


@dataclass(frozen=True)
class Train:
    """The tab's components.

    Attributes:
        drop: Takes photographs. plan: What a training would come to.
        pictures: The set, to edit. report: What a look over it came to. look: Does one.
        words: For captions. expert: A fold that is open or not.
        options: All options to edit. toml: They as text.
        stage: Trainings. timer: Looks while one runs. picked: The training the person chose.
        waits: The model process has not told yet what it runs on.
    """

    form: TrainForm
    drop: gr.File
    plan: gr.HTML
    go: gr.Button
    pictures: gr.HTML
    report: gr.HTML
    look: gr.Button
    words: Words
    faces: Faces
    expert: gr.Column
    options: gr.HTML
    toml: gr.Textbox
    toml_link: gr.HTML
    toml_apply: gr.Button
    toml_load: gr.UploadButton
    reset: gr.Button
    stage: gr.HTML
    timer: gr.Timer
    picked: gr.State
    waits: gr.State

    def foretells(self) -> list[Any]:
        """What every change of the form changes."""
        return [self.plan, self.toml, self.toml_link]

    def gives(self) -> list[Any]:
        """What opening the tab changes."""
        return [
            *self.form.components(), *self.foretells(), self.pictures, self.words.tools,
            self.expert, self.options, self.stage, self.timer, self.waits,
        ]  # fmt: skip

    def takes(self) -> list[Any]:
        """What opening the tab needs."""
        return [self.picked]


def draw(_studio: Studio) -> Train:
    """The wish at the left, trainings at the right, pictures and options between."""
    with gr.Row(elem_classes="dq-studio dq-rst dq-trn"):
        with gr.Column(elem_classes="dq-ask", min_width=0):
            form, drop = _draw_wish()
            plan = gr.HTML("", elem_id=_FIELDS.id("plan"))
            go = gr.Button(
                label("train_go"), variant="primary", size="lg", elem_id=_FIELDS.id("go")
            )
        with gr.Column(elem_classes="dq-form dq-rst-form", min_width=0):
            pictures, report, look, words, faces = _draw_pictures()
            with gr.Column(visible=False, min_width=0, elem_id=_FIELDS.id("expert")) as expert:
                options, rest = _draw_expert()
        with gr.Column(elem_classes="dq-out", min_width=0):
            stage = gr.HTML("", js_on_load=MOUNT_JS, elem_id=_FIELDS.id("stage"))
    return Train(
        form=form, drop=drop, plan=plan, go=go, pictures=pictures, report=report, look=look,
        words=words, faces=faces, expert=expert, options=options, **rest, stage=stage,
        timer=gr.Timer(TICK_SECONDS, active=False), picked=gr.State(None),
        waits=gr.State(False),
    )  # fmt: skip


def _draw_wish() -> tuple[TrainForm, gr.File]:
    """What a beginner chooses."""
    gr.HTML(f'<h2 class="dq-rst-title">{_both("train_title")}</h2>')
    drop = gr.File(
        file_count="multiple", file_types=KNOWN_FILES, label=label("train_drop"), height=150,
        elem_id=_FIELDS.id("drop"), elem_classes="dq-rst-drop",
    )  # fmt: skip
    with gr.Row(elem_classes="dq-tight"):
        word = gr.Textbox(
            "", label=label("train_word"), placeholder=label("train_word_hint"), max_length=80,
            elem_id=_FIELDS.id("word"), scale=3,
        )  # fmt: skip
        set_name = gr.Dropdown(
            [], value=None, label=label("train_set"), elem_id=_FIELDS.id("set"), scale=2,
            allow_custom_value=False, min_width=120,
        )  # fmt: skip
    subject = gr.Radio(
        [(label(f"train_{name}"), name) for name in SUBJECTS], value=DEFAULTS["subject"],
        label=label("train_subject"), elem_id=_FIELDS.id("subject"), elem_classes="dq-big",
    )  # fmt: skip
    class_set = gr.Dropdown(
        [], value=None, label=label("train_class_set"), info=label("train_class_hint"),
        elem_id=_FIELDS.id("class-set"), allow_custom_value=False, visible=False,
    )  # fmt: skip
    memory = gr.Radio(
        [(label(f"train_memory_{name}"), name) for name in MEMORIES], value=None,
        label=label("train_memory"), elem_id=_FIELDS.id("memory"), elem_classes="dq-radio",
    )  # fmt: skip
    with gr.Row(elem_classes="dq-tight"):
        checkpoint = gr.Dropdown(
            [], value=None, label=label("train_checkpoint"), elem_id=_FIELDS.id("checkpoint"),
            scale=3, min_width=260,
        )  # fmt: skip
        view = gr.Radio(
            [(label("train_simple"), SIMPLE), (label("train_expert"), EXPERT)], value=SIMPLE,
            label=label("train_view"), elem_id=_FIELDS.id("view"), elem_classes="dq-radio",
            scale=2, min_width=150,
        )  # fmt: skip
    changes = gr.Textbox("{}", visible="hidden", elem_id=_FIELDS.id("changes"))
    form = TrainForm(view, set_name, word, subject, class_set, memory, checkpoint, changes)
    return form, drop


def _both(key: str) -> str:
    """A text drawn once for all browsers; style.css shows one of the two."""
    english, chinese = (cards.esc(say(key, language)) for language in ("en", "zh"))
    return f'<span lang="en">{english}</span> <span lang="zh">{chinese}</span>'


def _draw_pictures() -> tuple[gr.HTML, gr.HTML, gr.Button, Words, Faces]:
    with gr.Accordion(label("train_words_fold"), open=True, elem_id=_FIELDS.id("words")):
        pictures = gr.HTML("", js_on_load=MOUNT_JS, elem_id=_FIELDS.id("pictures"))
        with gr.Row(elem_classes="dq-tight"):
            look = gr.Button(label("train_look"), size="sm", elem_id=_FIELDS.id("look"))
            find = gr.Button(label("train_faces"), size="sm", elem_id=_FIELDS.id("faces"))
            names = gr.Button(label("train_from_names"), size="sm", elem_id=_FIELDS.id("names"))
        report = gr.HTML("", js_on_load=MOUNT_JS, elem_id=_FIELDS.id("report"))
        shown = gr.HTML("", js_on_load=MOUNT_JS, elem_id=_FIELDS.id("found-faces"))
        tools = gr.HTML("", js_on_load=MOUNT_JS, elem_id=_FIELDS.id("tools"))
        described = gr.HTML("", js_on_load=MOUNT_JS, elem_id=_FIELDS.id("described"))
    faces = Faces(find, shown, gr.State(None), gr.Timer(TICK_SECONDS, active=False))
    words = Words(tools, names, described, gr.State(None), gr.Timer(TICK_SECONDS, active=False))
    return pictures, report, look, words, faces


def _draw_expert() -> tuple[gr.HTML, dict[str, Any]]:
    with gr.Accordion(label("train_options_fold"), open=True, elem_id=_FIELDS.id("all")):
        options = gr.HTML("", js_on_load=MOUNT_JS, elem_id=_FIELDS.id("options"))
        reset = gr.Button(label("train_reset"), size="sm", elem_id=_FIELDS.id("reset"))
    toml = gr.Textbox(
        "", label=label("train_toml"), lines=10, max_lines=24, elem_id=_FIELDS.id("toml"),
        elem_classes="dq-trn-toml",
    )  # fmt: skip
    with gr.Row(elem_classes="dq-tight"):
        apply = gr.Button(label("train_toml_apply"), size="sm", elem_id=_FIELDS.id("toml-apply"))
        load = gr.UploadButton(
            label("train_toml_load"),  # type: ignore[arg-type]
            file_types=[".toml"], size="sm",
            elem_id=_FIELDS.id("toml-load"),
        )  # fmt: skip
        link = gr.HTML("", elem_id=_FIELDS.id("toml-link"))
    return options, {
        "toml": toml, "toml_apply": apply, "toml_load": load, "toml_link": link, "reset": reset,
    }  # fmt: skip
