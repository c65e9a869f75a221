"""What is in the queue's table: everything that only reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from webui.database import Database
from webui.errors import JobNotFoundError
from webui.jobs.line import NEXT_WAITING, PLACE_IN_LINE, WAITING_IN_ORDER
from webui.jobs.rows import STATES, Job, job_of

ROWS_AT_ONCE = 500
MARKED = 100
"""So many of the latest jobs ``mark`` heeds: open pages ask for it every few seconds."""


class JobLooks:
    """The jobs as of the last committed change.

    Args:
        db: With the queue's tables.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

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

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state; every state is named."""
        rows = self._db.read("SELECT state, COUNT(*) AS n FROM jobs GROUP BY state")
        return {**dict.fromkeys(STATES, 0), **{row["state"]: row["n"] for row in rows}}

    # «Generate forever»

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

    def mark(self, user: str) -> str:
        """A text that is another one whenever one of a login's latest jobs came, began or ended."""
        rows = self._db.read(
            "SELECT id, state FROM (SELECT id, state, user FROM jobs ORDER BY id DESC LIMIT ?)"
            " WHERE user = ?",
            (MARKED, user),
        )
        return " ".join(f"{row['id']}{row['state'][0]}" for row in rows)

    # The line as a whole

    def is_line_paused(self) -> bool:
        """Whether no job is to be begun."""
        return bool(self._db.read("SELECT is_paused FROM line")[0]["is_paused"])
