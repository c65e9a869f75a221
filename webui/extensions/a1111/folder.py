"""One folder laid out for A1111's web UI: what lies in it, and what it says of itself.

Source:
    The layout and ``metadata.ini`` of A1111 1.8 to 1.10, as its wiki describes them.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

SEPARATORS = re.compile(r"[\s,]+")
Thing = TypeVar("Thing")


def is_a1111_folder(path: Path) -> bool:
    """True for a folder that A1111 would take for an extension."""
    folder = A1111Folder(path)
    parts = (folder.install, folder.preload, folder.style, folder.path / "metadata.ini")
    has_part = any(part.is_file() for part in parts)
    return has_part or any((folder.scripts, folder.javascript, folder.localizations))


@dataclass(frozen=True)
class A1111Folder:
    """An extension's folder.

    Attributes:
        path: Where it lies; its last part is the extension's name.
    """

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def canonical_name(self) -> str:
        """What other extensions call it: the folder's name in lower case."""
        return self.path.name.lower()

    @property
    def scripts(self) -> tuple[Path, ...]:
        return _files(self.path / "scripts", (".py",))

    @property
    def javascript(self) -> tuple[Path, ...]:
        return _files(self.path / "javascript", (".js", ".mjs"))

    @property
    def localizations(self) -> tuple[Path, ...]:
        return _files(self.path / "localizations", (".json",))

    @property
    def style(self) -> Path:
        return self.path / "style.css"

    @property
    def preload(self) -> Path:
        return self.path / "preload.py"

    @property
    def install(self) -> Path:
        return self.path / "install.py"

    @cached_property
    def metadata(self) -> Metadata:
        """What its ``metadata.ini`` says; nothing where there is none."""
        return Metadata.read(self.path / "metadata.ini")


def _files(folder: Path, endings: tuple[str, ...]) -> tuple[Path, ...]:
    """Direct children with one of these endings, by name."""
    if not folder.is_dir():
        return ()
    found = (path for path in folder.iterdir() if path.suffix in endings and path.is_file())
    return tuple(sorted(found, key=lambda path: path.name))


@dataclass(frozen=True)
class Metadata:
    """Order and needs, by section of ``metadata.ini``; everything in lower case.

    Attributes:
        sections: Values by key, by the section's name.
        problem: Why the file could not be read; empty = it could, or is not there.
    """

    sections: Mapping[str, Mapping[str, str]]
    problem: str = ""

    @classmethod
    def read(cls, path: Path) -> Metadata:
        """A file that cannot be read counts as empty; ``problem`` says why."""
        parser = configparser.ConfigParser(
            interpolation=None, strict=False, inline_comment_prefixes=(";", "#")
        )
        try:
            parser.read(path, encoding="utf-8-sig")
        except (OSError, ValueError, configparser.Error) as err:
            return cls({}, f"{path.name} cannot be read: {err}")
        return cls(
            {
                name.lower(): {key.lower(): text.lower() for key, text in parser[name].items()}
                for name in parser.sections()
            }
        )

    def words(self, key: str, *sections: str) -> tuple[str, ...]:
        """The words of a list in all these sections, such as ``After`` of ``scripts``."""
        texts = (self.sections.get(name, {}).get(key.lower(), "") for name in sections)
        return tuple(word for text in texts for word in SEPARATORS.split(text) if word)

    @property
    def needed(self) -> tuple[tuple[str, ...], ...]:
        """Extensions it needs; of each entry any one will do."""
        return tuple(tuple(word.split("|")) for word in self.words("requires", "extension"))


@dataclass(frozen=True)
class ScriptFile:
    """A script to be loaded, with its place among the others."""

    path: Path
    folder: A1111Folder

    @property
    def canonical_name(self) -> str:
        """What metadata calls it: ``<extension>/<file.py>``."""
        return f"{self.folder.canonical_name}/{self.path.name.lower()}"

    def listed(self, key: str) -> tuple[str, ...]:
        """``Before``, ``After`` or ``Requires`` of this script."""
        own = f"scripts/{self.path.name.lower()}"
        return self.folder.metadata.words(key, "scripts", own)


def scripts_in_order(folders: Iterable[A1111Folder]) -> list[ScriptFile]:
    """All scripts: by folder and file name, save where metadata asks for another order."""
    files = [ScriptFile(path, folder) for folder in folders for path in folder.scripts]

    def named(word: str) -> list[ScriptFile]:
        return [f for f in files if word in (f.canonical_name, f.folder.canonical_name)]

    first: dict[ScriptFile, list[ScriptFile]] = {file: [] for file in files}
    for file in files:
        for word in (*file.listed("requires"), *file.listed("after")):
            first[file] += [f for part in word.split("|") for f in named(part)]
        for word in file.listed("before"):
            for other in named(word):
                first[other].append(file)
    return in_order(files, lambda file: first[file])


def missing_needs(folders: Sequence[A1111Folder]) -> list[tuple[A1111Folder, str]]:
    """Folders with what they say they need and nobody has; they are loaded all the same."""
    names = {folder.canonical_name for folder in folders}
    files = {file.canonical_name for file in scripts_in_order(folders)}
    told: list[tuple[A1111Folder, str]] = []
    for folder in folders:
        wanted = list(folder.metadata.needed)
        for path in folder.scripts:
            wanted += [(word,) for word in ScriptFile(path, folder).listed("requires")]
        for alternatives in dict.fromkeys(wanted):
            parts = [part for word in alternatives for part in word.split("|")]
            if not any(part in names or part in files for part in parts):
                told.append((folder, " or ".join(parts)))
    return told


def in_order(things: Sequence[Thing], first: Callable[[Thing], Iterable[Thing]]) -> list[Thing]:
    """Things with those that come before them in front; else in the order they have. A circle is
    entered where it is met first."""
    done: list[Thing] = []
    seen: set[int] = set()

    def put(thing: Thing) -> None:
        if id(thing) in seen:
            return
        seen.add(id(thing))
        for other in first(thing):
            put(other)
        done.append(thing)

    for thing in things:
        put(thing)
    return done
