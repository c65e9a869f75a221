"""Finished videos: which job made them, where they lie."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from webui.database import Database, Migration
from webui.errors import LibraryError
from webui.library.files import is_inside
from webui.library.library import Library
from webui.library.names import PictureFacts
from webui.params import Output

logger = logging.getLogger(__name__)
MIGRATIONS: tuple[Migration, ...] = (
    (
        "videos 1",
        """
CREATE TABLE videos (
    job_id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    root TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    rate REAL NOT NULL,
    seconds REAL NOT NULL,
    is_part INTEGER NOT NULL,
    infotext TEXT NOT NULL,
    user TEXT NOT NULL,
    client TEXT NOT NULL,
    created_at REAL NOT NULL
);
CREATE INDEX videos_by_client ON videos (client, job_id);
""",
    ),
)


@dataclass(frozen=True)
class SavedVideo:
    """The video a job made.

    Attributes:
        path: Absolute; the file may be gone meanwhile. root: The output folder it lies below.
        width, height: In pixels. rate: Frames a second.
        is_part: The job was stopped before the end.
        infotext: The recipe.
        warning: What the person should know about where it was written; only right after saving.
    """

    job_id: int
    path: Path
    root: Path
    width: int
    height: int
    frames: int
    rate: float
    seconds: float
    is_part: bool
    infotext: str
    user: str
    client: str
    created_at: float
    warning: str | None = None

    @property
    def is_there(self) -> bool:
        """False when somebody moved or deleted the file, or it leads elsewhere."""
        return self.path.is_file() and is_inside(self.path, self.root)


class Videos:
    """The videos of one data folder; safe to use from all threads.

    Args:
        database_path: The data folder's SQLite file.
        library: Knows how files in the output folders are named.
        folder: For the unfinished parts of running jobs.
    Raises:
        SettingsError: The database cannot be opened.
    """

    def __init__(self, database_path: Path, library: Library, folder: Path) -> None:
        self._db = Database(database_path, LibraryError)
        self._db.migrate(MIGRATIONS)
        self._library = library
        self._folder = folder

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def parts_folder(self, job_id: int) -> Path:
        """Where a job keeps the parts of its video until it is finished."""
        return self._folder / str(job_id)

    def keep(
        self, job_id: int, event: Mapping[str, Any], name: str, output: Output, folder: Path,
        *, user: str = "", client: str = "",
    ) -> SavedVideo:  # fmt: skip
        """Take a finished video into the output folder and list it.

        Args:
            event: The worker's ``video`` message. name: Of the video it was made from.
            folder: As for ``Library.save_image``.
        Raises:
            LibraryError: It could be moved nowhere, or could not be listed.
        """
        facts = PictureFacts(
            width=event["width"], height=event["height"], user=user, basename=name or None
        )
        named = output if output.filename_pattern else _named_after(output, name)
        path, root, warning = self._library.take_in(
            Path(event["path"]), ".mp4", facts, named, folder
        )
        values = {
            "job_id": job_id, "path": str(path), "root": str(root), "user": user,
            "client": client, "created_at": time.time(), "is_part": int(event["is_part"]),
            **{k: event[k] for k in ("width", "height", "frames", "rate", "seconds", "infotext")},
        }  # fmt: skip
        names = ", ".join(values)
        with self._db.write() as db:
            db.execute(
                f"INSERT OR REPLACE INTO videos ({names}) VALUES ({', '.join('?' * len(values))})",
                list(values.values()),
            )
        shutil.rmtree(self.parts_folder(job_id), ignore_errors=True)
        saved = self.of(job_id)
        assert saved is not None, "it was written just now"
        return replace(saved, warning=warning)

    def of(self, job_id: int) -> SavedVideo | None:
        """The video of a job; its file may be gone."""
        return next(iter(self._read("WHERE job_id = ?", job_id)), None)

    def recent(self, client: str, limit: int = 8) -> list[SavedVideo]:
        """The newest videos of a browser that are still there, the newest first."""
        found = self._read("WHERE client = ? ORDER BY job_id DESC LIMIT ?", client, limit)
        return [video for video in found if video.is_there]

    def remove_parts(self, wanted: Set[int]) -> None:
        """Remove parts that no job will finish.

        Args:
            wanted: Jobs that wait or run.
        """
        for folder in self._folder.glob("*"):
            if folder.name.isdecimal() and int(folder.name) not in wanted:
                shutil.rmtree(folder, ignore_errors=True)

    def _read(self, rest: str, *values: Any) -> list[SavedVideo]:
        rows = self._db.read(f"SELECT * FROM videos {rest}", values)
        return [_video(dict(row)) for row in rows]


def _video(row: dict[str, Any]) -> SavedVideo:
    paths = {"path": Path(row["path"]), "root": Path(row["root"])}
    return SavedVideo(**{**row, **paths, "is_part": bool(row["is_part"])})


def _named_after(output: Output, name: str) -> Output:
    """Named after the video it was made from: a seed and a prompt it has not."""
    return output.model_copy(update={"filename_pattern": "[basename]" if name else "video"})
