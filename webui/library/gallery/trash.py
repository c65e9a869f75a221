"""Deleting that can be undone: files move into a trash folder on the same disk, and back."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from webui.errors import LibraryError
from webui.library.files import explain, is_inside

FOLDER = ".danqing-trash"
"""In each folder that is looked through; below it files lie as they lay in that folder."""
BESIDE = ".txt"
"""A recipe beside a picture goes along with it."""


def move_to_trash(path: Path, root: Path) -> Path:
    """Move a picture into the trash of its folder.

    Returns:
        Where it lies now.
    Raises:
        LibraryError: It is not there, lies outside of ``root``, or cannot be moved.
    """
    if not is_inside(path, root):
        raise LibraryError(f"{path} lies outside of {root} and is not touched.", path=str(path))
    return _move(path, root / FOLDER / path.relative_to(root))


def move_back(path: Path, home: Path, root: Path) -> Path:
    """Move a picture out of the trash, to where it was or beside what is there now.

    Raises:
        LibraryError: As ``move_to_trash``.
    """
    if not is_inside(path, root / FOLDER) or not is_inside(home, root):
        raise LibraryError(f"{path} is in no trash of {root}.", path=str(path))
    return _move(path, home)


def home_of(path: Path, root: Path) -> Path | None:
    """Where a file in the trash lay before; None for a file that is not in it."""
    trash = root / FOLDER
    return root / path.relative_to(trash) if path.is_relative_to(trash) else None


def delete_for_good(path: Path, root: Path) -> None:
    """Delete a file of the trash.

    Raises:
        LibraryError: It is not in the trash, or cannot be deleted.
    """
    if not is_inside(path, root / FOLDER):
        raise LibraryError(f"{path} is not in the trash and is not deleted.", path=str(path))
    try:
        path.unlink(missing_ok=True)
        path.with_suffix(BESIDE).unlink(missing_ok=True)
    except OSError as err:
        raise _refused(path, err) from err


def _move(path: Path, goal: Path) -> Path:
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal = _free(goal)
        os.rename(path, goal)  # on one disk: whole or not at all
    except OSError as err:
        raise _refused(path, err) from err
    text = path.with_suffix(BESIDE)
    if text.is_file():
        with contextlib.suppress(OSError):  # the recipe stands in the picture, too
            os.rename(text, goal.with_suffix(BESIDE))
    return goal


def _free(path: Path) -> Path:
    """This name, or the next one that no file has: ``picture-1.png``."""
    number, candidate = 0, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def _refused(path: Path, err: OSError) -> LibraryError:
    if isinstance(err, FileNotFoundError):
        return LibraryError(
            f"{path} is no longer there: moved or deleted.", "Look for new files.", path=str(path)
        )
    reason, hint = explain(err)
    return LibraryError(
        f"{path} was to be moved or deleted, but {reason}.", f"{hint} and try again.",
        path=str(path),
    )  # fmt: skip
