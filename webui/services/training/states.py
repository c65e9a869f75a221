"""States of trainings that were stopped or failed: found to go on from, tidied when they are old.

Every training of the queue keeps its state in ``job-<number>`` of one folder while it runs; one
that came to its end has none.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from webui.training.steps import STATE_FACTS

logger = logging.getLogger(__name__)
_FOLDER = re.compile(r"job-(\d+)(?:\.old|\.\d+\.part)?")
_NAMED = re.compile(r"[\\/]job-(\d+)\b")


def state_place(folder: Path, job_id: int) -> Path:
    """Where a training of the queue keeps its state while it runs."""
    return folder / f"job-{job_id}"


def state_left(folder: Path, job_id: int) -> Path | None:
    """The state that a training left behind, if it is whole: what one may go on from."""
    place = state_place(folder, job_id)
    older = place.with_name(f"{place.name}.old")
    return next((path for path in (place, older) if (path / STATE_FACTS).is_file()), None)


def states_named(texts: Iterable[str]) -> set[int]:
    """Numbers of the jobs whose states are named in texts, as paths in JSON are."""
    return {int(number) for text in texts for number in _NAMED.findall(text)}


def tidy_states(folder: Path, needed: Callable[[], set[int]], keep: int) -> int:
    """Remove all states but those that are needed and the newest of the others.

    Args:
        needed: Numbers of the jobs whose states must stay; asked before each removal.
        keep: How many of the others stay.
    Returns:
        How many were removed.
    Raises:
        OSError: The folder cannot be read.
    """
    found: dict[int, list[Path]] = defaultdict(list)
    for path in folder.iterdir() if folder.is_dir() else ():
        if (told := _FOLDER.fullmatch(path.name)) and path.is_dir():
            found[int(told[1])].append(path)
    used = needed()
    spare = sorted(set(found) - used, key=lambda job: _age(found[job]), reverse=True)
    removed = 0
    for job in spare[keep:]:
        if job in needed():
            continue
        for path in found[job]:
            shutil.rmtree(path, ignore_errors=True)
        removed += 1
        logger.info("The state of training %d was removed: %d newer ones are kept.", job, keep)
    return removed


def _age(paths: Iterable[Path]) -> float:
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)
