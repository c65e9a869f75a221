"""What people do to waiting jobs beyond stopping them: hold, prefer, drag, edit; and when each
will be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webui.errors import JobError
from webui.services.costs.queue_times import QueueTimes
from webui.ui import cards, job_forms
from webui.ui.session import Visitor
from webui.ui.texts import say

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.studio import Studio

DEEDS = ("hold", "release", "prefer", "defer")
GUEST_ACTS = ("cancel", "retry", "repeat", "hold", "release", "edit")
"""What guests may do to their own jobs; the order of the line is the owner's affair."""
DRAG_JS = "window.danqingDragged(element, (data) => trigger('act', data));"
"""Waiting jobs are dragged in front of others, or below all."""


def change(studio: Studio, job_id: int, deed: str, visitor: Visitor) -> None:
    """Let a waiting job wait on or no longer, or give it another priority."""
    job = studio.jobs.get(job_id)
    if not visitor.may_change(job):
        return
    if deed == "hold":
        studio.control.pause_job(job_id)
    elif deed == "release":
        studio.control.resume_job(job_id)
    else:
        studio.jobs.prefer(job_id, job.priority + (1 if deed == "prefer" else -1))


def drop(studio: Studio, job_id: int, before: str, visitor: Visitor) -> None:
    """A waiting job was dragged in front of another, or to the end (empty).

    Raises:
        JobError: One of the two does not wait any more.
    """
    if visitor.may_change(studio.jobs.get(job_id)):
        studio.jobs.move(job_id, int(before) if before else None)


def can_edit(job: Job, visitor: Visitor) -> bool:
    """True for the visitor's waiting jobs that a form of the page asks for."""
    is_own = visitor.owns(job.client, job.user)
    return is_own and job.state == "queued" and job.kind in job_forms.TABS and job.parent is None


def edit(studio: Studio, job_id: int, visitor: Visitor) -> tuple[str, dict[str, Any]]:
    """Hold a waiting job, so that the next request of this browser for the same kind of work
    takes its place.

    Returns:
        Its tab, and what stood in the tab's form, by field.
    Raises:
        JobError: It waits no more, or is not one that can be edited.
        LibraryError: One of its pictures is gone.
    """
    job = studio.jobs.get(job_id)
    if not can_edit(job, visitor):
        raise JobError("This job cannot be edited any more.", "Ask for a new one.")
    values = job_forms.form_values(studio.params_of(job), studio)
    studio.control.edit(job_id, visitor.client)
    return job_forms.TABS[job.kind], values


def total_told(times: QueueTimes, language: str) -> str:
    """When the line will be empty, at the earliest if some jobs' time is not known."""
    key = "queue_total" if times.is_whole else "queue_total_least"
    return say(key, language, time=cards.duration(times.total, language))


def when_told(job: Job, times: QueueTimes, language: str) -> str:
    """When a waiting job will begin and how long it will take, as far as past jobs tell."""
    begins, ends = times.begins.get(job.id), times.ends.get(job.id)
    if job.state != "queued" or begins is None or ends is None or not ends > begins:
        return ""
    time = cards.duration(ends - begins, language)
    if begins < 1:
        return say("queue_takes", language, time=time)
    return say("queue_when", language, start=cards.duration(begins, language), time=time)
