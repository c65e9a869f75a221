"""The list of textual inversions that painting jobs carry: only when it is not known yet."""

from __future__ import annotations

from typing import Any

Entries = list[dict[str, Any]]


class EmbeddingList:
    """What the model process has been told; thousands of files need not be told at every job.

    A list counts as known once a job that carried it has begun in the process that runs now.
    """

    def __init__(self) -> None:
        self._known: Entries | None = None
        self._sent: tuple[int, Entries] | None = None

    def for_job(self, job_id: int, present: Entries) -> Entries | None:
        """What a job has to carry: the list that is there now; None = it is known."""
        if present == self._known:
            return None
        self._sent = (job_id, present)
        return present

    def job_began(self, job_id: int) -> None:
        """The model process has the job's message."""
        if self._sent is not None and self._sent[0] == job_id:
            self._known = self._sent[1]

    def process_began(self) -> None:
        """A new model process knows nothing."""
        self._known = self._sent = None
