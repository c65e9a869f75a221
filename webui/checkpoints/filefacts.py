"""What was once found out about a file, remembered in SQLite until the file changes; no torch.

A fact holds as long as path, size and modification time stay the same. Everything here can be
thrown away: it is only work saved.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from webui.checkpoints.labels import Label
from webui.checkpoints.scan import FoundFile

logger = logging.getLogger(__name__)

FACTS_VERSION: Final = 4
"""Raised when a newer program would find out other things; of older rows the hashes are kept."""
BUSY_SECONDS: Final = 10.0
_COLUMNS: Final = (
    "size", "mtime_ns", "is_inspected", "kind", "family", "title", "problem", "alias",
    "sha256", "old_hash", "is_labelled",
)  # fmt: skip

_SWITCHES: Final = ("is_inspected", "is_labelled")
_LASTING: Final = ("size", "mtime_ns", "sha256", "old_hash")
"""What every version finds out in the same way."""


@dataclass(frozen=True)
class FileFacts:
    """One file's facts.

    Attributes:
        size, mtime_ns: State of the file when they were found.
        is_inspected: Its header was read: kind, family, title, problem and alias are known.
        problem: Why it cannot be used; '' = no problem found.
        alias: A LoRA's ``ss_output_name``.
        is_labelled: Alias and family are known, and a label is kept (see ``FactStore.label``).
        sha256: By the rule for its kind; None while not calculated.
    """

    size: int
    mtime_ns: int
    is_inspected: bool = False
    kind: str = ""
    family: str = ""
    title: str = ""
    problem: str = ""
    alias: str = ""
    sha256: str | None = None
    old_hash: str | None = None
    is_labelled: bool = False


class FactStore:
    """Facts of all files, in memory and in two tables of a database. Thread-safe.

    A damaged or locked database costs speed, never correctness: facts then live in memory.

    Args:
        database_path: SQLite file, made when absent; may be shared with other tables.
    """

    def __init__(self, database_path: Path) -> None:
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._facts: dict[bytes, FileFacts] = {}
        self._labels: dict[bytes, Label] = {}
        try:
            self._connection = self._open(database_path)
            self._facts = self._read_all()
        except (sqlite3.Error, OSError) as err:
            logger.warning("%s cannot be used to remember file facts: %s", database_path, err)
            self.close()

    def _open(self, database_path: Path) -> sqlite3.Connection:
        database_path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            database_path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS model_files (path BLOB PRIMARY KEY, version INTEGER, "
            + ", ".join(_COLUMNS)
            + ") WITHOUT ROWID"
        )
        there = {row[1] for row in connection.execute("PRAGMA table_info(model_files)")}
        for name in (name for name in _COLUMNS if name not in there):
            connection.execute(f"ALTER TABLE model_files ADD COLUMN {name}")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS model_metadata (path BLOB PRIMARY KEY, json TEXT) "
            "WITHOUT ROWID"
        )
        return connection

    def _read_all(self) -> dict[bytes, FileFacts]:
        assert self._connection is not None
        rows = self._connection.execute(
            f"SELECT path, version, {', '.join(_COLUMNS)} FROM model_files"
        )
        found = {}
        for path, version, *values in rows:
            named: dict[str, Any] = dict(zip(_COLUMNS, values, strict=True))
            if version != FACTS_VERSION:
                named = {name: named[name] for name in _LASTING}
                found[bytes(path)] = FileFacts(**named)
                continue
            named.update((name, bool(named[name])) for name in _SWITCHES)
            found[bytes(path)] = FileFacts(**named)
        return found

    def close(self) -> None:
        """Close the database; facts stay in memory."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def get(self, path: str | Path, size: int, mtime_ns: int) -> FileFacts:
        """Facts of a file in its present state; empty ones when it is new or has changed."""
        facts = self._facts.get(os.fsencode(path))
        if facts is None or (facts.size, facts.mtime_ns) != (size, mtime_ns):
            return FileFacts(size, mtime_ns)
        return facts

    def change(
        self, path: str | Path, size: int, mtime_ns: int, values: Mapping[str, object]
    ) -> FileFacts:
        """Add to a file's facts and remember them."""
        with self._lock:
            facts = replace(self.get(path, size, mtime_ns), **values)  # type: ignore[arg-type]
            self._facts[os.fsencode(path)] = facts
            marks = ", ".join("?" * (len(_COLUMNS) + 2))
            self._write(
                f"INSERT OR REPLACE INTO model_files (path, version, {', '.join(_COLUMNS)}) "
                f"VALUES ({marks})",
                (
                    os.fsencode(path),
                    FACTS_VERSION,
                    *(_storable(getattr(facts, name)) for name in _COLUMNS),
                ),
            )
            return facts

    @contextmanager
    def together(self) -> Iterator[None]:
        """Many changes at once: written as one, which is quicker. Others wait meanwhile."""
        with self._lock:
            self._write("BEGIN IMMEDIATE", ())
            try:
                yield
            finally:
                if self._connection is not None and self._connection.in_transaction:
                    self._write("COMMIT", ())

    def label(self, path: str | Path) -> Label | None:
        """The label remembered by ``remember_label``, whichever state the file was in then."""
        key = os.fsencode(path)
        with self._lock:
            if key in self._labels or self._connection is None:
                return self._labels.get(key)
            try:
                row = self._connection.execute(
                    "SELECT json FROM model_metadata WHERE path = ?", (key,)
                ).fetchone()
                return Label.from_json(row[0]) if row else None
            except (sqlite3.Error, ValueError, TypeError, KeyError):
                return None

    def remember_label(self, path: str | Path, label: Label) -> None:
        """Keep what a file says of itself."""
        with self._lock:
            if self._connection is None:
                self._labels[os.fsencode(path)] = label
                return
            self._write(
                "INSERT OR REPLACE INTO model_metadata (path, json) VALUES (?, ?)",
                (os.fsencode(path), label.to_json()),
            )

    def follow_moves(self, files: Iterable[FoundFile]) -> None:
        """Give files that nothing is known of the facts of one that is gone from elsewhere, if
        name, size and time are the same to the nanosecond: it was moved."""
        with self._lock:
            new = [file for file in files if os.fsencode(file.path) not in self._facts]
            known = {_look(key, f.size, f.mtime_ns): key for key, f in self._facts.items()}
        looks = (_look(os.fsencode(file.path), file.size, file.mtime_ns) for file in new)
        same = [(known[look], file) for look, file in zip(looks, new, strict=True) if look in known]
        moved = [(key, file) for key, file in same if not os.path.lexists(key)]
        if moved:
            with self.together():
                for key, file in moved:
                    self._copy(key, file)

    def _copy(self, key: bytes, file: FoundFile) -> None:
        facts, label = self._facts[key], self.label(os.fsdecode(key))
        values = {name: getattr(facts, name) for name in _COLUMNS}
        self.change(file.path, file.size, file.mtime_ns, values)
        if label is not None:
            self.remember_label(file.path, label)

    def forget_missing(self, there: Iterable[FoundFile]) -> None:
        """Drop facts of files that were deleted. Files in a folder that is gone too (a drive that
        is not plugged in) keep theirs.

        Args:
            there: Files that need no look.
        """
        with self._lock:
            gone = self._facts.keys() - {os.fsencode(file.path) for file in there}
        is_there = {folder: os.path.isdir(folder) for folder in map(os.path.dirname, gone)}
        deleted = [k for k in gone if is_there[os.path.dirname(k)] and not os.path.lexists(k)]
        if deleted:
            with self.together():
                for key in deleted:
                    self._forget(key)

    def _forget(self, key: bytes) -> None:
        self._facts.pop(key, None)
        self._labels.pop(key, None)
        self._write("DELETE FROM model_files WHERE path = ?", (key,))
        self._write("DELETE FROM model_metadata WHERE path = ?", (key,))

    def _write(self, sql: str, values: tuple[object, ...]) -> None:
        if self._connection is None:
            return
        try:
            self._connection.execute(sql, values)
        except sqlite3.Error as err:
            logger.warning("A file fact could not be saved: %s", err)


def _look(path: bytes, size: int, mtime_ns: int) -> tuple[bytes, int, int]:
    """How a file looks wherever it lies."""
    return os.path.basename(path), size, mtime_ns


def _storable(value: object) -> object:
    """SQLite cannot hold lone surrogates, which undecodable file names contain."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return int(value) if isinstance(value, bool) else value
