"""The gallery: every picture that was painted here or lies in a folder people have added.

Both doors ask this; what a login may see is decided here. Pictures of nobody's login are
everybody's, those of a login are there for that login alone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.errors import LibraryError, ParamsError
from webui.library import files
from webui.library.gallery import trash
from webui.library.gallery.marks import Journal
from webui.library.gallery.rows import HERE, TRASHED, Picture
from webui.library.gallery.store import SORTS, GalleryStore, Numbers
from webui.library.gallery.thumbs import Thumbs
from webui.library.library import Library
from webui.roles import may_see

logger = logging.getLogger(__name__)
MOST_AT_ONCE = 200
MOST_MARKED = 20_000
"""Pictures that one press may change."""
MAX_STARS = 5
MAX_BOARD_NAME = 80


@dataclass(frozen=True)
class Page:
    """A part of what a search found.

    Attributes:
        total: Found altogether. start: Place of the first of these, from 0.
        generation: Changes whenever a search may find something else.
    """

    total: int
    start: int
    generation: int
    pictures: list[Picture]


@dataclass(frozen=True)
class Board:
    """A collection of pictures; they lie wherever they lie."""

    id: int
    name: str
    count: int


class Gallery:
    """Finds pictures and does what people want done with them. Thread-safe.

    Args:
        store: The index. journal: What outlives it. thumbs: Small copies.
        library: Packs zip files.
    """

    def __init__(
        self, store: GalleryStore, journal: Journal, thumbs: Thumbs, library: Library
    ) -> None:
        self._store = store
        self._journal = journal
        self._thumbs = thumbs
        self._library = library
        self._moving = threading.Lock()

    @property
    def generation(self) -> int:
        """Changes whenever a search may find something else."""
        return self._store.generation

    # Finding

    def find(
        self,
        text: str = "",
        *,
        user: str = "",
        place: str = "all",
        sort: str = "new",
        start: int = 0,
        count: int = 60,
    ) -> Page:
        """A part of the pictures that a search finds.

        Args:
            text: In the language of ``library.gallery.query``.
            place: ``all``, ``trash``, ``board:NUMBER`` or ``folder:PATH``.
            sort: ``new``, ``old`` or ``stars``.
        Raises:
            ParamsError: The text, place or order cannot be read.
        """
        generation = self.generation
        found = self.ids(text, user=user, place=place, sort=sort)
        start = max(0, start)
        ids = found[start : start + min(max(count, 0), MOST_AT_ONCE)].tolist()
        return Page(len(found), start, generation, self._store.some(ids))

    def ids(self, text: str, *, user: str = "", place: str = "all", sort: str = "new") -> Numbers:
        """The numbers of all pictures that a search finds, in order. Arguments as ``find``."""
        if sort not in SORTS:
            raise ParamsError(f"There is no order {sort!r}.", f"Use one of {', '.join(SORTS)}.")
        limits = [*self._of_user(user), *self._in_place(place, user)]
        return self._store.search(text, limits, sort)

    def _of_user(self, user: str) -> list[tuple[str, Sequence[Any]]]:
        if not user:
            return []
        names = self._store.names("user")
        seen = [names[owner] for owner in ("", user) if owner in names and may_see(user, owner)]
        return [(f"user IN ({', '.join('?' * len(seen))})", seen)]

    def _in_place(self, place: str, user: str) -> Iterator[tuple[str, Sequence[Any]]]:
        kind, _, which = place.partition(":")
        yield ("state = ?", (TRASHED if kind == "trash" else HERE,))
        if kind == "board":
            board = self._board(which, user)
            yield ("id IN (SELECT picture FROM board_pictures WHERE board = ?)", (board,))
        elif kind == "folder":
            prefix = which.rstrip("/\\")
            yield (
                "folder IN (SELECT id FROM names WHERE sort = 'folder'"
                " AND (name = ? OR substr(name, 1, ?) IN (?, ?)))",
                (prefix, len(prefix) + 1, f"{prefix}/", f"{prefix}\\"),
            )
        elif kind not in ("all", "trash"):
            raise ParamsError(f"There is no place {place!r}.", "Choose one of the list.")

    def get(self, picture_id: int, user: str = "") -> Picture:
        """One picture.

        Raises:
            LibraryError: There is none of that number that this login may see.
        """
        found = self._store.get(picture_id)
        if found is None or not may_see(user, found.user):
            raise LibraryError(f"No picture of the gallery has the number {picture_id}.")
        return found

    def of_images(self, images: Sequence[int], user: str = "") -> list[Picture]:
        """Pictures by their numbers in the library, as far as this login may see them."""
        marks = ", ".join("?" * len(images))
        found = self._store.where(f"image IN ({marks})", tuple(images)) if images else []
        return [picture for picture in found if may_see(user, picture.user)]

    def infotext(self, picture: Picture) -> str:
        """A picture's recipe as text; '' without one."""
        return self._store.infotext(picture.id)

    def open(self, picture: Picture) -> bytes:
        """A picture's file.

        Raises:
            LibraryError: It was moved, deleted, or leads elsewhere.
        """
        return files.read_inside(picture.path, picture.root, f"Picture {picture.id}")

    def thumb(self, picture: Picture) -> bytes:
        """A small WebP copy. Raises as ``open``."""
        if not files.is_inside(picture.path, picture.root):
            raise LibraryError(f"Picture {picture.id} leads outside of {picture.root}.")
        return self._thumbs.of(picture.mark, picture.path)

    def parent_of(self, picture: Picture) -> Picture | None:
        """The picture it was made from, if the gallery has it."""
        return self._by_mark(picture.parent) if picture.parent else None

    def children_of(self, picture: Picture) -> list[Picture]:
        """Pictures made from it, the oldest first."""
        return self._store.where("parent = ? AND state <> 2 ORDER BY created, id", (picture.mark,))

    def _by_mark(self, mark: str) -> Picture | None:
        found = self._store.where("mark = ? ORDER BY state, id LIMIT 1", (mark,))
        return found[0] if found else None

    def folders(self, user: str = "") -> list[tuple[str, int]]:
        """Folders with pictures that this login may see, and how many."""
        limits = [("state = ?", (HERE,)), *self._of_user(user)]
        where = " AND ".join(condition for condition, _ in limits)
        rows = self._store.read(
            "SELECT names.name, count FROM (SELECT folder, COUNT(*) AS count FROM pictures"
            f" WHERE {where} GROUP BY folder) JOIN names ON names.id = folder ORDER BY names.name",
            [value for _, values in limits for value in values],
        )
        return [(row["name"], row["count"]) for row in rows]

    def counts(self, user: str = "") -> dict[str, int]:
        """How many pictures are here and in the trash."""
        limits = self._of_user(user)
        where = " AND ".join(condition for condition, _ in limits) or "1"
        rows = self._store.read(
            f"SELECT state, COUNT(*) AS count FROM pictures WHERE {where} GROUP BY state",
            [value for _, values in limits for value in values],
        )
        found = Counter({row["state"]: row["count"] for row in rows})
        return {"all": found[HERE], "trash": found[TRASHED]}

    # Stars and boards

    def star(self, picture_ids: Sequence[int], stars: int, user: str = "") -> None:
        """Give pictures so many stars.

        Raises:
            ParamsError: Not 0–5. LibraryError: One of them is not this login's to change.
        """
        if not 0 <= stars <= MAX_STARS:
            raise ParamsError(f"{stars} stars were wanted.", "Give 0 to 5.", field="stars")
        pictures = self.some(picture_ids, user)
        self._store.update([p.id for p in pictures], stars=stars)
        self._note(pictures)

    def boards(self, user: str = "") -> list[Board]:
        """Boards that this login may see, by name."""
        rows = self._store.read(
            "SELECT boards.id, boards.name, names.name AS user,"
            " (SELECT COUNT(*) FROM board_pictures"
            f" JOIN pictures ON pictures.id = picture WHERE board = boards.id AND state = {HERE})"
            " AS count FROM boards JOIN names ON names.id = boards.user"
            " ORDER BY boards.name COLLATE NOCASE, boards.id"
        )
        return [
            Board(row["id"], row["name"], row["count"])
            for row in rows
            if may_see(user, row["user"])
        ]

    def make_board(self, name: str, user: str = "") -> Board:
        """A new board, or the one of that name.

        Raises:
            ParamsError: The name is empty or too long.
        """
        with self._store.write() as db:
            number = self._store.board_id(db, user, _board_name(name))
        return next(board for board in self.boards(user) if board.id == number)

    def rename_board(self, board_id: int, name: str, user: str = "") -> None:
        """Give a board another name.

        Raises:
            ParamsError: No such board, or the name is empty, too long or taken.
        """
        board, name = self._board(board_id, user), _board_name(name)
        others = (other for other in self.boards(user) if other.id != board)
        if any(other.name.casefold() == name.casefold() for other in others):
            raise ParamsError(f"There is a board {name!r} already.", "Choose another name.")
        with self._store.write() as db:
            db.execute("UPDATE boards SET name = ? WHERE id = ?", (name, board))
        self._note(self._on_board(board))

    def delete_board(self, board_id: int, user: str = "") -> None:
        """Take a board away; its pictures stay where they are.

        Raises:
            ParamsError: There is no such board.
        """
        board = self._board(board_id, user)
        pictures = self._on_board(board)
        with self._store.write() as db:
            db.execute("DELETE FROM board_pictures WHERE board = ?", (board,))
            db.execute("DELETE FROM boards WHERE id = ?", (board,))
        self._note(pictures)

    def put_on_board(
        self, picture_ids: Sequence[int], board_id: int, user: str = "", *, is_on: bool = True
    ) -> None:
        """Put pictures on a board or take them off.

        Raises:
            ParamsError: No such board. LibraryError: No such picture.
        """
        board, pictures = self._board(board_id, user), self.some(picture_ids, user)
        sql = (
            "INSERT OR IGNORE INTO board_pictures VALUES (?, ?)"
            if is_on
            else "DELETE FROM board_pictures WHERE board = ? AND picture = ?"
        )
        with self._store.write() as db:
            db.executemany(sql, [(board, picture.id) for picture in pictures])
        self._note(pictures)

    def boards_of(self, picture: Picture, user: str = "") -> list[Board]:
        """The boards a picture is on."""
        rows = self._store.read("SELECT board FROM board_pictures WHERE picture = ?", (picture.id,))
        on = {row["board"] for row in rows}
        return [board for board in self.boards(user) if board.id in on]

    def _on_board(self, board: int) -> list[Picture]:
        return self._store.where(
            "id IN (SELECT picture FROM board_pictures WHERE board = ?)", (board,)
        )

    def _board(self, board_id: int | str, user: str) -> int:
        for board in self.boards(user):
            if str(board.id) == str(board_id):
                return board.id
        raise ParamsError(f"There is no board {board_id}.", "It may have been deleted.")

    def some(self, picture_ids: Sequence[int], user: str) -> list[Picture]:
        """Pictures by their numbers.

        Raises:
            LibraryError: One is not there for this login. ParamsError: Too many at once.
        """
        if len(picture_ids) > MOST_MARKED:
            raise ParamsError(
                f"{len(picture_ids)} pictures were chosen.", f"Choose up to {MOST_MARKED}."
            )
        return [self.get(number, user) for number in dict.fromkeys(picture_ids)]

    def _note(self, pictures: Iterable[Picture]) -> None:
        """Keep what people did in the journal, too."""
        try:
            self._journal.add(self._store.lasting([picture.id for picture in pictures]))
        except OSError as err:
            logger.warning("The journal of stars and boards cannot be written: %s", err)

    # Taking away

    def trash(self, picture_ids: Sequence[int], user: str = "") -> list[LibraryError]:
        """Move files into the trash of their folders.

        Returns:
            Why some were not moved; usually nothing.
        Raises:
            LibraryError: There is no such picture.
        """

        def move(picture: Picture) -> None:
            path = trash.move_to_trash(picture.path, picture.root)
            self._store.update(
                [picture.id], path=str(path), home=str(picture.path), state=TRASHED,
                trashed_at=time.time(),
            )  # fmt: skip

        return self._each(picture_ids, user, HERE, move)

    def restore(self, picture_ids: Sequence[int], user: str = "") -> list[LibraryError]:
        """Move files out of the trash, to where they were. As ``trash``."""

        def move(picture: Picture) -> None:
            path = trash.move_back(picture.path, picture.home or picture.path, picture.root)
            self._store.update([picture.id], path=str(path), home=None, state=HERE, trashed_at=None)
            if path != picture.home:
                self._library.has_moved(picture.home or picture.path, path, picture.root)

        return self._each(picture_ids, user, TRASHED, move)

    def purge(self, picture_ids: Sequence[int], user: str = "") -> list[LibraryError]:
        """Delete files of the trash for good. As ``trash``. All files go before the index is
        written: on a full disk they make the room that it takes."""
        deleted: list[int] = []

        def delete(picture: Picture) -> None:
            trash.delete_for_good(picture.path, picture.root)
            self._thumbs.forget(picture.mark)
            deleted.append(picture.id)

        problems = self._each(picture_ids, user, TRASHED, delete)
        try:
            self._store.forget(deleted)
        except LibraryError as err:
            problems.append(err)
        return problems

    def _each(
        self, picture_ids: Sequence[int], user: str, state: int, deed: Callable[[Picture], None]
    ) -> list[LibraryError]:
        """Do it with every picture that is in that state; what two people ask for at once is done
        once."""
        problems: list[LibraryError] = []
        for wanted in self.some(picture_ids, user):
            with self._moving:
                picture = self._store.get(wanted.id)
                if picture is None or picture.state != state:
                    continue
                try:
                    deed(picture)
                except LibraryError as err:
                    problems.append(err)
        return problems

    def zip(self, picture_ids: Sequence[int], user: str = "") -> Path:
        """Pack pictures into one file. Raises as ``Library.zip_files``."""
        pictures = self.some(picture_ids, user)

        def reading(picture: Picture) -> Callable[[], tuple[str, bytes]]:
            return lambda: (picture.path.name, self.open(picture))

        return self._library.zip_files([reading(picture) for picture in pictures])


def _board_name(name: str) -> str:
    name = " ".join(name.split())
    if not 0 < len(name) <= MAX_BOARD_NAME:
        raise ParamsError(
            "A board needs a name.", f"Give it one of up to {MAX_BOARD_NAME} letters.",
            field="name",
        )  # fmt: skip
    return name
