"""The durable queue: one SQLite row per job, and the only code that changes a job's state."""

from __future__ import annotations

import json
import random
import sqlite3
import string
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.database import Database, Migration
from webui.errors import JobError, JobNotFoundError, ParamsError

MAX_ATTEMPTS = 3
MAX_WARNINGS = 50

STATES = ("queued", "running", "done", "failed", "cancelled")
FINISHED = ("done", "failed", "cancelled")
ALLOWED_CHANGES: Mapping[str, tuple[str, ...]] = {
    "queued": ("running", "cancelled"),
    "running": ("queued", *FINISHED),
}

MIGRATIONS: tuple[Migration, ...] = (
    (
        "jobs-0001-table",
        """
        CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            task_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            params TEXT NOT NULL,
            state TEXT NOT NULL
                CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
            priority INTEGER NOT NULL,
            position INTEGER NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            owner TEXT,
            cancel_requested INTEGER NOT NULL DEFAULT 0,
            created_at REAL NOT NULL,
            started_at REAL,
            finished_at REAL,
            origin TEXT NOT NULL,
            user TEXT NOT NULL,
            client TEXT NOT NULL,
            repeat TEXT,
            error TEXT,
            warnings TEXT NOT NULL DEFAULT '[]',
            result TEXT
        );
        CREATE INDEX jobs_waiting ON jobs (priority DESC, position) WHERE state = 'queued';
        CREATE INDEX jobs_by_state ON jobs (state, id);
        CREATE INDEX jobs_by_client ON jobs (client, id);
        CREATE INDEX jobs_by_position ON jobs (position);
        CREATE INDEX jobs_by_task ON jobs (task_id, id);
        CREATE UNIQUE INDEX jobs_unfinished_task ON jobs (task_id)
            WHERE state IN ('queued', 'running')
        """,
    ),
    ("jobs-0002-paused", "ALTER TABLE jobs ADD COLUMN is_paused INTEGER NOT NULL DEFAULT 0"),
)

_NEXT_WAITING = (
    "id = (SELECT id FROM jobs WHERE state = 'queued' AND NOT is_paused"
    " ORDER BY priority DESC, position LIMIT 1)"
)


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

    @property
    def is_finished(self) -> bool:
        """True once nothing will change any more."""
        return self.state in FINISHED


def new_task_id(kind: str) -> str:
    """A task id of A1111's shape: ``task(txt2img-`` and seven of A–Z 0–9, then ``)``."""
    letters = random.SystemRandom().choices(string.ascii_uppercase + string.digits, k=7)
    return f"task({kind}-{''.join(letters)})"


class JobStore:
    """Jobs in SQLite; used by all threads of the web process, and by several processes.

    Submitting and finishing are flushed to the disk before they return (a power cut loses
    neither); the other changes survive the end of the process.

    Args:
        database_path: The data folder's SQLite file.
    Raises:
        SettingsError: The file cannot be opened.
    """

    def __init__(self, database_path: Path) -> None:
        self._db = Database(database_path, JobError)
        self._db.migrate(MIGRATIONS)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # Putting in and taking out

    def submit(
        self,
        kind: str,
        params_json: str,
        *,
        task_id: str | None = None,
        priority: int = 0,
        origin: str = "page",
        user: str = "",
        client: str = "",
        repeat_json: str | None = None,
    ) -> Job:
        """Put a job at the end of its priority's line; it is on the disk when this returns.

        Raises:
            ParamsError: The task id was used before (``field``).
            JobError: The database cannot be written.
        """
        if origin not in ("page", "api"):
            raise ValueError(f"origin is 'page' or 'api', not {origin!r}")
        with self._db.write(durable=True) as db:
            task_id = task_id or _unused_task_id(db, kind)
            if db.execute(
                "SELECT 1 FROM jobs WHERE task_id = ? AND state IN ('queued', 'running')",
                (task_id,),
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
                (task_id, kind, params_json, priority, time.time(), origin, user, client,
                 repeat_json),
            ).fetchone()  # fmt: skip
            return _job(row)

    def claim(self, owner: str) -> Job | None:
        """Take the next waiting job, or None when nothing waits.

        One UPDATE inside SQLite's write lock finds and takes the row, so two claimers, in threads
        or processes, never get the same job.
        """
        with self._db.write() as db:
            return _change_state(
                db, "queued", "running", _NEXT_WAITING, (),
                attempts=_Sql("attempts + 1"), owner=owner, started_at=time.time(),
                cancel_requested=0,
            )  # fmt: skip

    def finish(
        self,
        job_id: int,
        owner: str,
        state: str,
        error: dict[str, Any] | None = None,
        result: dict[str, Any] | None = None,
    ) -> bool:
        """End a running job; on the disk when this returns.

        Args:
            owner: Who claimed it; nobody else may end it.
            state: done, failed or cancelled.
        Returns:
            True when this call ended it; False when it had ended before or is not the owner's.
        """
        with self._db.write(durable=True) as db:
            job = _change_state(
                db, "running", state, "id = ? AND owner = ?", (job_id, owner),
                error=_dumps(error), result=_dumps(result), finished_at=time.time(),
            )  # fmt: skip
        return job is not None

    def cancel_queued(self, job_id: int) -> bool:
        """Cancel a job that waits; False when it runs already, has ended or never was."""
        with self._db.write(durable=True) as db:
            job = _change_state(
                db, "queued", "cancelled", "id = ?", (job_id,), finished_at=time.time()
            )
        return job is not None

    def pause_queued(self, job_id: int) -> bool:
        """Keep a waiting job from being begun; False when it does not wait."""
        return self._set_paused(job_id, 1)

    def resume(self, job_id: int) -> bool:
        """Let a paused job be begun again, in its old place; False when it does not wait."""
        return self._set_paused(job_id, 0)

    def _set_paused(self, job_id: int, is_paused: int) -> bool:
        with self._db.write(durable=True) as db:
            changed = db.execute(
                "UPDATE jobs SET is_paused = ? WHERE id = ? AND state = 'queued'",
                (is_paused, job_id),
            )
            return changed.rowcount == 1

    def put_aside(self, job_id: int, owner: str) -> bool:
        """Put a running job that has kept what it did back to its old place, paused.

        Returns:
            False when it does not run or is not the owner's.
        """
        with self._db.write(durable=True) as db:
            job = _change_state(
                db, "running", "queued", "id = ? AND owner = ?", (job_id, owner),
                owner=None, attempts=0, is_paused=1,
            )  # fmt: skip
        return job is not None

    def request_cancel(self, job_id: int) -> bool:
        """Remember that a running job is to stop, so that no restart runs it again."""
        with self._db.write(durable=True) as db:
            changed = db.execute(
                "UPDATE jobs SET cancel_requested = 1 WHERE id = ? AND state = 'running'", (job_id,)
            )
            return changed.rowcount == 1

    def requeue(
        self,
        job_id: int,
        owner: str,
        reason: str,
        *,
        hint: str = "",
        details: Mapping[str, Any] | None = None,
        is_counted: bool = True,
    ) -> Job:
        """Put a running job back to its old place after its worker ended.

        A job that was asked to stop is cancelled instead; one begun MAX_ATTEMPTS times has failed.

        Args:
            reason: Why the worker ended, as a sentence.
            hint, details: Go into the error of a job that has failed.
            is_counted: False when the attempt was ended on purpose (the program stops).
        Returns:
            The job as it is now; unchanged when it does not run or is not the owner's.
        Raises:
            JobNotFoundError: No such job.
        """
        with self._db.write(durable=True) as db:
            job = _job(_row(db, job_id))
            where, values = "id = ? AND owner = ?", (job_id, owner)
            if job.cancel_requested:
                changed = _change_state(
                    db, "running", "cancelled", where, values, finished_at=time.time()
                )
            elif is_counted and job.attempts >= MAX_ATTEMPTS:
                error = _gave_up(job, reason, hint, details or {})
                changed = _change_state(
                    db, "running", "failed", where, values,
                    error=_dumps(error.to_json()), finished_at=time.time(),
                )  # fmt: skip
            else:
                note = f"{reason} The job was begun again."
                changed = _change_state(
                    db, "running", "queued", where, values,
                    owner=None, started_at=None,
                    attempts=job.attempts - (not is_counted),
                    warnings=_dumps(_with_warning(job.warnings, note) if is_counted
                                    else job.warnings),
                )  # fmt: skip
            return changed or job

    def recover_at_start(self) -> tuple[Job, ...]:
        """Put back what an earlier run of the program left running; call before any claim.

        Returns:
            Those jobs as they are now: queued, failed or cancelled.
        """
        left = self._db.read("SELECT id, owner FROM jobs WHERE state = 'running' ORDER BY id")
        return tuple(
            self.requeue(row["id"], row["owner"], "The program ended while the job was running.",
                         hint="Look at the log and at the free memory of the computer.")
            for row in left
        )  # fmt: skip

    def add_warning(self, job_id: int, message: str) -> None:
        """Add a sentence to an unfinished job; the same sentence is kept once.

        Raises:
            JobNotFoundError: No such job.
        """
        with self._db.write() as db:
            job = _job(_row(db, job_id))
            if not job.is_finished:
                db.execute(
                    "UPDATE jobs SET warnings = ? WHERE id = ?",
                    (_dumps(_with_warning(job.warnings, message)), job_id),
                )

    def stop_repeating(self, job_id: int) -> None:
        """End "Generate forever" for an unfinished job; it still runs once itself."""
        with self._db.write() as db:
            db.execute(
                "UPDATE jobs SET repeat = NULL WHERE id = ? AND state IN ('queued', 'running')",
                (job_id,),
            )

    def stop_repeating_for(self, client: str) -> None:
        """End "Generate forever" of one browser, whichever job of the chain is alive by now.

        Ended rows are told too: a successor is made only while its predecessor still repeats
        (``submit_next``), so a stop between the two is never lost.
        """
        with self._db.write() as db:
            db.execute(
                "UPDATE jobs SET repeat = NULL WHERE client = ? AND repeat IS NOT NULL", (client,)
            )

    def repeats_for(self, client: str) -> bool:
        """True while a browser's "Generate forever" goes on."""
        return bool(
            self._db.read(
                "SELECT 1 FROM jobs WHERE client = ? AND repeat IS NOT NULL"
                " AND state IN ('queued', 'running') LIMIT 1",
                (client,),
            )
        )

    def submit_next(self, job_id: int, params_json: str) -> Job | None:
        """Put the successor of a repeating job into the queue, if it still repeats.

        The look and the submission are one transaction, so that whoever stops the repeating
        either prevents the successor or finds it.

        Returns:
            The successor; None when the repeating was stopped.
        """
        with self._db.write(durable=True) as db:
            row = db.execute(
                "INSERT INTO jobs (task_id, kind, params, state, priority, position, created_at,"
                " origin, user, client, repeat) SELECT ?, kind, ?, 'queued', priority,"
                " (SELECT COALESCE(MAX(position), 0) + 1 FROM jobs), ?, origin, user, client,"
                " repeat FROM jobs WHERE id = ? AND repeat IS NOT NULL RETURNING *",
                (_unused_task_id(db, "txt2img"), params_json, time.time(), job_id),
            ).fetchone()
            return None if row is None else _job(row)

    def move(self, job_id: int, before_id: int | None) -> None:
        """Move a waiting job in front of another, or to the end of the line (None).

        It takes the priority of the job it is put beside. The waiting jobs share out the same
        position numbers anew, so a job that comes back from a dead worker still stands first.

        Raises:
            JobNotFoundError: No such job.
            JobError: One of the two does not wait any more.
        """
        with self._db.write() as db:
            waiting = {row["id"]: row for row in db.execute(_WAITING_IN_ORDER)}
            for wanted in filter(None, (job_id, before_id)):
                if wanted not in waiting:
                    state = _row(db, wanted)["state"]
                    raise JobError(
                        f"Job {wanted} cannot be moved: it is {state}.",
                        "Only waiting jobs can be moved.",
                    )
            if job_id == before_id:
                return
            order = [other for other in waiting if other != job_id]
            place = len(order) if before_id is None else order.index(before_id)
            order.insert(place, job_id)
            beside = before_id if before_id is not None else (order[-2:][0])
            db.execute(
                "UPDATE jobs SET priority = ? WHERE id = ?", (waiting[beside]["priority"], job_id)
            )
            positions = sorted(row["position"] for row in waiting.values())
            db.executemany(
                "UPDATE jobs SET position = ? WHERE id = ?", zip(positions, order, strict=True)
            )

    # Looking

    def get(self, job_id: int) -> Job:
        """One job.

        Raises:
            JobNotFoundError: No such job.
        """
        return self._one("id = ?", job_id, f"No job has the number {job_id}.")

    def by_task(self, task_id: str) -> Job:
        """One job by its task id.

        Raises:
            JobNotFoundError: No such job.
        """
        return self._one("task_id = ?", task_id, f"No job has the task id {task_id!r}.")

    def _one(self, where: str, value: Any, missing: str) -> Job:
        rows = self._db.read(f"SELECT * FROM jobs WHERE {where} ORDER BY id DESC LIMIT 1", (value,))
        if not rows:
            raise JobNotFoundError(missing, "Look at the list of jobs for those that exist.")
        return _job(rows[0])

    def list(
        self,
        states: Iterable[str] | None = None,
        limit: int = 100,
        client: str | None = None,
        newest_first: bool = True,
        kinds: Iterable[str] | None = None,
    ) -> tuple[Job, ...]:
        """Jobs in the order they were submitted.

        Args:
            states: Only these; None = all.
            limit: At most so many, counted from the newest or the oldest.
            client: Only this browser's or session's.
            kinds: Only these, such as ``txt2img``; None = all.
        """
        wanted = tuple(STATES if states is None else states)
        marks = ", ".join("?" * len(wanted))
        sql = f"SELECT * FROM jobs WHERE state IN ({marks})"
        values: list[Any] = [*wanted]
        if client is not None:
            sql += " AND client = ?"
            values.append(client)
        if kinds is not None:
            named = tuple(kinds)
            sql += f" AND kind IN ({', '.join('?' * len(named))})"
            values += named
        sql += f" ORDER BY id {'DESC' if newest_first else 'ASC'} LIMIT ?"
        return tuple(_job(row) for row in self._db.read(sql, [*values, limit]))

    def waiting(self) -> tuple[Job, ...]:
        """The waiting jobs in the order they will run."""
        return tuple(_job(row) for row in self._db.read(_WAITING_IN_ORDER))

    def next_waiting(self) -> Job | None:
        """The job that would be claimed now, left where it is."""
        rows = self._db.read(f"SELECT * FROM jobs WHERE {_NEXT_WAITING}")
        return _job(rows[0]) if rows else None

    def pending_task_ids(self) -> tuple[str, ...]:
        """Task ids of the waiting jobs in the order they will run."""
        return tuple(row["task_id"] for row in self._db.read(_WAITING_IN_ORDER))

    def position(self, job_id: int) -> int | None:
        """Place in the line, 1 = next; None when the job does not wait (any more)."""
        rows = self._db.read(
            "SELECT (SELECT COUNT(*) FROM jobs AS other WHERE other.state = 'queued' AND"
            " (other.priority > me.priority OR"
            "  (other.priority = me.priority AND other.position <= me.position)))"
            " FROM jobs AS me WHERE me.id = ? AND me.state = 'queued'",
            (job_id,),
        )
        return rows[0][0] if rows else None

    def requests(self) -> Iterator[str]:
        """What every job in the list asks for, and asks for again, as JSON; a few at a time."""
        last = 0
        while rows := self._db.read(
            "SELECT id, params, repeat FROM jobs WHERE id > ? ORDER BY id LIMIT ?",
            (last, ROWS_AT_ONCE),
        ):
            last = rows[-1]["id"]
            for row in rows:
                yield row["params"]
                yield row["repeat"] or ""

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state; every state is named."""
        rows = self._db.read("SELECT state, COUNT(*) AS n FROM jobs GROUP BY state")
        return {**dict.fromkeys(STATES, 0), **{row["state"]: row["n"] for row in rows}}


ROWS_AT_ONCE = 500
_WAITING_IN_ORDER = "SELECT * FROM jobs WHERE state = 'queued' ORDER BY priority DESC, position"


@dataclass(frozen=True)
class _Sql:
    """A column value that SQLite computes."""

    text: str


def _change_state(
    db: sqlite3.Connection,
    source: str,
    target: str,
    where: str,
    values: tuple[Any, ...],
    **columns: Any,
) -> Job | None:
    """Move one job from one state to another; the only place where ``state`` is written.

    Safe because the caller holds SQLite's write lock (``Database.write``) and because the row
    must still be in ``source``: finished states are no source, so finished rows never change.

    Args:
        where: Which row, with ``values`` for its marks.
        columns: Other columns to set along with it.
    Returns:
        The job after the change, or None when no row matched.
    Raises:
        ValueError: A change that the rules do not know: a defect of the caller.
    """
    if target not in ALLOWED_CHANGES.get(source, ()):
        raise ValueError(f"a job never goes from {source} to {target}")
    sets, marks = ["state = ?"], [target]
    for name, value in columns.items():
        if isinstance(value, _Sql):
            sets.append(f"{name} = {value.text}")
        else:
            sets.append(f"{name} = ?")
            marks.append(value)
    row = db.execute(
        f"UPDATE jobs SET {', '.join(sets)} WHERE state = ? AND {where} RETURNING *",
        (*marks, source, *values),
    ).fetchone()
    return _job(row) if row else None


def _row(db: sqlite3.Connection, job_id: int) -> sqlite3.Row:
    row = db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise JobNotFoundError(
            f"No job has the number {job_id}.", "Look at the list of jobs for those that exist."
        )
    return row


def _job(row: sqlite3.Row) -> Job:
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
    )


def _dumps(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _with_warning(warnings: tuple[str, ...], message: str) -> tuple[str, ...]:
    if message in warnings or len(warnings) >= MAX_WARNINGS:
        return warnings
    return (*warnings, message)


def _gave_up(job: Job, reason: str, hint: str, details: Mapping[str, Any]) -> JobError:
    return JobError(
        f"The job was begun {job.attempts} times and never reached its end. {reason}",
        hint or "Lower the size or the batch size, or look at the log of the model process.",
        **details,
    )


def _unused_task_id(db: sqlite3.Connection, kind: str) -> str:
    while True:
        task_id = new_task_id(kind)
        if not db.execute("SELECT 1 FROM jobs WHERE task_id = ?", (task_id,)).fetchone():
            return task_id
