"""Small protocols handed down into long work: report, and ask whether to stop."""

from __future__ import annotations

from typing import Any, Protocol

from webui.errors import JobCancelled


class Progress(Protocol):
    """What long work may say and ask. Calls are cheap; callers need not throttle them."""

    def step(self, done: int, total: int) -> None:
        """``done`` of ``total`` steps of the present stage are finished."""
        ...

    def is_interrupted(self) -> bool:
        """True once the person asked to stop now. Ask at least once per network call."""
        ...


class Asked(Protocol):
    """What the person asked of the running job."""

    @property
    def interrupted(self) -> bool:
        """The whole job shall end."""
        ...

    @property
    def should_stop(self) -> bool:
        """The job, or the picture at work, shall end."""
        ...

    @property
    def paused(self) -> bool:
        """The job shall keep what it did and give the device free."""
        ...

    def take_samples(self) -> bool:
        """Whether sample pictures are wanted now; True once for each wish."""
        ...

    def clear_skip(self) -> None:
        """The next picture begins: a skip was meant for the one before."""
        ...


class Silent:
    """Nobody listens and nobody interrupts: for tests and scripts."""

    def step(self, done: int, total: int) -> None:
        return None

    def is_interrupted(self) -> bool:
        return False


class Interrupted(Exception):
    """The person asked to stop; unwinds one piece of work, not the whole job.

    Args:
        denoised: The last clean estimate of the pictures, (B, 4, h, w), if there is one.
    """

    def __init__(self, denoised: Any = None) -> None:
        super().__init__("interrupted")
        self.denoised = denoised


def stop_if_interrupted(progress: Progress) -> None:
    """Raise JobCancelled when the person asked to stop.

    Raises:
        JobCancelled: ``progress.is_interrupted()`` is true.
    """
    if progress.is_interrupted():
        raise JobCancelled("The job was interrupted.")
