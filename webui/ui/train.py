"""The Train tab: photographs in, a LoRA out; simple for beginners, every option for experts.

What it shows is made when it is opened and when something in it changes; a page that never opens it
carries only the empty components.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import JobError, ParamsError
from webui.services.training.trainings import go_on
from webui.training.dataset_plan import make_plan
from webui.training.written import read_text
from webui.ui import train_pictures, train_stage, train_use, train_words
from webui.ui.session import Visitor, client_name, user_of, visitor_of
from webui.ui.texts import language_of, say
from webui.ui.train_foretell import (
    class_field,
    foretell,
    options_html,
    pictures_html,
    show_pictures,
)
from webui.ui.train_form import (
    DEFAULTS,
    EXPERT,
    TAB,
    changes_from,
    checkpoint_of,
    choice,
    make_request,
    sets_of,
    trainable,
    usual_memory,
    with_option,
)
from webui.ui.train_parts import Train, draw
from webui.ui.wiring import Values, show_info, show_warning, show_warnings, tell, wire

if TYPE_CHECKING:
    from webui.studio import Studio

__all__ = ["Train", "connect", "draw", "left", "opened"]


def connect(parts: Train, studio: Studio, browser: gr.BrowserState) -> None:
    """Wire the tab."""
    _connect_form(parts, studio, browser)
    train_pictures.connect(parts, studio, browser)
    _connect_expert(parts, studio)
    _connect_stage(parts, studio, browser)


def _connect_form(parts: Train, studio: Studio, browser: gr.BrowserState) -> None:
    form = parts.form

    def changed(values: Values, request: gr.Request) -> dict:
        language, user = language_of(request), user_of(request)
        client = client_name(values[browser], request)
        if client:
            studio.drafts.save(client, TAB, form.read(values))
        return foretell(parts, studio, form.read(values), user, language)

    def show_view(values: Values, request: gr.Request) -> dict:
        is_expert = values[form.view] == EXPERT
        html = ""
        if is_expert:
            user = user_of(request)
            html = options_html(studio, form.read(values), user, language_of(request))
        return {parts.expert: gr.update(visible=is_expert), parts.options: html}

    def show_set(values: Values, request: gr.Request) -> dict:
        now = form.read(values)
        names = sets_of(studio, user_of(request)).names()
        return {
            form.class_set: class_field(
                names, now["set_name"], now["class_set"], language_of(request)
            ),
            parts.faces.shown: "", parts.faces.job: None,
            parts.words.shown: "", parts.words.job: None,
            **show_pictures(parts, studio, now, request),
        }  # fmt: skip

    def choose_set(values: Values) -> dict:
        return {form.word: values[form.set_name] or ""}

    def take_named(values: Values, request: gr.Request) -> dict | Any:
        is_waited_for = values[parts.drop] and (values[form.word] or "").strip()
        return take(values, request) if is_waited_for else gr.skip()

    def take(values: Values, request: gr.Request) -> dict:
        if not (values[form.word] or values[form.set_name] or "").strip():
            raise ParamsError(say("train_word_needed", language_of(request)), field="word")
        sets = sets_of(studio, user_of(request))
        name = sets.make(values[form.word] or values[form.set_name] or "")
        told = sets.add(name, [Path(file) for file in values[parts.drop] or []])
        show_warnings(told.bad)
        if told.pictures:
            tell("train_added", request, count=told.pictures)
        now = {**form.read(values), "set_name": name, "word": values[form.word] or name}
        now["changes"] = _with_repeats(now["changes"], told.repeats, request)
        return {
            parts.drop: None,
            form.changes: now["changes"],
            form.set_name: gr.update(choices=sets.names(), value=name),
            form.class_set: class_field(sets.names(), name, now["class_set"], language_of(request)),
            form.word: now["word"],
            **show_pictures(parts, studio, now, request),
        }

    takes = [*form.components(), browser]
    for field in form.components():
        wire(field.change, changed, takes, parts.foretells(), is_quiet=True,
             trigger_mode="always_last")  # fmt: skip
    wire(form.view.change, show_view, form.components(), [parts.expert, parts.options])
    shown = [parts.pictures, parts.report, *parts.foretells()]
    looked = [parts.faces.shown, parts.faces.job, parts.words.shown, parts.words.job]
    wire(form.set_name.change, show_set, form.components(), [form.class_set, *shown, *looked])
    wire(form.set_name.input, choose_set, [form.set_name], [form.word])
    dropped = [parts.drop, *form.components()]
    taken = [parts.drop, form.set_name, form.class_set, form.word, form.changes, *shown]
    wire(parts.drop.upload, take, dropped, taken)
    wire(form.word.blur, take_named, dropped, taken)
    wire(form.word.submit, take_named, dropped, taken)


def _with_repeats(changes: str, repeats: Collection[int], request: gr.Request) -> str:
    """The options with the repeats that an archive's folders ask for, when they agree."""
    if not repeats:
        return changes
    named = ", ".join(map(str, sorted(repeats)))
    if len(repeats) > 1:
        show_warning(say("train_repeats_differ", language_of(request), repeats=named))
        return changes
    tell("train_repeats", request, repeats=named)
    return with_option(changes, "repeats", named)


def _connect_expert(parts: Train, studio: Studio) -> None:
    form = parts.form

    def set_option(values: Values, event: gr.EventData) -> dict:
        data = event._data
        if data.get("act") != "option":
            return {form.changes: gr.skip()}
        text = with_option(values[form.changes], str(data["name"]), str(data["value"]))
        return {form.changes: text}

    def use(text: str, values: Values, request: gr.Request) -> dict:
        changes, notices = changes_from(text, studio.settings)
        show_warnings(notices)
        show_info(say("toml_used", language_of(request)))
        now = {**form.read(values), "changes": changes}
        html = options_html(studio, now, user_of(request), language_of(request))
        return {form.changes: changes, parts.options: html}

    def apply(values: Values, request: gr.Request) -> dict:
        return use(values[parts.toml], values, request)

    def load(values: Values, request: gr.Request) -> dict:
        return use(read_text(Path(values[parts.toml_load]), "toml"), values, request)

    def reset(values: Values, request: gr.Request) -> dict:
        now = {**form.read(values), "changes": "{}"}
        html = options_html(studio, now, user_of(request), language_of(request))
        return {form.changes: "{}", parts.options: html}

    gives = [form.changes, parts.options]
    wire(parts.options.act, set_option, [form.changes], [form.changes])
    wire(parts.toml_apply.click, apply, [parts.toml, *form.components()], gives)
    wire(parts.toml_load.upload, load, [parts.toml_load, *form.components()], gives)
    wire(parts.reset.click, reset, form.components(), gives)


def _connect_stage(parts: Train, studio: Studio, browser: gr.BrowserState) -> None:
    form = parts.form

    def go(values: Values, request: gr.Request) -> dict:
        language, user = language_of(request), user_of(request)
        chosen = choice(form.read(values), studio, sets_of(studio, user))
        params = make_request(chosen, studio, user, language)
        make_plan(params.options, seed=params.options.seed or 0)  # what is wrong is said now
        job = studio.submit(params, client=client_name(values[browser], request))
        tell("train_waiting", request)
        now = {**values, parts.picked: job.id}
        return {parts.picked: job.id, **_stage(parts, studio, now, browser, request)}

    def tick(values: Values, request: gr.Request) -> dict:
        changes = _stage(parts, studio, values, browser, request)
        if values[parts.waits] and not _is_beginning(studio):
            now = form.read(values)
            now["memory"] = now["memory"] or usual_memory(studio)
            told = foretell(parts, studio, now, user_of(request), language_of(request))
            changes |= {**told, form.memory: now["memory"], parts.waits: False}
        return changes

    def act(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        visitor, data = visitor_of(values[browser], request), event._data
        job_id = int(data["job"])
        changes = do(parts, studio, str(data["act"]), job_id, data, visitor, request)
        now = {**values, **{k: v for k, v in changes.items() if k is parts.picked}}
        return {**changes, **_stage(parts, studio, now, browser, request)}

    looks = [parts.stage, parts.timer]
    takes = [browser, parts.picked]
    wire(parts.go.click, go, [*form.components(), *takes], [parts.picked, *looks])
    ticked = [*looks, *parts.foretells(), form.memory, parts.waits]
    asked = [*form.components(), *takes, parts.waits]
    wire(parts.timer.tick, tick, asked, ticked, is_quiet=True, trigger_mode="always_last")
    wire(parts.stage.act, act, takes, [parts.picked, form.changes, form.word, *looks])


def do(
    parts: Train,
    studio: Studio,
    deed: str,
    job_id: int,
    data: Mapping[str, Any],
    visitor: Visitor,
    request: gr.Request,
) -> dict[Any, Any]:
    """What a button of a training asks.

    Raises:
        JobError: It is another login's, or in another state by now.
    """
    job = studio.jobs.get(job_id)
    if not visitor.may_change(job):
        raise JobError(f"Training {job_id} was not found.")
    if deed == "pause":
        studio.control.pause_job(job_id)
    elif deed == "resume":
        studio.control.resume_job(job_id)
    elif deed == "stop":
        studio.control.cancel(job_id)
    elif deed == "sample":
        studio.control.sample(job_id)
        tell("run_sample_asked", request)
    elif deed == "show":
        return {parts.picked: job_id}
    elif deed == "use":
        name = train_use.use_file(studio, job, int(data["number"]), language_of(request))
        tell("run_used", request, name=name)
    elif deed == "go-on":
        return {parts.picked: go_on(studio, job, client=visitor.client).id}
    elif deed == "again":
        params = studio.params_of(job)
        kept = train_use.options_again(params)
        return {parts.form.changes: json.dumps(kept, ensure_ascii=False)}
    return {}


def _stage(
    parts: Train, studio: Studio, values: Values, browser: gr.BrowserState, request: gr.Request
) -> dict[Any, Any]:
    visitor = visitor_of(values[browser], request)
    language = language_of(request)
    html = train_stage.render(studio, visitor, values[parts.picked], language)
    is_active = train_stage.is_active(studio, visitor) or _is_beginning(studio)
    return {parts.stage: html, parts.timer: gr.Timer(active=is_active)}


def _is_beginning(studio: Studio) -> bool:
    """Whether the model process will soon tell what it runs on, and how fast that is."""
    return studio.supervisor.worker_state == "starting"


def opened(
    parts: Train, studio: Studio, values: Values, browser: gr.BrowserState, request: gr.Request
) -> dict[Any, Any]:
    """The tab comes into sight: everything as it is now, and the fields as they were left."""
    user, language = user_of(request), language_of(request)
    client = client_name(values[browser], request)
    form = {**DEFAULTS, **((studio.drafts.load(client, TAB) if client else None) or {})}
    form = {name: form[name] for name in DEFAULTS}
    names = sets_of(studio, user).names()
    if form["set_name"] not in names:
        form["set_name"] = next(iter(names), None)
    checkpoints = [record.name for record in trainable(studio)]
    record = checkpoint_of(form, studio)
    form["checkpoint"] = record.name if record else None
    # before the model process has told what it runs on, nothing is ticked
    form["memory"] = form["memory"] or (usual_memory(studio) if studio.worker_facts else None)
    form["word"] = form["word"] or form["set_name"] or ""
    is_expert = form["view"] == EXPERT
    fields = parts.form
    return {
        **{getattr(fields, name): value for name, value in form.items()},
        fields.set_name: gr.update(choices=names, value=form["set_name"]),
        fields.class_set: class_field(names, form["set_name"], form["class_set"], language),
        fields.checkpoint: gr.update(choices=checkpoints, value=form["checkpoint"]),
        parts.pictures: pictures_html(studio, form["set_name"], user, language),
        parts.words.tools: train_words.tools_view(studio, language),
        parts.expert: gr.update(visible=is_expert),
        parts.options: options_html(studio, form, user, language) if is_expert else "",
        **foretell(parts, studio, form, user, language),
        **_stage(parts, studio, values, browser, request),
        parts.waits: _is_beginning(studio),
    }


def left(parts: Train) -> dict[Any, Any]:
    """Another tab is shown: looking rests."""
    return {parts.timer: gr.Timer(active=False)}
