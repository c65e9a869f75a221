"""The durable queue: one SQLite row per job, and the only code that changes a job's state."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.database import Database, Migration
from webui.errors import JobError, JobNotFoundError, ParamsError
from webui.jobs import line
from webui.jobs.line import NEXT_WAITING, PLACE_IN_LINE, WAITING_IN_ORDER
from webui.jobs.rows import FINISHED, STATES, Job, dumps, job_of, row_of, unused_task_id

__all__ = ["FINISHED", "MAX_ATTEMPTS", "MAX_WARNINGS", "STATES", "Job", "JobStore"]

MAX_ATTEMPTS = 3
MAX_WARNINGS = 50

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
    (
        "jobs-0003-parts",
        """
        ALTER TABLE jobs ADD COLUMN parent INTEGER;
        CREATE INDEX jobs_by_parent ON jobs (parent, id) WHERE parent IS NOT NULL
        """,
    ),
    (
        "jobs-0004-line",
        """
        CREATE TABLE line (is_paused INTEGER NOT NULL);
        INSERT INTO line VALUES (0)
        """,
    ),
    ("jobs-0005-turns", "CREATE INDEX jobs_by_user ON jobs (user, started_at)"),
)


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
        with self._db.write(durable=True) as db:
            return _insert(
                db, kind, params_json, task_id=task_id, priority=priority, origin=origin,
                user=user, client=client, repeat_json=repeat_json,
            )  # fmt: skip

    def submit_with_parts(
        self, parts: Sequence[tuple[str, str]], kind: str, params_json: str, **who: Any
    ) -> Job:
        """Put a job into the queue behind the jobs it is made of; all of them or none.

        It is begun when its parts have ended, however they ended.

        Args:
            parts: Kind and params of each, in the order in which they run.
            who: Further arguments of ``submit``; task id and repeating are the whole's alone.
        Returns:
            The whole; its parts are what ``parts`` lists.
        Raises:
            ParamsError, JobError: As ``submit``.
        """
        shared = {k: v for k, v in who.items() if k not in ("task_id", "repeat_json")}
        with self._db.write(durable=True) as db:
            made = [_insert(db, *part, **shared).id for part in parts]
            whole = _insert(db, kind, params_json, **who)
            db.executemany("UPDATE jobs SET parent = ? WHERE id = ?", [(whole.id, i) for i in made])
            return whole

    def replace_params(self, job_id: int, kind: str, params_json: str) -> bool:
        """Let a waiting job ask for something else, in its old place; False when it runs
        already, has ended, or has parts or is one."""
        with self._db.write(durable=True) as db:
            changed = db.execute(
                "UPDATE jobs SET kind = ?, params = ? WHERE id = ? AND state = 'queued'"
                " AND parent IS NULL AND NOT EXISTS"
                " (SELECT 1 FROM jobs AS part WHERE part.parent = jobs.id)",
                (kind, params_json, job_id),
            )
            return changed.rowcount == 1

    def claim(self, owner: str) -> Job | None:
        """Take the next waiting job, or None when nothing waits.

        One UPDATE inside SQLite's write lock finds and takes the row, so two claimers, in threads
        or processes, never get the same job.
        """
        with self._db.write() as db:
            return _change_state(
                db, "queued", "running", NEXT_WAITING, (),
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
                error=dumps(error), result=dumps(result), finished_at=time.time(),
            )  # fmt: skip
        return job is not None

    def cancel_queued(self, job_id: int) -> bool:
        """Cancel a job that waits; False when it runs already, has ended or never was."""
        with self._db.write(durable=True) as db:
            job = _change_state(
                db, "queued", "cancelled", "id = ?", (job_id,), finished_at=time.time()
            )
        return job is not None

    def cancel_parts(self, job_id: int) -> bool:
        """Cancel those of a job's parts that wait, and the job itself when none of its parts was
        done or runs.

        Returns:
            True when the job still waits for its turn.
        """
        with self._db.write(durable=True) as db:
            rows = db.execute("SELECT id, state FROM jobs WHERE parent = ?", (job_id,)).fetchall()
            ends = [row["id"] for row in rows if row["state"] == "queued"]
            is_begun = any(row["state"] in ("done", "running") for row in rows)
            for one in [*ends, *([] if is_begun else [job_id])]:
                _change_state(db, "queued", "cancelled", "id = ?", (one,), finished_at=time.time())
            return is_begun

    def pause_queued(self, job_id: int) -> bool:
        """Keep a waiting job, and its parts, from being begun; False when it does not wait."""
        with self._db.write(durable=True) as db:
            return line.set_paused(db, job_id, True)

    def resume(self, job_id: int) -> bool:
        """Let a paused job be begun again, in its old place; False when it does not wait."""
        with self._db.write(durable=True) as db:
            return line.set_paused(db, job_id, False)

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
            job = job_of(row_of(db, job_id))
            where, values = "id = ? AND owner = ?", (job_id, owner)
            if job.cancel_requested:
                changed = _change_state(
                    db, "running", "cancelled", where, values, finished_at=time.time()
                )
            elif is_counted and job.attempts >= MAX_ATTEMPTS:
                error = _gave_up(job, reason, hint, details or {})
                changed = _change_state(
                    db, "running", "failed", where, values,
                    error=dumps(error.to_json()), finished_at=time.time(),
                )  # fmt: skip
            else:
                note = f"{reason} The job was begun again."
                changed = _change_state(
                    db, "running", "queued", where, values,
                    owner=None, started_at=None,
                    attempts=job.attempts - (not is_counted),
                    warnings=dumps(_with_warning(job.warnings, note) if is_counted
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
            job = job_of(row_of(db, job_id))
            if not job.is_finished:
                db.execute(
                    "UPDATE jobs SET warnings = ? WHERE id = ?",
                    (dumps(_with_warning(job.warnings, message)), job_id),
                )

    def stop_repeating(self, job_id: int) -> None:
        """End the "Generate forever" that a job belongs to; what runs or waits is still painted."""
        with self._db.write() as db:
            db.execute(
                "UPDATE jobs SET repeat = NULL WHERE (client, repeat) ="
                " (SELECT client, repeat FROM jobs WHERE id = ?)",
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

    def chain_of(self, job: Job) -> tuple[Job, ...]:
        """The jobs of the "Generate forever" that a job belongs to, oldest first."""
        rows = self._db.read(
            "SELECT * FROM jobs WHERE client = ? AND repeat = ? ORDER BY id",
            (job.client, job.repeat_json),
        )
        return tuple(job_of(row) for row in rows)

    def broken_chains(self) -> tuple[Job, ...]:
        """Jobs that are done, repeat, and have no successor though nothing came after them: the
        program ended between the two."""
        rows = self._db.read(
            "SELECT * FROM jobs WHERE id IN (SELECT MAX(id) FROM jobs GROUP BY client)"
            " AND repeat IS NOT NULL AND state = 'done'"
        )
        return tuple(job_of(row) for row in rows)

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
                (unused_task_id(db, "txt2img"), params_json, time.time(), job_id),
            ).fetchone()
            return None if row is None else job_of(row)

    def move(self, job_id: int, before_id: int | None) -> None:
        """Move a waiting job, and its parts, in front of another, or to the end of the line (None).

        It takes the priority of the job it is put beside. The waiting jobs share out the same
        position numbers anew, so a job that comes back from a dead worker still stands first.

        Raises:
            JobNotFoundError: No such job.
            JobError: One of the two does not wait any more.
        """
        with self._db.write() as db:
            line.move(db, job_id, before_id)

    def pause_line(self, is_paused: bool) -> None:
        """Remember that no job is to be begun, or that jobs are begun again."""
        with self._db.write(durable=True) as db:
            db.execute("UPDATE line SET is_paused = ?", (int(is_paused),))

    def is_line_paused(self) -> bool:
        """Whether no job is to be begun."""
        return bool(self._db.read("SELECT is_paused FROM line")[0]["is_paused"])

    def prefer(self, job_id: int, priority: int) -> bool:
        """Give a waiting job, and its parts, another priority; False when it does not wait."""
        with self._db.write() as db:
            return line.prefer(db, job_id, priority)

    # Looking

    def parts(self, job_id: int) -> tuple[Job, ...]:
        """The jobs a job is made of, in the order they were given; usually none."""
        rows = self._db.read("SELECT * FROM jobs WHERE parent = ? ORDER BY id", (job_id,))
        return tuple(job_of(row) for row in rows)

    def part_states(self, job_id: int) -> dict[str, int]:
        """How many of a job's parts are in each state; empty when it has none."""
        rows = self._db.read(
            "SELECT state, COUNT(*) AS n FROM jobs WHERE parent = ? GROUP BY state", (job_id,)
        )
        return {row["state"]: row["n"] for row in rows}

    def newest_done(self, kinds: Sequence[str]) -> int:
        """The highest number of a job of these kinds that is done; 0 before any is."""
        rows = self._db.read(
            "SELECT id FROM jobs WHERE state = 'done' AND kind IN"
            f" ({', '.join('?' * len(kinds))}) ORDER BY id DESC LIMIT 1",
            tuple(kinds),
        )
        return rows[0]["id"] if rows else 0

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
        return job_of(rows[0])

    def list(
        self,
        states: Iterable[str] | None = None,
        limit: int = 100,
        client: str | None = None,
        newest_first: bool = True,
        kinds: Iterable[str] | None = None,
        has_parts: bool = True,
    ) -> tuple[Job, ...]:
        """Jobs in the order they were submitted.

        Args:
            states: Only these; None = all.
            limit: At most so many, counted from the newest or the oldest.
            client: Only this browser's or session's.
            kinds: Only these, such as ``txt2img``; None = all.
            has_parts: Also those that are parts of another job.
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
        if not has_parts:
            sql += " AND parent IS NULL"
        sql += f" ORDER BY id {'DESC' if newest_first else 'ASC'} LIMIT ?"
        return tuple(job_of(row) for row in self._db.read(sql, [*values, limit]))

    def current(self, client: str, kinds: Sequence[str] | None = None) -> Job | None:
        """The job a browser should show: the one that runs, else its next, else its newest.

        Args:
            kinds: Only jobs of these kinds; None = all.
        """
        running = self.list(states=("running",), client=client, kinds=kinds, limit=1)
        waiting = (
            job
            for job in self.waiting()
            if job.client == client and (kinds is None or job.kind in kinds)
        )
        newest = self.list(client=client, kinds=kinds, limit=1, newest_first=True)
        return next(iter((*running, *waiting, *newest)), None)

    def waiting(self) -> tuple[Job, ...]:
        """The waiting jobs in the order they will run."""
        return tuple(job_of(row) for row in self._db.read(WAITING_IN_ORDER))

    def next_waiting(self) -> Job | None:
        """The job that would be claimed now, left where it is."""
        rows = self._db.read(f"SELECT * FROM jobs WHERE {NEXT_WAITING}")
        return job_of(rows[0]) if rows else None

    def pending_task_ids(self) -> tuple[str, ...]:
        """Task ids of the waiting jobs in the order they will run."""
        return tuple(row["task_id"] for row in self._db.read(WAITING_IN_ORDER))

    def position(self, job_id: int) -> int | None:
        """Place in the line, 1 = next; None when the job does not wait (any more)."""
        rows = self._db.read(PLACE_IN_LINE, (job_id,))
        return rows[0]["place"] if rows else None

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

    def ended_before(self, newest: int, but: Sequence[str] = ()) -> tuple[int, ...]:
        """Ids of ended jobs that are not among so many newest ones, the oldest first; no parts of
        others, and nothing of a "Generate forever" that goes on.

        Args:
            but: Kinds that are left out.
        """
        kinds = ", ".join("?" * len(but))
        rows = self._db.read(
            "SELECT id FROM (SELECT id, kind, client, repeat FROM jobs WHERE parent IS NULL"
            "  AND state IN ('done', 'failed', 'cancelled') ORDER BY id DESC LIMIT -1 OFFSET ?)"
            f" AS old WHERE kind NOT IN ({kinds}) AND (repeat IS NULL OR NOT EXISTS"
            "  (SELECT 1 FROM jobs AS next WHERE next.state IN ('queued', 'running')"
            "   AND next.client = old.client AND next.repeat = old.repeat)) ORDER BY id",
            (newest, *but),
        )
        return tuple(row["id"] for row in rows)

    def forget(self, job_id: int) -> bool:
        """Delete the row of an ended job and those of its parts; False when it has not ended."""
        ended = "state IN ('done', 'failed', 'cancelled')"
        with self._db.write() as db:
            gone = db.execute(f"DELETE FROM jobs WHERE id = ? AND {ended}", (job_id,)).rowcount
            if gone:
                db.execute(f"DELETE FROM jobs WHERE parent = ? AND {ended}", (job_id,))
            return bool(gone)

    def waiting_of(self, user: str) -> int:
        """How many jobs of a user wait."""
        rows = self._db.read(
            "SELECT COUNT(*) AS n FROM jobs WHERE user = ? AND state = 'queued'", (user,)
        )
        return rows[0]["n"]

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state; every state is named."""
        rows = self._db.read("SELECT state, COUNT(*) AS n FROM jobs GROUP BY state")
        return {**dict.fromkeys(STATES, 0), **{row["state"]: row["n"] for row in rows}}


ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class _Sql:
    """A column value that SQLite computes."""

    text: str


def _insert(
    db: sqlite3.Connection,
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
    """One row at the end of the line; see ``JobStore.submit``."""
    if origin not in ("page", "api"):
        raise ValueError(f"origin is 'page' or 'api', not {origin!r}")
    task_id = task_id or unused_task_id(db, kind)
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
        (task_id, kind, params_json, priority, time.time(), origin, user, client, repeat_json),
    ).fetchone()
    return job_of(row)


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
    return job_of(row) if row else None


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
