"""One row of the queue: what a job is, and how it is read."""

from __future__ import annotations

import json
import random
import sqlite3
import string
import time
from dataclasses import dataclass
from typing import Any

from webui.errors import JobNotFoundError, ParamsError

STATES = ("queued", "running", "done", "failed", "cancelled")
FINISHED = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Job:
    """One request and what became of it. Times are Unix seconds.

    Attributes:
        id: Grows with every job.
        task_id: Unique text by which pages and API clients ask for it.
        kind, params_json: The resolved request; alone it reproduces the pictures.
        state: queued, running, done, failed or cancelled.
        priority: Higher runs first.
        attempts: How often a worker has begun it.
        origin: ``page`` or ``api``. user: Login name. client: Browser or session id.
        repeat_json: The unresolved request of "Generate forever", or None.
        error: Why it failed, as ``WebUIError.to_json`` gives it.
        warnings: Sentences for the person, in order.
        result: What the worker said at the end.
        cancel_requested: The person has asked to stop it while it ran.
        is_paused: It waits, and is not begun before ``resume``.
        parent: Id of the job it is a part of (a cell of a plot), or None.
    """

    id: int
    task_id: str
    kind: str
    params_json: str
    state: str
    priority: int
    attempts: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    origin: str
    user: str
    client: str
    repeat_json: str | None
    error: dict[str, Any] | None
    warnings: tuple[str, ...]
    result: dict[str, Any] | None
    cancel_requested: bool = False
    is_paused: bool = False
    parent: int | None = None

    @property
    def is_finished(self) -> bool:
        """True once nothing will change any more."""
        return self.state in FINISHED


@dataclass(frozen=True)
class NewJob:
    """A job that is to be put into the line; its fields mean what those of ``Job`` do.

    Attributes:
        task_id: None = one is made.
    """

    kind: str
    params_json: str
    task_id: str | None = None
    priority: int = 0
    origin: str = "page"
    user: str = ""
    client: str = ""
    repeat_json: str | None = None

    def __post_init__(self) -> None:
        if self.origin not in ("page", "api"):
            raise ValueError(f"origin is 'page' or 'api', not {self.origin!r}")


def new_task_id(kind: str) -> str:
    """A task id of A1111's shape: ``task(txt2img-`` and seven of A–Z 0–9, then ``)``."""
    letters = random.SystemRandom().choices(string.ascii_uppercase + string.digits, k=7)
    return f"task({kind}-{''.join(letters)})"


def row_of(db: sqlite3.Connection, job_id: int) -> sqlite3.Row:
    row = db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise JobNotFoundError(
            f"No job has the number {job_id}.", "Look at the list of jobs for those that exist."
        )
    return row


def job_of(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        task_id=row["task_id"],
        kind=row["kind"],
        params_json=row["params"],
        state=row["state"],
        priority=row["priority"],
        attempts=row["attempts"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        origin=row["origin"],
        user=row["user"],
        client=row["client"],
        repeat_json=row["repeat"],
        error=json.loads(row["error"]) if row["error"] else None,
        warnings=tuple(json.loads(row["warnings"])),
        result=json.loads(row["result"]) if row["result"] else None,
        cancel_requested=bool(row["cancel_requested"]),
        is_paused=bool(row["is_paused"]) and row["state"] == "queued",
        parent=row["parent"],
    )


def dumps(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, default=str)


def unused_task_id(db: sqlite3.Connection, kind: str) -> str:
    while True:
        task_id = new_task_id(kind)
        if not db.execute("SELECT 1 FROM jobs WHERE task_id = ?", (task_id,)).fetchone():
            return task_id


def insert(db: sqlite3.Connection, new: NewJob) -> Job:
    """Put a job at the end of the line.

    Raises:
        ParamsError: The task id belongs to a job that has not ended (``field``).
    """
    task_id = new.task_id or unused_task_id(db, new.kind)
    if db.execute(
        "SELECT 1 FROM jobs WHERE task_id = ? AND state IN ('queued', 'running')", (task_id,)
    ).fetchone():
        raise ParamsError(
            f"The task id {task_id!r} belongs to a job that has not ended.",
            "Leave force_task_id out, or wait until that job has ended.",
            field="force_task_id",
        )
    row = db.execute(
        "INSERT INTO jobs (task_id, kind, params, state, priority, position, created_at,"
        " origin, user, client, repeat) VALUES (?, ?, ?, 'queued', ?,"
        " (SELECT COALESCE(MAX(position), 0) + 1 FROM jobs), ?, ?, ?, ?, ?) RETURNING *",
        (
            task_id, new.kind, new.params_json, new.priority, time.time(), new.origin, new.user,
            new.client, new.repeat_json,
        ),
    ).fetchone()  # fmt: skip
    return job_of(row)
