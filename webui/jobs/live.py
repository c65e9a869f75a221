"""What running jobs are doing right now: step, preview, time left. Kept in memory only."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class LiveJob:
    """One running job as last heard of.

    Attributes:
        batch, batches: Rounds: the present one (0-based) and how many there are; -1 = unknown.
        step, steps: Of the present pass. stage: What is being done, such as ``sampling``.
        preview, preview_id, preview_format: Last preview picture; id grows with each new one.
        started_at: Unix seconds.
    """

    job_id: int
    started_at: float
    batch: int = 0
    batches: int = -1
    step: int = 0
    steps: int = 0
    stage: str = "starting"
    preview: bytes | None = None
    preview_id: int = 0
    preview_format: str = "jpeg"
    interrupted: bool = False
    skipped: bool = False

    @property
    def progress(self) -> float:
        """Share done, 0–1, by A1111's formula: 0.01 + batches done + share of this batch."""
        done = 0.01
        if self.batches > 0:
            done += self.batch / self.batches
            if self.steps > 0:
                done += self.step / self.steps / self.batches
        return min(1.0, done)

    def eta_seconds(self, now: float | None = None) -> float:
        """Seconds left, assuming that the rest runs as fast as what is done."""
        elapsed = (time.time() if now is None else now) - self.started_at
        return max(0.0, elapsed / self.progress - elapsed)


class LiveJobs:
    """The live state of all running jobs; fed by worker events, read by both doors."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: dict[int, LiveJob] = {}
        self._last: LiveJob | None = None

    def begin(self, job_id: int) -> None:
        with self._changed:
            self._jobs[job_id] = LiveJob(job_id, started_at=time.time())
            self._changed.notify_all()

    def update(self, job_id: int, **changes: Any) -> None:
        """Change some fields; a job that is not running is left alone."""
        with self._changed:
            live = self._jobs.get(job_id)
            if live is not None:
                self._jobs[job_id] = replace(live, **changes)
                self._changed.notify_all()

    def preview(self, job_id: int, image: bytes, image_format: str) -> None:
        with self._changed:
            live = self._jobs.get(job_id)
            if live is not None:
                self._jobs[job_id] = replace(
                    live, preview=image, preview_format=image_format, preview_id=live.preview_id + 1
                )
                self._changed.notify_all()

    def end(self, job_id: int) -> None:
        with self._changed:
            self._last = self._jobs.pop(job_id, self._last)
            self._changed.notify_all()

    def get(self, job_id: int) -> LiveJob | None:
        with self._changed:
            return self._jobs.get(job_id)

    def running(self) -> tuple[LiveJob, ...]:
        with self._changed:
            return tuple(self._jobs.values())

    @property
    def last(self) -> LiveJob | None:
        """The job that ended most recently, as it was at its end."""
        with self._changed:
            return self._last

    def wait_for_change(self, timeout_seconds: float) -> None:
        """Block until anything changes or the time is over."""
        with self._changed:
            self._changed.wait(timeout_seconds)
