"""When waiting jobs will begin and end, by what past jobs took."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from webui.errors import WebUIError
from webui.jobs.live import LiveJobs
from webui.jobs.store import Job, JobStore
from webui.params import Painting, from_json
from webui.services.costs.estimates import Estimates


@dataclass(frozen=True)
class QueueTimes:
    """The line as it is now.

    Attributes:
        begins: Seconds until a waiting job begins, by its id; a plot's is that of its first cell.
        ends: Seconds until it ends.
        total: Seconds until the line is empty. is_whole: False when it holds jobs whose time
            nobody knows, so that all this is the least.
    """

    begins: dict[int, float] = field(default_factory=dict[int, float])
    ends: dict[int, float] = field(default_factory=dict[int, float])
    total: float = 0.0
    is_whole: bool = True


def queue_times(jobs: JobStore, live: LiveJobs, estimates: Estimates) -> QueueTimes:
    """Go through the line in the order in which it will run; paused jobs take no time."""
    at, is_whole, before = 0.0, True, None
    for job in jobs.list(states=("running",)):
        params = _painting(job.params_json)
        left = _left(job, params, live, estimates)
        at, is_whole = at + (left or 0.0), is_whole and left is not None
        before = params.checkpoint if params else before
    begins: dict[int, float] = {}
    ends: dict[int, float] = {}
    for job in _unpaused(jobs.waiting()):
        params = _painting(job.params_json)
        cost = estimates.cost(params, before) if params else None
        begins.setdefault(job.id, at)
        if job.parent is not None:
            begins.setdefault(job.parent, at)
        at += cost.seconds if cost else 0.0
        ends[job.id] = at
        is_whole = is_whole and (cost is not None or job.kind == "plot")
        before = params.checkpoint if params else before
    return QueueTimes(begins, ends, at, is_whole)


def _unpaused(waiting: Iterable[Job]) -> Iterable[Job]:
    return (job for job in waiting if not job.is_paused)


def _left(job: Job, params: Painting | None, live: LiveJobs, estimates: Estimates) -> float | None:
    """Seconds until a running job ends; by its own pace once it has got going."""
    now, running = time.time(), live.get(job.id)
    if running is not None and running.progress > 0.1:
        return running.eta_seconds(now)
    cost = estimates.cost(params, params.checkpoint) if params else None
    return max(0.0, cost.seconds - (now - (job.started_at or now))) if cost else None


@lru_cache(maxsize=2048)
def _painting(params_json: str) -> Painting | None:
    try:
        params = from_json(params_json)
    except WebUIError:  # of a newer version
        return None
    return params if isinstance(params, Painting) else None
