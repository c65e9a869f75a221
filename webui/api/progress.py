"""How far the running job is: /sdapi/v1/progress, interrupt, skip and the page's own variants."""

from __future__ import annotations

import base64
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute

from webui.api.fence import guest_of
from webui.api.pictures import convert_preview
from webui.api.schemas import (
    ProgressAnswer,
    ProgressState,
    TaskProgressAnswer,
    TaskProgressBody,
)
from webui.errors import JobNotFoundError
from webui.jobs.live import STARTING_PROGRESS, LiveJob
from webui.jobs.store import Job
from webui.roles import for_guests, may_see
from webui.studio import Studio

SAMPLING_STAGES = ("sampling", "hires")


def progress_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """Routes that look at running jobs and stop them; none of them waits for a job."""
    routes = APIRouter(route_class=route_class, tags=["progress"])

    @routes.get("/sdapi/v1/progress", response_model=ProgressAnswer)
    def progress(skip_current_image: bool = False) -> ProgressAnswer:
        """State of the running job and its newest preview."""
        return current_progress(studio, with_image=not skip_current_image)

    @routes.post("/sdapi/v1/interrupt")
    def interrupt() -> dict[str, Any]:
        """Stop painting now; the request answers with the pictures there are."""
        studio.control.interrupt()
        return {}

    @routes.post("/sdapi/v1/skip")
    def skip() -> None:
        """End the present batch and go on with the next."""
        studio.control.skip()

    return routes


def task_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """The page's view of the queue: tasks by their ids."""
    routes = APIRouter(route_class=route_class, tags=["internal"])

    @routes.get("/internal/pending-tasks")
    def pending_tasks() -> dict[str, Any]:
        """Task ids that wait, in the order in which they will run."""
        tasks = studio.jobs.pending_task_ids()
        return {"size": len(tasks), "tasks": list(tasks)}

    @routes.post("/internal/progress", response_model=TaskProgressAnswer)
    @for_guests
    def task_progress(body: TaskProgressBody, request: Request) -> TaskProgressAnswer:
        """State of one task, by its id; a preview only when it is newer than the one named."""
        return progress_of_task(studio, body, guest_of(request))

    return routes


def current_progress(studio: Studio, *, with_image: bool) -> ProgressAnswer:
    """The state of whatever runs; idle when nothing runs or waits."""
    running = studio.live.running()
    if running:
        return _running_progress(studio, running[0], with_image)
    begun = studio.jobs.list(states=("running", "queued"), limit=1, newest_first=False)
    if begun:
        return _starting_progress(begun[0])
    return ProgressAnswer(state=_last_state(studio.live.last))


def _running_progress(studio: Studio, live: LiveJob, with_image: bool) -> ProgressAnswer:
    share = live.progress
    elapsed = time.time() - live.started_at
    image = None
    if with_image and live.preview and studio.options["live_previews_enable"]:
        preview, _ = convert_preview(
            live.preview, live.preview_format, str(studio.options["samples_format"])
        )
        image = base64.b64encode(preview).decode("ascii")
    return ProgressAnswer(
        progress=share,
        eta_relative=elapsed / share - elapsed,
        state=running_state(live),
        current_image=image,
        textinfo=None if live.stage in SAMPLING_STAGES else live.stage,
    )


def running_state(live: LiveJob) -> ProgressState:
    """The ``state`` of a running job; each pass of a batch counts as one job."""
    many = live.batches > 1
    return ProgressState(
        skipped=live.skipped,
        interrupted=live.interrupted,
        job=f"Batch {live.batch + 1} out of {live.batches}" if many else "scripts_txt2img",
        job_count=live.pass_count,
        job_timestamp=timestamp(live.started_at),
        job_no=live.pass_number,
        sampling_step=live.step,
        sampling_steps=live.steps,
    )


def _starting_progress(job: Job) -> ProgressAnswer:
    """A job that is on its way to the worker: begun, extent unknown."""
    state = ProgressState(
        job="scripts_txt2img", job_count=-1, job_timestamp=timestamp(job.created_at)
    )
    return ProgressAnswer(progress=STARTING_PROGRESS, state=state, textinfo="starting")


def _last_state(last: LiveJob | None) -> ProgressState:
    """Idle: no job, but the numbers of the last one stay, as clients are used to."""
    if last is None:
        return ProgressState()
    return running_state(last).model_copy(update={"job": "", "job_count": 0})


def timestamp(seconds: float) -> str:
    """Local time as ``YYYYMMDDhhmmss``."""
    return time.strftime("%Y%m%d%H%M%S", time.localtime(seconds))


def progress_of_task(studio: Studio, body: TaskProgressBody, user: str = "") -> TaskProgressAnswer:
    """What /internal/progress says about one task id, known or not to this user."""
    try:
        job = studio.jobs.by_task(body.id_task or "")
    except JobNotFoundError:
        job = None
    if job is None or not may_see(user, job.user):
        return TaskProgressAnswer(
            active=False, queued=False, completed=False, textinfo="Waiting..."
        )
    live = studio.live.get(job.id)
    return _inactive_task(studio, job) if live is None else _active_task(studio, live, body)


def _inactive_task(studio: Studio, job: Job) -> TaskProgressAnswer:
    place = studio.jobs.position(job.id)
    text = None if job.is_finished else "Waiting..."
    if place is not None:
        text = f"In queue: {place}/{len(studio.jobs.pending_task_ids())}"
    return TaskProgressAnswer(
        active=job.state == "running",
        queued=job.state == "queued",
        completed=job.is_finished,
        textinfo=text,
    )


def _active_task(studio: Studio, live: LiveJob, body: TaskProgressBody) -> TaskProgressAnswer:
    known = body.value("id_live_preview")
    is_newer = live.preview is not None and live.preview_id != known
    preview = _data_uri(live) if is_newer and body.value("live_preview") else None
    share = live.progress
    elapsed = time.time() - live.started_at
    return TaskProgressAnswer(
        active=True,
        queued=False,
        completed=False,
        progress=share,
        eta=elapsed / share - elapsed,
        live_preview=preview,
        id_live_preview=live.preview_id if preview else known,
        textinfo=None if live.stage in SAMPLING_STAGES else live.stage,
    )


def _data_uri(live: LiveJob) -> str:
    text = base64.b64encode(live.preview or b"").decode("ascii")
    return f"data:image/{live.preview_format};base64,{text}"
