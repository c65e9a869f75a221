"""The pictures of the Train tab: words, a look over them, faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from webui.services.remedies import DETECTOR
from webui.training.dataset_doctor import examine
from webui.training.dataset_plan import make_plan
from webui.ui import cards, train_faces, train_view, train_words
from webui.ui.session import user_of, visitor_of
from webui.ui.texts import language_of, say
from webui.ui.train_foretell import foretell, show_pictures
from webui.ui.train_form import choice, sets_of
from webui.ui.train_parts import Train
from webui.ui.wiring import Values, tell, wire

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.studio import Studio


def connect(parts: Train, studio: Studio, browser: gr.BrowserState) -> None:
    """Wire everything about pictures but dropping them."""
    _connect_pictures(parts, studio)
    _connect_words(parts, studio, browser)
    _connect_faces(parts, studio, browser)


def _connect_pictures(parts: Train, studio: Studio) -> None:
    form = parts.form

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
        if data["act"] == "take-out-chosen":
            gone = sets.take_out(name, train_words.ticked(data) or ())
            tell("train_taken", request, count=gone)
        if data["act"] == "remove-set":
            sets.remove(name)
            names = sets.names()
            first = next(iter(names), None)
            now = {**form.read(values), "set_name": first, "word": first or ""}
            return {
                form.set_name: gr.update(choices=names, value=first),
                form.word: now["word"],
                **show_pictures(parts, studio, now, request),
            }
        return show_pictures(parts, studio, form.read(values), request)

    def look(values: Values, request: gr.Request) -> dict:
        language, user = language_of(request), user_of(request)
        chosen = choice(form.read(values), studio, sets_of(studio, user))
        report = examine(make_plan(chosen.options, goes_on=True))
        pictures = sets_of(studio, user).pictures(chosen.set_name) if chosen.set_name else []
        return {
            parts.pictures: train_view.set_view(chosen.set_name, pictures, report, language),
            parts.report: train_view.report_view(report, language, chosen.set_name),
        }

    shown = [parts.pictures, parts.report, *parts.foretells()]
    wire(parts.pictures.act, act, form.components(), [form.set_name, form.word, *shown])
    wire(parts.look.click, look, form.components(), shown)


def _connect_words(parts: Train, studio: Studio, browser: gr.BrowserState) -> None:
    form, words = parts.form, parts.words

    def act(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        sets, name, data = sets_of(studio, user_of(request)), values[form.set_name], event._data
        if data["act"] == "tags":
            return told(train_words.change_tags(sets, name, data), values, request)
        visitor = visitor_of(values[browser], request)
        word = (values[form.word] or name or "").strip()
        job = train_words.ask(
            studio, sets, name, data, word, client=visitor.client, user=visitor.user
        )
        return {words.job: job.id, **state(job, request)}

    def from_names(values: Values, request: gr.Request) -> dict:
        sets, name = sets_of(studio, user_of(request)), values[form.set_name]
        count = sets.caption_from_names(name, values[form.word] or name)
        return told(count, values, request)

    def told(count: int, values: Values, request: gr.Request) -> dict:
        tell("train_changed" if count else "train_unchanged", request, count=count)
        return show_pictures(parts, studio, form.read(values), request)

    def state(job: Job | None, request: gr.Request) -> dict:
        html = train_words.progress_view(studio, job, language_of(request))
        is_at_work = job is not None and not job.is_finished
        return {words.shown: html, words.timer: gr.Timer(active=is_at_work)}

    def tick(values: Values, request: gr.Request) -> dict:
        job = train_faces.find_job(studio, values[words.job])
        changes = state(job, request)
        if job is not None and job.is_finished:
            changes |= show_pictures(parts, studio, form.read(values), request)
        return changes

    def stop(values: Values, request: gr.Request) -> dict:
        job = train_faces.find_job(studio, values[words.job])
        if job is not None and visitor_of(values[browser], request).may_change(job):
            studio.control.cancel(job.id)
        return {}

    takes, looks = [words.job, browser, *form.components()], [words.shown, words.timer]
    shown = [parts.pictures, parts.report, *parts.foretells()]
    wire(words.tools.act, act, takes, [words.job, *looks, *shown])
    wire(words.from_names.click, from_names, form.components(), shown)
    wire(words.timer.tick, tick, takes, [*looks, *shown], is_quiet=True, trigger_mode="always_last")
    wire(words.shown.act, stop, takes, [words.shown])


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
        if not studio.weights.face_detectors():
            language = language_of(request)
            button = cards.open_tab("models", DETECTOR, language)
            return {faces.shown: cards.note(say("faces_missing", language)) + button}
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
