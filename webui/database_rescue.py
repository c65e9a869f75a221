"""What is done with a SQLite file that is damaged or that a newer version wrote: told apart, put
aside under another name, and what can still be read is copied into a new one."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webui.database import BUSY_TIMEOUT_SECONDS, Migration

logger = logging.getLogger(__name__)
TAILS = ("-wal", "-shm")
ROWS_AT_ONCE = 200
HIGHEST_ROWID = 2**62
SHORT_STEP, MOST_STEPS = 8, 4096
"""How far apart rows behind a damaged place are tried: a page of 4 KiB holds more than 8 short
ones."""
_OWN = ("migrations", "versions")
"""Tables that tell what was done to a file; a new file has its own."""
Row = tuple[Any, ...]


def is_damage(err: BaseException | None) -> bool:
    """True when an error says, itself or by its causes, that a file is damaged or no database."""
    if err is None:
        return False
    is_plain = isinstance(err, sqlite3.DatabaseError) and not isinstance(
        err, sqlite3.OperationalError | sqlite3.IntegrityError | sqlite3.ProgrammingError
    )
    return is_plain or is_damage(err.__cause__)


def newer_version(path: Path, migrations: Sequence[Migration]) -> str | None:
    """Who changed a file in a way that these migrations do not know: a version's name, '' for one
    that did not say; None when nobody did, or the file cannot be read."""
    known = {name for name, _ in migrations}
    try:
        with closing(_opened(path)) as db:
            if all(name in known for (name,) in db.execute("SELECT name FROM migrations")):
                return None
            return _last_version(db)
    except sqlite3.Error:
        return None


def _last_version(db: sqlite3.Connection) -> str:
    try:
        found = db.execute("SELECT name FROM versions ORDER BY since DESC LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        return ""
    return str(found[0]) if found else ""


def fault_of(path: Path, migrations: Sequence[Migration]) -> str:
    """What is wrong with a file, in a few words; '' when nothing is, or it is not there.

    All of it is read once: half a second for a gigabyte that is in memory.

    Args:
        migrations: Those that may have been applied to it. What they make has to be there.
    """
    if not path.exists():
        wal = path.with_name(path.name + "-wal")
        return "it is gone, only its journal is there" if _size(wal) else ""
    if not path.is_file():
        return "it is not a file"
    if not _size(path):
        return "it is empty"
    try:
        with closing(_opened(path)) as db:
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            return _missing(db, migrations) if found == "ok" else _short(str(found))
    except sqlite3.Error as err:
        return str(err) if is_damage(err) else ""


def _short(found: str) -> str:
    """What SQLite's check says, on one line."""
    return " ".join(found.replace("*** in database main ***", "").split())[:160]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _missing(db: sqlite3.Connection, migrations: Sequence[Migration]) -> str:
    """Tables and columns that applied migrations made and that are not there."""
    there = _columns(db)
    if "migrations" not in there:
        return "the table migrations is missing" if there else ""
    applied = {name for (name,) in db.execute("SELECT name FROM migrations")}
    with closing(sqlite3.connect(":memory:")) as sound:
        for name, script in migrations:
            if name in applied:
                sound.executescript(script)
        wanted = _columns(sound)
    for table, columns in wanted.items():
        if table not in there:
            return f"the table {table} is missing"
        if lacking := columns - there[table]:
            return f"the table {table} lacks {', '.join(sorted(lacking))}"
    return ""


def _columns(db: sqlite3.Connection) -> dict[str, set[str]]:
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {
        name: {row[1] for row in db.execute(f'PRAGMA table_info("{name}")')} for (name,) in tables
    }


def set_aside(path: Path, why: str) -> Path:
    """Give a file, and its journal, a name with the time and the reason; nothing is deleted.

    Args:
        why: One word, such as ``damaged``.
    Raises:
        OSError: It cannot be renamed; everything is as before.
    """
    stamp, number = time.strftime("%Y%m%d-%H%M%S"), 1
    while True:
        count = f"-{number}" if number > 1 else ""
        aside = path.with_name(f"{path.stem}.{why}-{stamp}{count}{path.suffix}")
        if not any(_beside(aside, tail).exists() for tail in ("", *TAILS)):
            break
        number += 1
    wal = _beside(path, "-wal")
    if wal.exists():
        wal.replace(_beside(aside, "-wal"))
    if path.exists():
        try:
            path.replace(aside)
        except OSError:  # a file without its journal would be an older one
            _move_back(_beside(aside, "-wal"), wal)
            raise
    _beside(path, "-shm").unlink(missing_ok=True)  # only an index into the journal
    return aside


def _move_back(aside: Path, path: Path) -> None:
    if aside.exists():
        aside.replace(path)


def _beside(path: Path, tail: str) -> Path:
    return path.with_name(path.name + tail)


# Reading what is left


@dataclass
class Salvaged:
    """What was copied.

    Attributes:
        rows: How many, by table.
        gaps: Places in tables at which rows were lost, or where it is not known whether there
            were any; a table that cannot be read at all counts as one.
        numbers: Up to where tables have counted their rows, as far as the file still says it.
    """

    rows: dict[str, int] = field(default_factory=dict[str, int])
    gaps: int = 0
    numbers: dict[str, int] = field(default_factory=dict[str, int])


def salvage(damaged: Path, sound: Path) -> Salvaged:
    """Copy the rows that can still be read into a database that has the tables for them.

    Tables that the new one does not have are made as they were. Rows keep their numbers, and
    replace those that the new file was made with. The damaged file is only read.

    Raises:
        sqlite3.Error: The new file cannot be written.
    """
    salvaged = Salvaged()
    with closing(sqlite3.connect(sound, isolation_level=None)) as into:
        try:
            with closing(_opened(damaged)) as db:
                db.execute("PRAGMA writable_schema = ON")  # else one cut short is not looked at
                for table, sql in _tables(db):
                    _copy(db, into, table, sql, salvaged)
                salvaged.numbers = _numbers(db)
        except sqlite3.Error as err:
            logger.warning("%s cannot be read any further: %s", damaged, err)
            salvaged.gaps += 1
    return salvaged


def _opened(path: Path) -> sqlite3.Connection:
    """For reading only, so that nothing of a damaged file is changed."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    db = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    db.text_factory = lambda data: data.decode("utf-8", "replace")
    return db


def _tables(db: sqlite3.Connection) -> list[tuple[str, str]]:
    found = db.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return [(name, sql) for name, sql in found if name not in _OWN]


def _numbers(db: sqlite3.Connection) -> dict[str, int]:
    try:
        return {
            str(name): int(number) for name, number in db.execute("SELECT * FROM sqlite_sequence")
        }
    except (sqlite3.Error, TypeError, ValueError):
        return {}


def _copy(
    db: sqlite3.Connection, into: sqlite3.Connection, table: str, sql: str, salvaged: Salvaged
) -> None:
    there = [row[1] for row in into.execute(f'PRAGMA table_info("{table}")')]
    if not there:
        into.execute(sql)
    old = [row[1] for row in db.execute(f'PRAGMA table_info("{table}")')]
    columns = [name for name in old if name in (there or old)]
    names = ", ".join(f'"{name}"' for name in columns)
    rows = _Rows(db, f'SELECT rowid, {names} FROM "{table}" WHERE rowid')
    insert = f'INSERT OR REPLACE INTO "{table}" (rowid, {names}) VALUES (?{", ?" * len(columns)})'
    count = 0
    into.execute("BEGIN")
    for row in rows:
        try:
            into.execute(insert, row)
        except sqlite3.IntegrityError:
            rows.gaps += 1  # a value that the table does not take
        else:
            count += 1
    into.execute("COMMIT")
    salvaged.rows[table] = count
    salvaged.gaps += rows.gaps


class _Rows:
    """The rows of a table that can be read, around places that cannot.

    After a place that cannot be read, the next row that can is looked for further and further on;
    from there what lies between is read backwards, up to the damage.

    Args:
        select: Up to and with ``WHERE rowid``.
    """

    def __init__(self, db: sqlite3.Connection, select: str) -> None:
        self._db, self._select = db, select
        self.gaps = 0

    def __iter__(self) -> Iterator[Row]:
        last = 0
        while True:
            try:
                found = self._some(f"> {last} ORDER BY rowid", ROWS_AT_ONCE)
            except sqlite3.Error:
                found = self._one_by_one(last)
            for row in found:
                if row[0] > last:
                    last = row[0]
                    yield row
            if not found:
                beyond = self._beyond(last)
                if beyond is None:
                    return
                yield from beyond
                last = max(row[0] for row in beyond)

    def _some(self, rest: str, count: int) -> list[Row]:
        return self._db.execute(f"{self._select} {rest} LIMIT {count}").fetchall()

    def _one_by_one(self, last: int) -> list[Row]:
        found: list[Row] = []
        for _ in range(ROWS_AT_ONCE):
            try:
                row = self._some(f"> {last} ORDER BY rowid", 1)
            except sqlite3.Error:
                break
            if not row or row[0][0] <= last:
                break
            last = row[0][0]
            found += row
        return found

    def _beyond(self, last: int) -> list[Row] | None:
        """The rows next to the far end of a place that cannot be read; None when the table ends
        with it."""
        try:
            if not self._some(f"> {last} ORDER BY rowid", 1):
                return None
        except sqlite3.Error:
            self.gaps += 1
        step, longest = 1, self._longest_step(last)
        while last + step < HIGHEST_ROWID:
            try:
                found = self._some(f"> {last + step} ORDER BY rowid", 1)
            except sqlite3.Error:
                step += min(step, longest)
                continue
            return self._back_to(last, found[0] if found else None)
        return None

    def _longest_step(self, last: int) -> int:
        """Short where the table's end can be read: no page that can be read is stepped over then,
        unless rows lie very far apart."""
        try:
            top = self._some("> 0 ORDER BY rowid DESC", 1)
        except sqlite3.Error:
            return HIGHEST_ROWID
        return max(SHORT_STEP, (top[0][0] - last) // MOST_STEPS) if top else HIGHEST_ROWID

    def _back_to(self, last: int, row: Row | None) -> list[Row] | None:
        found = [] if row is None else [row]
        below = HIGHEST_ROWID if row is None else row[0]
        while True:
            try:
                before = self._some(f"> {last} AND rowid < {below} ORDER BY rowid DESC", 1)
            except sqlite3.Error:
                break
            if not before or not last < before[0][0] < below:
                break
            below = before[0][0]
            found += before
        return found or None
