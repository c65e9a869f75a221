"""An extension that was fetched and waits for a person's word, and the copy that an update is."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from webui.extensions.folders import PACKAGES, Extension, missing_packages
from webui.services.extensions.git import Change, Git, Origin
from webui.services.extensions.packages import Plan


@dataclass(frozen=True)
class Changes:
    """What a version brings that the present one has not.

    Attributes:
        base: The commit it was compared with. count: Of all commits; ``told`` are the newest.
        is_back: The version is older: these commits would be taken back.
    """

    base: str
    told: Sequence[Change]
    count: int
    is_back: bool = False


@dataclass(frozen=True)
class Box:
    """A place for one extension that comes, and for all that is written down meanwhile.

    Attributes:
        root: What is thrown away in the end. name: Of the extension's folder.
    """

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """Where the extension lies."""
        return self.root / "new" / self.name

    @property
    def papers(self) -> Path:
        """Where pip and the like write: apart, since a folder could be called as their files."""
        return self.root / "papers"

    def make(self) -> None:
        """Make what holds both; raises OSError."""
        self.folder.parent.mkdir(parents=True)
        self.papers.mkdir()


@dataclass(frozen=True)
class Prepared:
    """An extension that was fetched and looked at, and waits for a person's word.

    Attributes:
        token: By which it is put in. box: Where it lies.
        goal: Where it would come. changes: Against what lies there; None = nothing does.
        is_here: It lies at its goal, and only its packages would come.
    """

    token: str
    box: Box
    goal: Path
    extension: Extension
    plan: Plan
    origin: Origin | None
    changes: Changes | None = None
    is_here: bool = False

    @property
    def folder(self) -> Path:
        """Where it lies; its name is that of the goal."""
        return self.goal if self.is_here else self.box.folder

    @property
    def _lack(self) -> str:
        """What is told of packages, which the plan speaks of."""
        return missing_packages(self.extension.manifest.requires, self.folder)

    def to_json(self) -> dict[str, Any]:
        """Plain data for the page."""
        extension, changes = self.extension, self.changes
        install_file = self.folder / "install.py"
        return {
            "token": self.token,
            "name": extension.name,
            "folder": self.goal.name,
            "title": extension.title.model_dump(),
            "description": extension.manifest.description.model_dump(),
            "version": extension.manifest.version,
            "kind": extension.kind,
            "problem": "" if extension.problem == self._lack else extension.problem,
            "origin": asdict(self.origin) if self.origin else None,
            "packages": self.plan.to_json(),
            "has_install": extension.kind == "a1111" and install_file.is_file(),
            "has_submodules": (self.folder / ".gitmodules").is_file(),
            "changes": [asdict(one) for one in changes.told] if changes else [],
            "changes_count": changes.count if changes else 0,
            "is_here": self.is_here,
            "is_back": changes is not None and changes.is_back,
            "replaces": changes is not None,
        }


def copy_beside(source: Path, target: Path) -> None:
    """A copy whose files git and pip may replace. What people put there (models …) is not doubled:
    it is the same file under both names, which these leave alone.

    Raises:
        OSError: It cannot be made.
    """

    def link(old: str, new: str) -> str:
        _link(Path(old), Path(new), is_own="/.git/" in Path(old).as_posix())
        return new

    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, target, symlinks=True, copy_function=link, ignore=ignore)


def bring_along(source: Path, target: Path, git: Git, cancel: threading.Event) -> None:
    """Give a copy what has come to its source since: files that are not of the repository.

    Raises:
        CommandError, JobCancelled: As ``run``. OSError: They cannot be copied.
    """
    theirs = set(git.not_tracked(target, cancel))
    for name in git.not_tracked(source, cancel):
        old, new = source / name, target / name
        if name.startswith(f"{PACKAGES}/") or "__pycache__" in name or old.is_symlink():
            continue
        if os.path.lexists(new):
            if name not in theirs or os.path.samefile(old, new):
                continue
            new.unlink()
        new.parent.mkdir(parents=True, exist_ok=True)
        _link(old, new)


def _link(old: Path, new: Path, *, is_own: bool = False) -> None:
    if not is_own:
        try:
            os.link(old, new)
            return
        except OSError:
            pass
    shutil.copy2(old, new)
