"""Looking through folders: what is new, changed, moved, gone. In small steps, never in a hurry."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from webui.errors import LibraryError
from webui.library.files import PICTURE_SUFFIXES
from webui.library.gallery import trash
from webui.library.gallery.recipes import Read, read_picture
from webui.library.gallery.rows import GONE, HERE, TRASHED, Origin
from webui.library.gallery.store import GalleryStore

logger = logging.getLogger(__name__)
SKIPPED = {"thumbnails"}
"""Folders of small copies that InvokeAI makes."""
AT_ONCE = 40
"""Files between two transactions, each some hundredths of a second."""

OriginOf = Callable[[Path, str], Origin]
"""What is known of a file that was found, by its path and mark, beside what it says."""
Pause = Callable[[], bool]
"""Called after each step; lets others go first. False = stop looking."""


@dataclass
class Found:
    """What a look came to, so far.

    Attributes:
        files: Seen. new, changed, moved, gone, back: Pictures that were added, read again, found
            elsewhere, not found, found again.
        bad: Files that are no pictures, or damaged ones.
        folder: Being looked through.
        is_whole: It came to its end.
    """

    files: int = 0
    new: int = 0
    changed: int = 0
    moved: int = 0
    gone: int = 0
    back: int = 0
    bad: int = 0
    folder: str = ""
    is_whole: bool = False
    moves: list[tuple[Path, Path, Path]] = field(default_factory=list[tuple[Path, Path, Path]])


@dataclass(frozen=True)
class _File:
    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class _Known:
    id: int
    size: int
    mtime_ns: int
    state: int


class Scan:
    """One look through folders.

    Args:
        store: Where pictures are listed.
        origin_of: Told of each file that is listed anew.
        pause: Called after each step; may take its time.
        found: Filled while looking.
    """

    def __init__(
        self, store: GalleryStore, origin_of: OriginOf, pause: Pause, found: Found
    ) -> None:
        self._store = store
        self._origin_of = origin_of
        self._pause = pause
        self._found = found
        self._claimed: set[int] = set()

    def run(self, roots: list[Path]) -> None:
        """Look through all; ends early when ``pause`` says so.

        Raises:
            LibraryError: The index cannot be written.
        """
        for root in roots:
            if root.is_dir() and not self._look_through(root):
                return
        self._found.is_whole = self._see_what_is_gone(roots)

    def _look_through(self, root: Path) -> bool:
        for folder in _folders(root):
            self._found.folder = str(folder)
            if not self._look_into(folder, root):
                return False
        return True

    def _look_into(self, folder: Path, root: Path) -> bool:
        home = trash.home_of(folder / "x", root)
        known = self._known(str(home.parent if home else folder))
        files = list(_pictures(folder))
        self._found.files += len(files)
        fresh = []
        for file in files:
            row = known.get(str(file.path))
            if row is None or (row.size, row.mtime_ns) != (file.size, file.mtime_ns):
                fresh.append((file, row))
            elif row.state == GONE:
                self._store.update([row.id], state=TRASHED if home else HERE)
                self._found.back += 1
        for start in range(0, len(fresh), AT_ONCE):
            self._take(fresh[start : start + AT_ONCE], root)
            if not self._pause():
                return False
        return bool(fresh) or self._pause()

    def _known(self, folder: str) -> dict[str, _Known]:
        rows = self._store.read(
            "SELECT id, path, size, mtime_ns, state FROM pictures WHERE folder ="
            " (SELECT id FROM names WHERE sort = 'folder' AND name = ?)",
            (folder,),
        )
        return {
            row["path"]: _Known(row["id"], row["size"], row["mtime_ns"], row["state"])
            for row in rows
        }

    def _take(self, fresh: list[tuple[_File, _Known | None]], root: Path) -> None:
        """Read files, then list them in one transaction."""
        read = [(file, row, *made) for file, row in fresh if (made := self._read(file))]
        if not read:
            return
        with self._store.write() as db:
            for file, row, picture, origin in read:
                home = trash.home_of(file.path, root)
                state = TRASHED if home else HERE
                moved = None if row else self._moved(picture.mark)
                if moved is not None:
                    old_id, old_path = moved
                    db.execute(
                        "UPDATE pictures SET path = ?, root = ?, home = ?, folder = ?, state = ?,"
                        " mtime_ns = ?, size = ? WHERE id = ?",
                        (
                            str(file.path), str(root), str(home) if home else None,
                            self._store.name_id(
                                db, "folder", str((home or file.path).parent)
                            ),
                            state, file.mtime_ns, file.size, old_id,
                        ),
                    )  # fmt: skip
                    self._found.moved += 1
                    self._found.moves.append((old_path, file.path, root))
                    continue
                self._store.put(
                    db, file.path, root, picture, (file.size, file.mtime_ns), origin,
                    picture_id=row.id if row else None, state=state, home=home,
                )  # fmt: skip
                if row:
                    self._found.changed += 1
                else:
                    self._found.new += 1

    def _read(self, file: _File) -> tuple[Read, Origin] | None:
        try:
            picture = read_picture(file.path)
            return picture, self._origin_of(file.path, picture.mark)
        except FileNotFoundError:
            return None
        except (LibraryError, OSError) as err:
            self._found.bad += 1
            logger.info("%s is not listed: %s", file.path, err)
            return None

    def _moved(self, mark: str) -> tuple[int, Path] | None:
        """A listed picture of the same content whose file is no longer where it was."""
        rows = self._store.read("SELECT id, path FROM pictures WHERE mark = ?", (mark,))
        for row in rows:
            if row["id"] not in self._claimed and not os.path.lexists(row["path"]):
                self._claimed.add(row["id"])
                return row["id"], Path(row["path"])
        return None

    def _see_what_is_gone(self, roots: list[Path]) -> bool:
        """Mark pictures whose files are not there. A folder that cannot be reached, such as a
        disk that is not plugged in, says nothing about its files."""
        last = 0
        while True:
            rows = self._store.read(
                "SELECT id, path, root FROM pictures WHERE state <> ? AND id > ?"
                " ORDER BY id LIMIT 500",
                (GONE, last),
            )
            if not rows:
                return True
            last = rows[-1]["id"]
            gone = [
                row["id"]
                for row in rows
                if not os.path.lexists(row["path"]) and os.path.isdir(row["root"])
            ]
            if gone:
                self._store.update(gone, state=GONE)
                self._found.gone += len(gone)
            if not self._pause():
                return False


def _folders(root: Path) -> Iterator[Path]:
    """A folder and all below it, links not followed; hidden ones left out, but for the trash."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        yield folder
        try:
            with os.scandir(folder) as entries:
                inner = sorted(
                    entry.name
                    for entry in entries
                    if (not entry.name.startswith(".") or entry.name == trash.FOLDER)
                    and entry.name not in SKIPPED
                    and entry.is_dir(follow_symlinks=False)
                )
        except OSError as err:
            logger.info("%s is not looked through: %s", folder, err)
            continue
        waiting += [folder / name for name in reversed(inner)]


def _pictures(folder: Path) -> Iterator[_File]:
    """The files of a folder that look like pictures and are not empty."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if os.path.splitext(entry.name)[1].lower() not in PICTURE_SUFFIXES:
                    continue
                if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                    continue
                stat = entry.stat(follow_symlinks=False)
                if stat.st_size:
                    yield _File(folder / entry.name, stat.st_size, stat.st_mtime_ns)
    except OSError as err:
        logger.info("%s is not looked through: %s", folder, err)
