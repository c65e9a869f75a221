"""Wildcard files: what ``__name__`` may become. Read again whenever a file changes.

A text file holds one entry a line (``#`` begins a comment line, ``2::`` a weight); its name is its
path below the wildcards folder, without the ending. A YAML or JSON file of names and lists holds
one wildcard for each list, named by the keys that lead to it; a bare list is named as a text file.

Names are looked up among the files that were found, never put together to paths, so that no name
leads out of the folders.

Source:
    The layouts of the extension sd-dynamic-prompts.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from webui.lenient import decoded

from .drawing import Values

logger = logging.getLogger(__name__)

ENDINGS = (".txt", ".yaml", ".yml", ".json")
MOST_BYTES = 32_000_000
"""Of one file; a larger one is left out and reported."""
MOST_ENTRIES = 1_000_000
MOST_LEVELS = 16
MOST_STARS = 6
"""In one name."""

_WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})::")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
"""Signs that no prompt and no recipe can hold."""
_STARS = re.compile(r"(\*\*/|\*\*|\*|\?)")
_FOLDERS = "**/"
"""Any folders, which are a sign that leads to the two behind it, or past them."""
_SIGNS = {_FOLDERS: (_FOLDERS, "**", "/"), "**": ("**",), "*": ("*",), "?": ("?",)}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Found:
    """One wildcard: its name, its file, and what it holds."""

    name: str
    file: Path
    values: Values


def wildcard_folders(data: Path, programs: Sequence[Path]) -> list[Path]:
    """Where wildcard files may lie: ours, then those of A1111's extensions, here and in the
    folders of other programs.

    Args:
        data: The data folder. programs: Folders of other programs that are used here, too.
    """
    folders = [data / "wildcards"]
    for place in (data, *programs):
        folders += [
            place / "extensions" / "sd-dynamic-prompts" / "wildcards",
            place / "extensions" / "stable-diffusion-webui-wildcards" / "wildcards",
        ]
    return [*folders, *(place / "wildcards" for place in programs)]


class WildcardFiles:
    """All wildcards of an installation.

    Args:
        folders: Where files lie; need not exist. Of two wildcards with one name, that of the
            earlier folder counts.
        look_seconds: How old what is known may be before the folders are looked through again.
    """

    def __init__(self, folders: Sequence[Path], *, look_seconds: float = 1.0) -> None:
        self._look_seconds = look_seconds
        self._lock = threading.RLock()
        self._read: dict[Path, tuple[tuple[int, int], list[Found]]] = {}
        self._by_name: dict[str, Found] = {}
        self._problems: dict[str, str] = {}
        self.look_in(folders)

    def look_in(self, folders: Sequence[Path]) -> None:
        """Look there from now on."""
        with self._lock:
            self._folders = list(dict.fromkeys(folders))
            self._looked_at = -float("inf")

    def names(self) -> list[str]:
        """Names of all wildcards that hold something, in order."""
        with self._lock:
            self._look()
            return sorted((each.name for each in self._by_name.values()), key=str.casefold)

    def problems(self) -> list[str]:
        """A sentence for each file that cannot be read."""
        with self._lock:
            self._look()
            return list(self._problems.values())

    def find(self, name: str) -> Values | None:
        """What a wildcard holds, upper and lower case alike; None when there is none of that name.

        Args:
            name: As between the underscores. ``*`` stands for anything but ``/``, ``**`` for
                anything, ``?`` for one character: what fits is put together. Where nothing has
                that name, one at the end of a longer name is taken (``hair`` finds ``a/hair``).
        """
        wanted = name.replace("\\", "/").strip("/").casefold()
        with self._lock:
            self._look()
            if found := self._by_name.get(wanted):
                return found.values
            names = self._matching(wanted)
            return _joined([self._by_name[each].values for each in names]) if names else None

    def _matching(self, wanted: str) -> list[str]:
        if not any(mark in wanted for mark in "*?"):
            return sorted(each for each in self._by_name if each.endswith(f"/{wanted}"))[:1]
        if wanted.count("*") > MOST_STARS:
            return []
        return sorted(names_like(wanted, self._by_name))

    def _look(self) -> None:
        """Take notice of files that came, changed or went."""
        now = time.monotonic()
        if now - self._looked_at < self._look_seconds:
            return
        known, self._read, self._problems = self._read, {}, {}
        self._by_name = {}
        for folder in self._folders:
            for file, stamp in _files_in(folder):
                old = known.get(file)
                found = old[1] if old and old[0] == stamp else self._read_file(file, folder)
                self._read[file] = (stamp, found)
                for each in found:
                    self._by_name.setdefault(each.name.casefold(), each)
        self._looked_at = now

    def _read_file(self, file: Path, folder: Path) -> list[Found]:
        try:
            return list(read_wildcards(file, folder))
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as err:
            reason = " ".join(str(err).split())[:300]
            self._problems[str(file)] = f"The wildcard file {file} cannot be read: {reason}"
            logger.warning("%s", self._problems[str(file)])
            return []


def read_wildcards(file: Path, folder: Path) -> Iterator[Found]:
    """The wildcards of one file that hold something.

    Args:
        folder: The wildcards folder it lies in.
    Raises:
        OSError: It cannot be opened.
        ValueError, yaml.YAMLError: It is too large, or not what its ending says.
    """
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"it holds {size:,} bytes; at most {MOST_BYTES:,} are read.")
    text = decoded(file.read_bytes())
    name = file.relative_to(folder).with_suffix("").as_posix()
    if file.suffix.lower() == ".txt":
        entries = [_CONTROL.sub("", line).strip() for line in text.splitlines()]
        lists = [(name, [line for line in entries if line and not line.startswith("#")])]
    else:
        data = json.loads(text) if file.suffix.lower() == ".json" else yaml.load(text, _LOADER)
        lists = _lists_in(data, name)
    for each, entries in lists:
        values = _values(entries)
        if values.texts:
            yield Found(each, file, values)


def _files_in(folder: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    """Wildcard files below a folder in order, each with when it was changed and its size."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                file = Path(place, name)
                try:
                    state = file.stat()
                except OSError:
                    continue
                if stat.S_ISREG(state.st_mode):  # reading a pipe would never end
                    yield file, (state.st_mtime_ns, state.st_size)


def _lists_in(data: Any, name: str) -> list[tuple[str, list[Any]]]:
    """The lists of a YAML or JSON document by the keys that lead to them."""
    if isinstance(data, list):
        return [(name, cast("list[Any]", data))]
    found: list[tuple[str, list[Any]]] = []
    waiting: list[tuple[tuple[str, ...], Any]] = [((), data)]
    entries = 0
    while waiting:
        keys, here = waiting.pop()
        entries += len(cast("list[Any]", here)) if isinstance(here, (list, dict)) else 1
        if entries > MOST_ENTRIES or len(keys) > MOST_LEVELS:  # aliases make much of little
            raise ValueError(f"it holds more than {MOST_ENTRIES:,} entries or is nested too deep.")
        if isinstance(here, dict):
            inside = cast("dict[Any, Any]", here)
            waiting += [((*keys, str(key)), value) for key, value in reversed(inside.items())]
        elif isinstance(here, list) and keys:
            found.append(("/".join(keys), cast("list[Any]", here)))
        elif isinstance(here, (str, int, float)) and keys:
            found.append(("/".join(keys), [here]))
    return found


def _values(entries: Sequence[Any]) -> Values:
    """Entries with their weights, each text once."""
    found: dict[str, float] = {}
    for entry in entries:
        text, weight = _entry(entry)
        if text:
            found.setdefault(text, weight)
    return Values(tuple(found), tuple(found.values()))


def _entry(entry: Any) -> tuple[str, float]:
    """``text``, ``2::text`` or ``{text: …, weight: …}``; no text for anything else."""
    if isinstance(entry, dict):
        cells = cast("dict[Any, Any]", entry)
        text, weight = cells.get("text") or cells.get("content"), cells.get("weight", 1)
        is_weight = isinstance(weight, (int, float)) and 0 <= weight < 1e9
        return (str(text or "").strip(), float(weight) if is_weight else 1.0)
    if isinstance(entry, bool) or not isinstance(entry, (str, int, float)):
        return "", 1.0
    text = str(entry).strip()
    weight = _WEIGHT.match(text)
    return (text[weight.end() :].strip(), float(weight[1])) if weight else (text, 1.0)


def _joined(parts: Sequence[Values]) -> Values:
    """Several wildcards as one, each text once."""
    if len(parts) == 1:
        return parts[0]
    found: dict[str, float] = {}
    for part in parts:
        for text, weight in zip(part.texts, part.weights, strict=True):
            found.setdefault(text, weight)
    return Values(tuple(found), tuple(found.values()))


def names_like(pattern: str, names: Iterable[str]) -> Iterator[str]:
    """The names that a pattern with ``*``, ``**`` and ``?`` means.

    Reads each name once, holding every place of the pattern that may come next: a regular
    expression would try its stars one inside the other.
    """
    pieces = [piece for piece in _STARS.split(pattern) if piece]
    words = [piece for piece in pieces if piece not in _SIGNS]
    signs = [sign for piece in pieces for sign in _SIGNS.get(piece, tuple(piece))]
    for name in names:
        if all(word in name for word in words) and _fits(signs, name):
            yield name


def _fits(signs: Sequence[str], name: str) -> bool:
    places = _with_skips(signs, {0})
    for letter in name:
        following: set[int] = set()
        for place in places:
            sign = signs[place] if place < len(signs) else ""
            if sign == "**" or (sign == "*" and letter != "/"):
                following.add(place)
            elif sign == letter or (sign == "?" and letter != "/"):
                following.add(place + 1)
        places = _with_skips(signs, following)
        if not places:
            return False
    return len(signs) in places


def _with_skips(signs: Sequence[str], places: set[int]) -> set[int]:
    """The places, and those that are reached from them without a letter."""
    found: set[int] = set()
    waiting = list(places)
    while waiting:
        place = waiting.pop()
        if place in found:
            continue
        found.add(place)
        sign = signs[place] if place < len(signs) else ""
        if sign in ("*", "**", _FOLDERS):
            waiting.append(place + 1)
        if sign == _FOLDERS:
            waiting.append(place + 3)
    return found
