"""What each browser was about to ask for, kept so that a closed tab loses nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from webui.database import Database, Migration

MAX_DRAFT_CHARACTERS = 2_000_000
MIGRATIONS: tuple[Migration, ...] = (
    (
        "drafts 1: by browser and tab",
        "CREATE TABLE drafts (client TEXT, tab TEXT, form TEXT NOT NULL, saved_at REAL NOT NULL, "
        "PRIMARY KEY (client, tab))",
    ),
)


class Drafts:
    """Form values by browser and tab, in SQLite.

    Args:
        database: The data folder's SQLite file.
    """

    def __init__(self, database: Path) -> None:
        self._db = Database(database)
        self._db.migrate(MIGRATIONS)

    def save(self, client: str, tab: str, form: dict[str, Any]) -> bool:
        """Keep a form; False when it is too large to be a draft.

        Raises:
            WebUIError: The database cannot be written.
        """
        text = json.dumps(form, ensure_ascii=False)
        if len(text) > MAX_DRAFT_CHARACTERS:
            return False
        with self._db.write() as db:
            db.execute(
                "INSERT OR REPLACE INTO drafts VALUES (?, ?, ?, ?)",
                (client, tab, text, time.time()),
            )
        return True

    def load(self, client: str, tab: str) -> dict[str, Any]:
        """The form last saved, or an empty one."""
        rows = self._db.read("SELECT form FROM drafts WHERE client = ? AND tab = ?", (client, tab))
        return json.loads(rows[0]["form"]) if rows else {}

    def texts(self) -> Iterator[str]:
        """Every form that is kept, as JSON, one at a time."""
        for row in self._db.read("SELECT client, tab FROM drafts"):
            place = row["client"], row["tab"]
            for found in self._db.read(
                "SELECT form FROM drafts WHERE client = ? AND tab = ?", place
            ):
                yield found["form"]

    def close(self) -> None:
        """Close the file."""
        self._db.close()
