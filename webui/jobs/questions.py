"""Small questions to the model process, each of which waits for its reply."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import Any

from webui.errors import JobError
from webui.jobs.worker_process import WorkerProcess

Event = dict[str, Any]


@dataclass
class _Question:
    worker: WorkerProcess
    answered: threading.Event = field(default_factory=threading.Event)
    reply: Event | None = None


class Questions:
    """Those that are open. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, _Question] = {}

    def ask(self, worker: WorkerProcess, message: Event, timeout_seconds: float) -> Event:
        """Send a question and wait.

        Args:
            message: With a ``type``; a number is added as ``request``.
        Returns:
            The ``reply`` message.
        Raises:
            JobError: The worker ended, or it did not answer in time.
        """
        number, question = next(self._numbers), _Question(worker)
        with self._lock:
            self._open[number] = question
        if worker.is_gone:  # from here on ``worker_ended`` would find the question
            question.answered.set()
        worker.send({**message, "request": number})
        question.answered.wait(timeout_seconds)
        with self._lock:
            self._open.pop(number, None)
        if question.reply is None:
            has_ended = question.answered.is_set()
            what = "has ended" if has_ended else f"did not answer in {timeout_seconds:g} s"
            raise JobError(
                f"The model process was asked for {message.get('type')!r}; it {what}.",
                "Try again; if it stays so, look at the log of the model process.",
            )
        return question.reply

    def take_reply(self, message: Event) -> None:
        """The worker has answered one."""
        with self._lock:
            question = self._open.get(message.get("request", 0))
            if question is not None:
                question.reply = message
                question.answered.set()

    def worker_ended(self, worker: WorkerProcess) -> None:
        """Nobody answers what this worker was asked; call it when ``worker.is_gone`` is set."""
        with self._lock:
            for question in self._open.values():
                if question.worker is worker:
                    question.answered.set()
