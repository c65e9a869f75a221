"""A finished file in its place: under its name, whole, over nothing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from webui.checkpoints.download.part_file import PartFile, storing_failed
from webui.checkpoints.download.telling import State, Watcher
from webui.checkpoints.hashes import sha256_of_file
from webui.errors import DownloadError


def check_same(target: Path, sha256: str | None, watcher: Watcher) -> None:
    """Pass when what lies there is the very file.

    Raises:
        DownloadError: It is another one, or nobody can tell.
        JobCancelled: The watcher asked to stop.
    """
    if sha256:
        watcher.tell(State("checking"))
        if sha256_of_file(target, should_stop=watcher.is_interrupted) == sha256:
            return
    raise DownloadError(
        f"{target} is there already"
        + (", and it is another file than this one." if sha256 else "; it was left alone."),
        "Rename or move that file, or fetch this one under another name.",
        path=str(target),
    )


def give_name(part: PartFile, target: Path) -> None:
    """Move the finished file into its place, whole or not at all, over nothing.

    Raises:
        DownloadError: Something of that name is there now, or the place cannot be written.
    """
    source = part.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.stat().st_dev != target.parent.stat().st_dev:
            source = target.with_name(f".{target.name}.part")
            shutil.copyfile(part.path, source)
        try:
            os.link(source, target)
            source.unlink()
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if target.exists():
                raise FileExistsError(target) from None
            os.rename(source, target)
    except FileExistsError as err:
        raise DownloadError(
            f"{target} is there already; it was left alone.",
            "Rename or move that file, and go on.",
        ) from err
    except OSError as err:
        raise storing_failed(target, err) from err
    finally:
        if source != part.path:
            source.unlink(missing_ok=True)
    part.remove()
