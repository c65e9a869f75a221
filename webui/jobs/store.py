"""The durable queue: one SQLite row per job, and the only code that changes a job's state."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from webui.database import Database
from webui.errors import JobError, ModelProcessError
from webui.jobs import line
from webui.jobs.line import NEXT_WAITING
from webui.jobs.looking import JobLooks
from webui.jobs.rows import (
    FINISHED,
    STATES,
    Job,
    NewJob,
    dumps,
    insert,
    job_of,
    row_of,
    unused_task_id,
)
from webui.jobs.schema import MIGRATIONS

__all__ = [
    "FINISHED",
    "MAX_ATTEMPTS",
    "MAX_WARNINGS",
    "MIGRATIONS",
    "STATES",
    "Job",
    "JobStore",
    "NewJob",
]

MAX_ATTEMPTS = 3
MAX_WARNINGS = 50

ALLOWED_CHANGES: Mapping[str, tuple[str, ...]] = {
    "queued": ("running", "cancelled"),
    "running": ("queued", *FINISHED),
}


class JobStore(JobLooks):
    """Jobs in SQLite; used by all threads of the web process, and by several processes.

    Submitting and finishing are flushed to the disk before they return (a power cut loses
    neither); the other changes survive the end of the process.

    Args:
        database_path: The data folder's SQLite file.
    Raises:
        SettingsError: The file cannot be opened.
    """

    def __init__(self, database_path: Path) -> None:
        super().__init__(Database(database_path, JobError))
        self._db.migrate(MIGRATIONS)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # Putting in and taking out

    def submit(
        self,
        kind: str,
        params_json: str,
        **who: Any,
    ) -> Job:
        """Put a job at the end of its priority's line; it is on the disk when this returns.

        Args:
            who: Further fields of ``NewJob``.
        Raises:
            ParamsError: The task id was used before (``field``).
            JobError: The database cannot be written.
        """
        with self._db.write(durable=True) as db:
            return insert(db, NewJob(kind, params_json, **who))

    def submit_with_parts(
        self, parts: Sequence[tuple[str, str]], kind: str, params_json: str, **who: Any
    ) -> Job:
        """Put a job into the queue behind the jobs it is made of; all of them or none.

        It is begun when its parts have ended, however they ended.

        Args:
            parts: Kind and params of each, in the order in which they run.
            who: Further fields of ``NewJob``; task id and repeating are the whole's alone.
        Returns:
            The whole; its parts are what ``parts`` lists.
        Raises:
            ParamsError, JobError: As ``submit``.
        """
        new = NewJob(kind, params_json, **who)
        part_of_it = replace(new, task_id=None, repeat_json=None)
        with self._db.write(durable=True) as db:
            made = [
                insert(db, replace(part_of_it, kind=part_kind, params_json=text)).id
                for part_kind, text in parts
            ]
            whole = insert(db, new)
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

    def prefer(self, job_id: int, priority: int) -> bool:
        """Give a waiting job, and its parts, another priority; False when it does not wait."""
        with self._db.write() as db:
            return line.prefer(db, job_id, priority)

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
    return job_of(row) if row else None


def _with_warning(warnings: tuple[str, ...], message: str) -> tuple[str, ...]:
    if message in warnings or len(warnings) >= MAX_WARNINGS:
        return warnings
    return (*warnings, message)


def _gave_up(job: Job, reason: str, hint: str, details: Mapping[str, Any]) -> ModelProcessError:
    return ModelProcessError(
        f"The job was begun {job.attempts} times and never reached its end. {reason}",
        hint or "Lower the size or the batch size, or look at the log of the model process.",
        **details,
    )
