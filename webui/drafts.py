"""What each browser was about to ask for, kept so that a closed tab loses nothing."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

MAX_DRAFT_CHARACTERS = 2_000_000


class Drafts:
    """Form values by browser and tab, in SQLite.

    Args:
        database: The data folder's SQLite file; its folder must exist.
    """

    def __init__(self, database: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(database, check_same_thread=False, timeout=10)
        with self._lock, self._db:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS drafts (client TEXT, tab TEXT, form TEXT NOT NULL, "
                "saved_at REAL NOT NULL, PRIMARY KEY (client, tab))"
            )

    def save(self, client: str, tab: str, form: dict[str, Any]) -> bool:
        """Keep a form; False when it is too large to be a draft."""
        text = json.dumps(form, ensure_ascii=False)
        if len(text) > MAX_DRAFT_CHARACTERS:
            return False
        with self._lock, self._db:
            self._db.execute(
                "INSERT OR REPLACE INTO drafts VALUES (?, ?, ?, ?)", (client, tab, text, time.time())
            )
        return True

    def load(self, client: str, tab: str) -> dict[str, Any]:
        """The form last saved, or an empty one."""
        with self._lock:
            row = self._db.execute(
                "SELECT form FROM drafts WHERE client = ? AND tab = ?", (client, tab)
            ).fetchone()
        return json.loads(row[0]) if row else {}

    def close(self) -> None:
        self._db.close()
