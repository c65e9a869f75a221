"""The Queue tab: every job that runs, waits or lately ended, and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import WebUIError
from webui.params import (
    AnyFileTool,
    CaptionPictures,
    Describing,
    ExtensionJob,
    Extras,
    FetchWeights,
    FindFaces,
    ImageToImage,
    Interrogate,
    MakeMap,
    Plot,
    Repairs,
    RestoreVideo,
    TextToImage,
    TrainLora,
)
from webui.roles import is_guest
from webui.services.costs.queue_times import QueueTimes, queue_times
from webui.services.follow_ups import input_of
from webui.ui import cards, plots, queue_deeds
from webui.ui.cards import JobLine
from webui.ui.follow import cells_told, thumb_url
from webui.ui.models_tools_view import tool_title
from webui.ui.results import cancel, retry
from webui.ui.said import in_language
from webui.ui.session import Visitor, visitor_of
from webui.ui.texts import label, language_of, say
from webui.ui.wiring import Values, tell, wire, wire_then_press

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.studio import JobView, Studio
    from webui.ui.painting_tab import PaintingTab
    from webui.ui.restore import Restore

TICK_SECONDS = 1.0
FINISHED_SHOWN = 12
FINISHED_LOOKED_AT = 100
TITLE_CHARACTERS = 120


@dataclass(frozen=True)
class QueueTab:
    """The tab's components; ``html`` remembers what is shown, so that only changes are sent."""

    pause: gr.Button
    resume: gr.Button
    jobs: gr.HTML
    timer: gr.Timer
    wake: gr.Button
    html: gr.State

    def gives(self) -> list[Any]:
        """Everything a look may change."""
        return [self.pause, self.resume, self.jobs, self.html]


def draw(_studio: Studio) -> QueueTab:
    """The list and its two switches."""
    with gr.Column(elem_classes="dq-page"):
        with gr.Row(elem_classes="dq-tight"):
            pause = gr.Button(
                label("queue_pause"), size="sm", scale=0, min_width=130, elem_id="dq-queue-pause"
            )
            resume = gr.Button(
                label("queue_resume"), size="sm", scale=0, min_width=130, visible=False,
                variant="primary", elem_id="dq-queue-resume",
            )  # fmt: skip
        jobs = gr.HTML("", js_on_load=cards.ACTIONS_JS + queue_deeds.DRAG_JS, elem_id="dq-queue")
    timer = gr.Timer(TICK_SECONDS, active=False)
    wake = gr.Button("wake", visible="hidden", elem_id="dq-queue-wake")
    return QueueTab(pause, resume, jobs, timer, wake, gr.State(""))


def connect(parts: QueueTab, studio: Studio, browser: gr.BrowserState) -> None:
    """The timer runs only while the tab is open (page.py switches it)."""

    def tick(values: Values, request: gr.Request) -> dict:
        return refresh(parts, studio, values, browser, request)

    def on_act(values: Values, event: gr.EventData, request: gr.Request) -> None:
        visitor, data = visitor_of(values[browser], request), event._data
        if is_guest(visitor.user) and data["act"] not in queue_deeds.GUEST_ACTS:
            raise WebUIError(say("owner_only", language_of(request)))
        if data["act"] == "drop":
            queue_deeds.drop(studio, int(data["job"]), data["before"], visitor)
        else:
            act(studio, data["act"], int(data["job"]), visitor)

    def pause(values: Values) -> None:
        studio.supervisor.pause()

    def resume(values: Values) -> None:
        studio.supervisor.resume()

    looks = partial(gr.on, [parts.timer.tick, parts.wake.click])
    takes = [browser, parts.html]
    wire(
        looks,
        tick,
        takes,
        parts.gives(),
        is_quiet=True,
        trigger_mode="always_last",
        for_guests=True,
    )
    wire_then_press(parts.wake, parts.jobs.act, on_act, [browser], for_guests=True)
    wire_then_press(parts.wake, parts.pause.click, pause)
    wire_then_press(parts.wake, parts.resume.click, resume)


def connect_editing(
    parts: QueueTab, studio: Studio, browser: gr.BrowserState, tabs: gr.Tabs,
    painting: Sequence[PaintingTab], restoring: Restore | None = None,
) -> None:  # fmt: skip
    """A waiting job that is edited stands in the form of its tab."""
    forms = {each.tab: each.form for each in painting}

    def on_act(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        if event._data["act"] != "edit":
            return {tabs: gr.skip()}
        visitor = visitor_of(values[browser], request)
        tab, given = queue_deeds.edit(studio, int(event._data["job"]), visitor)
        tell("queue_edited", request)
        if tab not in forms:
            assert restoring is not None
            return {**restoring.form.write(given), tabs: gr.Tabs(selected=tab)}
        chips = given["overrides"]
        return {
            **forms[tab].write(given),
            forms[tab].overrides: gr.update(value=chips, choices=chips, visible=bool(chips)),
            tabs: gr.Tabs(selected=tab),
        }

    fields = [field for form in forms.values() for field in form.components()]
    fields += restoring.form.components() if restoring else []
    wire(parts.jobs.act, on_act, [browser], [tabs, *fields], for_guests=True)


def act(studio: Studio, deed: str, job_id: int, visitor: Visitor) -> None:
    """Do what a button of a job asks.

    Raises:
        JobError: The job has changed its state meanwhile, or is not the visitor's to change.
    """
    if deed == "cancel":
        cancel(studio, job_id, visitor)
    elif deed in ("retry", "repeat"):
        retry(studio, job_id, visitor)
    elif deed in queue_deeds.DEEDS:
        queue_deeds.change(studio, job_id, deed, visitor)
    elif deed in ("up", "down", "top") and visitor.may_change(studio.jobs.get(job_id)):
        move(studio, job_id, deed)


def move(studio: Studio, job_id: int, where: str) -> None:
    """Move a waiting job one place up or down, or to the front."""
    order = [job.id for job in studio.jobs.waiting() if job.parent is None]
    if job_id not in order:
        return
    place = order.index(job_id)
    if where == "down":
        after = order[place + 2] if place + 2 < len(order) else None
        studio.jobs.move(job_id, after)
    elif place > 0:
        studio.jobs.move(job_id, order[0 if where == "top" else place - 1])


def refresh(
    parts: QueueTab, studio: Studio, values: Values, browser: gr.BrowserState, request: gr.Request
) -> dict[Any, Any]:
    """The list as it is now, if it differs from what the page shows."""
    visitor = visitor_of(values[browser], request)
    html = studio.guests.told(visitor.user, render(studio, visitor, language_of(request)))
    if html == values[parts.html]:
        return {parts.html: gr.skip()}
    is_paused, may_pause = studio.supervisor.is_paused, not is_guest(visitor.user)
    return {
        parts.html: html,
        parts.jobs: gr.update(value=html),
        parts.pause: gr.update(visible=may_pause and not is_paused),
        parts.resume: gr.update(visible=may_pause and is_paused),
    }


def render(studio: Studio, visitor: Visitor, language: str) -> str:
    """Running and waiting jobs, then the visitor's own that ended last.

    Of other people's jobs only place, progress and amount are told.
    """
    views = studio.queue()
    waiting = [view.job.id for view in views if view.job.state == "queued"]
    times = queue_times(studio.jobs, studio.live, studio.estimates)
    lines = [_line(studio, view, visitor, language, waiting, times) for view in views]
    lately = studio.jobs.list(
        states=("done", "failed", "cancelled"), limit=FINISHED_LOOKED_AT, has_parts=False
    )
    own = [job for job in lately if visitor.owns(job.client, job.user)][:FINISHED_SHOWN]
    ended = [_line(studio, studio.view(job.id), visitor, language, waiting, times) for job in own]
    parts = [cards.heading(say("queue_running", language))]
    if studio.supervisor.is_paused:
        parts.append(cards.note(say("queue_paused_note", language)))
    if times.total and len(lines) > 1:
        parts.append(cards.note(queue_deeds.total_told(times, language)))
    parts.append(cards.job_list(lines, language) if lines else cards.queue_empty_card(language))
    if ended:
        parts += [cards.heading(say("queue_finished", language)), cards.job_list(ended, language)]
    return f'<div class="dq-queuebox">{"".join(parts)}</div>'


def _line(
    studio: Studio, view: JobView, visitor: Visitor, language: str, waiting: list[int],
    times: QueueTimes,
) -> JobLine:  # fmt: skip
    job = view.job
    is_own = visitor.owns(job.client, job.user)
    return JobLine(
        job_id=job.id,
        state=job.state,
        title=_title(studio, job, language) if is_own else _strangers_title(job, language),
        facts=_facts(studio, job, language, is_own),
        when=queue_deeds.when_told(job, times, language),
        is_held=job.is_paused,
        priority=job.priority,
        can_edit=queue_deeds.can_edit(job, visitor),
        who=say("who_you" if is_own else f"who_{job.origin}", language),
        position=view.position,
        percent=_percent(studio, view),
        error=job.error if job.state == "failed" else None,
        thumb_url=_thumb_url(studio, view) if is_own else "",
        is_first=waiting[:1] == [job.id],
        is_last=waiting[-1:] == [job.id],
        can_change=visitor.may_change(job),
    )


def _strangers_title(job: Job, language: str) -> str:
    return say("job_of_api" if job.origin == "api" else "job_of_another", language)


def _thumb_url(studio: Studio, view: JobView) -> str:
    """The job's first picture, before that what it begins with, if anything."""
    pictures = [p for p in view.pictures if p.is_there]
    if pictures:
        return thumb_url(pictures[0])
    try:
        key = input_of(studio.params_of(view.job), 0)
    except WebUIError:
        return ""
    return f"ui/before/{view.job.id}/0?small=1&{key[:8]}" if key else ""


def _percent(studio: Studio, view: JobView) -> int:
    if view.live is None:
        return 0
    return round(view.live.progress * 100)


def _title(studio: Studio, job: Job, language: str) -> str:
    try:
        params = studio.params_of(job)
    except WebUIError:  # a job of a newer version: listed all the same
        return say("no_prompt", language)
    if isinstance(params, Extras):
        return ", ".join(dict.fromkeys(params.names))[:TITLE_CHARACTERS] or say(
            "restoring", language
        )
    if isinstance(params, RestoreVideo):
        return say("video_of", language, name=params.name[:TITLE_CHARACTERS])
    if isinstance(params, FetchWeights):
        return say("fetching", language, names=", ".join(params.names))
    if isinstance(params, AnyFileTool):
        return tool_title(params, language)
    if isinstance(params, Plot):
        script = plots.title_of(params.script, studio.plots.plans, language)
        return f"{script} · {params.title[:TITLE_CHARACTERS]}"
    if isinstance(params, FindFaces):
        return say("faces_looking", language, count=len(params.pictures))
    if isinstance(params, CaptionPictures):
        return say("captioning", language, count=len(params.pictures))
    if isinstance(params, Interrogate):
        return say("interrogating", language)
    if isinstance(params, MakeMap):
        return say("ctl_making_map", language)
    if isinstance(params, ExtensionJob):
        return f"{params.extension} · {params.task}"[:TITLE_CHARACTERS]
    if isinstance(params, TrainLora):
        return say("training_of", language, name=params.options.output_name[:TITLE_CHARACTERS])
    prompt = " ".join(params.prompt.split())
    if len(prompt) > TITLE_CHARACTERS:
        prompt = prompt[: TITLE_CHARACTERS - 1] + "…"
    return prompt or say("no_prompt", language)


def _facts(studio: Studio, job: Job, language: str, is_own: bool) -> str:
    try:
        params = studio.params_of(job)
    except WebUIError as err:
        return in_language(err.message, language)
    if isinstance(params, Plot):
        return cells_told(studio.jobs.part_states(job.id), language)
    if isinstance(params, FetchWeights):
        return say("tab_restore", language)
    if isinstance(params, AnyFileTool):
        return say("tab_models", language)
    if isinstance(params, Describing):
        return params.describer
    if isinstance(params, MakeMap):
        return params.unit.module
    if isinstance(params, ExtensionJob):
        return params.extension
    if isinstance(params, FindFaces | TrainLora):
        return say("tab_train", language)
    if isinstance(params, Repairs):
        told = [say("tab_restore", language), *_repairs(params, language)]
        if params.image_count > 1:
            told.append(say("n_pictures", language, count=params.image_count))
        return " · ".join(told)
    facts = [say("n_steps", language, steps=params.steps)]
    if is_own:
        facts = [*_way(params, language), *facts, params.sampler]
    if params.image_count > 1:
        facts.append(say("n_pictures", language, count=params.image_count))
    if job.repeat_json is not None and not job.is_finished:
        facts.append(say("repeats", language))
    return " · ".join(facts)


def _repairs(params: Repairs, language: str) -> list[str]:
    """What is done to photographs, in a few words."""
    has_faces = max(
        params.gfpgan_visibility, params.restoreformer_visibility, params.codeformer_visibility
    )
    is_larger = params.upscaler_1 != "None"
    if has_faces and is_larger:
        return [say("restore_both", language)]
    if has_faces:
        return [say("restore_faces", language)]
    return [say("restore_whole", language)] if is_larger else []


def _way(params: TextToImage | ImageToImage, language: str) -> list[str]:
    """What is done, and at what size where the request alone says it."""
    size = f"{params.width}×{params.height}"
    plain = say(f"tab_{params.kind}", language)
    if isinstance(params, TextToImage):
        return [say("upscale", language) if params.first_pass_image else plain, size]
    if params.sd_upscale:
        return [say("script_sd_upscale", language)]
    if params.outpaint:
        return [say("script_outpainting", language)]
    if params.inpaint:
        return [say("mode_inpaint", language), size]
    return [say("script_loopback", language) if params.loopback else plain, size]
