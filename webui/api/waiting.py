"""From a request in the queue to its answer: every waiting client sits in a thread of its own.

The threads are a pool apart, so that a hundred waiting requests never keep progress, interrupt or
the lists from answering. A client that goes away does not end its job.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import anyio
from starlette.responses import Response

from webui.api.errors import ApiError
from webui.errors import JobError, from_json
from webui.jobs.store import Job
from webui.studio import Studio

MAX_WAITING_REQUESTS = 512
WORKER_IS_DOWN_SECONDS = 40.0
"""Longer than the supervisor ever waits before it tries to start the worker again."""
WAIT_SLICE_SECONDS = 5.0


class WaitingRoom:
    """Where requests wait for their pictures. One for a whole API."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(MAX_WAITING_REQUESTS)

    async def answer(self, studio: Studio, job: Job, make: Callable[[Job], Response]) -> Response:
        """Wait for a job's end and answer.

        Args:
            make: The ended job to its answer; called in a thread.
        Raises:
            ApiError: 503, the server is closing, or the model process does not come up.
            WebUIError: The job's own failure.
        """

        def finish() -> Response:
            done = wait_for_end(studio, job)
            raise_failure(done)
            return make(done)

        try:
            return await anyio.to_thread.run_sync(
                finish, limiter=self._limiter, abandon_on_cancel=True
            )
        except asyncio.CancelledError:  # the server ends; the client shall know why
            raise server_is_closing(job) from None


def wait_for_end(studio: Studio, job: Job) -> Job:
    """Block until a job has ended.

    Raises:
        ApiError: 503, the server is closing, or the model process does not come up.
    """
    down_since: float | None = None
    while True:
        try:
            job = studio.wait(job.id, timeout_seconds=WAIT_SLICE_SECONDS)
        except JobError:
            if studio.is_closing:  # its database is closed already
                raise server_is_closing(job) from None
            raise
        if job.is_finished:
            return job
        if studio.is_closing:
            raise server_is_closing(job)
        is_down = studio.supervisor.worker_state == "crashed"
        down_since = (down_since or time.monotonic()) if is_down else None
        if down_since is not None and time.monotonic() - down_since > WORKER_IS_DOWN_SECONDS:
            studio.control.cancel(job.id)
            raise _worker_is_down(studio)


def server_is_closing(job: Job) -> ApiError:
    """What a waiting client is told when the server ends before its job."""
    return ApiError(
        503,
        f"The server is stopping. Job {job.task_id} keeps its place in the queue and is painted "
        "after the next start; its saved pictures will be in the outputs folder.",
        error="JobError",
    )


def _worker_is_down(studio: Studio) -> ApiError:
    reason = from_json(studio.supervisor.worker_error or {})
    return ApiError(
        503,
        f"The model process does not start, so the job was cancelled. {reason}",
        error="JobError",
        errors=reason.message,
    )


def raise_failure(job: Job) -> None:
    """Raise what made a job fail; an interrupted job is no failure.

    Raises:
        WebUIError: The job's own error.
    """
    if job.state == "failed":
        raise from_json(job.error or {})
