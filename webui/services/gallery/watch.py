"""Keeps the gallery's index true to the files: new pictures at once, folders now and then.

All in one thread that lets everybody else go first, and that ends between two files.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from webui.errors import LibraryError, ParamsError, WebUIError
from webui.library.files import write_whole
from webui.library.gallery.marks import Journal
from webui.library.gallery.recipes import mark_of_file, read_picture
from webui.library.gallery.rows import Origin
from webui.library.gallery.scan import Found, Scan
from webui.library.gallery.store import GalleryStore
from webui.library.library import Library, SavedPicture

logger = logging.getLogger(__name__)
LOOK_AGAIN_SECONDS = 300.0
"""So long a look through the folders holds when somebody opens the gallery."""
REST = 0.25
"""Of the time that a step took, the thread then rests; pages and jobs go first."""
LONGEST_REST_SECONDS = 0.05
AT_ONCE = 200

Lineage = Callable[[SavedPicture], tuple[str, Path | None]]
"""Given a picture of ours: its kind, and the file it was made from."""


class GalleryWatch:
    """The thread that fills the index.

    Args:
        store, journal: Of the gallery.
        library: Knows what was painted here. lineage: How a picture came about.
        outputs: The output folders as they are set now.
        may_add: People may add folders of this machine's disk.
        is_too_wide: Tells folders that are not looked through (``Folders.are_inside``).
    """

    def __init__(
        self,
        store: GalleryStore,
        journal: Journal,
        library: Library,
        *,
        lineage: Lineage,
        outputs: Callable[[], list[Path]],
        may_add: bool,
        is_too_wide: Callable[[Path], bool],
    ) -> None:
        self._store = store
        self._journal = journal
        self._library = library
        self._lineage = lineage
        self._outputs = outputs
        self.may_add = may_add
        self._is_too_wide = is_too_wide
        self._woken, self._stopped, self._interrupted = (threading.Event() for _ in range(3))
        self._catching_up, self._looking = threading.Lock(), threading.Lock()
        self._is_asked = False
        self._looked_at = -LOOK_AGAIN_SECONDS
        self._rested = 0.0
        self.found = Found()
        self.is_looking = False
        self._thread = threading.Thread(target=self._run, name="gallery", daemon=True)

    # Life

    def start(self) -> None:
        """Begin: what was painted since last time, then wait to be woken."""
        self._thread.start()
        self._woken.set()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End, between two files."""
        self._stopped.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def wake(self) -> None:
        """A picture was painted."""
        self._woken.set()

    def look(self, *, is_wanted: bool = True) -> None:
        """Look through the folders soon.

        Args:
            is_wanted: False = only if the last look is a while ago.
        """
        if is_wanted or time.monotonic() - self._looked_at > LOOK_AGAIN_SECONDS:
            self._is_asked = True
            self._woken.set()

    def interrupt(self) -> None:
        """End the look that is under way; what it has found stays."""
        self._interrupted.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._woken.wait()
            self._woken.clear()
            try:
                self.catch_up()
                if self._is_asked and not self._stopped.is_set():
                    self.look_now()
            except (OSError, WebUIError):
                if not self._stopped.is_set():
                    logger.warning("The gallery could not be brought up to date.", exc_info=True)

    # Painted here

    def catch_up(self) -> int:
        """List what was painted since the last time; returns how many."""
        self._remember()
        count = 0
        with self._catching_up:
            while not self._stopped.is_set():
                last = self._last_taken()
                rows = self._library.saved_after(last, AT_ONCE)
                if not rows:
                    break
                for saved in rows:
                    count += self._take(saved)
                self._store.note("images", rows[-1].id)
        return count

    def _last_taken(self) -> int:
        """The number of the last picture that was listed here. Beyond the library's own numbers
        it is of another library (``services.main_database``): then the last one listed of this."""
        last, highest = self._store.progress("images"), self._library.last_number()
        if last <= highest:
            return last
        rows = self._store.read("SELECT MAX(image) FROM pictures WHERE image <= ?", (highest,))
        return rows[0][0] or 0

    def _take(self, saved: SavedPicture) -> bool:
        try:
            stat = saved.path.stat()
            read = read_picture(saved.path)
        except (OSError, LibraryError) as err:
            logger.info("%s is not listed: %s", saved.path, err)
            return False
        origin = self._origin(saved)
        rows = self._store.read("SELECT id FROM pictures WHERE path = ?", (str(saved.path),))
        with self._store.write() as db:
            number = self._store.put(
                db, saved.path, saved.root, read, (stat.st_size, stat.st_mtime_ns), origin,
                picture_id=rows[0]["id"] if rows else None,
            )  # fmt: skip
        if origin.user or origin.parent:
            self._journal.add(self._store.lasting([number]))
        return True

    def _origin(self, saved: SavedPicture) -> Origin:
        kind, parent = self._lineage(saved)
        mark = None
        if parent is not None:
            try:
                mark = mark_of_file(parent)
            except OSError:
                logger.info("What picture %s was made from is gone.", saved.id)
        return Origin(
            user=saved.user, job=saved.job_id, job_index=saved.index, image=saved.id, kind=kind,
            parent=mark, created=saved.created_at,
        )  # fmt: skip

    def _remember(self) -> None:
        """A new index gets back what people did before."""
        if not self._store.is_new:
            return
        self._is_asked = True
        self._store.remember(self._journal.read())
        self._add(*self._remembered_folders())
        self._store.is_new = False  # what could not be written is tried again
        self._journal.shorten()

    def _remembered_folders(self) -> list[str]:
        try:
            return self._folder_list.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return []

    @property
    def _folder_list(self) -> Path:
        return self._store.path.with_suffix(".folders.txt")

    # Folders

    def look_now(self) -> Found:
        """Look through all folders, here and now."""
        with self._looking:
            self._is_asked, self.found, self.is_looking = False, Found(), True
            self._interrupted.clear()
            self._rested = time.monotonic()
            try:
                Scan(self._store, self._origin_at, self._pause, self.found).run(self.roots())
            finally:
                self.is_looking, self._looked_at = False, time.monotonic()
        for old, new, root in self.found.moves:
            self._library.has_moved(old, new, root)
        return self.found

    def _pause(self) -> bool:
        worked = time.monotonic() - self._rested
        self._stopped.wait(min(LONGEST_REST_SECONDS, worked * REST))
        self._rested = time.monotonic()
        return not (self._stopped.is_set() or self._interrupted.is_set())

    def _origin_at(self, path: Path, mark: str) -> Origin:
        saved = self._library.row_at(path)
        return self._origin(saved) if saved is not None else Origin()

    def roots(self) -> list[Path]:
        """The folders to look through: output folders and added ones, none inside another."""
        added = [Path(path) for path in self.sources()]
        usable = {
            Path(os.path.abspath(folder))
            for folder in (*self._outputs(), *added)
            if not self._is_too_wide(folder)
        }
        return sorted(f for f in usable if not any(f != o and f.is_relative_to(o) for o in usable))

    def sources(self) -> list[str]:
        """Folders that people have added."""
        return [row["path"] for row in self._store.read("SELECT path FROM sources ORDER BY path")]

    def add_source(self, text: str) -> str:
        """Look through another folder from now on; its pictures stay where they are.

        Raises:
            ParamsError: It is not there, holds the program itself, or may not be added here.
        """
        if not self.may_add:
            raise ParamsError(
                "Folders can be added only where no other machine reaches this page.",
                "Start the program without --listen and --share to add one.",
                field="folder",
            )
        path = Path(os.path.abspath(Path(text.strip().strip('"')).expanduser()))
        if not text.strip() or not path.is_dir():
            raise ParamsError(
                f"There is no folder {path}.", "Write its whole path.", field="folder"
            )
        if self._is_too_wide(path):
            raise ParamsError(
                f"{path} holds this program or its data.",
                "Add the folder of pictures inside it.",
                field="folder",
            )
        self._add(str(path))
        self.look()
        return str(path)

    def _add(self, *paths: str) -> None:
        with self._store.write() as db:
            db.executemany(
                "INSERT OR IGNORE INTO sources VALUES (?, ?)", [(p, time.time()) for p in paths]
            )
        self._keep_folders()

    def remove_source(self, path: str) -> None:
        """Look through a folder no longer; its pictures leave the gallery, the files stay. What
        people did to them is kept for the day when the folder comes back.

        Raises:
            ParamsError: It was not added.
        """
        if path not in self.sources():
            raise ParamsError(f"{path} is none of the added folders.", field="folder")
        self.interrupt()
        with self._looking:
            self._store.let_go(path)
            with self._store.write() as db:
                db.execute("DELETE FROM sources WHERE path = ?", (path,))
        self._keep_folders()

    def _keep_folders(self) -> None:
        try:
            write_whole(self._folder_list, "\n".join(self.sources()).encode())
        except OSError as err:
            logger.warning("The list of added folders cannot be kept: %s", err)
