"""A finished training put to use: an epoch becomes a card, options are taken over."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.errors import ParamsError
from webui.params import TrainLora
from webui.services.training.trainings import files_of, history_of, make_card, run_folder_of
from webui.training.config import write_toml
from webui.training.photographs import pictures_in
from webui.ui.texts import say
from webui.ui.train_form import OWN_OPTIONS, read_toml
from webui.ui.train_stage import sample_of

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.params import AnyParams
    from webui.studio import Studio

_PLACES = sorted(OWN_OPTIONS - {"base_weights", "pretrained_model_name_or_path"})
"""Options that name folders of this machine: a card travels, they do not."""


def use_file(studio: Studio, job: Job, number: int, language: str) -> str:
    """Make the ``number``-th file of a training a LoRA of the gallery; returns its name.

    Raises:
        ParamsError: There is no such file.
        LibraryError, CheckpointError: It cannot be copied.
    """
    params = studio.params_of(job)
    assert isinstance(params, TrainLora), "only trainings have files"
    options, folder = params.options, run_folder_of(studio, params)
    files = files_of(folder, options, history_of(folder, options))
    if not 0 <= number < len(files):
        raise ParamsError("This file is no longer there.", f"Look into {folder}.", field="number")
    file = files[number]
    told = say(
        "run_provenance", language, date=time.strftime("%Y-%m-%d"),
        checkpoint=options.pretrained_model_name_or_path.rpartition("/")[2],
        pictures=_pictures(options.train_data_dir), steps=file.step, epoch=file.epoch,
    )  # fmt: skip
    record = make_card(
        studio,
        file.path,
        name=file.path.stem,
        trigger=options.trigger_words,
        notes=f"{told}\n\n{write_toml(options.model_copy(update=dict.fromkeys(_PLACES, '')))}",
        sample=sample_of(folder, file.epoch),
    )
    return record.stem


def _pictures(folder: str) -> int:
    path = Path(folder)
    return len(pictures_in(path)) if folder and path.is_dir() else 0


def options_again(params: AnyParams) -> dict[str, Any]:
    """The options of a training that a new one may have, without its places."""
    assert isinstance(params, TrainLora), "only trainings have options"
    kept = read_toml(write_toml(params.options))
    return {name: value for name, value in kept.items() if name not in OWN_OPTIONS}
