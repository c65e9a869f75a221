"""Tags that people complete in prompts: lists they dropped in, searched in a few milliseconds.

Source:
    Layout of the extension a1111-sd-webui-tagcomplete: ``tag,category,count,"alias,alias"``, and
    ``tag,translation`` (also ``tag,category,translation``) for translations.
"""

from __future__ import annotations

import csv
import io
import logging
import threading
import time
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from webui.lenient import decoded

logger = logging.getLogger(__name__)
MOST_BYTES = 100_000_000
"""Of one list; a larger one is left out."""
LOOK_SECONDS = 5.0


@dataclass
class Tag:
    """One tag.

    Attributes:
        name: As in the list, with underscores.
        category: The list's number (Danbooru: 0 general, 1 artist, 3 work, 4 character, 5 meta).
        count: Pictures that have it; orders what is found.
        aliases: Other names and translations it is found by.
    """

    name: str
    category: int = 0
    count: int = 0
    aliases: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class FoundTag:
    """A tag, and the alias that was found, '' for its own name."""

    tag: Tag
    alias: str


class TagIndex:
    """The tags of all lists.

    All names lie in one text, most used first: looking for a piece of text in it from the front
    meets the most used names first, and stops when enough were met.

    Args:
        folders: Where lists (``*.csv``) lie; need not exist.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = list(dict.fromkeys(folders))
        self._lock = threading.Lock()
        self._looked_at = -float("inf")
        self._stamps: list[tuple[Path, int, int]] = []
        self._tags: list[Tag] = []
        self._text = "\n"
        self._starts = array("L")
        self._owners = array("L")

    def __len__(self) -> int:
        with self._lock:
            self._look()
            return len(self._tags)

    def find(self, wanted: str, most: int) -> list[FoundTag]:
        """Tags with a name that begins so, then those with a word that does, then others that hold
        it; each most used first.

        Args:
            wanted: Part of a name; upper and lower case, spaces and underscores are alike.
        """
        key = _key(wanted)
        if not key:
            return []
        with self._lock:
            self._look()
            found: dict[str, FoundTag] = {}
            for piece in (f"\n{key}", f" {key}", key):
                for place in self._places(piece):
                    tag, alias = self._at(place)
                    found.setdefault(tag.name, FoundTag(tag, alias))
                    if len(found) >= most:
                        return list(found.values())
            return list(found.values())

    def _places(self, piece: str) -> Iterator[int]:
        place = self._text.find(piece)
        while place >= 0:
            yield place
            end = self._text.find("\n", place + len(piece))
            place = self._text.find(piece, end) if end >= 0 else -1

    def _at(self, place: int) -> tuple[Tag, str]:
        line = bisect_right(self._starts, place + 1) - 1  # or the end of the line before
        tag = self._tags[self._owners[line]]
        end = self._text.index("\n", self._starts[line])
        name = self._text[self._starts[line] : end]
        is_own = name == _key(tag.name)
        return tag, "" if is_own else next((a for a in tag.aliases if _key(a) == name), name)

    def _look(self) -> None:
        """Read the lists again when one came, changed or went."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        stamps: list[tuple[Path, int, int]] = []
        for file in (file for folder in self._folders for file in sorted(folder.glob("*.csv"))):
            try:
                state = file.stat()
            except OSError:  # it went just now
                continue
            if state.st_size <= MOST_BYTES:
                stamps.append((file, state.st_mtime_ns, state.st_size))
        if stamps != self._stamps:
            self._stamps = stamps
            self._fill(read_tags([file for file, _, _ in stamps]))

    def _fill(self, tags: list[Tag]) -> None:
        self._tags = sorted(tags, key=lambda tag: -tag.count)
        lines: list[str] = []
        self._starts, self._owners = array("L"), array("L")
        length = 1
        for owner, tag in enumerate(self._tags):
            for name in dict.fromkeys(map(_key, (tag.name, *tag.aliases))):
                if name:
                    self._starts.append(length)
                    self._owners.append(owner)
                    lines.append(name)
                    length += len(name) + 1
        self._text = "\n" + "".join(f"{line}\n" for line in lines)


def read_tags(files: Sequence[Path]) -> list[Tag]:
    """The tags of several lists; where two have one tag, its aliases are put together and the
    larger count stands."""
    tags: dict[str, Tag] = {}
    translations: dict[str, list[str]] = {}
    for file in files:
        try:
            text = decoded(file.read_bytes())
            for row in csv.reader(io.StringIO(text.replace("\0", ""))):
                _take(row, tags, translations)
        except (OSError, csv.Error) as err:
            logger.warning("The list of tags %s could not be read to its end: %s", file, err)
    for name, texts in translations.items():
        if name in tags:
            tags[name].aliases += [text for text in texts if text not in tags[name].aliases]
        else:
            tags[name] = Tag(name, aliases=texts)
    return list(tags.values())


def _take(row: list[str], tags: dict[str, Tag], translations: dict[str, list[str]]) -> None:
    cells = [cell.strip() for cell in row]
    if not cells or not cells[0] or cells[0].startswith("#"):
        return
    name = cells[0].replace(" ", "_")
    if len(cells) in (2, 3) and not _is_number(cells[-1]):
        if cells[-1]:
            translations.setdefault(name, []).append(cells[-1])
        return
    category, count = (_number(cells, place) for place in (1, 2))
    aliases = [alias.strip() for alias in ",".join(cells[3:]).split(",") if alias.strip()]
    known = tags.setdefault(name, Tag(name, category, count))
    known.count = max(known.count, count)
    known.aliases += [alias for alias in aliases if alias not in known.aliases]


def _is_number(text: str) -> bool:
    return text.isascii() and text.lstrip("-").isdigit()


def _number(cells: list[str], place: int) -> int:
    text = cells[place] if place < len(cells) else ""
    return int(text) if _is_number(text) and len(text) < 12 else 0


def _key(name: str) -> str:
    """A name as it is searched for."""
    return " ".join(name.replace("_", " ").casefold().split())
