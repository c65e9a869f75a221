"""How far a job without pictures is, told to the web process."""

from __future__ import annotations

from webui.progress import Asked
from webui.wire import Sender


class JobProgress:
    """See ``progress.Progress``; every change is one message.

    Args:
        stage: What is being done, in the page's words: ``fetching``, ``merging`` …
    """

    def __init__(self, job: int, stage: str, sender: Sender, asked: Asked) -> None:
        self._job, self._stage, self._sender, self._asked = job, stage, sender, asked
        self._told = -1

    def step(self, done: int, total: int) -> None:
        if done != self._told:
            self._told = done
            self._sender.send(
                {
                    "type": "progress", "job": self._job, "batch": 0, "batches": 1,
                    "step": done, "steps": total, "stage": self._stage,
                }
            )  # fmt: skip

    def is_interrupted(self) -> bool:
        return self._asked.interrupted
