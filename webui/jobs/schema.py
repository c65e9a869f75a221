"""The tables of the queue, as they came about."""

from __future__ import annotations

from webui.database import Migration

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
