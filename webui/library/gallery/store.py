"""The table of all pictures, their recipes and the full-text index, in a SQLite file of its own.

All of it can be made again from the files; what cannot (stars, boards, owners, parents) is also
kept by ``marks.Journal``. A file that is damaged, or that a newer version of this program wrote,
is therefore put aside, and a new one is filled by the next scan.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from webui.database import Database
from webui.database_rescue import is_damage, newer_version, set_aside
from webui.errors import LibraryError, SettingsError
from webui.library.gallery.marks import Lasting
from webui.library.gallery.query import read_query
from webui.library.gallery.recipes import Read
from webui.library.gallery.rows import COLUMNS, HERE, MIGRATIONS, Origin, Picture, picture_of
from webui.library.gallery.words import spaced

logger = logging.getLogger(__name__)
INDEX_FILE = "gallery.sqlite3"
"""Its name, in the folder of the other database."""
KEPT_ANSWERS = 6
Numbers = NDArray[np.int64]
"""Pictures by their numbers."""
SORTS = {
    "new": "created DESC, id DESC",
    "old": "created, id",
    "stars": "stars DESC, created DESC, id DESC",
}


class GalleryStore:
    """The rows of the gallery; safe to use from all threads.

    Args:
        path: Its SQLite file; made when missing.
    Raises:
        SettingsError: The file cannot be made or opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_new = not path.exists()
        self.put_aside: Path | None = None
        self.generation = time.time_ns() // 1_000_000
        self._lock = threading.RLock()
        self._answers: OrderedDict[tuple[Any, ...], Numbers] = OrderedDict()
        self._db = self._opened()

    # Opening, and beginning anew

    def _opened(self) -> Database:
        try:
            return self._checked()
        except (SettingsError, LibraryError) as err:
            if not is_damage(err):
                raise
            self._set_aside("damaged")
            return self._checked()

    def _checked(self) -> Database:
        db = Database(self.path, LibraryError)
        try:
            if newer_version(self.path, MIGRATIONS) is not None:
                db.close()
                self._set_aside("newer")
                db = Database(self.path, LibraryError)
            db.migrate(MIGRATIONS)
            db.read("SELECT id FROM pictures LIMIT 1")
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, why: str) -> None:
        aside = set_aside(self.path, why)
        logger.warning("The gallery's index is made anew; the %s one is now %s.", why, aside)
        self.is_new, self.put_aside = True, aside

    def begin_anew(self) -> None:
        """Put a file that turned out to be damaged aside and go on with an empty one."""
        with self._lock:
            self._db.close()
            self._set_aside("damaged")
            self._db = self._checked()
            self.changed()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # Reading and writing

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of one SELECT.

        Raises:
            LibraryError: Among others when the file is damaged; it is then begun anew.
        """
        try:
            return self._db.read(sql, values)
        except LibraryError as err:
            raise self._mended(err) from err

    @contextmanager
    def write(self, *, is_shown: bool = True) -> Generator[sqlite3.Connection, None, None]:
        """One transaction. Raises as ``read``.

        Args:
            is_shown: It changes what a search may find.
        """
        try:
            with self._db.write() as db:
                yield db
        except LibraryError as err:
            raise self._mended(err) from err
        if is_shown:
            self.changed()

    def _mended(self, err: LibraryError) -> LibraryError:
        if not is_damage(err):
            return err
        self.begin_anew()
        return LibraryError(
            "The gallery's index was damaged and is being made anew from the files.",
            "Wait a moment; stars and boards are kept.",
        )

    def changed(self) -> None:
        """Searches are to be answered anew."""
        with self._lock:
            self.generation += 1
            self._answers.clear()

    def name_id(self, db: sqlite3.Connection, sort: str, name: str) -> int:
        """The number of a name, given now if need be."""
        key = (sort, name)
        found = db.execute("SELECT id FROM names WHERE sort = ? AND name = ?", key).fetchone()
        if found is None:
            found = db.execute(
                "INSERT INTO names (sort, name) VALUES (?, ?) RETURNING id", key
            ).fetchone()
        return int(found["id"])

    def names(self, sort: str) -> dict[str, int]:
        """All names of a sort."""
        rows = self.read("SELECT name, id FROM names WHERE sort = ?", (sort,))
        return {row["name"]: row["id"] for row in rows}

    def names_like(self, sort: str, text: str) -> list[int]:
        """Names equal to a text but for case, or else those that hold it; [] = none."""
        wanted, names = text.casefold(), self.names(sort)
        same = [number for name, number in names.items() if name.casefold() == wanted]
        return same or [number for name, number in names.items() if wanted in name.casefold()]

    # Pictures

    def get(self, picture_id: int) -> Picture | None:
        """The picture of that number."""
        return next(iter(self.some([picture_id])), None)

    def some(self, ids: Sequence[int]) -> list[Picture]:
        """Pictures in the order of their numbers given; those that are no more are left out."""
        rows = self.read(
            f"SELECT {COLUMNS} FROM pictures WHERE id IN ({','.join('?' * len(ids))})", ids
        )
        found = {row["id"]: picture_of(row) for row in rows}
        return [found[number] for number in ids if number in found]

    def where(self, condition: str, values: Sequence[Any] = ()) -> list[Picture]:
        """Pictures that fulfil a condition."""
        rows = self.read(f"SELECT {COLUMNS} FROM pictures WHERE {condition}", values)
        return [picture_of(row) for row in rows]

    def infotext(self, picture_id: int) -> str:
        """A picture's recipe as text; '' without one."""
        rows = self.read("SELECT infotext FROM recipes WHERE id = ?", (picture_id,))
        return rows[0]["infotext"] if rows else ""

    def put(
        self,
        db: sqlite3.Connection,
        path: Path,
        root: Path,
        read: Read,
        stat: tuple[int, int],
        origin: Origin,
        *,
        picture_id: int | None = None,
        state: int = HERE,
        home: Path | None = None,
    ) -> int:
        """Add a picture, or renew one whose file has changed (its stars and boards stay).

        Args:
            stat: Size in bytes and time of change in nanoseconds.
            picture_id: Of the one to be renewed.
            home: Where it lay before it went to the trash.
        Returns:
            Its number.
        """
        recipe = read.recipe
        lasting = _remembered(db, read.mark) if picture_id is None else Lasting()
        values: dict[str, Any] = {
            "path": str(path), "root": str(root), "home": str(home) if home else None,
            "folder": self.name_id(db, "folder", str((home or path).parent)), "mark": read.mark,
            "size": stat[0], "mtime_ns": stat[1], "format": read.format, "width": read.width,
            "height": read.height, "created": origin.created or stat[1] / 1e9, "state": state,
            "user": self.name_id(db, "user", origin.user or lasting.user),
            "kind": self.name_id(db, "kind", origin.kind or recipe.kind or "other"),
            "sampler": self.name_id(db, "sampler", recipe.sampler),
            "model": self.name_id(db, "model", recipe.model), "seed": recipe.seed,
            "steps": recipe.steps, "job": origin.job, "job_index": origin.job_index,
            "image": origin.image, "parent": origin.parent or lasting.parent or None,
        }  # fmt: skip
        if picture_id is None:
            row = db.execute(
                f"INSERT INTO pictures ({', '.join(values)})"
                f" VALUES ({', '.join('?' * len(values))}) RETURNING id",
                list(values.values()),
            ).fetchone()
            picture_id = int(row["id"])
            self._restore(db, picture_id, lasting)
        else:
            db.execute(
                f"UPDATE pictures SET {', '.join(f'{name} = ?' for name in values)} WHERE id = ?",
                [*values.values(), picture_id],
            )
            db.execute("DELETE FROM words WHERE rowid = ?", (picture_id,))
        db.execute("INSERT OR REPLACE INTO recipes VALUES (?, ?)", (picture_id, recipe.infotext))
        db.execute(
            "INSERT INTO words (rowid, prompt, negative, lora, model, name)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                picture_id, spaced(recipe.prompt), spaced(recipe.negative_prompt),
                spaced(" , ".join(recipe.loras)), spaced(recipe.model),
                spaced((home or path).stem),
            ),
        )  # fmt: skip
        return picture_id

    def _restore(self, db: sqlite3.Connection, picture_id: int, lasting: Lasting) -> None:
        """Give a picture that is listed anew what people did to it before."""
        if lasting.stars:
            db.execute("UPDATE pictures SET stars = ? WHERE id = ?", (lasting.stars, picture_id))
        for user, name in lasting.boards:
            board = self.board_id(db, user, name)
            db.execute("INSERT OR IGNORE INTO board_pictures VALUES (?, ?)", (board, picture_id))

    def board_id(self, db: sqlite3.Connection, user: str, name: str) -> int:
        """The number of somebody's board, made if need be."""
        owner = self.name_id(db, "user", user)
        db.execute("INSERT OR IGNORE INTO boards (user, name) VALUES (?, ?)", (owner, name))
        row = db.execute(
            "SELECT id FROM boards WHERE user = ? AND name = ?", (owner, name)
        ).fetchone()
        return int(row["id"])

    def remember(self, facts: Mapping[str, Lasting]) -> None:
        """Keep what is known of pictures, for when they are listed."""
        with self.write(is_shown=False) as db:
            db.executemany(
                "INSERT OR REPLACE INTO remembered VALUES (?, ?)",
                [(mark, json.dumps(asdict(lasting))) for mark, lasting in facts.items()],
            )

    def lasting(self, picture_ids: Sequence[int]) -> list[tuple[str, Lasting]]:
        """What a journal shall keep of pictures: marks and facts."""
        found = []
        for number in picture_ids:
            picture = self.get(number)
            if picture is None:
                continue
            boards = self.read(
                "SELECT names.name AS user, boards.name FROM board_pictures"
                " JOIN boards ON boards.id = board JOIN names ON names.id = boards.user"
                " WHERE picture = ?",
                (number,),
            )
            pairs = tuple((row["user"], row["name"]) for row in boards)
            facts = Lasting(picture.stars, picture.user, picture.parent or "", pairs)
            found.append((picture.mark, facts))
        return found

    def update(self, picture_ids: Iterable[int], **values: Any) -> None:
        """Set columns of pictures."""
        names = ", ".join(f"{name} = ?" for name in values)
        with self.write() as db:
            db.executemany(
                f"UPDATE pictures SET {names} WHERE id = ?",
                [(*values.values(), number) for number in picture_ids],
            )

    def forget(self, picture_ids: Iterable[int]) -> None:
        """Delete pictures from the index."""
        marks = [(number,) for number in picture_ids]
        with self.write() as db:
            for table, column in (
                ("pictures", "id"), ("recipes", "id"), ("words", "rowid"),
                ("board_pictures", "picture"),
            ):  # fmt: skip
                db.executemany(f"DELETE FROM {table} WHERE {column} = ?", marks)

    def let_go(self, root: str) -> None:
        """Delete the pictures of a folder from the index. What people did to them is remembered
        for the day when the folder comes back."""
        rows = self.read(
            "SELECT id, mark, stars > 0 OR parent IS NOT NULL"
            " OR (SELECT name FROM names WHERE id = pictures.user) <> ''"
            " OR EXISTS (SELECT 1 FROM board_pictures WHERE picture = pictures.id) AS is_touched"
            " FROM pictures WHERE root = ?",
            (root,),
        )
        touched = [row["id"] for row in rows if row["is_touched"]]
        with self.write(is_shown=False) as db:  # what was remembered before counts no longer
            db.executemany("DELETE FROM remembered WHERE mark = ?", [(r["mark"],) for r in rows])
        self.remember(dict(self.lasting(touched)))
        self.forget(row["id"] for row in rows)

    # Searching

    def search(
        self, text: str, limits: Sequence[tuple[str, Sequence[Any]]] = (), sort: str = "new"
    ) -> Numbers:
        """The numbers of all pictures that a search finds, in order.

        Args:
            text: In the language of ``query``.
            limits: Further conditions and their values: whose pictures, of which board.
            sort: One of ``SORTS``.
        Raises:
            ParamsError: The text cannot be read.
        """
        wanted = read_query(text, self.names_like)
        for condition, values in limits:
            wanted.ask(condition, *values)
        ordered = self._ordered(tuple(wanted.where), tuple(wanted.values), sort)
        if wanted.match:
            ordered = ordered[self._is_matching(wanted.match, ordered)]
        for without in wanted.without:
            ordered = ordered[~self._is_matching(without, ordered)]
        return ordered

    def _ordered(self, where: tuple[str, ...], values: tuple[Any, ...], sort: str) -> Numbers:
        """Numbers by the table alone; kept until something changes."""
        key = (where, values, sort)
        with self._lock:
            generation = self.generation
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key]
        condition = " AND ".join(f"({part})" for part in where) or "1"
        found = self._numbers(
            f"SELECT id AS number FROM pictures WHERE {condition} ORDER BY {SORTS[sort]}", values
        )
        with self._lock:
            if generation == self.generation:
                self._answers[key] = found
                if len(self._answers) > KEPT_ANSWERS:
                    self._answers.popitem(last=False)
        return found

    def _is_matching(self, match: str, numbers: Numbers) -> NDArray[np.bool_]:
        """Which of the numbers the full-text table finds."""
        found = self._numbers("SELECT rowid AS number FROM words WHERE words MATCH ?", (match,))
        highest = max(int(numbers.max(initial=0)), int(found.max(initial=0)))
        is_found = np.zeros(highest + 1, np.bool_)
        is_found[found] = True
        return is_found[numbers]

    def _numbers(self, sql: str, values: Sequence[Any]) -> Numbers:
        """The column ``number`` of all rows, as one text: a hundred thousand rows as objects
        would take five times as long. The limit keeps the order of the inner SELECT."""
        rows = self.read(f"SELECT group_concat(number) FROM ({sql} LIMIT -1)", values)
        return np.fromstring(rows[0][0] or "", np.int64, sep=",")

    # Where a look was left

    def progress(self, name: str) -> int:
        """A number that was noted; 0 when none was."""
        rows = self.read("SELECT value FROM progress WHERE name = ?", (name,))
        return rows[0]["value"] if rows else 0

    def note(self, name: str, value: int) -> None:
        """Note a number."""
        with self.write(is_shown=False) as db:
            db.execute("INSERT OR REPLACE INTO progress VALUES (?, ?)", (name, value))


def _remembered(db: sqlite3.Connection, mark: str) -> Lasting:
    row = db.execute("SELECT facts FROM remembered WHERE mark = ?", (mark,)).fetchone()
    return Lasting.from_json(json.loads(row["facts"])) if row else Lasting()
