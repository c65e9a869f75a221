"""What running jobs are doing right now: step, preview, time left. Kept in memory only."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

STARTING_PROGRESS = 0.01
FIRST_PASS_STAGES = ("starting", "loading", "sampling")


@dataclass(frozen=True)
class LiveJob:
    """One running job as last heard of.

    Attributes:
        batch, batches: Rounds: the present one (0-based) and how many there are; -1 = unknown.
        passes: Of each round: 2 with hires fix.
        step, steps: Of the present pass. stage: What is being done, such as ``sampling``.
        preview, preview_id, preview_format: Last preview picture; id grows with each new one.
        started_at: Unix seconds.
        training: Of a training: losses, rates, speed; see webui/training/README.md.
    """

    job_id: int
    started_at: float
    passes: int = 1
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
    training: Mapping[str, Any] | None = None

    @property
    def pass_count(self) -> int:
        """Passes of the whole job (A1111's job_count); -1 while unknown."""
        return self.batches * self.passes if self.batches > 0 else -1

    @property
    def pass_number(self) -> int:
        """Passes that are finished (A1111's job_no)."""
        is_later_pass = self.passes > 1 and self.stage not in FIRST_PASS_STAGES
        return self.batch * self.passes + int(is_later_pass)

    @property
    def progress(self) -> float:
        """Share done, 0.01–1, by A1111's formula: passes done, and the share of this one."""
        done = STARTING_PROGRESS
        if self.pass_count > 0:
            done += self.pass_number / self.pass_count
            if self.steps > 0:
                done += self.step / self.steps / self.pass_count
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

    def begin(self, job_id: int, passes: int = 1) -> None:
        """A job runs from now on; ``passes`` of each of its rounds."""
        with self._changed:
            self._jobs[job_id] = LiveJob(job_id, started_at=time.time(), passes=passes)
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
