"""What was fetched and waits, and the ways folders of extensions are put in place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from webui.extensions.folders import PACKAGES, Extension, missing_packages
from webui.services.extensions.commands import InstallError
from webui.services.extensions.git import Change, Origin
from webui.services.extensions.packages import Plan

INCOMING, BEFORE, TRASH = ".incoming", ".before", ".trash"


class AccessOffError(InstallError):
    """Extensions may not be installed, updated or removed on this server."""

    code = "extension_access"
    http_status = 403


class BusyError(InstallError):
    """Another extension is being fetched."""

    code = "extension_busy"
    http_status = 409


@dataclass(frozen=True)
class Prepared:
    """An extension that was fetched and looked at, and waits for a person's word.

    Attributes:
        token: By which it is put in. folder: Where it lies; its name is that of the goal.
        goal: Where it would come. replaces: It is a newer version of what lies there.
    """

    token: str
    folder: Path
    goal: Path
    extension: Extension
    plan: Plan
    origin: Origin | None
    changes: Sequence[Change] = ()
    replaces: bool = False

    @property
    def _lack(self) -> str:
        """What is told of packages, which the plan speaks of."""
        return missing_packages(self.extension.manifest.requires, self.folder)

    def to_json(self) -> dict[str, Any]:
        """Plain data for the page."""
        extension = self.extension
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
            "changes": [asdict(one) for one in self.changes],
            "replaces": self.replaces,
        }


def copy_beside(source: Path, target: Path) -> None:
    """A copy whose files git may replace. What people put there (models …) is not doubled: it is
    the same file under both names, which git leaves alone."""

    def link(old: str, new: str) -> str:
        if "/.git/" in Path(old).as_posix():
            return shutil.copy2(old, new)
        try:
            os.link(old, new)
        except OSError:
            return shutil.copy2(old, new)
        return new

    shutil.copytree(
        source, target, symlinks=True, copy_function=link,
        ignore=shutil.ignore_patterns("__pycache__", PACKAGES),
    )  # fmt: skip


def swap(fresh: Path, path: Path) -> None:
    """Put a folder into another one's place; that one is kept as the version before."""
    before = path.parent / BEFORE / path.name
    if before.exists():
        shutil.rmtree(before)
    move(path, before)
    try:
        move(fresh, path)
    except InstallError:
        move(before, path)
        raise


def move(path: Path, goal: Path) -> None:
    """One rename.

    Raises:
        InstallError: It cannot be done.
    """
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        path.rename(goal)
    except OSError as err:
        raise InstallError(
            f"{path} cannot be moved to {goal}: {err.strerror or err}.",
            "Make the extensions folder writable; on Windows, close what has its files open.",
        ) from err
