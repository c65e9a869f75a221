"""The Train tab: photographs in, a LoRA out; simple for beginners, every option for experts.

What it shows is made when it is opened and when something in it changes; a page that never opens it
carries only the empty components.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import DatasetError, JobError, ParamsError
from webui.training.checks import find_problems
from webui.training.dataset_doctor import examine
from webui.training.dataset_plan import make_plan
from webui.trainings import family_of, foresee
from webui.ui import cards, train_faces, train_stage, train_use, train_view
from webui.ui.session import Visitor, client_name, user_of, visitor_of
from webui.ui.texts import language_of, say
from webui.ui.train_form import (
    DEFAULTS,
    EXPERT,
    TAB,
    Choice,
    changes_from,
    checkpoint_of,
    choice,
    make_request,
    read_changes,
    sets_of,
    toml_of,
    trainable,
    usual_memory,
    with_option,
)
from webui.ui.train_parts import Train, draw
from webui.ui.wiring import Values, show_info, show_warning, tell, wire

if TYPE_CHECKING:
    from webui.studio import Studio

__all__ = ["Train", "connect", "draw", "left", "opened"]


def connect(parts: Train, studio: Studio, browser: gr.BrowserState) -> None:
    """Wire the tab."""
    _connect_form(parts, studio, browser)
    _connect_pictures(parts, studio)
    _connect_faces(parts, studio, browser)
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
            html = _options_html(studio, form.read(values), user, language_of(request))
        return {parts.expert: gr.update(visible=is_expert), parts.options: html}

    def show_set(values: Values, request: gr.Request) -> dict:
        return show_pictures(parts, studio, form.read(values), request)

    def take(values: Values, request: gr.Request) -> dict:
        if not (values[form.word] or values[form.set_name] or "").strip():
            raise ParamsError(say("train_word_needed", language_of(request)), field="word")
        sets = sets_of(studio, user_of(request))
        name = sets.make(values[form.word] or values[form.set_name] or "")
        told = sets.add(name, [Path(file) for file in values[parts.drop] or []])
        for sentence in told.bad:
            show_warning(sentence)
        if told.pictures:
            tell("train_added", request, count=told.pictures)
        now = {**form.read(values), "set_name": name, "word": values[form.word] or name}
        return {
            parts.drop: None,
            form.set_name: gr.update(choices=sets.names(), value=name),
            form.word: now["word"],
            **show_pictures(parts, studio, now, request),
        }

    takes = [*form.components(), browser]
    for field in form.components():
        wire(field.change, changed, takes, parts.foretells(), is_quiet=True,
             trigger_mode="always_last")  # fmt: skip
    wire(form.view.change, show_view, form.components(), [parts.expert, parts.options])
    shown = [parts.pictures, parts.report, *parts.foretells()]
    wire(form.set_name.change, show_set, form.components(), shown)
    wire(
        parts.drop.upload, take, [parts.drop, *form.components()],
        [parts.drop, form.set_name, form.word, *shown],
    )  # fmt: skip


def foretell(
    parts: Train, studio: Studio, form: Mapping[str, Any], user: str, language: str
) -> dict[Any, Any]:
    """Steps, time, memory and what is in the way; the options as a file."""
    try:
        chosen = choice(form, studio, sets_of(studio, user))
    except ParamsError as err:
        return {
            parts.plan: train_view.problem_view([str(err)], language),
            parts.toml: gr.skip(),
            parts.toml_link: gr.skip(),
        }
    text = toml_of(chosen)
    link = train_view.toml_link(text, chosen.options.output_name, language)
    return {
        parts.plan: _plan(studio, form, chosen, language),
        parts.toml: text,
        parts.toml_link: link,
    }


def _plan(studio: Studio, form: Mapping[str, Any], chosen: Choice, language: str) -> str:
    options = chosen.options
    record = checkpoint_of(form, studio)
    device = str(studio.worker_facts.get("device", studio.settings.device or "cpu"))
    found = find_problems(
        options, family=family_of(studio, record), device=device.partition(":")[0]
    )
    errors = [problem.message for problem in found if problem.is_error]
    warnings = [*chosen.notices, *(p.message for p in found if not p.is_error)]
    if not (options.train_data_dir or options.in_json or options.dataset_config):
        return train_view.problem_view(errors, language) if errors else ""
    try:
        foresight = foresee(studio, options)
    except (ParamsError, DatasetError) as err:
        return train_view.problem_view([*errors, str(err)], language)
    return train_view.plan_view(foresight, errors, warnings, language)


def show_pictures(
    parts: Train, studio: Studio, form: Mapping[str, Any], request: gr.Request
) -> dict[Any, Any]:
    """The set with its words, and what it comes to; what an earlier look found is gone."""
    user, language = user_of(request), language_of(request)
    return {
        parts.pictures: _pictures_html(studio, form["set_name"], user, language),
        parts.report: "",
        **foretell(parts, studio, form, user, language),
    }


def _pictures_html(studio: Studio, name: str | None, user: str, language: str) -> str:
    sets = sets_of(studio, user)
    if not name or name not in sets.names():
        return cards.note(say("train_set_none", language))
    return train_view.set_view(name, sets.pictures(name), None, language)


def _options_html(studio: Studio, form: Mapping[str, Any], user: str, language: str) -> str:
    try:
        chosen = choice(form, studio, sets_of(studio, user))
    except ParamsError as err:
        return train_view.problem_view([str(err)], language)
    problems = [problem.field for problem in find_problems(chosen.options)]
    return train_view.options_view(
        chosen.options, read_changes(form["changes"]), problems, language
    )


def _connect_pictures(parts: Train, studio: Studio) -> None:
    form, tools = parts.form, parts.tools

    def act(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        sets, name = sets_of(studio, user_of(request)), values[form.set_name]
        data = event._data
        if data["act"] == "caption":
            sets.write_captions(name, {data["name"]: str(data["value"])})
            return foretell(
                parts, studio, form.read(values), user_of(request), language_of(request)
            )
        if data["act"] == "take-out":
            tell("train_taken", request, count=sets.take_out(name, [data["name"]]))
        if data["act"] == "remove-set":
            sets.remove(name)
            names = sets.names()
            now = {**form.read(values), "set_name": next(iter(names), None)}
            return {
                form.set_name: gr.update(choices=names, value=now["set_name"]),
                **show_pictures(parts, studio, now, request),
            }
        return show_pictures(parts, studio, form.read(values), request)

    def apply(values: Values, request: gr.Request) -> dict:
        sets, name = sets_of(studio, user_of(request)), values[form.set_name]
        replaced = values[tools.replace].strip()
        count = sets.change_tags(
            name, add=values[tools.add], remove=values[tools.remove],
            replace=(replaced, values[tools.by]) if replaced else None,
        )  # fmt: skip
        return told(count, request) | {
            tools.add: "", tools.remove: "", tools.replace: "", tools.by: "",
            **show_pictures(parts, studio, form.read(values), request),
        }  # fmt: skip

    def from_names(values: Values, request: gr.Request) -> dict:
        sets, name = sets_of(studio, user_of(request)), values[form.set_name]
        count = sets.caption_from_names(name, values[form.word] or name)
        return told(count, request) | show_pictures(parts, studio, form.read(values), request)

    def told(count: int, request: gr.Request) -> dict:
        tell("train_changed" if count else "train_unchanged", request, count=count)
        return {}

    def look(values: Values, request: gr.Request) -> dict:
        language, user = language_of(request), user_of(request)
        chosen = choice(form.read(values), studio, sets_of(studio, user))
        report = examine(make_plan(chosen.options, goes_on=True))
        pictures = sets_of(studio, user).pictures(chosen.set_name) if chosen.set_name else []
        return {
            parts.pictures: train_view.set_view(chosen.set_name, pictures, report, language),
            parts.report: train_view.report_view(report, language),
        }

    shown = [parts.pictures, parts.report, *parts.foretells()]
    wire(parts.pictures.act, act, form.components(), [form.set_name, *shown])
    fields = [tools.add, tools.remove, tools.replace, tools.by]
    wire(tools.apply.click, apply, [*form.components(), *fields], [*fields, *shown])
    wire(tools.from_names.click, from_names, form.components(), shown)
    wire(parts.look.click, look, form.components(), shown)


def _connect_faces(parts: Train, studio: Studio, browser: gr.BrowserState) -> None:
    form, faces = parts.form, parts.faces

    def show(values: Values, request: gr.Request) -> dict:
        job = train_faces.find_job(studio, values[faces.job])
        sets, name = sets_of(studio, user_of(request)), values[form.set_name]
        pictures = sets.pictures(name) if name in sets.names() else []
        html = train_faces.view(job, name, pictures, language_of(request))
        is_looking = job is not None and not job.is_finished
        return {faces.shown: html, faces.timer: gr.Timer(active=is_looking)}

    def look(values: Values, request: gr.Request) -> dict:
        visitor = visitor_of(values[browser], request)
        if not studio.face_detectors():
            return {faces.shown: cards.note(say("faces_missing", language_of(request)))}
        sets, name = sets_of(studio, visitor.user), values[form.set_name]
        job = train_faces.ask(studio, sets, name, client=visitor.client, user=visitor.user)
        return {faces.job: job.id, **show({**values, faces.job: job.id}, request)}

    def act(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        sets, name = sets_of(studio, user_of(request)), values[form.set_name]
        job = train_faces.find_job(studio, values[faces.job])
        if job is None or name not in sets.names():
            return {faces.shown: ""}
        found = train_faces.suggestions(job, sets.pictures(name))
        if event._data["act"] == "cut":
            found = {file: one for file, one in found.items() if file == event._data["name"]}
        train_faces.cut(sets, name, found)
        return {
            **show(values, request),
            **show_pictures(parts, studio, form.read(values), request),
        }

    takes, looks = [faces.job, browser, *form.components()], [faces.shown, faces.timer]
    shown = [parts.pictures, parts.report, *parts.foretells()]
    wire(faces.look.click, look, takes, [faces.job, *looks])
    wire(faces.timer.tick, show, takes, looks, is_quiet=True, trigger_mode="always_last")
    wire(faces.shown.act, act, takes, [*looks, *shown])


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
        for sentence in notices:
            show_warning(sentence)
        show_info(say("toml_used", language_of(request)))
        now = {**form.read(values), "changes": changes}
        html = _options_html(studio, now, user_of(request), language_of(request))
        return {form.changes: changes, parts.options: html}

    def apply(values: Values, request: gr.Request) -> dict:
        return use(values[parts.toml], values, request)

    def load(values: Values, request: gr.Request) -> dict:
        path = Path(values[parts.toml_load])
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as err:
            raise ParamsError(f'"{path.name}" cannot be read as text: {err}.') from err
        return use(text, values, request)

    def reset(values: Values, request: gr.Request) -> dict:
        now = {**form.read(values), "changes": "{}"}
        html = _options_html(studio, now, user_of(request), language_of(request))
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
        return _stage(parts, studio, values, browser, request)

    def act(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        visitor, data = visitor_of(values[browser], request), event._data
        job_id = int(data["job"])
        changes = do(parts, studio, str(data["act"]), job_id, data, visitor, request)
        now = {**values, **{k: v for k, v in changes.items() if k is parts.picked}}
        return {**changes, **_stage(parts, studio, now, browser, request)}

    looks = [parts.stage, parts.timer]
    takes = [browser, parts.picked]
    wire(parts.go.click, go, [*form.components(), *takes], [parts.picked, *looks])
    wire(parts.timer.tick, tick, takes, looks, is_quiet=True, trigger_mode="always_last")
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
        studio.pause_job(job_id)
    elif deed == "resume":
        studio.resume_job(job_id)
    elif deed == "stop":
        studio.cancel(job_id)
    elif deed == "show":
        return {parts.picked: job_id}
    elif deed == "use":
        name = train_use.use_file(studio, job, int(data["number"]), language_of(request))
        tell("run_used", request, name=name)
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
    return {
        parts.stage: html,
        parts.timer: gr.Timer(active=train_stage.is_active(studio, visitor)),
    }


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
    form["memory"] = form["memory"] or usual_memory(studio)
    is_expert = form["view"] == EXPERT
    fields = parts.form
    return {
        **{getattr(fields, name): value for name, value in form.items()},
        fields.set_name: gr.update(choices=names, value=form["set_name"]),
        fields.checkpoint: gr.update(choices=checkpoints, value=form["checkpoint"]),
        parts.pictures: _pictures_html(studio, form["set_name"], user, language),
        parts.expert: gr.update(visible=is_expert),
        parts.options: _options_html(studio, form, user, language) if is_expert else "",
        **foretell(parts, studio, form, user, language),
        **_stage(parts, studio, values, browser, request),
    }


def left(parts: Train) -> dict[Any, Any]:
    """Another tab is shown: looking rests."""
    return {parts.timer: gr.Timer(active=False)}
