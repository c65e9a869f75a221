"""The tables of the gallery's index, and one row as a thing."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.database import Migration

HERE, TRASHED, GONE = 0, 1, 2
"""States of a picture: its file lies where it should, in the trash, or was not found."""
MIGRATIONS: tuple[Migration, ...] = (
    (
        "gallery 1",
        """
CREATE TABLE names (
    id INTEGER PRIMARY KEY, sort TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (sort, name)
);
CREATE TABLE pictures (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    root TEXT NOT NULL,
    home TEXT,
    folder INTEGER NOT NULL,
    mark TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    format TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    created REAL NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    trashed_at REAL,
    user INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    sampler INTEGER NOT NULL,
    model INTEGER NOT NULL,
    seed TEXT NOT NULL,
    steps INTEGER,
    stars INTEGER NOT NULL DEFAULT 0,
    job INTEGER,
    job_index INTEGER,
    image INTEGER,
    parent TEXT
);
CREATE INDEX pictures_by_time ON pictures
    (created, id, state, user, stars, width, height, sampler, kind, folder, model);
CREATE INDEX pictures_by_mark ON pictures (mark);
CREATE INDEX pictures_by_parent ON pictures (parent) WHERE parent IS NOT NULL;
CREATE INDEX pictures_by_folder ON pictures (folder, state);
CREATE INDEX pictures_by_image ON pictures (image) WHERE image IS NOT NULL;
CREATE TABLE recipes (id INTEGER PRIMARY KEY, infotext TEXT NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(
    prompt, negative, lora, model, name, tokenize = 'unicode61 remove_diacritics 2',
    prefix = '2 3'
);
CREATE TABLE boards (
    id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL, name TEXT NOT NULL,
    UNIQUE (user, name)
);
CREATE TABLE board_pictures (
    board INTEGER NOT NULL, picture INTEGER NOT NULL, PRIMARY KEY (board, picture)
) WITHOUT ROWID;
CREATE INDEX boards_of_picture ON board_pictures (picture);
CREATE TABLE sources (path TEXT PRIMARY KEY, added_at REAL NOT NULL);
CREATE TABLE remembered (mark TEXT PRIMARY KEY, facts TEXT NOT NULL);
CREATE TABLE progress (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
""",
    ),
)


@dataclass(frozen=True)
class Origin:
    """What is known of a picture beside what its file says.

    Attributes:
        user: Login that asked for it; '' = nobody's, so everybody's.
        job, job_index, image: Its job, its place there, its row in the table of saved pictures.
        kind: One of ``query.KINDS``; '' = as its file says.
        parent: Mark of the picture it was made from.
        created: Unix seconds; None = when the file was last changed.
    """

    user: str = ""
    job: int | None = None
    job_index: int | None = None
    image: int | None = None
    kind: str = ""
    parent: str | None = None
    created: float | None = None


@dataclass(frozen=True)
class Picture:
    """One picture of the gallery.

    Attributes:
        path: Where the file lies now. home: Where it lay before it went to the trash.
        root: The folder that is looked through, which it lies below.
        state: HERE, TRASHED or GONE.
        mark: Stands for its content. parent: The mark of what it was made from.
        stars: 0–5.
    """

    id: int
    path: Path
    root: Path
    home: Path | None
    folder: str
    mark: str
    size: int
    mtime_ns: int
    format: str
    width: int
    height: int
    created: float
    state: int
    trashed_at: float | None
    user: str
    kind: str
    sampler: str
    model: str
    seed: str
    steps: int | None
    stars: int
    job: int | None
    job_index: int | None
    image: int | None
    parent: str | None


_NAMED = ("folder", "user", "kind", "sampler", "model")
COLUMNS = ", ".join(
    f"(SELECT name FROM names WHERE id = pictures.{name}) AS {name}"
    if name in _NAMED
    else f"pictures.{name}"
    for name in Picture.__dataclass_fields__
)


def picture_of(row: sqlite3.Row) -> Picture:
    """A row of ``COLUMNS``."""
    values: Mapping[str, Any] = dict(row)
    home = Path(values["home"]) if values["home"] else None
    return Picture(
        **{**values, "path": Path(values["path"]), "root": Path(values["root"]), "home": home}
    )
