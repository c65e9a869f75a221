"""The database of jobs and pictures at the start: sound, or made so. The page comes up anyway."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from webui import __version__
from webui.database import Database, Migration, go_on_from
from webui.database_rescue import Salvaged, fault_of, newer_version, salvage, set_aside
from webui.errors import SettingsError
from webui.jobs import store as jobs
from webui.library import index as pictures
from webui.library import videos
from webui.library.gallery.store import INDEX_FILE
from webui.services import downloads
from webui.services.forms import drafts
from webui.settings import Folders

logger = logging.getLogger(__name__)
MIGRATIONS: tuple[Migration, ...] = (
    *jobs.MIGRATIONS, *pictures.MIGRATIONS, *videos.MIGRATIONS, *downloads.MIGRATIONS,
    *drafts.MIGRATIONS,
)  # fmt: skip
"""Of all rooms that keep tables in it."""
NUMBERED = ("jobs", "images")
"""Tables whose numbers stand in other places too: in file names and in the gallery's index."""
MARGIN = 1000
COUNTED_FROM = 1_577_836_800.0
"""2020 in Unix seconds."""
SENTENCES = {
    "damaged": (
        "The database of jobs was damaged ({reason}). It is kept as {kept}; {rows} rows could be "
        "read and are in a new one. Pictures are plain files, none is lost: the gallery lists them "
        "from the output folders, with stars and boards."
    ),
    "empty": (
        "The database of jobs was damaged ({reason}). It is kept as {kept}; nothing in it could be "
        "read, so a new one was begun and the list of jobs is empty. Pictures are plain files, "
        "none is lost: the gallery lists them from the output folders, with stars and boards."
    ),
    "newer": (
        "The database {kept} was written by {version}; this is version {own}. It was left as it "
        "is, and this run uses {used} instead. To have your jobs back, start the newer version; "
        "pictures are files, and both versions see them."
    ),
}


@dataclass(frozen=True)
class DatabaseNews:
    """What a person should know about the database.

    Attributes:
        code: A key of ``SENTENCES``. values: For its marks.
    """

    code: str
    values: dict[str, Any]

    def __str__(self) -> str:
        return SENTENCES[self.code].format_map(self.values)


@dataclass(frozen=True)
class MainDatabase:
    """The file to be used.

    Attributes:
        folders: With its name.
        is_new: It was made just now, and there was another one before.
        news: What to tell; None as a rule.
    """

    folders: Folders
    is_new: bool
    news: DatabaseNews | None = None


def make_ready(folders: Folders) -> MainDatabase:
    """See that there is a database that can be used; call before it is opened by anybody.

    A damaged one is put aside under a dated name, and what can be read of it is copied. One of a
    newer version is left alone; a file of this version is used beside it until the newer version
    is started again.

    Raises:
        SettingsError: There is one that cannot be used, and cannot be put aside.
    """
    newer = newer_version(folders.database, MIGRATIONS)
    if newer is None:
        return _checked(folders)
    used = replace(folders, database_name=f"{folders.database.stem}-{__version__}.sqlite3")
    beside = _checked(used)
    values = {
        "kept": folders.database, "version": newer or "a newer version", "own": __version__,
        "used": used.database.name,
    }  # fmt: skip
    return _told(replace(beside, news=DatabaseNews("newer", values)))


def _checked(folders: Folders) -> MainDatabase:
    path = folders.database
    fault = fault_of(path, MIGRATIONS)
    if not fault:
        is_new = not path.exists() and path.with_name(INDEX_FILE).exists()
        if is_new:
            _begin(path)
        return MainDatabase(folders, is_new)
    try:
        kept = set_aside(path, "damaged")
    except OSError as err:
        raise SettingsError(
            f"The database {path} is damaged ({fault}) and cannot be put aside: "
            f"{err.strerror or err}.",
            "Make its folder writable, or move the file away.",
        ) from err
    saved = _begin(path, kept)
    rows = sum(saved.rows.values())
    values = {"reason": fault, "kept": kept, "rows": rows}
    return _told(MainDatabase(folders, True, DatabaseNews("damaged" if rows else "empty", values)))


def _begin(path: Path, damaged: Path | None = None) -> Salvaged:
    """Make the tables, fill them with what an older file holds, and let numbers go on."""
    with closing(Database(path)) as db:
        db.migrate(MIGRATIONS)
        is_readable = damaged is not None and damaged.is_file()
        saved = salvage(damaged, path) if damaged and is_readable else Salvaged()
        with db.write(durable=True) as written:
            for table in NUMBERED:
                known = saved.numbers.get(table)
                last = _by_the_clock() if known is None else known + MARGIN
                go_on_from(written, table, last)
    return saved


def _by_the_clock() -> int:
    """A number that no table has reached: minutes since 2020. So what still stands in file names
    and in the gallery's index never means another job."""
    return int((time.time() - COUNTED_FROM) // 60)


def _told(database: MainDatabase) -> MainDatabase:
    logger.warning("%s", database.news)
    return database
