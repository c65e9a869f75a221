"""Small protocols handed down into long work: report, and ask whether to stop."""

from __future__ import annotations

from typing import Protocol

from webui.errors import JobCancelled


class Progress(Protocol):
    """What long work may say and ask. Calls are cheap; callers need not throttle them."""

    def step(self, done: int, total: int) -> None:
        """``done`` of ``total`` steps of the present stage are finished."""
        ...

    def is_interrupted(self) -> bool:
        """True once the person asked to stop now. Ask at least once per network call."""
        ...


class Silent:
    """Nobody listens and nobody interrupts: for tests and scripts."""

    def step(self, done: int, total: int) -> None:
        return None

    def is_interrupted(self) -> bool:
        return False


def stop_if_interrupted(progress: Progress) -> None:
    """Raise JobCancelled when the person asked to stop.

    Raises:
        JobCancelled: ``progress.is_interrupted()`` is true.
    """
    if progress.is_interrupted():
        raise JobCancelled("The job was interrupted.")
