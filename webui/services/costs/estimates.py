"""What a job will cost on this machine: learnt from the jobs this machine has done.

Seconds are a linear model of a request's work (``job_work.py``); memory one of its largest batch.
Each checkpoint has a model of its own once it has painted a few times; before that, those of its
family, then of all, stand in.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from webui.errors import WebUIError
from webui.jobs.store import Job, JobStore
from webui.params import Painting, TextToImage, from_json
from webui.services.costs.job_work import FEATURES, Work, work_of
from webui.services.costs.robust_fit import fit

LOOKED_AT = 400
"""Past jobs a model is learnt from."""
ENOUGH = 4
"""So many jobs of a checkpoint, and its family's and all others' are not asked any more."""
HALF_LIFE = 100.0
"""Jobs after which a measurement counts half: drivers, other programs and settings change."""
DOUBT = (1e-2, 1e-2, 1e-2, 1e-4, 1e-2, 1e-2, 1e-2)
"""Where past jobs cannot tell, the time is the network's: pictures that are larger take longer."""
LONG_SECONDS = 60.0
"""From so long on, quicker ways are told."""
WORTH = 0.75
"""A quicker way is told when it takes at most this share."""


@dataclass(frozen=True)
class Cost:
    """What a job is expected to take.

    Attributes:
        seconds: From its beginning to its end.
        memory_bytes: At its peak; None where no job has told.
        jobs: How many past jobs that was learnt from.
    """

    seconds: float
    memory_bytes: float | None
    jobs: int


@dataclass(frozen=True)
class Cheaper:
    """A change that makes a job quicker: which, and what it would take."""

    change: str
    value: str
    seconds: float


@dataclass(frozen=True)
class Past:
    """One job that was done.

    Attributes:
        is_switch: Another checkpoint was used before it.
        peak_bytes: 0 where it was not told.
    """

    checkpoint: str
    work: Work
    is_switch: bool
    seconds: float
    peak_bytes: float


@dataclass(frozen=True)
class _Model:
    """Coefficients of a fitted model."""

    seconds: tuple[float, ...]
    memory: tuple[float, ...]
    jobs: int

    def cost(self, work: Work, is_switch: bool) -> Cost:
        row = (*work.features(), float(is_switch))
        seconds = sum(c * f for c, f in zip(self.seconds, row, strict=True))
        memory = sum(c * f for c, f in zip(self.memory, (1.0, work.largest), strict=True))
        return Cost(seconds, memory or None, self.jobs)


class Estimates:
    """Foretells jobs; safe to ask from all threads.

    Args:
        jobs: Whose past is learnt from.
        family_of: From a checkpoint's catalog name to its family; empty = unknown.
    """

    def __init__(self, jobs: JobStore, family_of: Callable[[str], str]) -> None:
        self._jobs, self._family_of = jobs, family_of
        self._lock = threading.Lock()
        self._seen = -1
        self._past: tuple[Past, ...] = ()
        self._models: dict[str, _Model | None] = {}

    def cost(self, params: Painting, checkpoint_before: str | None = None) -> Cost | None:
        """What a request will take; None before anything was painted.

        Args:
            checkpoint_before: The one in memory when it begins; None = the last job's.
        """
        self._learn()
        model = self._model_for(params.checkpoint)
        if model is None:
            return None
        before = checkpoint_before or (self._past[-1].checkpoint if self._past else "")
        return model.cost(work_of(params), before != params.checkpoint)

    def total(self, requests: Iterable[Painting]) -> Cost | None:
        """What several requests take, one after the other; memory is that of the hungriest."""
        seconds, memory, jobs, before = 0.0, 0.0, 0, None
        for params in requests:
            cost = self.cost(params, before)
            if cost is None:
                return None
            before = params.checkpoint
            seconds += cost.seconds
            memory, jobs = max(memory, cost.memory_bytes or 0.0), cost.jobs
        return Cost(seconds, memory or None, jobs)

    def cheaper(self, params: Painting) -> tuple[Cheaper, ...]:
        """Changes that make a long job quicker, the quickest first; none for a short one."""
        cost = self.cost(params, params.checkpoint)
        if cost is None or cost.seconds < LONG_SECONDS:
            return ()
        found: list[Cheaper] = []
        for change, value, changed in _alternatives(params):
            other = self.cost(changed, changed.checkpoint)
            if other is not None and other.seconds <= cost.seconds * WORTH:
                found.append(Cheaper(change, value, other.seconds))
        return tuple(sorted(found, key=lambda one: one.seconds))

    def _learn(self) -> None:
        with self._lock:
            newest = self._jobs.newest_done(_PAINTING)
            if newest != self._seen:
                done = self._jobs.list(states=("done",), kinds=_PAINTING, limit=LOOKED_AT)
                self._past = past_of(reversed(done))
                self._models, self._seen = {}, newest

    def _model_for(self, checkpoint: str) -> _Model | None:
        with self._lock:
            if checkpoint not in self._models:
                self._models[checkpoint] = self._fitted(checkpoint)
            return self._models[checkpoint]

    def _fitted(self, checkpoint: str) -> _Model | None:
        family = self._family_of(checkpoint)
        tests: tuple[Callable[[Past], bool], ...] = (
            lambda past: past.checkpoint == checkpoint,
            lambda past: bool(family) and self._family_of(past.checkpoint) == family,
            lambda past: True,
        )
        for is_like in tests:
            like = [past for past in self._past if is_like(past)]
            if len(like) >= ENOUGH:
                return learn(like)
        return learn(self._past) if self._past else None


_PAINTING = ("txt2img", "img2img")


def learn(past: Sequence[Past]) -> _Model:
    """A model of these jobs, oldest first."""
    ages = range(len(past) - 1, -1, -1)
    weights = [0.5 ** (age / HALF_LIFE) for age in ages]
    rows = [(*one.work.features(), float(one.is_switch)) for one in past]
    assert len(rows[0]) == FEATURES + 1 == len(DOUBT), "one coefficient for each feature"
    seconds = fit(rows, [one.seconds for one in past], weights, DOUBT)
    told = [(one, weight) for one, weight in zip(past, weights, strict=True) if one.peak_bytes]
    memory = fit(
        [(1.0, one.work.largest) for one, _ in told], [one.peak_bytes for one, _ in told],
        [weight for _, weight in told], (1e-3, 1e-3),
    )  # fmt: skip
    return _Model(tuple(seconds), tuple(memory), len(past))


def past_of(jobs: Iterable[Job]) -> tuple[Past, ...]:
    """What jobs that are done tell, oldest first; those that do not tell are left out."""
    found: list[Past] = []
    before = ""
    for job in sorted(jobs, key=lambda job: job.started_at or 0):
        try:
            params = from_json(job.params_json)
        except WebUIError:  # of a newer version
            continue
        if not isinstance(params, Painting) or not job.started_at or not job.finished_at:
            continue
        seconds = job.finished_at - job.started_at
        if seconds > 0 and job.attempts == 1:
            peak = float((job.result or {}).get("peak_bytes") or 0)
            is_switch = params.checkpoint != before
            found.append(Past(params.checkpoint, work_of(params), is_switch, seconds, peak))
        before = params.checkpoint
    return tuple(found)


def _alternatives(params: Painting) -> Iterable[tuple[str, str, Painting]]:
    """What could be changed for less time: name and value of the change, and the request."""
    if params.steps > 20:
        yield "steps", "20", params.model_copy(update={"steps": 20})
    if params.sampler != "DPM++ 2M":
        yield "sampler", "DPM++ 2M", params.model_copy(update={"sampler": "DPM++ 2M"})
    if isinstance(params, TextToImage) and params.hires is not None:
        yield "without_hires", "", params.model_copy(update={"hires": None})
    if params.width * params.height > 512 * 512:
        width, height = (max(64, side * 3 // 4 // 8 * 8) for side in (params.width, params.height))
        smaller = {"width": width, "height": height}
        yield "size", f"{width}×{height}", params.model_copy(update=smaller)
