"""The table of pictures: which job made them, where they lie, what is written in them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.database import Database, Migration
from webui.errors import LibraryError

MIGRATIONS: tuple[Migration, ...] = (
    (
        "library 1: images",
        """
CREATE TABLE images (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('image', 'grid')),
    path TEXT NOT NULL,
    root TEXT NOT NULL,
    format TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    seed TEXT,
    infotext TEXT NOT NULL,
    facts TEXT NOT NULL,
    user TEXT NOT NULL,
    client TEXT NOT NULL,
    created_at REAL NOT NULL,
    is_saved INTEGER NOT NULL,
    is_ready INTEGER NOT NULL DEFAULT 0,
    UNIQUE (job_id, idx, kind)
);
CREATE INDEX images_by_path ON images (path);
CREATE INDEX images_by_client ON images (client, id);
CREATE INDEX images_unsaved ON images (created_at) WHERE is_saved = 0;
""",
    ),
    (
        "library 2: pictures by their pixels",
        "CREATE INDEX images_by_pixels ON images (json_extract(facts, '$.pixels'));",
    ),
)


@dataclass(frozen=True)
class SavedPicture:
    """One picture of the library.

    Attributes:
        id: Grows with every picture.
        index: Place in its job, 0-based; a grid counts for itself.
        kind: ``image`` or ``grid``.
        path: Absolute. The file may be gone meanwhile: see ``is_there``.
        root: The output folder it was written below.
        format: png, jpg, webp, avif or gif. width, height: pixels.
        infotext: The recipe. facts: What its file name could be made of.
        created_at: Unix seconds.
        is_saved: In the output folders; False = kept for a while only, for whoever asked.
        warning: What the person should know about where it was written; only right after saving.
    """

    id: int
    job_id: int
    index: int
    kind: str
    path: Path
    root: Path
    format: str
    width: int
    height: int
    size_bytes: int
    seed: int | None
    infotext: str
    facts: Mapping[str, Any]
    user: str
    client: str
    created_at: float
    is_saved: bool
    warning: str | None = None

    @property
    def is_there(self) -> bool:
        """False when somebody moved or deleted the file."""
        return self.path.is_file()


class PictureIndex:
    """Rows of pictures; safe to use from all threads.

    A row is first reserved, then marked ready once its file is on the disk; only ready rows are
    ever shown. A job that runs again finds its reserved rows, and so writes the same files.

    Args:
        database_path: The data folder's SQLite file; its folder is made when missing.
    Raises:
        SettingsError: The file cannot be opened.
    """

    def __init__(self, database_path: Path) -> None:
        self._db = Database(database_path, LibraryError)
        self._db.migrate(MIGRATIONS)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def last_number(self) -> int:
        """The highest id that a picture ever had here; 0 before any."""
        rows = self._db.read("SELECT seq FROM sqlite_sequence WHERE name = 'images'")
        return rows[0]["seq"] if rows else 0

    def take_back(self, pictures: Iterable[SavedPicture]) -> None:
        """List pictures whose rows were lost, under their old ids; rows that are there stay."""
        with self._db.write() as db:
            for picture in pictures:
                row = {**_row_of(picture), "id": picture.id, "is_ready": 1}
                db.execute(
                    f"INSERT OR IGNORE INTO images ({', '.join(row)})"
                    f" VALUES ({', '.join('?' * len(row))})",
                    list(row.values()),
                )

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[SavedPicture]:
        return [_picture(row) for row in self._db.read(sql, values)]

    def reserve(self, values: Mapping[str, Any]) -> int:
        """Add a row that is not shown yet, or take over the one of the same picture.

        Args:
            values: Columns by name; ``path`` and ``root`` as text.
        Returns:
            The row's id.
        """
        names = list(values)
        updates = ", ".join(f"{name} = excluded.{name}" for name in names)
        with self._db.write() as db:
            row = db.execute(
                f"INSERT INTO images ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
                f" ON CONFLICT (job_id, idx, kind) DO UPDATE SET {updates}, is_ready = 0"
                " RETURNING id",
                list(values.values()),
            ).fetchone()
        return int(row["id"])

    def mark_ready(self, picture_id: int) -> SavedPicture:
        """Show a row: its file is on the disk. Rows of files it replaced go."""
        with self._db.write() as db:
            row = db.execute(
                "UPDATE images SET is_ready = 1 WHERE id = ? RETURNING *", (picture_id,)
            ).fetchone()
            db.execute("DELETE FROM images WHERE path = ? AND id <> ?", (row["path"], picture_id))
        return _picture(row)

    def put_back(self, picture: SavedPicture) -> None:
        """Restore a row as it was before a failed attempt to write the picture anew."""
        self.mark_ready(self.reserve(_row_of(picture)))

    def of_picture(self, job_id: int, index: int, kind: str) -> SavedPicture | None:
        """The row of a picture, shown or only reserved."""
        found = self._read(
            "SELECT * FROM images WHERE job_id = ? AND idx = ? AND kind = ?", (job_id, index, kind)
        )
        return found[0] if found else None

    def job_time(self, job_id: int) -> float | None:
        """When the job's first picture was written, Unix seconds."""
        (row,) = self._db.read("SELECT MIN(created_at) FROM images WHERE job_id = ?", (job_id,))
        return row[0]

    def get(self, picture_id: int) -> SavedPicture | None:
        """The picture of that id."""
        found = self._read("SELECT * FROM images WHERE is_ready AND id = ?", (picture_id,))
        return found[0] if found else None

    def by_path(self, path: Path, *, is_ready: bool = True) -> SavedPicture | None:
        """The picture written at exactly this absolute path.

        Args:
            is_ready: Not one that is only reserved.
        """
        found = self._read(
            "SELECT * FROM images WHERE is_ready >= ? AND path = ? ORDER BY id DESC LIMIT 1",
            (is_ready, str(path)),
        )
        return found[0] if found else None

    def saved_after(self, picture_id: int, limit: int) -> list[SavedPicture]:
        """Pictures in the output folders with higher ids, in order of ids."""
        return self._read(
            "SELECT * FROM images WHERE is_ready AND is_saved AND id > ? ORDER BY id LIMIT ?",
            (picture_id, limit),
        )

    def has_moved(self, path: Path, new_path: Path, root: Path) -> None:
        """Note where the file of a picture lies now."""
        with self._db.write() as db:
            db.execute(
                "UPDATE images SET path = ?, root = ? WHERE path = ?",
                (str(new_path), str(root), str(path)),
            )

    def of_job(self, job_id: int) -> list[SavedPicture]:
        """Pictures in order, then the grid."""
        return self._read(
            "SELECT * FROM images WHERE is_ready AND job_id = ? ORDER BY kind = 'grid', idx",
            (job_id,),
        )

    def recent(self, limit: int, client: str | None, saved_only: bool) -> list[SavedPicture]:
        """The newest pictures first."""
        return self._read(
            "SELECT * FROM images WHERE is_ready AND (? IS NULL OR client = ?)"
            " AND (is_saved OR NOT ?) ORDER BY id DESC LIMIT ?",
            (client, client, saved_only, limit),
        )

    def same_pixels(self, picture: SavedPicture) -> list[SavedPicture]:
        """Other pictures that were painted exactly like this one, the newest first."""
        pixels = picture.facts.get("pixels")
        if not pixels:
            return []
        return self._read(
            "SELECT * FROM images WHERE json_extract(facts, '$.pixels') = ? AND id != ?"
            " AND is_ready ORDER BY id DESC LIMIT 100",
            (pixels, picture.id),
        )

    def unsaved(self) -> list[SavedPicture]:
        """Pictures kept for a while only, the oldest first."""
        return self._read("SELECT * FROM images WHERE NOT is_saved ORDER BY created_at, id")

    def forget_jobs(self, job_ids: Sequence[int]) -> None:
        """Delete all rows of jobs."""
        with self._db.write() as db:
            db.executemany("DELETE FROM images WHERE job_id = ?", [(i,) for i in job_ids])

    def forget(self, picture_ids: Sequence[int]) -> None:
        """Delete rows."""
        with self._db.write() as db:
            db.executemany("DELETE FROM images WHERE id = ?", [(i,) for i in picture_ids])


def new_row(
    *, job_id: int, index: int, kind: str, path: Path, root: Path, picture_format: str,
    size: tuple[int, int], size_bytes: int, seed: int | None, infotext: str,
    facts: Mapping[str, Any], user: str, client: str, is_saved: bool,
) -> dict[str, Any]:  # fmt: skip
    """The columns of a picture. Seeds are text: they go beyond SQLite's 64-bit integers."""
    return {
        "job_id": job_id,
        "idx": index,
        "kind": kind,
        "path": str(path),
        "root": str(root),
        "format": picture_format,
        "width": size[0],
        "height": size[1],
        "size_bytes": size_bytes,
        "seed": None if seed is None else str(seed),
        "infotext": infotext,
        "facts": json.dumps(facts, ensure_ascii=False, default=str),
        "user": user,
        "client": client,
        "created_at": time.time(),
        "is_saved": is_saved,
    }


def _row_of(picture: SavedPicture) -> dict[str, object]:
    row = new_row(
        job_id=picture.job_id, index=picture.index, kind=picture.kind, path=picture.path,
        root=picture.root, picture_format=picture.format, size=(picture.width, picture.height),
        size_bytes=picture.size_bytes, seed=picture.seed, infotext=picture.infotext,
        facts=picture.facts, user=picture.user, client=picture.client, is_saved=picture.is_saved,
    )  # fmt: skip
    return {**row, "created_at": picture.created_at}


def _picture(row: sqlite3.Row) -> SavedPicture:
    return SavedPicture(
        id=row["id"],
        job_id=row["job_id"],
        index=row["idx"],
        kind=row["kind"],
        path=Path(row["path"]),
        root=Path(row["root"]),
        format=row["format"],
        width=row["width"],
        height=row["height"],
        size_bytes=row["size_bytes"],
        seed=None if row["seed"] is None else int(row["seed"]),
        infotext=row["infotext"],
        facts=json.loads(row["facts"]),
        user=row["user"],
        client=row["client"],
        created_at=row["created_at"],
        is_saved=bool(row["is_saved"]),
    )
