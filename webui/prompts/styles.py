"""Saved pieces of prompt: reading and writing styles.csv, merging into a prompt, finding again.

A style holds a prompt and a negative prompt. ``{prompt}`` inside it marks where the person's own
words go; without it the style is appended.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from webui.errors import ParamsError, PromptSyntaxError, SettingsError
from webui.prompts.comments import cut_comments

logger = logging.getLogger(__name__)

PLACEHOLDER = "{prompt}"
COLUMNS = ("name", "prompt", "negative_prompt")
MAX_PROMPT_LENGTH = 4_000_000
"""Characters; styles that repeat ``{prompt}`` double a prompt each time they are chosen."""

_DIVIDER_WIDTH = 40


@dataclass(frozen=True)
class Style:
    """One saved style. ``is_divider`` marks a heading in lists, which is never saved."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""
    is_divider: bool = False


# Merging


def apply_styles(
    prompt: str, style_texts: Iterable[str], *, should_cut_comments: bool = True
) -> str:
    """Merge the texts of chosen styles into a prompt, in order.

    Args:
        prompt: A prompt or negative prompt.
        style_texts: The same side of each chosen style.
        should_cut_comments: Cut comments from prompt and styles before merging, so that a comment
            at the end of one does not swallow the next. False where ``#`` is an ordinary character.
    Returns:
        The merged prompt, stripped; unchanged when no style is chosen.
    Raises:
        PromptSyntaxError: The result would pass ``MAX_PROMPT_LENGTH``.
    Source:
        A1111 1.9.
    """
    for style_text in style_texts:
        if should_cut_comments:
            prompt, style_text = cut_comments(prompt), cut_comments(style_text)
        prompt, style_text = prompt.strip(), style_text.strip()
        places = style_text.count(PLACEHOLDER)
        if len(style_text) + max(places, 1) * len(prompt) > MAX_PROMPT_LENGTH:
            raise PromptSyntaxError(
                "The chosen styles make the prompt too long.",
                f"Choose fewer styles with {PLACEHOLDER}, or a shorter prompt.",
                field="styles",
            )
        if places:
            prompt = style_text.replace(PLACEHOLDER, prompt)
        elif style_text:
            prompt = f"{prompt}, {style_text}" if prompt else style_text
    return prompt


def extract_styles(
    prompt: str, negative_prompt: str, styles: Iterable[Style]
) -> tuple[list[str], str, str]:
    """Find out which styles a pair of prompts was made with.

    Args:
        prompt, negative_prompt: As stored in a picture, styles merged.
        styles: Known styles; each can be found once.
    Returns:
        Names in the order in which they were applied, and both prompts without them.
    """
    waiting = [style for style in styles if _clean(style.prompt) or _clean(style.negative_prompt)]
    found: list[str] = []
    while True:
        for style in waiting:
            rest = _without(prompt, style.prompt)
            negative_rest = _without(negative_prompt, style.negative_prompt)
            if rest is not None and negative_rest is not None:
                break
        else:
            return found[::-1], prompt, negative_prompt
        waiting.remove(style)
        found.append(style.name)
        prompt, negative_prompt = rest, negative_rest


def _without(prompt: str, style_text: str) -> str | None:
    """The prompt before the style was merged; None when the style is not in it."""
    style_text = _clean(style_text)
    if PLACEHOLDER in style_text:
        before, _, after = style_text.partition(PLACEHOLDER)
        is_around = prompt.startswith(before) and prompt.endswith(after)
        if not is_around or len(before) + len(after) > len(prompt):
            return None
        return prompt[len(before) : len(prompt) - len(after)]
    if not prompt.endswith(style_text):
        return None
    return prompt[: len(prompt) - len(style_text)].removesuffix(", ")


def _clean(style_text: str) -> str:
    return cut_comments(style_text).strip()


# Files


class StyleFiles:
    """All styles of an installation, read again whenever a file changes.

    Args:
        files: CSV files in A1111's layout, and Fooocus' JSON lists (read only). Where a name
            occurs twice the later file wins, and CSV wins over JSON.
        default: The CSV file for new styles; need not exist yet.
        folders: Whose JSON lists are read, too, when they come; need not exist.
    """

    def __init__(self, files: Sequence[Path], default: Path, folders: Sequence[Path] = ()) -> None:
        every = list(dict.fromkeys([*files, default]))
        self._named = sorted(every, key=lambda file: not _is_json(file))
        self._folders = tuple(folders)
        self._default = default
        self._lock = threading.RLock()
        self._known: dict[Path, tuple[tuple[int, int], list[Style]]] = {}

    @classmethod
    def from_settings(
        cls, data: Path, styles_files: Sequence[str] = (), programs: Sequence[Path] = ()
    ) -> StyleFiles:
        """Files as the start-up flags name them.

        Args:
            data: The data folder; ``styles.csv`` lies there unless a flag says otherwise.
            styles_files: ``--styles-file`` values; relative ones count from ``data``, ``*`` and
                ``?`` in the file name take all that match.
            programs: Folders of other programs; Fooocus keeps lists in ``sdxl_styles``.
        """
        files: list[Path] = []
        default: Path | None = None
        for written in styles_files:
            path = data / written
            if any(mark in path.name for mark in "*?["):
                files += sorted(path.parent.glob(path.name))
            else:
                files.append(path)
                default = default or (None if _is_json(path) else path)
        folders = [data / "styles", *(place / "sdxl_styles" for place in (data, *programs))]
        return cls(files, default or data / "styles.csv", folders)

    @property
    def _files(self) -> list[Path]:
        """Those in the folders now, then those that were named."""
        found = [file for folder in self._folders for file in sorted(folder.glob("*.json"))]
        return list(dict.fromkeys([*found, *self._named]))

    def by_name(self) -> dict[str, Style]:
        """All styles, in file order, without dividers."""
        with self._lock:
            return {style.name: style for file in self._files for style in self._styles_of(file)}

    def entries(self) -> list[Style]:
        """All styles for a list: with several files, each file's begin with a divider."""
        with self._lock:
            filled = [(file, self._styles_of(file)) for file in self._files]
        filled = [(file, styles) for file, styles in filled if styles]
        found: dict[str, Style] = {}
        for file, styles in filled:
            if len(filled) > 1:
                divider = f" {file.stem.upper()} ".center(_DIVIDER_WIDTH, "-")
                found[divider] = Style(divider, is_divider=True)
            found.update((style.name, style) for style in styles)
        return list(found.values())

    def save(self, style: Style) -> None:
        """Add a style, or change the one of that name where it stands. A ``.bak`` copy is kept.

        Raises:
            ParamsError: The name is empty, begins with ``#`` or is a divider's.
            SettingsError: The file cannot be read or written; it is left as it was.
        """
        name = style.name.strip()
        if not name or name.startswith("#") or style.is_divider or name.startswith("----"):
            raise ParamsError(
                f"A style needs a name that begins with neither # nor ----, found {name!r}.",
                "Choose another name.",
                field="name",
            )
        with self._lock:
            holding = [file for file in self._csv_files() if _holds(self._styles_of(file), name)]
            file = holding[-1] if holding else self._default
            table = _Table.read(file)
            table.put(Style(name, style.prompt, style.negative_prompt))
            table.write(file)

    def delete(self, name: str) -> bool:
        """Remove a style from every CSV file; False when none had it.

        Raises:
            SettingsError: A file cannot be read or written.
        """
        with self._lock:
            holding = [file for file in self._csv_files() if _holds(self._styles_of(file), name)]
            for file in holding:
                table = _Table.read(file)
                table.remove(name)
                table.write(file)
            return bool(holding)

    def _csv_files(self) -> list[Path]:
        return [file for file in self._files if not _is_json(file)]

    def _styles_of(self, file: Path) -> list[Style]:
        """Styles of one file; a file that cannot be read is reported and counts as empty."""
        try:
            state = file.stat()
        except OSError:
            return []
        stamp = (state.st_mtime_ns, state.st_size)
        if file not in self._known or self._known[file][0] != stamp:
            self._known[file] = (stamp, _read_or_report(file))
        return self._known[file][1]


def read_styles(file: Path) -> list[Style]:
    """Styles of one file in A1111's CSV layout or Fooocus' JSON layout.

    Raises:
        SettingsError: The file is not readable as styles.
    """
    return _read_json(file) if _is_json(file) else _Table.read(file).styles()


def _is_json(file: Path) -> bool:
    return file.suffix.lower() == ".json"


def _holds(styles: Iterable[Style], name: str) -> bool:
    return any(style.name == name for style in styles)


def _read_or_report(file: Path) -> list[Style]:
    try:
        return read_styles(file)
    except SettingsError as err:
        logger.warning("%s", err)
        return []


def _read_json(file: Path) -> list[Style]:
    """Fooocus: ``[{"name": …, "prompt": …, "negative_prompt": …}, …]``."""
    try:
        entries: Any = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as err:
        raise _unreadable(file, err) from err
    if not isinstance(entries, list):
        raise _unreadable(file, "it holds no list")
    found = [_from_json(entry) for entry in cast("list[Any]", entries)]
    return [style for style in found if style.name]


def _from_json(entry: Any) -> Style:
    if not isinstance(entry, dict):
        return Style("")
    cells = cast("dict[str, Any]", entry)
    name, prompt, negative = (str(cells.get(column) or "") for column in COLUMNS)
    return Style(name, prompt, negative)


@dataclass
class _Table:
    """The rows of a CSV file, comment rows and foreign columns included."""

    header: list[str]
    rows: list[list[str]]

    @classmethod
    def read(cls, file: Path) -> _Table:
        """Read a file; a missing or empty one is an empty table.

        Raises:
            SettingsError: Not UTF-8, not CSV, or without a name column.
        """
        try:
            text = file.read_bytes().decode("utf-8-sig") if file.exists() else ""
            rows = [row for row in csv.reader(io.StringIO(text), skipinitialspace=True) if row]
        except (OSError, UnicodeDecodeError, csv.Error) as err:
            raise _unreadable(file, err) from err
        if not rows:
            return cls(list(COLUMNS), [])
        header = [column.strip() for column in rows[0]]
        if "prompt" not in header and "text" in header:  # the layout before negative prompts
            header[header.index("text")] = "prompt"
        if "name" not in header:
            raise _unreadable(file, "its first row names no column 'name'")
        header += [column for column in COLUMNS if column not in header]
        return cls(header, rows[1:])

    def styles(self) -> list[Style]:
        found: dict[str, Style] = {}
        for row in self.rows:
            name, prompt, negative = (self._cell(row, column) for column in COLUMNS)
            if name and not name.startswith("#"):
                found[name] = Style(name, prompt, negative)
        return list(found.values())

    def put(self, style: Style) -> None:
        """Change the row of that name, or add one."""
        cells = {
            "name": style.name,
            "prompt": style.prompt,
            "negative_prompt": style.negative_prompt,
        }
        old = [row for row in self.rows if self._cell(row, "name") == style.name]
        row = old[-1] if old else []
        filled = [cells.get(column, self._cell(row, column)) for column in self.header]
        if old:
            row[:] = filled
        else:
            self.rows.append(filled)

    def remove(self, name: str) -> None:
        self.rows = [row for row in self.rows if self._cell(row, "name") != name]

    def _cell(self, row: list[str], column: str) -> str:
        index = self.header.index(column)
        return row[index] if index < len(row) else ""

    def write(self, file: Path) -> None:
        """Write the file whole, the old one kept beside it as ``.bak``.

        Raises:
            SettingsError: The folder cannot be written to.
        """
        text = io.StringIO()
        csv.writer(text).writerows([self.header, *self.rows])
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.exists():
                shutil.copy(file, f"{file}.bak")
            _replace(file, text.getvalue().encode("utf-8-sig"))
        except (OSError, UnicodeEncodeError) as err:
            raise SettingsError(
                f"Styles were to be saved in {file}, which failed: {err}.",
                "Check that the folder exists and may be written to.",
                path=str(file),
            ) from err


def _replace(file: Path, data: bytes) -> None:
    """Put new content in a file's place so that no reader ever sees half of it."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        if file.exists():
            shutil.copymode(file, temporary)
        else:
            os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _unreadable(file: Path, why: object) -> SettingsError:
    return SettingsError(
        f"Styles were wanted in {file}, but it cannot be read: {why}.",
        "Save it as UTF-8 CSV with the columns name, prompt, negative_prompt.",
        path=str(file),
    )
