"""How jobs ended, kept until the database takes it: a full disk must not lose an end."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from webui.errors import JobError
from webui.jobs.store import JobStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobEnding:
    """How one job ended.

    Attributes:
        state: done, cancelled or failed.
    """

    job_id: int
    state: str
    error: dict[str, Any] | None
    result: dict[str, Any] | None

    def event(self) -> dict[str, Any]:
        """What is told of it, see ``Supervisor``."""
        event: dict[str, Any] = {"type": self.state, "job": self.job_id}
        if self.state == "failed":
            return {**event, "error": self.error}
        return {**event, "result": self.result}


class Endings:
    """Writes them, late if need be."""

    def __init__(self, store: JobStore, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._unwritten: list[JobEnding] = []

    @property
    def are_late(self) -> bool:
        """Some are not on the disk yet; ``write_late`` shall be called again."""
        return bool(self._unwritten)

    def write(self, ending: JobEnding) -> bool:
        """Write one now, or later if the database refuses it.

        Returns:
            False when the job was ended by somebody else before.
        """
        try:
            return self._finish(ending)
        except JobError as err:
            logger.error("The end of job %d is not on the disk yet: %s", ending.job_id, err)
            self._unwritten.append(ending)
            return True

    def write_late(self) -> None:
        """Write what the database refused when it happened."""
        while self._unwritten:
            try:
                self._finish(self._unwritten[0])
            except JobError:
                return
            del self._unwritten[0]

    def _finish(self, ending: JobEnding) -> bool:
        return self._store.finish(
            ending.job_id, self._owner, ending.state, ending.error, ending.result
        )
