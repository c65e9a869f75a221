"""Chinese words and their English: our list, and lists that people drop in.

A list is CSV in UTF-8: ``中文,english`` or ``中文,english,kind``; see ``KINDS``.
"""

from __future__ import annotations

import csv
import io
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from webui.lenient import decoded

logger = logging.getLogger(__name__)
OURS = Path(__file__).with_name("words.csv")
SAYING_SOMETHING = frozenset("nav")
"""Kinds of words that mean something by themselves."""
KINDS = frozenset("navqmlfxt")
"""n thing, a what it is like, v what it does, q number, m measure word, l place (before its
English: «on»), f joins two (和), x says nothing, t not wanted (没有)."""
MOST_BYTES = 10_000_000
LONGEST_WORD = 24


@dataclass(frozen=True)
class Word:
    """A piece of a Chinese text.

    Attributes:
        text: English; the Chinese itself where ``kind`` is ``?``.
        kind: One of ``KINDS``, or ``?`` for what no list knows.
    """

    text: str
    kind: str


def read_words(text: str) -> dict[str, Word]:
    """The rows of a list; those that make no sense are passed over."""
    found: dict[str, Word] = {}
    for row in csv.reader(io.StringIO(text)):
        chinese, english, kind = ([part.strip() for part in row] + ["", "", ""])[:3]
        if not chinese or chinese.startswith("#") or len(chinese) > LONGEST_WORD:
            continue
        kind = kind or "n"
        if kind in KINDS and (english or kind in "xmt"):
            found[chinese] = Word(english, kind)
    return found


@cache
def our_words() -> Mapping[str, Word]:
    """The list that comes with the program."""
    return read_words(OURS.read_text("utf-8"))


def split_words(text: str, words: Mapping[str, Word]) -> list[Word]:
    """A run of Chinese as words, such that the fewest characters are unknown, then in the fewest
    words; time grows in proportion to the text.

    A single character beside an unknown one belongs to it: names are not torn apart.
    """
    best: list[tuple[int, int, int]] = [(0, 0, 0)]  # unknown characters, words, length of the last
    for end in range(1, len(text) + 1):
        unknown, count, _ = best[end - 1]
        choices = [(unknown + 1, count + 1, 0)]
        for length in range(1, min(LONGEST_WORD, end) + 1):
            if text[end - length : end] in words:
                before = best[end - length]
                choices.append((before[0], before[1] + 1, length))
        best.append(min(choices, key=lambda choice: (choice[0], choice[1], -choice[2])))
    pieces: list[tuple[str, bool]] = []
    end = len(text)
    while end:
        length = best[end][2]
        pieces.append((text[end - max(1, length) : end], length > 0))
        end -= max(1, length)
    return _names_whole(pieces[::-1], words)


def in_chinese(english: Sequence[str], words: Mapping[str, Word]) -> list[str]:
    """English words in Chinese, for people to read: each by the first word that means it, itself
    where none does."""
    found: dict[str, str] = {}
    for chinese, word in words.items():
        if word.kind in SAYING_SOMETHING:
            found.setdefault(word.text, chinese)
    return [found.get(text, text) for text in english]


def _names_whole(pieces: Sequence[tuple[str, bool]], words: Mapping[str, Word]) -> list[Word]:
    is_known = [known for _, known in pieces]
    for at, (text, known) in enumerate(pieces):
        beside = [*pieces[max(0, at - 1) : at], *pieces[at + 1 : at + 2]]
        is_small = known and len(text) == 1 and words[text].kind in "anv"
        if is_small and any(not other for _, other in beside):
            is_known[at] = False
    found: list[Word] = []
    for (text, _), known in zip(pieces, is_known, strict=True):
        if known:
            found.append(words[text])
        elif found and found[-1].kind == "?":
            found[-1] = Word(found[-1].text + text, "?")
        else:
            found.append(Word(text, "?"))
    return found


class Dictionary:
    """Our words under those of dropped-in files, read anew when a file changes.

    Args:
        folder: Where the files (``*.csv``) lie; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._stamps: tuple[tuple[Path, int, int], ...] = ()
        self._words: Mapping[str, Word] = {}

    def words(self) -> Mapping[str, Word]:
        """All words as they are now."""
        with self._lock:
            stamps = tuple(self._files())
            if not self._words or stamps != self._stamps:
                self._words = {**our_words(), **_read_all(file for file, _, _ in stamps)}
                self._stamps = stamps
            return self._words

    def _files(self) -> Iterable[tuple[Path, int, int]]:
        for file in sorted(self._folder.glob("*.csv")):
            try:
                told = file.stat()
            except OSError:
                continue
            if file.is_file() and told.st_size <= MOST_BYTES:
                yield file, told.st_mtime_ns, told.st_size


def _read_all(files: Iterable[Path]) -> dict[str, Word]:
    found: dict[str, Word] = {}
    for file in files:
        try:
            found |= read_words(decoded(file.read_bytes()))
        except (OSError, ValueError, csv.Error) as err:
            logger.warning("The list of Chinese words %s cannot be read: %s", file, err)
    return found
