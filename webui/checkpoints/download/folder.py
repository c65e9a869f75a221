"""A diffusers folder: file after file, until it lies whole under its name among the checkpoints."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from webui.checkpoints.basic_support import describe_checkpoint
from webui.checkpoints.download.fetch import (
    PART_FOLDER,
    SPARE_BYTES,
    FolderPart,
    Network,
    Wanted,
    discard_part,
    download,
    download_to,
    kept_bytes,
    usual_place,
)
from webui.checkpoints.download.naming import Places
from webui.checkpoints.download.part_file import disk_full, storing_failed
from webui.checkpoints.download.telling import State, Watcher
from webui.errors import CheckpointError, DownloadError

_ELSEWHERE: Final = "Rename or move that folder, or fetch this one under another name."


def get(wanted: Wanted, places: Places, network: Network, watcher: Watcher) -> Path:
    """Get a file, or a folder of files; goes on where an earlier attempt ended.

    Returns:
        Where it lies.
    Raises:
        DownloadError, CheckpointError, JobCancelled: As ``download``, which gets files.
    """
    if not wanted.parts:
        return download(wanted, places, network, watcher)
    target = usual_place(wanted, places)
    if target.exists():
        _check_there(target, wanted)
        return target
    staged = _staged(wanted, places)
    _check_room(wanted, places)
    done = 0
    for part in wanted.parts:
        place = staged / part.path
        if not place.is_file():
            counted = _Counted(watcher, done, wanted.size_bytes)
            download_to(_file(part), place, places, network, counted)
        done += place.stat().st_size
    watcher.tell(State("checking", done, done))
    _check_model(staged, wanted, places)
    _give_name(staged, target)
    return target


def kept(wanted: Wanted, places: Places) -> int:
    """How much has come of a file or folder that is not being fetched."""
    if not wanted.parts:
        return kept_bytes(wanted, places)
    staged = _staged(wanted, places)
    whole = sum(f.stat().st_size for f in staged.rglob("*") if f.is_file())
    return whole + sum(kept_bytes(_file(part), places) for part in wanted.parts)


def discard(wanted: Wanted, places: Places) -> None:
    """Throw away what has come of it so far.

    Raises:
        DownloadError: It is being fetched.
    """
    discard_part(wanted, places)
    for part in wanted.parts:
        discard_part(_file(part), places)
    if wanted.parts:
        shutil.rmtree(_staged(wanted, places).parent, ignore_errors=True)


def _file(part: FolderPart) -> Wanted:
    """The wish for one of the files."""
    name = part.path.rpartition("/")[2]
    return Wanted(part.urls, "checkpoint", name, sha256=part.sha256, size_bytes=part.size_bytes)


def _staged(wanted: Wanted, places: Places) -> Path:
    """Where the folder grows; it has its name already, as it is told in messages."""
    return places.own_models / PART_FOLDER / f"{wanted.part_name}-folder" / wanted.name


def _check_there(target: Path, wanted: Wanted) -> None:
    """Pass when what lies there has the very files, as far as their sizes tell.

    Raises:
        DownloadError: It is something else.
    """
    for part in wanted.parts:
        file = target / part.path
        if not file.is_file() or part.size_bytes not in (None, file.stat().st_size):
            raise DownloadError(
                f"{target} is there already; it was left alone.", _ELSEWHERE, path=str(target)
            )


def _check_room(wanted: Wanted, places: Places) -> None:
    folder = places.own_models
    folder.mkdir(parents=True, exist_ok=True)
    needed = (wanted.size_bytes or 0) - kept(wanted, places) + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise disk_full(folder, needed, free)


def _check_model(staged: Path, wanted: Wanted, places: Places) -> None:
    """Pass when it can be painted with.

    Raises:
        CheckpointError: It cannot; it is thrown away.
    """
    try:
        describe_checkpoint(staged)
    except CheckpointError as err:
        discard(wanted, places)
        details = {name: value for name, value in err.details.items() if name != "path"}
        raise type(err)(f"{err.message} It was thrown away.", err.hint, **details) from err


def _give_name(staged: Path, target: Path) -> None:
    """Move the whole folder into its place, over nothing.

    Raises:
        DownloadError: Something of that name is there now, or the place cannot be written.
    """
    source = staged
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not _is_on_one_disk(staged, target.parent):
            source = target.with_name(f".{target.name}.part")
            shutil.rmtree(source, ignore_errors=True)
            shutil.copytree(staged, source)
        if target.exists():
            raise DownloadError(f"{target} is there already; it was left alone.", _ELSEWHERE)
        os.rename(source, target)
    except OSError as err:
        raise storing_failed(target, err) from err
    finally:
        if source != staged:
            shutil.rmtree(source, ignore_errors=True)
    shutil.rmtree(staged.parent, ignore_errors=True)


def _is_on_one_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


@dataclass(frozen=True)
class _Counted:
    """A watcher who is told of all files as of one."""

    watcher: Watcher
    before: int
    total: int | None

    def tell(self, state: State) -> None:
        done = self.before + state.done_bytes
        self.watcher.tell(replace(state, done_bytes=done, total_bytes=self.total))

    def is_interrupted(self) -> bool:
        return self.watcher.is_interrupted()
