"""Where folders of extensions lie beside those in use, and the renames between these places.

``.incoming`` holds what was fetched, ``.before`` the version before each, ``.trash`` what was
removed; ``.aside`` holds a folder for the moment in which another one takes its place.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from webui.services.extensions.commands import InstallError

logger = logging.getLogger(__name__)
INCOMING, BEFORE, ASIDE, TRASH = ".incoming", ".before", ".aside", ".trash"
ABANDONED_SECONDS: Final = 86_400.0
"""After which what was fetched and never put in is thrown away: its program was killed."""
_REMOVED: Final = re.compile(r"(\d{4}-\d\d-\d\d)-(\d\d)-(\d\d)-(\d\d)-[0-9a-f]{4}-(.+)")


@dataclass(frozen=True)
class Removed:
    """A folder in the trash.

    Attributes:
        id: By which it is restored. folder: What it was called. time: When it was removed, as
            ``2026-11-22 10:20:30``.
    """

    id: str
    folder: str
    time: str
    path: Path


# One folder in another's place


def before_of(path: Path) -> Path:
    """Where the version before is kept; it need not be there."""
    return path.parent / BEFORE / path.name


def swap(fresh: Path, path: Path) -> None:
    """Put a folder into another one's place; that one is kept as the version before. Wherever this
    is broken off, ``tidy`` puts one of the two there.

    Raises:
        InstallError: It cannot be done; nothing has changed.
    """
    aside = _settled(path)
    move(path, aside)
    try:
        move(fresh, path)
    except InstallError:
        move(aside, path)
        raise
    try:
        _settle(aside, path)
    except InstallError as err:  # the new one is in its place: that is what was wanted
        logger.warning("The version before %s is not kept yet: %s", path, err)


def _settled(path: Path) -> Path:
    """Where a folder is put for the moment; what is left there of a swap before is brought to its
    end first: the version before could not be thrown away then."""
    aside = path.parent / ASIDE / path.name
    if os.path.lexists(aside):
        _settle(aside, path)
    return aside


def _settle(aside: Path, path: Path) -> None:
    before = before_of(path)
    remove_tree(before)
    move(aside, before)


def tidy(folder: Path) -> None:
    """At the start: bring swaps to an end that a killed program had begun, and throw away what it
    had fetched."""
    for aside in _entries(folder / ASIDE):
        path = folder / aside.name
        try:
            if os.path.lexists(path):
                _settle(aside, path)
            else:
                move(aside, path)
        except InstallError as err:
            logger.error("An update that was broken off could not be mended: %s", err)
    for box in _entries(folder / INCOMING):
        with contextlib.suppress(OSError):
            if time.time() - box.stat().st_mtime > ABANDONED_SECONDS:
                discard(box)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


# The trash


def throw_away(path: Path) -> Path:
    """Move a folder, and its version before, to the trash; returns where it lies then.

    Raises:
        InstallError: It cannot be moved.
    """
    _settled(path)
    stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
    goal = path.parent / TRASH / f"{stamp}-{uuid.uuid4().hex[:4]}-{path.name}"
    move(path, goal)
    _take_before(path, goal)
    return goal


def _take_before(path: Path, goal: Path) -> None:
    """The version before goes along; one that cannot is no reason to say that nothing went."""
    try:
        if os.path.lexists(before_of(path)):
            remove_tree(before_of(goal))
            move(before_of(path), before_of(goal))
    except InstallError as err:
        logger.warning("The version before %s stays behind: %s", path, err)


def removed_in(folders: Iterable[Path]) -> Iterator[Removed]:
    """What lies in the trashes of these folders."""
    for folder in dict.fromkeys(folders):
        for path in _entries(folder / TRASH):
            if read := _REMOVED.fullmatch(path.name):
                day, hour, minute, second, name = read.groups()
                yield Removed(path.name, name, f"{day} {hour}:{minute}:{second}", path)


def put_back(removed: Removed) -> Path:
    """Move a folder from the trash to where it was.

    Raises:
        InstallError: Another one lies there, or it cannot be moved.
    """
    goal = removed.path.parent.parent / removed.folder
    if os.path.lexists(goal):
        raise InstallError(
            f"A folder called {removed.folder!r} is there already.",
            "Remove that one first, then restore this one.",
        )
    move(removed.path, goal)
    _take_before(removed.path, goal)
    return goal


def delete(removed: Removed) -> None:
    """Delete a folder that lies in the trash.

    Raises:
        InstallError: It cannot be deleted.
    """
    remove_tree(before_of(removed.path))
    remove_tree(removed.path)


# Parts


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


def remove_tree(path: Path) -> None:
    """Delete a folder or what else is called so; nothing happens when there is none.

    Raises:
        InstallError: It cannot be deleted.
    """
    try:
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            if os.name == "nt":  # which deletes no file that is read-only, as git's are
                _make_writable(path)
            shutil.rmtree(path)
    except OSError as err:
        raise InstallError(
            f"{path} cannot be deleted: {err.strerror or err}.",
            "Make the extensions folder writable; on Windows, close what has its files open.",
        ) from err


def discard(path: Path) -> None:
    """Delete what nobody needs any more; what resists is left for ``tidy``."""
    with contextlib.suppress(InstallError):
        remove_tree(path)


def _make_writable(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                os.chmod(os.path.join(root, name), stat.S_IWRITE | stat.S_IREAD)
