"""Text and JSON out of files that strangers wrote, so that it can be stored, sent and shown.

JSON may spell halves of surrogate pairs, which no encoding holds, and Python reads numbers that
no other program does; either would make every answer fail that such a text is part of.
"""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from typing import Any, Final

SHOWN_NAME: Final = 150
_IS_HTML: Final = re.compile(r"</[a-z]\w*>|<br\s*/?>|<p>", re.IGNORECASE)
_UNSEEN: Final = ("script", "style")
_BLOCKS: Final = ("p", "br", "div", "li", "ul", "ol", "tr", "td", "h1", "h2", "h3", "h4", "hr")


def storable(text: str) -> str:
    """The text with halves of surrogate pairs as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def spelt(name: str) -> str:
    """A name as it can be shown: short, and without characters that nobody sees."""
    shown = name if name.isprintable() else repr(name[:SHOWN_NAME])[1:-1]
    return shown if len(shown) <= SHOWN_NAME else shown[:SHOWN_NAME] + "…"


def parse_json(text: str) -> Any:
    """What a JSON text says, numbers that are not finite as texts; None when it is none."""
    try:
        value = json.loads(text, parse_constant=str, parse_float=_finite)
        if "\\ud" not in text.lower():
            return value
        return json.loads(storable(json.dumps(value, ensure_ascii=False)))
    except (ValueError, RecursionError):
        return None


def plain(text: str) -> str:
    """A text without HTML, which sites of models write descriptions in, on one line."""
    if not _IS_HTML.search(text):
        return " ".join(text.split())
    reader = _Words()
    reader.feed(text)
    reader.close()
    return " ".join("".join(reader.words).split())


class _Words(HTMLParser):
    """Collects what a reader of a page would see."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._unseen = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen = tag
        self._part(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._unseen:
            self._unseen = ""
        self._part(tag)

    def _part(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.words.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.words.append(data)


def _finite(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits
