"""The web process's downloads: asked for, run in threads beside the painting, remembered.

A download belongs to the installation, not to a browser: weights are everybody's. What was under
way when the program ended is listed as interrupted and goes on where it was when asked.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

from webui.checkpoints.download.beside import write_beside
from webui.checkpoints.download.client import Rules
from webui.checkpoints.download.fetch import FolderPart, Network, Wanted
from webui.checkpoints.download.folder import discard, get, kept
from webui.checkpoints.download.hubs import Notes, Offer, offers
from webui.checkpoints.download.keys import Keys
from webui.checkpoints.download.known import fetch_known
from webui.checkpoints.download.mirrors import mirror_text, read_mirrors, write_mirrors
from webui.checkpoints.download.naming import kind_at
from webui.checkpoints.download.telling import State
from webui.checkpoints.known_weights import BY_NAME, KnownWeights
from webui.database import Database, Migration
from webui.errors import (
    CheckpointNotFoundError,
    DownloadError,
    DownloadNotFoundError,
    JobCancelled,
    WebUIError,
)
from webui.settings import Folders

logger = logging.getLogger(__name__)
Stage = Literal["waiting", "running", "done", "failed", "stopped", "interrupted"]
ACTIVE: Final = ("waiting", "running")
AT_ONCE: Final = 2
"""More would only share the same line."""
CLOSE_SECONDS: Final = 5.0
MIGRATIONS: tuple[Migration, ...] = (
    (
        "downloads 1: what was asked for, and how it ended",
        "CREATE TABLE downloads (id INTEGER PRIMARY KEY, title TEXT NOT NULL, "
        "known TEXT NOT NULL, wanted TEXT NOT NULL, notes TEXT NOT NULL, stage TEXT NOT NULL, "
        "error TEXT NOT NULL DEFAULT '', path TEXT NOT NULL DEFAULT '', asked_at REAL NOT NULL)",
    ),
)


@dataclass(frozen=True)
class Download:
    """One download as it is now.

    Attributes:
        known: Name in the list of well-known weights; '' for links.
        error: As ``WebUIError.to_json``; None when there is none.
        path: Where the file lies; '' until it has come.
        state: How far it is; None when it does not run.
        kept_bytes: What has come of one that does not run.
    """

    id: int
    title: str
    known: str
    wanted: Wanted
    notes: Notes | None
    stage: Stage
    error: dict[str, Any] | None
    path: str
    state: State | None
    kept_bytes: int = 0

    @property
    def is_active(self) -> bool:
        return self.stage in ACTIVE


class Downloads:
    """All downloads of one installation.

    Args:
        folders: Where weights go, and where the database, the mirrors and the keys lie.
        public_only: Links may lead to addresses of the open internet alone: the page is reached
            from other machines.
        on_come: Called in a thread when a file has come.
    Raises:
        SettingsError: The database cannot be used.
    """

    def __init__(self, folders: Folders, *, public_only: bool, on_come: Callable[[], None]) -> None:
        self._folders, self._public_only, self._on_come = folders, public_only, on_come
        self.keys = Keys(folders.keys)
        self._db = Database(folders.database, DownloadError)
        self._db.migrate(MIGRATIONS)
        self._set_stage("interrupted", where="stage IN ('waiting', 'running')")
        self._lock = threading.Lock()
        self._states: dict[int, State] = {}
        self._stop_wishes: set[int] = set()
        self._queue: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()

    # Asking

    def offers(self, link: str, kind: str = "") -> list[Offer]:
        """The files behind a link; see ``hubs.offers``, whose errors it has."""
        return offers(link, self.network(), kind)

    def add(self, offer: Offer) -> int:
        """Get a file that was offered.

        Returns:
            The id; that of the same file if it is under way.
        """
        return self._add(offer.wanted.name or offer.label, "", offer.wanted, offer.notes)

    def add_known(self, name: str) -> int:
        """Get a well-known file.

        Raises:
            CheckpointNotFoundError: None has that name.
        """
        known = BY_NAME.get(name)
        if known is None:
            raise CheckpointNotFoundError(
                f"No well-known weights are called {name!r}.", "Search the list.", wanted=name
            )
        return self._add(name, name, _wish(known), None)

    def _add(self, title: str, known: str, wanted: Wanted, notes: Notes | None) -> int:
        told = json.dumps(asdict(notes)) if notes else ""
        with self._db.write() as db:
            for row in db.execute("SELECT * FROM downloads").fetchall():
                if _wish_in(row).part_name != wanted.part_name:
                    continue
                if row["stage"] in ACTIVE:
                    return int(row["id"])
                db.execute("DELETE FROM downloads WHERE id = ?", (row["id"],))  # earlier attempt
            made = db.execute(
                "INSERT INTO downloads (title, known, wanted, notes, stage, asked_at) "
                "VALUES (?, ?, ?, ?, 'waiting', ?) RETURNING id",
                (title, known, json.dumps(asdict(wanted)), told, time.time()),
            ).fetchone()
        self._begin(int(made["id"]))
        return int(made["id"])

    def _begin(self, download_id: int) -> None:
        with self._lock:
            self._stop_wishes.discard(download_id)
            self._queue.put(download_id)
            if len(self._threads) < AT_ONCE:
                thread = threading.Thread(target=self._work, name="download", daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self, download_id: int) -> None:
        """Stop one; what has come is kept."""
        with self._lock:
            self._stop_wishes.add(download_id)
        self._set_stage("stopped", download_id, where="stage = 'waiting'")

    def resume(self, download_id: int, kind: str = "") -> None:
        """Go on with one that stopped, failed or was interrupted.

        Args:
            kind: What it is, where the file does not tell; '' = as before.
        """
        found = self.get(download_id)
        if found.is_active:
            return
        if kind:
            wanted = json.dumps(asdict(replace(found.wanted, kind=kind)))
            with self._db.write() as db:
                db.execute("UPDATE downloads SET wanted = ? WHERE id = ?", (wanted, download_id))
        self._set_stage("waiting", download_id)
        self._begin(download_id)

    def forget(self, download_id: int) -> None:
        """Take one that does not run off the list, and what has come of it off the disk."""
        found = self.get(download_id)
        if found.is_active:
            return
        if found.stage != "done":
            discard(found.wanted, self._folders)
        with self._db.write() as db:
            db.execute("DELETE FROM downloads WHERE id = ?", (download_id,))

    # Looking

    def all(self) -> list[Download]:
        """All, the active ones first, then the newest."""
        found = [self._read(row) for row in self._db.read("SELECT * FROM downloads")]
        return sorted(found, key=lambda d: (not d.is_active, -d.id))

    def get(self, download_id: int) -> Download:
        """One.

        Raises:
            DownloadNotFoundError: None has that id.
        """
        rows = self._db.read("SELECT * FROM downloads WHERE id = ?", (download_id,))
        if not rows:
            raise DownloadNotFoundError(
                "This download is not on the list (any more).", "Ask for it again."
            )
        return self._read(rows[0])

    def _read(self, row: Any) -> Download:
        wish = _wish_in(row)
        if row["path"] and not wish.kind:  # what it turned out to be
            wish = replace(wish, kind=kind_at(Path(row["path"]), self._folders))
        notes = Notes(**_known_fields(Notes, json.loads(row["notes"]))) if row["notes"] else None
        with self._lock:
            state = self._states.get(row["id"])
        is_partial = row["stage"] in ("stopped", "interrupted", "failed")
        return Download(
            id=row["id"], title=row["title"], known=row["known"], wanted=wish, notes=notes,
            stage=row["stage"], error=json.loads(row["error"]) if row["error"] else None,
            path=row["path"], state=state,
            kept_bytes=kept(wish, self._folders) if is_partial else 0,
        )  # fmt: skip

    # Mirrors and keys

    def mirrors(self) -> str:
        """The list of mirrors as people edit it."""
        return mirror_text(self._folders.mirrors)

    def change_mirrors(self, text: str) -> None:
        """Keep another list of mirrors.

        Raises:
            ParamsError: A line that cannot be understood.
        """
        write_mirrors(self._folders.mirrors, text)

    def network(self) -> Network:
        """How files are asked for: the rules, the mirrors as they are listed now."""
        mirrors = read_mirrors(self._folders.mirrors)
        return Network(Rules(self.keys, self._public_only, mirrors.servers()), mirrors)

    # Working

    def close(self) -> None:
        """Stop all; what has come is kept, and listed as interrupted."""
        self._closing.set()
        with self._lock:
            threads = list(self._threads)
            for _ in threads:
                self._queue.put(-1)
        for thread in threads:
            thread.join(CLOSE_SECONDS)
        self._db.close()

    def _work(self) -> None:
        while not self._closing.is_set():
            download_id = self._queue.get()
            if download_id < 0:
                return
            try:
                self._run(download_id)
            except WebUIError:
                if not self._closing.is_set():
                    logger.warning("A download could not be looked after.", exc_info=True)

    def _run(self, download_id: int) -> None:
        if not self._set_stage("running", download_id, where="stage = 'waiting'"):
            return  # stopped while it waited
        found = self.get(download_id)
        try:
            path = self._fetch(found)
        except JobCancelled:
            end = "interrupted" if self._closing.is_set() else "stopped"
            self._set_stage(end, download_id)
        except WebUIError as err:
            self._fail(download_id, err)
        except Exception as err:  # the fence around a download, as around a job
            report_id = uuid.uuid4().hex[:8]
            logger.exception("Download %s failed (report id %s).", found.title, report_id)
            self._fail(download_id, DownloadError(f"{type(err).__name__} (report {report_id})."))
        else:
            self._set_stage("done", download_id, path=str(path))
        finally:
            with self._lock:
                self._states.pop(download_id, None)

    def _fetch(self, found: Download) -> Path:
        watch, network = _Watch(self, found.id), self.network()
        known = BY_NAME.get(found.known)
        if known is not None:
            packages = self._folders.database.parent / "packages"
            path = fetch_known(known, self._folders, packages, network, watch)
        else:
            path = get(found.wanted, self._folders, network, watch)
        if found.notes is not None:
            write_beside(path, found.wanted.kind, found.notes, network)
        self._on_come()
        return path

    def _fail(self, download_id: int, err: WebUIError) -> None:
        logger.warning("%s", err)
        self._set_stage("failed", download_id, error=json.dumps(err.to_json()))

    def _set_stage(
        self,
        stage: Stage,
        download_id: int | None = None,
        *,
        where: str = "1",
        error: str = "",
        path: str = "",
    ) -> bool:
        """Change the stage; True when there was such a row."""
        with self._db.write() as db:
            changed = db.execute(
                "UPDATE downloads SET stage = ?, error = ?, path = ? "
                f"WHERE (? IS NULL OR id = ?) AND {where}",
                (stage, error, path, download_id, download_id),
            )
            return changed.rowcount > 0

    def note(self, download_id: int, state: State) -> None:
        """A running download is this far."""
        with self._lock:
            self._states[download_id] = state

    def should_stop(self, download_id: int) -> bool:
        """True once a running download shall end."""
        with self._lock:
            return self._closing.is_set() or download_id in self._stop_wishes


class _Watch:
    """See ``telling.Watcher``."""

    def __init__(self, downloads: Downloads, download_id: int) -> None:
        self._downloads, self._id = downloads, download_id

    def tell(self, state: State) -> None:
        self._downloads.note(self._id, state)

    def is_interrupted(self) -> bool:
        return self._downloads.should_stop(self._id)


def _wish(known: KnownWeights) -> Wanted:
    """What is stored for a well-known file; where it comes from is looked up when it runs."""
    return Wanted(known.urls, known.kind, known.file, known.folder, known.sha256)


def _wish_in(row: Any) -> Wanted:
    """What a row of the table asks for."""
    wanted = json.loads(row["wanted"])
    parts = tuple(_with_urls(FolderPart, part) for part in wanted.pop("parts", ()))
    return _with_urls(Wanted, {**wanted, "parts": parts})


def _with_urls(kind: type[Any], values: dict[str, Any]) -> Any:
    return kind(**{**_known_fields(kind, values), "urls": tuple(values["urls"])})


def _known_fields(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Those a row of another version shares with this one."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in values.items() if name in names}
