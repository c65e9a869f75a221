"""A supervisor over the fake worker, with everything it said."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE
from webui.jobs.store import Job, JobStore
from webui.jobs.supervisor import Supervisor

PROJECT = Path(__file__).resolve().parents[2]
FAKE_WORKER = Path(__file__).with_name("fake_worker.py")


@dataclass
class SmallStudio:
    """What the tests hold: the queue, its supervisor, and the events in order."""

    folder: Path
    store: JobStore
    events: list[dict[str, Any]] = field(default_factory=list)
    on_image: Callable[[dict[str, Any]], None] = lambda event: None
    prepare: Callable[[Job], dict[str, Any]] = lambda job: {}
    idle: float = 0.0
    blame: Callable[[], str] = lambda: ""
    flags: dict[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = (sys.executable, str(FAKE_WORKER))
    _made: Supervisor | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def supervisor(self) -> Supervisor:
        if self._made is None:
            env = {"PYTHONPATH": str(PROJECT), "FAKE_WORKER": json.dumps(self.flags)}
            self._made = Supervisor(
                self.store, self.command, env=env, prepare=lambda job: self.prepare(job),
                on_event=self.hear, log_path=self.folder / "log" / "worker.log",
                idle_seconds=lambda: self.idle, blame=lambda: self.blame(),
            )  # fmt: skip
        return self._made

    def hear(self, event: dict[str, Any]) -> None:
        if event["type"] == "image":
            self.on_image(event)
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def submit(self, **plan: Any) -> Job:
        job = self.store.submit("txt2img", json.dumps({**plan, "journal": str(self.journal)}))
        self.supervisor.wake()
        return job

    def wait_for(self, job: Job, kind: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """The first event of that kind about a job."""
        return self.wait_until(
            lambda e: e["type"] == kind and e.get("job") == job.id, f"{kind} of {job.id}", timeout
        )

    def wait_for_state(self, state: str, timeout: float = PATIENCE) -> None:
        deadline = time.monotonic() + timeout
        while self.supervisor.worker_state != state:
            assert time.monotonic() < deadline, (state, self.supervisor.worker_state)
            time.sleep(0.005)

    def wait_until(
        self, is_it: Callable[[dict[str, Any]], bool], what: str, timeout: float = PATIENCE
    ) -> dict[str, Any]:
        with self._changed:
            found = self._changed.wait_for(
                lambda: next((event for event in self.events if is_it(event)), None), timeout
            )
        assert found is not None, f"no {what} among {self.kinds()}"
        return found

    def kinds(self, job: Job | None = None) -> list[str]:
        """Types of the events, or of those of one job."""
        return [e["type"] for e in self.events if job is None or e.get("job") == job.id]

    @property
    def journal(self) -> Path:
        return self.folder / "journal"


def is_alive(pid: int) -> bool:
    """True while a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
