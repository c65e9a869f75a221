"""The data folder's SQLite file: opening, transactions, migrations; shared by several rooms."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from webui import PROGRAM_VERSION
from webui.errors import SettingsError, WebUIError

BUSY_TIMEOUT_SECONDS = 15.0
MIN_SQLITE = (3, 35, 0)  # UPDATE … RETURNING
FULL = "disk is full"
"""SQLite's words; Python 3.10 tells no code."""

Migration = tuple[str, str]
"""A name, kept in the database once applied, and the SQL statements it stands for."""


class Database:
    """One SQLite file in WAL mode, for all threads of this process and for other processes.

    Two connections: one writes, one reads, so that reading never waits for a disk flush. Each is
    guarded by a lock; every write is one ``BEGIN IMMEDIATE`` transaction.

    Args:
        path: The file; its folder is made when missing.
        error: What a failing statement is raised as, such as JobError.
    Raises:
        SettingsError: The file cannot be opened or is no SQLite database.
    """

    def __init__(self, path: Path, error: type[WebUIError] = WebUIError) -> None:
        self.path = path
        self._error = error
        self._write_lock = threading.RLock()
        self._read_lock = threading.Lock()
        if sqlite3.sqlite_version_info < MIN_SQLITE:
            raise SettingsError(
                f"Python's SQLite is {sqlite3.sqlite_version}; 3.35 or newer is needed.",
                "Install a newer Python (3.10 or later from python.org has it).",
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            self._reader = self._connect()
        except (OSError, sqlite3.Error) as err:
            raise SettingsError(
                f"The database {path} cannot be opened: {err}.",
                "Make its folder writable. If the file is damaged, move it away: a new one is "
                "made; pictures and models are not in it.",
            ) from err
        self._is_durable = False

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Generator[sqlite3.Connection, None, None]:
        """One transaction: committed when the block ends, undone when it raises.

        Args:
            durable: Flushed to the disk before returning (survives a power cut; some
                milliseconds). Otherwise it survives the end of this process only.
        Raises:
            WebUIError: The kind given to the constructor; the disk is full, read-only or busy.
        """
        with self._write_lock:
            try:
                self._set_durable(durable)
                self._writer.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as err:
                raise self._translated(err) from err
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except sqlite3.Error as err:
                self._roll_back()
                raise self._translated(err) from err
            except BaseException:
                self._roll_back()
                raise

    def _set_durable(self, durable: bool) -> None:
        if durable != self._is_durable:
            self._writer.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._is_durable = durable

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of one SELECT, as of the last committed write.

        Raises:
            WebUIError: The kind given to the constructor.
        """
        with self._read_lock:
            try:
                return self._reader.execute(sql, values).fetchall()
            except OverflowError:  # a number of more than 64 bits, which no row has
                return []
            except sqlite3.Error as err:
                raise self._translated(err) from err

    def _translated(self, err: sqlite3.Error) -> WebUIError:
        if type(err) is sqlite3.DatabaseError:  # damaged, or no database at all
            return self._error(
                f"The database {self.path} is damaged: {err}.",
                "Stop the program and start it again: what can be read is then copied into a new "
                "one. Pictures and models are not in it.",
            )
        if FULL in str(err):
            return self._error(
                f"The disk is full: nothing can be written into {self.path.parent}.",
                "Free some disk space: empty the trash of the gallery, or delete what you need no "
                "more.",
                is_full=True,
            )
        return self._error(
            f"The database {self.path} could not be used: {err}.",
            "Free some disk space, make its folder writable, or close other programs using it.",
        )

    def migrate(self, migrations: Sequence[Migration]) -> None:
        """Apply the migrations not yet applied, in order; each whole or not at all. Which version
        of the program did it is kept, too.

        Several processes may do this at once: the write lock lets one go first.

        Raises:
            WebUIError: The kind given to the constructor.
        """
        with self.write(durable=True) as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at REAL)"
            )
            db.execute("CREATE TABLE IF NOT EXISTS versions (name TEXT PRIMARY KEY, since REAL)")
        for name, script in migrations:
            with self.write(durable=True) as db:
                if db.execute("SELECT 1 FROM migrations WHERE name = ?", (name,)).fetchone():
                    continue
                for statement in filter(str.strip, script.split(";")):
                    db.execute(statement)
                db.execute("INSERT INTO migrations VALUES (?, ?)", (name, time.time()))
                db.execute(
                    "INSERT OR REPLACE INTO versions VALUES (?, ?)", (PROGRAM_VERSION, time.time())
                )

    def close(self) -> None:
        """Close both connections; safe to call twice."""
        with self._write_lock, self._read_lock:
            self._writer.close()
            self._reader.close()


def go_on_from(db: sqlite3.Connection, table: str, number: int) -> None:
    """Let the next row of a table that counts its rows have a higher number than this."""
    last = max(number, last_number(db, table))
    db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
    db.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, last))


def last_number(db: sqlite3.Connection, table: str) -> int:
    """The highest number a row of a table ever had, as far as it counts them; 0 before any."""
    found = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return int(found[0]) if found else 0
