"""The line of waiting jobs: who stands where, who is begun next, and how people change that.

A job that has parts (a plot and its cells) moves, waits and is preferred together with them, and
is begun when the last of them has ended. All functions are called inside SQLite's write lock
(``Database.write``), except those that only read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from webui.errors import JobError
from webui.jobs.rows import row_of

_WAITING = (
    "(SELECT *, SUM(NOT is_paused) OVER (PARTITION BY priority, user ORDER BY position) AS turn,"
    " (SELECT MAX(started_at) FROM jobs AS past WHERE past.user = mine.user) AS served"
    " FROM jobs AS mine WHERE state = 'queued')"
)
"""The waiting jobs; ``turn`` counts each user's, ``served`` is when a job of theirs was last
begun."""
_ORDER = "ORDER BY priority DESC, turn, served, position"
"""Among jobs of the same priority users take turns: the first of each, then the second of each; and
first who has waited longest for one of theirs to begin. One user's jobs stay in their order."""
WAITING_IN_ORDER = f"SELECT * FROM {_WAITING} {_ORDER}"
PLACE_IN_LINE = (
    f"SELECT place FROM (SELECT id, ROW_NUMBER() OVER ({_ORDER}) AS place FROM {_WAITING})"
    " WHERE id = ?"
)
NEXT_WAITING = (
    f"id = (SELECT id FROM {_WAITING} AS next WHERE NOT is_paused"
    " AND NOT EXISTS (SELECT 1 FROM jobs AS part WHERE part.parent = next.id"
    "  AND part.state IN ('queued', 'running'))"
    f" {_ORDER} LIMIT 1)"
)
_WITH_PARTS = "state = 'queued' AND (id = :job OR parent = :job)"
MOST_PRIORITY = 1_000_000


def move(db: sqlite3.Connection, job_id: int, before_id: int | None) -> None:
    """See ``JobStore.move``."""
    waiting = {row["id"]: row for row in db.execute(WAITING_IN_ORDER)}
    for wanted in filter(None, (job_id, before_id)):
        if wanted not in waiting:
            state = row_of(db, wanted)["state"]
            raise JobError(
                f"Job {wanted} cannot be moved: it is {state}.", "Only waiting jobs can be moved."
            )
    moved = _together(waiting, job_id)
    if before_id in moved:
        return
    rest = [other for other in waiting if other not in moved]
    place = len(rest) if before_id is None else rest.index(_together(waiting, before_id)[0])
    order = [*rest[:place], *moved, *rest[place:]]
    if rest:
        beside = waiting[rest[min(place, len(rest) - 1)]]
        _prefer(db, job_id, beside["priority"])
    positions = sorted(row["position"] for row in waiting.values())
    db.executemany("UPDATE jobs SET position = ? WHERE id = ?", zip(positions, order, strict=True))


def _together(waiting: dict[int, sqlite3.Row], job_id: int) -> Sequence[int]:
    """A waiting job and its waiting parts, in the order of the line."""
    return [i for i, row in waiting.items() if i == job_id or row["parent"] == job_id]


def prefer(db: sqlite3.Connection, job_id: int, priority: int) -> bool:
    """See ``JobStore.prefer``."""
    limited = max(-MOST_PRIORITY, min(MOST_PRIORITY, priority))
    return _prefer(db, job_id, limited)


def _prefer(db: sqlite3.Connection, job_id: int, priority: int) -> bool:
    changed = db.execute(
        f"UPDATE jobs SET priority = :priority WHERE {_WITH_PARTS}",
        {"job": job_id, "priority": priority},
    )
    return changed.rowcount > 0


def set_paused(db: sqlite3.Connection, job_id: int, is_paused: bool) -> bool:
    """Let a waiting job and its waiting parts wait on, or no longer; False when none waits."""
    changed = db.execute(
        f"UPDATE jobs SET is_paused = :paused WHERE {_WITH_PARTS}",
        {"job": job_id, "paused": int(is_paused)},
    )
    return changed.rowcount > 0
