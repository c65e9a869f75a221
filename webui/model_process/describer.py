"""Runs jobs that put pictures into words: captions of a training set, a prompt for one picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from webui.describing.open import Describing, open_describer
from webui.errors import DatasetError
from webui.params import CaptionPictures, Interrogate
from webui.pictures import load_upright
from webui.progress import Progress
from webui.restoration.networks import Shelf
from webui.training.captions import caption_file, described, read_caption, write_caption
from webui.training.photographs import read

CAPTION = ".txt"
_BRACKETS = re.compile(r"([()\[\]\\])")
"""They weigh words in prompts."""


def opened(message: Mapping[str, Any], shelf: Shelf) -> Describing:
    """The describer a job names, read when it is not there yet.

    Args:
        message: The supervisor's ``run`` message; ``describer`` holds ``kind`` and ``folder``.
    Raises:
        CheckpointError: It cannot be read.
    """
    facts = message["describer"]
    key = ("describer", facts["folder"])
    return shelf.get(
        key, lambda: open_describer(facts["kind"], Path(facts["folder"]), shelf.device)
    )


def caption_pictures(
    params: CaptionPictures,
    describer: Describing,
    progress: Progress,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """Write captions beside pictures; each is written as soon as it is known.

    Returns:
        ``written``: how many changed. ``interrupted``: whether some were not looked at.
    Raises:
        CheckpointError: The describer cannot be used. TrainingError: A caption cannot be written.
    """
    written, total = 0, len(params.pictures)
    progress.step(0, total)
    for number, name in enumerate(params.pictures):
        if progress.is_interrupted():
            return {"written": written, "interrupted": True}
        try:
            written += _caption(Path(name), params, describer)
        except DatasetError as err:  # of this picture alone
            warn(err.message)
        progress.step(number + 1, total)
    return {"written": written, "interrupted": False}


def _caption(picture: Path, params: CaptionPictures, describer: Describing) -> bool:
    """Give one picture its caption; True when it is another than before."""
    file = caption_file(picture, CAPTION)
    now = read_caption(file) if file else ""
    if params.rule == "missing" and now:
        return False
    words = describer.describe(read(picture), params.threshold, params.character_threshold)
    new = described(now, words, params.rule, params.prefix)
    if new == now:
        return False
    write_caption(picture.with_suffix(CAPTION), new)
    return True


def as_prompt(words: str) -> str:
    """Words as they can stand in a prompt: brackets weigh nothing."""
    return _BRACKETS.sub(r"\\\1", words)


def interrogate(
    params: Interrogate, describer: Describing, message: Mapping[str, Any]
) -> dict[str, Any]:
    """Say what one picture shows.

    Returns:
        ``caption``: See ``as_prompt``.
    Raises:
        CheckpointError: The describer cannot be used. LibraryError: The picture cannot be read.
    """
    image = load_upright(Path(message["inputs"][params.image]))
    words = describer.describe(image, params.threshold, params.character_threshold)
    return {"caption": as_prompt(words)}
