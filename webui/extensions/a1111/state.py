"""``shared.state``: what the program is doing, as scripts ask and tell."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from webui.progress import Asked


class _Nobody:
    """Stands in for the running job while there is none."""

    @property
    def interrupted(self) -> bool:
        return False

    @property
    def should_stop(self) -> bool:
        return False

    @property
    def paused(self) -> bool:
        return False

    def take_samples(self) -> bool:
        return False

    def clear_skip(self) -> None:
        """Nothing is skipped."""


class State:
    """Progress and wishes of the running job.

    A script may set ``interrupted`` and ``skipped``; that is added to what the person asks.
    """

    def __init__(self) -> None:
        self._asked: Asked = _Nobody()
        self._interrupted = False
        self._skipped = False
        self._show: Callable[[Any], None] = lambda image: None
        self.stopping_generation = False
        self.job = ""
        self.job_no = 0
        self.job_count = 0
        self.processing_has_refined_job_count = False
        self.job_timestamp = "0"
        self.sampling_step = 0
        self.sampling_steps = 0
        self.current_latent: Any = None
        self.current_image: Any = None
        self.current_image_sampling_step = 0
        self.id_live_preview = 0
        self.textinfo: str | None = None
        self.time_start: float | None = None
        self.server_start: float | None = None
        self.need_restart = False

    def follow(self, asked: Asked, show: Callable[[Any], None] = lambda image: None) -> None:
        """A job begins: what the person asks of it counts from now on."""
        self._asked, self._show = asked, show
        self._interrupted = self._skipped = False

    @property
    def interrupted(self) -> bool:
        return self._interrupted or self._asked.interrupted

    @interrupted.setter
    def interrupted(self, value: bool) -> None:
        self._interrupted = bool(value)

    @property
    def skipped(self) -> bool:
        return self._skipped or (self._asked.should_stop and not self._asked.interrupted)

    @skipped.setter
    def skipped(self, value: bool) -> None:
        self._skipped = bool(value)
        if not value:
            self._asked.clear_skip()

    @property
    def should_stop(self) -> bool:
        """Whether the present batch shall end."""
        return self.interrupted or self.skipped

    def skip(self) -> None:
        self.skipped = True

    def interrupt(self) -> None:
        self.interrupted = True

    def begin(self, job: str = "(unknown)") -> None:
        """A job of some name begins."""
        now = datetime.datetime.now()
        self.job, self.job_no, self.job_count = job, 0, -1
        self.job_timestamp = now.strftime("%Y%m%d%H%M%S")
        self.time_start = now.timestamp()
        self.sampling_step = self.sampling_steps = 0
        self.current_latent = self.current_image = self.textinfo = None
        self._interrupted = self._skipped = self.stopping_generation = False

    def end(self) -> None:
        self.job, self.job_count = "", 0

    def nextjob(self) -> None:
        self.job_no += 1
        self.sampling_step = 0

    def dict(self) -> dict[str, Any]:
        """As the API tells it."""
        return {
            "skipped": self.skipped,
            "interrupted": self.interrupted,
            "stopping_generation": self.stopping_generation,
            "job": self.job,
            "job_count": self.job_count,
            "job_timestamp": self.job_timestamp,
            "job_no": self.job_no,
            "sampling_step": self.sampling_step,
            "sampling_steps": self.sampling_steps,
        }

    def assign_current_image(self, image: Any) -> None:
        """Show a picture as the preview."""
        self.current_image = image
        self.id_live_preview += 1
        self._show(image)

    def set_current_image(self) -> None:
        """Previews are drawn by the program itself."""

    do_set_current_image = set_current_image
