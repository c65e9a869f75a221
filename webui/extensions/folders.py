"""Which extensions lie in the extension folders, and what each says of itself.

Nothing of an extension is run here; what cannot be read becomes its ``problem``.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from webui.extension_forms import Words
from webui.hookspecs import API_VERSION

if sys.version_info >= (3, 11):
    from tomllib import TOMLDecodeError, loads
else:  # the same grammar, read by what our training files are read with
    from tomlkit import parse as loads
    from tomlkit.exceptions import TOMLKitError as TOMLDecodeError

MANIFEST = "extension.toml"
WEB, MODEL = "web.py", "model.py"
PACKAGES = ".packages"
"""In an extension's folder: Python packages that were installed for it alone."""
OFFERS = ("samplers", "schedules", "upscalers", "face_restorers", "taggers")
"""What an extension's worker part can add to the program's own lists."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,60}")
Kind = Literal["folder", "file", "a1111"]


class Manifest(BaseModel):
    """``extension.toml``.

    Attributes:
        name: Small letters, digits, - and _; empty = the folder's name in small letters.
        version: The extension's own. api: The version of our API it was written for.
        requires: Packages, each as pip writes it (PEP 508): ``name``, ``name>=1.2,<3``,
            ``name; python_version < "3.11"``. They are looked for, never installed.
        offers: Names of what ``model.py`` adds, for menus: see ``OFFERS``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    version: str = ""
    api: int
    title: Words = Words()
    description: Words = Words()
    requires: tuple[str, ...] = ()
    offers: dict[str, tuple[str, ...]] = Field(default_factory=dict)


@dataclass(frozen=True)
class Extension:
    """One extension as it lies there.

    Attributes:
        name: Unique among all; its folder's name in small letters unless it says another.
        path: Its folder, or its only file.
        web, model: Files of its parts; None = it has none. Of a single file both are that file.
        is_built_in: It came with the program.
        problem: Why it is not loaded; empty = it can be.
        prints: Of ``web`` and ``model``: changes with any source file of the extension.
    """

    name: str
    path: Path
    kind: Kind = "folder"
    manifest: Manifest = field(default_factory=lambda: Manifest(api=API_VERSION))
    web: Path | None = None
    model: Path | None = None
    is_built_in: bool = False
    problem: str = ""
    prints: str = ""

    @property
    def title(self) -> Words:
        """What people call it."""
        return self.manifest.title if self.manifest.title.en else Words(en=self.path.stem)


Reader = Callable[[Path], "Extension | None"]
"""Reads a folder of another layout than ours; None = it is not of that layout."""


def find_extensions(
    built_in: Path | None, folders: Iterable[Path], readers: Iterable[Reader] = ()
) -> list[Extension]:
    """Every extension, the built-in ones first, else by name.

    Args:
        built_in: Folder of those that came with the program.
        folders: Where people drop theirs. One that is missing holds none.
        readers: For folders without an ``extension.toml``.
    """
    readers = tuple(readers)
    found: list[Extension] = []
    places = [(built_in, True)] if built_in else []
    places += [(folder, False) for folder in dict.fromkeys(folders)]
    for place, is_built_in in places:
        for path in _entries(place):
            try:
                extension = read_extension(path, readers)
            except OSError as err:  # a folder nobody may look into harms no other
                told = f"It cannot be read: {err.strerror or err}. Allow its files to be read."
                extension = Extension(path.name.lower(), path, problem=told)
            if extension is not None:
                found.append(_unique(replace(extension, is_built_in=is_built_in), found))
    return found


def _entries(place: Path) -> list[Path]:
    try:
        entries = sorted(place.iterdir(), key=lambda path: path.name.lower())
    except OSError:
        return []
    return [path for path in entries if not path.name.startswith((".", "_"))]


def read_extension(path: Path, readers: Iterable[Reader] = ()) -> Extension | None:
    """One entry of an extension folder; None when it is no extension."""
    if path.is_file():
        return _single_file(path) if path.suffix == ".py" else None
    if not path.is_dir():
        return None
    if (path / MANIFEST).is_file():
        return _folder(path)
    others = (reader(path) for reader in readers)
    return next((one for one in others if one is not None), None)


def _single_file(path: Path) -> Extension:
    problem = "" if _NAME.fullmatch(path.stem.lower()) else _bad_name(path.stem)
    return Extension(
        path.stem.lower(), path, "file", web=path, model=path, problem=problem,
        prints=fingerprint([path]),
    )  # fmt: skip


def _folder(path: Path) -> Extension:
    name = path.name.lower()
    try:
        manifest = Manifest.model_validate(
            _table((path / MANIFEST).read_text(encoding="utf-8-sig"))
        )
    except (OSError, ValueError, TOMLDecodeError, RecursionError) as err:
        told = str(err) if not isinstance(err, ValidationError) else _told(err)
        return Extension(name, path, problem=f"{MANIFEST} cannot be read: {told}")
    web, model = (path / part for part in (WEB, MODEL))
    extension = Extension(
        manifest.name or name,
        path,
        "folder",
        manifest,
        web if web.is_file() else None,
        model if model.is_file() else None,
        prints=fingerprint(sources(path)),
    )
    return replace(extension, problem=_problem(extension))


def _table(text: str) -> dict[str, Any]:
    table: Any = loads(text)
    return table.unwrap() if hasattr(table, "unwrap") else table


def _told(err: ValidationError) -> str:
    first = err.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _problem(extension: Extension) -> str:
    """Why an extension of ours cannot be loaded; '' when it can."""
    manifest = extension.manifest
    if not _NAME.fullmatch(extension.name):
        return _bad_name(extension.name)
    if manifest.api != API_VERSION:
        return (
            f"It was written for version {manifest.api} of the extension API; this program has "
            f"version {API_VERSION}. Look for another version of it."
        )
    if extension.web is None and extension.model is None:
        return f"It has neither {WEB} nor {MODEL}, so there is nothing to load."
    unknown = [kind for kind in manifest.offers if kind not in OFFERS]
    if unknown:
        return f"{MANIFEST} offers {unknown[0]!r}; an extension can offer {', '.join(OFFERS)}."
    return unread_packages(manifest.requires) or missing_packages(manifest.requires, extension.path)


def _bad_name(name: str) -> str:
    return (
        f"It is called {name!r}; a name has small letters, digits, - and _ only. Rename its "
        f"folder, or give it a name in {MANIFEST}."
    )


def unread_packages(requires: Iterable[str]) -> str:
    """Which lines ask for no package that could be looked for, in a sentence; '' = none."""
    for text in requires:
        try:
            if not Requirement(text).url:
                continue
        except InvalidRequirement:
            pass
        return (
            f"{MANIFEST} requires {text[:120]!r}, which is no package with its versions. Write it "
            "as pip does: numpy>=2, or numpy>=2; python_version < '3.13'."
        )
    return ""


def missing_packages(requires: Iterable[str], folder: Path) -> str:
    """Which required packages are not there, in a sentence; '' when all are.

    Args:
        requires: Each as pip writes it; those that are not for this Python or system are not
            looked for.
        folder: The extension's, which may hold packages of its own.
    """
    places = [*sys.path, str(folder / PACKAGES)]
    missing = [text for text in requires if not _is_there(text, places)]
    if not missing:
        return ""
    return (
        f"It needs packages that are not installed: {', '.join(missing)}. Install them in the "
        "Extensions tab, or into the program's environment, and press Refresh."
    )


def _is_there(required: str, places: list[str]) -> bool:
    try:
        wanted = Requirement(required)
    except InvalidRequirement:
        return False
    if wanted.marker is not None and not wanted.marker.evaluate():
        return True
    found = next(iter(distributions(name=wanted.name, path=places)), None)
    return found is not None and wanted.specifier.contains(found.version, prereleases=True)


def _unique(extension: Extension, before: list[Extension]) -> Extension:
    """The extension; refused when an earlier one has its name."""
    other = next((one for one in before if one.name == extension.name), None)
    if other is None:
        return extension
    return replace(
        extension,
        name=_free_name(extension.name, {one.name for one in before}),
        problem=f"Another extension has its name, {extension.name!r}: {other.path}. Remove one of "
        "the two.",
    )


def _free_name(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"


def sources(folder: Path) -> Iterator[Path]:
    """The Python files of an extension, without those of packages and of git."""
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(root, name) for name in names if name.endswith(".py"))


def fingerprint(files: Iterable[Path]) -> str:
    """A text that changes when a source file changes, comes or goes."""
    digest = hashlib.sha256()
    for line in sorted(_facts(files)):
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:16]


@lru_cache(maxsize=512)
def content_of(path: Path, prints: str) -> str:
    """A short hash of what stands in an extension's source files, wherever and since when they
    lie there; '' where they cannot be read.

    Args:
        path: Its folder, or its only file. prints: Of ``Extension``: read again when they change.
    """
    del prints
    digest = hashlib.sha256()
    try:
        for file in [path] if path.is_file() else sorted(sources(path)):
            name = "" if file == path else file.relative_to(path).as_posix()
            digest.update(f"{name}\0".encode("utf-8", "surrogatepass"))
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    except OSError:
        return ""
    return digest.hexdigest()[:16]


def _facts(files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            continue
        yield f"{file}\n{stat.st_size}\n{stat.st_mtime_ns}\n"
