"""The small language of the gallery's search.

    lighthouse "two words" -word sampler:euler size:512x512 stars:>=3 date:2026-11 lora:ink

Words must all be found in the prompt, the checkpoint's and LoRAs' names or the file's name;
``name:value`` asks for one thing; a minus in front excludes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from webui.errors import ParamsError
from webui.library.gallery.words import has_words, phrase

FIELDS = {
    "prompt": "prompt", "negative": "negative", "lora": "lora", "model": "model",
    "checkpoint": "model", "name": "name", "file": "name", "sampler": "sampler", "kind": "kind",
    "stars": "stars", "size": "size", "width": "width", "height": "height", "date": "date",
    "seed": "seed", "steps": "steps", "board": "board", "folder": "folder", "ratio": "ratio",
}  # fmt: skip
"""What may stand before a colon, and what it asks for."""
KINDS = ("txt2img", "img2img", "inpaint", "upscale", "grid", "other")
SEARCHED = "{prompt lora model name}"
"""Columns in which plain words are looked for."""
MOST_WORDS = 40
_PART = re.compile(r'(-)?(?:([A-Za-z]+):)?(?:"([^"]*)"?|(\S+))')
_COMPARED = re.compile(r"(>=|<=|>|<|=)?\s*(\d+(?:\.\d+)?)$")
_SPAN = re.compile(r"(\d+)\s*(?:\.\.|-)\s*(\d+)$")
_SIZE = re.compile(r"(\d+)\s*[x×*]\s*(\d+)$", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?$")
_DAYS = {"today": 1, "yesterday": 2, "week": 7, "month": 30, "year": 365}


@dataclass
class Wanted:
    """A search, ready for SQLite.

    Attributes:
        where: Conditions on the table of pictures, joined by AND. values: For their marks.
        match: What the full-text table is asked; '' = nothing.
        without: What it may not match; one expression each.
    """

    where: list[str] = field(default_factory=list[str])
    values: list[Any] = field(default_factory=list[Any])
    match: str = ""
    without: list[str] = field(default_factory=list[str])

    def ask(self, condition: str, *values: Any, is_not: bool = False) -> None:
        """Add a condition."""
        self.where.append(f"NOT ({condition})" if is_not else condition)
        self.values.extend(values)


NamesLike = Callable[[str, str], list[int]]
"""Given a sort of names (sampler, folder) and a text, the ids of the names that are meant."""


def read_query(text: str, names_like: NamesLike, now: float | None = None) -> Wanted:
    """Read a search.

    Args:
        now: Unix seconds, for ``date:today``.
    Raises:
        ParamsError: A value that cannot be read; it is named, with an example.
    """
    wanted, matches = Wanted(), []
    parts = list(_PART.finditer(text))[:MOST_WORDS]
    for part in parts:
        is_not, name = bool(part[1]), (part[2] or "").lower()
        value = part[3] if part[3] is not None else part[4]
        if name and name not in FIELDS:
            name, value = "", f"{part[2]}:{value}"  # a prompt's own colon, such as (word:1.2)
        is_begun = not name and value.endswith(":") and value[:-1].lower() in FIELDS
        if is_begun or not value.strip():
            continue
        what = FIELDS.get(name, "")
        if what in ("", "prompt", "negative", "lora", "model", "name"):
            if not has_words(value):
                continue
            columns = f"{{{what}}}" if what else SEARCHED
            found = f"{columns} : {phrase(value, is_whole=part[3] is not None and not what)}"
            (wanted.without if is_not else matches).append(found)
        else:
            _ASKERS[what](wanted, value.strip(), is_not, names_like, now or time.time())
    wanted.match = " AND ".join(f"({found})" for found in matches)
    return wanted


def _number(column: str, example: str) -> Callable[..., None]:
    def ask(wanted: Wanted, value: str, is_not: bool, *_: Any) -> None:
        compared, span = _COMPARED.match(value), _SPAN.match(value)
        if compared:
            sign, number = compared[1] or "=", float(compared[2])
            wanted.ask(f"{column} {sign} ?", number, is_not=is_not)
        elif span:
            wanted.ask(f"{column} BETWEEN ? AND ?", int(span[1]), int(span[2]), is_not=is_not)
        else:
            raise _unreadable(column, value, example)

    return ask


def _size(wanted: Wanted, value: str, is_not: bool, *_: Any) -> None:
    found = _SIZE.match(value)
    if not found:
        raise _unreadable("size", value, "size:512x768")
    wanted.ask("width = ? AND height = ?", int(found[1]), int(found[2]), is_not=is_not)


def _ratio(wanted: Wanted, value: str, is_not: bool, *_: Any) -> None:
    conditions = {"wide": "width > height", "tall": "width < height", "square": "width = height"}
    if value.lower() not in conditions:
        raise _unreadable("ratio", value, "ratio:wide, ratio:tall or ratio:square")
    wanted.ask(conditions[value.lower()], is_not=is_not)


def _date(wanted: Wanted, value: str, is_not: bool, _names: NamesLike, now: float) -> None:
    """``2026``, ``2026-11``, ``2026-11-22``, ``>=2026-11``, ``2026-01..2026-03``, ``today``."""
    if value.lower() in _DAYS:
        year, month, day = time.localtime(now)[:3]
        start = _midnight(year, month, day + 1 - _DAYS[value.lower()])
        end = _midnight(year, month, day + (value.lower() != "yesterday"))
        wanted.ask("created >= ? AND created < ?", start, end, is_not=is_not)
        return
    first, between, last = value.partition("..")
    sign = re.match(r">=|<=|>|<|", first)
    assert sign is not None
    start, end = _days(first[sign.end() :], value)
    if between:
        end = _days(last, value)[1]
    bounds = {
        ">=": ("created >= ?", [start]), ">": ("created >= ?", [end]),
        "<": ("created < ?", [start]), "<=": ("created < ?", [end]),
        "": ("created >= ? AND created < ?", [start, end]),
    }  # fmt: skip
    condition, values = bounds[sign[0]]
    wanted.ask(condition, *values, is_not=is_not)


def _days(text: str, whole: str) -> tuple[float, float]:
    """Begin and end of a year, month or day here, in Unix seconds."""
    found = _DATE.match(text.strip())
    try:
        if not found:
            raise ValueError
        year, month, day = (int(part) if part else 0 for part in found.groups())
        if (month or 1) > 12 or (day or 1) > 31:
            raise ValueError
        if day:
            return _midnight(year, month, day), _midnight(year, month, day + 1)
        if month:
            return _midnight(year, month, 1), _midnight(year, month + 1, 1)
        return _midnight(year, 1, 1), _midnight(year + 1, 1, 1)
    except (ValueError, OverflowError) as err:
        raise _unreadable("date", whole, "date:2026-11-22, date:>=2026-11 or date:week") from err


def _midnight(year: int, month: int, day: int) -> float:
    """Begin of a day here, in Unix seconds; a month 13 or a day 32 is the next one's first."""
    return time.mktime((year, month, day, 0, 0, 0, 0, 0, -1))


def _named(column: str) -> Callable[..., None]:
    def ask(wanted: Wanted, value: str, is_not: bool, names_like: NamesLike, _now: float) -> None:
        ids = names_like(column, value)
        wanted.ask(f"{column} IN ({', '.join('?' * len(ids))})", *ids, is_not=is_not)

    return ask


def _kind(wanted: Wanted, value: str, is_not: bool, names_like: NamesLike, now: float) -> None:
    if value.lower() not in KINDS:
        raise _unreadable("kind", value, f"one of {', '.join(KINDS)}")
    _named("kind")(wanted, value, is_not, names_like, now)


def _board(wanted: Wanted, value: str, is_not: bool, *_: Any) -> None:
    wanted.ask(
        "id IN (SELECT picture FROM board_pictures JOIN boards ON boards.id = board"
        " WHERE boards.name = ? COLLATE NOCASE)",
        value,
        is_not=is_not,
    )


def _seed(wanted: Wanted, value: str, is_not: bool, *_: Any) -> None:
    wanted.ask("seed = ?", value, is_not=is_not)


_ASKERS: dict[str, Callable[..., None]] = {
    "stars": _number("stars", "stars:5 or stars:>=3"),
    "width": _number("width", "width:>=1024"),
    "height": _number("height", "height:>=1024"),
    "steps": _number("steps", "steps:20..30"),
    "size": _size,
    "ratio": _ratio,
    "date": _date,
    "sampler": _named("sampler"),
    "folder": _named("folder"),
    "kind": _kind,
    "board": _board,
    "seed": _seed,
}


def _unreadable(name: str, value: str, example: str) -> ParamsError:
    return ParamsError(
        f"The search asks for {name}:{value}, which cannot be read.",
        f"Write it as {example}.",
        field="q",
    )
