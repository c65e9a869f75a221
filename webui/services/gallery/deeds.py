"""What both doors ask of the gallery, as plain data: JSON values in, JSON values out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from webui.errors import LibraryError, ParamsError
from webui.infotext import parse_infotext
from webui.library.gallery.rows import HERE, TRASHED, Picture
from webui.roles import is_guest
from webui.services.gallery.history import compare, facts_of, family
from webui.services.gallery.pictures import MOST_MARKED, Gallery
from webui.services.gallery.replay import Replays
from webui.services.gallery.watch import GalleryWatch

STATES = {HERE: "here", TRASHED: "trash"}
SHOWN_LETTERS = 240
KEPT_ZIPS = 20
GUEST_DEEDS = (
    "star", "trash", "restore", "purge", "zip", "make-board", "rename-board", "delete-board",
    "put-on-board",
)  # fmt: skip
"""What guests may do, with their own pictures; they learn nothing of this machine's folders."""


Told = Callable[[str, str], str]
"""From a user and a sentence to the sentence as that user may read it."""


class Deed(BaseModel):
    """The body of a request that changes something; each deed uses what it needs."""

    model_config = ConfigDict(extra="forbid")

    ids: list[int] = Field(default_factory=list[int], max_length=MOST_MARKED)
    stars: int = 0
    board: int = 0
    on: bool = True
    name: str = Field("", max_length=400)
    folder: str = Field("", max_length=4000)


class GalleryDeeds:
    """Answers requests of a login; '' = no logins are set.

    Args:
        told: What becomes of sentences about single pictures.
        lacks_beginning: Whether a picture was made from one that is not known here.

    Raises, in every method:
        WebUIError: Nothing there for this login, or a value that cannot be used.
    """

    def __init__(
        self,
        gallery: Gallery,
        watch: GalleryWatch,
        replays: Replays,
        told: Told,
        lacks_beginning: Callable[[Picture], bool],
    ) -> None:
        self._gallery = gallery
        self._lacks_beginning = lacks_beginning
        self._replays = replays
        self._watch = watch
        self._told = told
        self._zips: dict[str, tuple[str, Path]] = {}
        self._deeds: dict[str, Callable[[Deed, str], dict[str, Any]]] = {
            "star": self._star,
            "trash": lambda deed, user: self._moved(self._gallery.trash, deed, user),
            "restore": lambda deed, user: self._moved(self._gallery.restore, deed, user),
            "purge": lambda deed, user: self._moved(self._gallery.purge, deed, user),
            "zip": self._zip,
            "make-board": self._make_board,
            "rename-board": self._rename_board,
            "delete-board": self._delete_board,
            "put-on-board": self._put_on_board,
            "add-folder": self._add_folder,
            "remove-folder": self._remove_folder,
            "look": self._look,
            "stop-looking": self._stop_looking,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Of all deeds."""
        return tuple(self._deeds)

    def do(self, name: str, body: Mapping[str, Any], user: str) -> dict[str, Any]:
        """Change something. Raises also KeyError: there is no such deed."""
        if is_guest(user) and name not in GUEST_DEEDS:
            raise LibraryError("Folders are the owner's affair.", "Ask the owner.")
        deed = self._deeds[name]
        try:
            wanted = Deed.model_validate(body)
        except ValidationError as err:
            first = err.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise ParamsError(f"{field}: {first['msg']}.", field=field) from err
        return {**deed(wanted, user), "generation": self._gallery.generation}

    # Looking

    def find(self, user: str, **wanted: Any) -> dict[str, Any]:
        """A part of what a search finds; arguments as ``Gallery.find``."""
        self._watch.look(is_wanted=False)
        page = self._gallery.find(user=user, **wanted)
        return {
            "total": page.total,
            "start": page.start,
            "generation": page.generation,
            "pictures": [self.summary(picture) for picture in page.pictures],
        }

    def ids(self, user: str, **wanted: Any) -> dict[str, Any]:
        """The numbers of all that a search finds, as many as one press may change."""
        found = self._gallery.ids(user=user, **wanted)
        return {"total": len(found), "ids": found[:MOST_MARKED].tolist()}

    def summary(self, picture: Picture) -> dict[str, Any]:
        """What a cell shows."""
        prompt = self._gallery.infotext(picture).partition("\nNegative prompt:")[0]
        return {
            "id": picture.id, "width": picture.width, "height": picture.height,
            "stars": picture.stars, "kind": picture.kind, "created": picture.created,
            "state": STATES.get(picture.state, "gone"), "text": prompt[:SHOWN_LETTERS],
            "name": (picture.home or picture.path).name, "version": picture.mark[:8],
        }  # fmt: skip

    def everything(self, picture_id: int, user: str) -> dict[str, Any]:
        """One picture with its recipe, boards and history."""
        picture = self._gallery.get(picture_id, user)
        infotext = self._gallery.infotext(picture)
        read = parse_infotext(infotext)
        return {
            **self.summary(picture),
            "path": picture.path.name if is_guest(user) else str(picture.path),
            "bytes": picture.size, "infotext": infotext,
            "prompt": read.prompt, "negative_prompt": read.negative_prompt,
            "facts": facts_of(infotext), "can_repeat": picture.job is not None,
            "boards": [board.id for board in self._gallery.boards_of(picture, user)],
            **self._replay(picture, infotext, user),
            "history": [
                {**self.summary(one), "parent": parent}
                for one, parent in family(self._gallery, picture, user)
            ],
        }  # fmt: skip

    def _replay(self, picture: Picture, infotext: str, user: str) -> dict[str, Any]:
        """Whether it can be painted again, and which pictures of this login are the same."""
        verdict, images = self._replays.of(
            infotext, picture.image, lacks_picture=self._lacks_beginning(picture)
        )
        same = [one.id for one in self._gallery.of_images(images, user)]
        return {"replay": asdict(verdict) if verdict else None, "same": same}

    def compare(self, first: int, second: int, user: str) -> dict[str, Any]:
        """Two pictures and in what their recipes differ."""
        pictures = [self._gallery.get(number, user) for number in (first, second)]
        texts = [self._gallery.infotext(picture) for picture in pictures]
        return {**compare(*texts), "pictures": [self.summary(picture) for picture in pictures]}

    def places(self, user: str) -> dict[str, Any]:
        """Boards, folders, how many pictures there are, and what the look through folders does."""
        found = self._watch.found
        look = {key: value for key, value in asdict(found).items() if key != "moves"}
        folders = {
            "folders": self._gallery.folders(user),
            "roots": [str(root) for root in self._watch.roots()],
            "sources": self._watch.sources(),
            "may_add": self._watch.may_add,
        }
        if is_guest(user):
            folders = {"folders": [], "roots": [], "sources": [], "may_add": False}
            look = {}
        return {
            **self._gallery.counts(user),
            "boards": [asdict(board) for board in self._gallery.boards(user)],
            **folders,
            "look": {**look, "is_looking": self._watch.is_looking},
            "generation": self._gallery.generation,
        }

    def state(self) -> dict[str, Any]:
        """Whether anything has changed, for a page that asks every few seconds."""
        found = self._watch.found
        return {
            "generation": self._gallery.generation,
            "is_looking": self._watch.is_looking,
            "files": found.files,
            "new": found.new,
        }

    def picture(self, picture_id: int, user: str) -> tuple[Picture, bytes]:
        """A picture and its file."""
        picture = self._gallery.get(picture_id, user)
        return picture, self._gallery.open(picture)

    def thumb(self, picture_id: int, user: str) -> bytes:
        """A small WebP copy."""
        return self._gallery.thumb(self._gallery.get(picture_id, user))

    def zip_file(self, token: str, user: str) -> Path:
        """A file that ``zip`` has made for this login."""
        owner, path = self._zips.get(token, ("", Path()))
        if owner != user or not path.is_file():
            raise LibraryError("That zip file is no longer there.", "Make it again.")
        return path

    # Doing

    def _moved(
        self, move: Callable[[list[int], str], list[LibraryError]], deed: Deed, user: str
    ) -> dict[str, Any]:
        """Move pictures; what became of those that stay where they are is told."""
        return {"problems": [self._told(user, str(one)) for one in move(deed.ids, user)]}

    def _star(self, deed: Deed, user: str) -> dict[str, Any]:
        self._gallery.star(deed.ids, deed.stars, user)
        return {}

    def _zip(self, deed: Deed, user: str) -> dict[str, Any]:
        token = secrets.token_urlsafe(12)
        self._zips[token] = (user, self._gallery.zip(deed.ids, user))
        while len(self._zips) > KEPT_ZIPS:
            self._zips.pop(next(iter(self._zips)))
        return {"zip": token}

    def _make_board(self, deed: Deed, user: str) -> dict[str, Any]:
        board = self._gallery.make_board(deed.name, user)
        if deed.ids:
            self._gallery.put_on_board(deed.ids, board.id, user)
        return {"board": board.id}

    def _rename_board(self, deed: Deed, user: str) -> dict[str, Any]:
        self._gallery.rename_board(deed.board, deed.name, user)
        return {}

    def _delete_board(self, deed: Deed, user: str) -> dict[str, Any]:
        self._gallery.delete_board(deed.board, user)
        return {}

    def _put_on_board(self, deed: Deed, user: str) -> dict[str, Any]:
        self._gallery.put_on_board(deed.ids, deed.board, user, is_on=deed.on)
        return {}

    def _add_folder(self, deed: Deed, user: str) -> dict[str, Any]:
        return {"folder": self._watch.add_source(deed.folder)}

    def _remove_folder(self, deed: Deed, user: str) -> dict[str, Any]:
        self._watch.remove_source(deed.folder)
        return {}

    def _look(self, deed: Deed, user: str) -> dict[str, Any]:
        self._watch.look()
        return {}

    def _stop_looking(self, deed: Deed, user: str) -> dict[str, Any]:
        self._watch.interrupt()
        return {}
