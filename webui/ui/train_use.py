"""A finished training put to use: an epoch becomes a card, options are taken over."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from webui.errors import ParamsError
from webui.params import TrainingOptions, TrainLora
from webui.services.training.trainings import (
    files_of,
    history_of,
    make_card,
    pictures_told,
    run_folder_of,
)
from webui.training.config import write_toml
from webui.ui.texts import say
from webui.ui.train_form import OWN_OPTIONS, read_toml
from webui.ui.train_stage import sample_of

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.params import AnyParams
    from webui.studio import Studio

_PLACES = sorted(OWN_OPTIONS - {"base_weights", "pretrained_model_name_or_path"})
"""Options that name folders of this machine: a card travels, they do not."""
_PATH = re.compile(r".*[/\\]")


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
        checkpoint=_name(options.pretrained_model_name_or_path),
        pictures=pictures_told(file.path) or "?", steps=file.step, epoch=file.epoch,
    )  # fmt: skip
    record = make_card(
        studio,
        file.path,
        name=file.path.stem,
        trigger=options.trigger_words,
        notes=f"{told}\n\n{write_toml(_without_places(options))}",
        sample=sample_of(folder, file.epoch),
    )
    return record.stem


def _name(path: str) -> str:
    return _PATH.sub("", path)


def _without_places(options: TrainingOptions) -> TrainingOptions:
    """The options without folders of this machine; of models their names."""
    named = {
        "pretrained_model_name_or_path": _name(options.pretrained_model_name_or_path),
        "base_weights": tuple(map(_name, options.base_weights)),
    }
    return options.model_copy(update={**dict.fromkeys(_PLACES, ""), **named})


def options_again(params: AnyParams) -> dict[str, Any]:
    """The options of a training that a new one may have, without its places."""
    assert isinstance(params, TrainLora), "only trainings have options"
    kept = read_toml(write_toml(params.options))
    return {name: value for name, value in kept.items() if name not in OWN_OPTIONS}
