"""What the queue tells a worker about a training: where its files are. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from webui.checkpoints.catalog import Catalog
from webui.errors import CheckpointNotFoundError, JobError
from webui.params import TrainLora
from webui.services.training.states import state_place
from webui.settings import Folders
from webui.training.steps import file_stem

PAUSABLE = frozenset({"train-lora"})
"""Kinds of jobs that keep a state of their own and so can wait in the middle."""


def training_message(
    job_id: int, params: TrainLora, catalog: Catalog, folders: Folders
) -> dict[str, Any]:
    """Paths for one training; see ``train_run.TrainFiles``.

    Raises:
        CheckpointNotFoundError: Neither a file nor a name in the catalog.
    """
    options = params.options
    folder = Path(options.output_dir) if options.output_dir else default_folder(params, folders)
    return {
        "training": {
            "checkpoint": _checkpoint(options.pretrained_model_name_or_path, catalog),
            "vae": options.vae or None,
            "folder": str(folder),
            "autosave": str(state_place(states_folder(folders), job_id)),
            "cache": str(states_folder(folders) / "latents"),
            "dictionary": str(folders.data / "chinese"),
        }
    }


def states_folder(folders: Folders) -> Path:
    """Holds what trainings keep for themselves: states, encoded pictures and captions."""
    return folders.database.parent / "training"


def default_folder(params: TrainLora, folders: Folders) -> Path:
    """Where LoRAs of a training go when nothing is said: among the models, so that each file is
    a card."""
    return folders.own_models / "Lora" / file_stem(params.options)


def _checkpoint(named: str, catalog: Catalog) -> dict[str, Any]:
    path = Path(named)
    if path.exists():
        return {"path": str(path), "sha256": None}
    try:
        record = catalog.find_checkpoint(named)
    except CheckpointNotFoundError as err:
        raise CheckpointNotFoundError(
            f"pretrained_model_name_or_path: there is no file and no checkpoint {named!r}.",
            "Choose one of the checkpoints in the list, or write the path of a file.",
            field="pretrained_model_name_or_path",
        ) from err
    return {"path": str(record.path), "sha256": record.sha256}


def not_pausable(kind: str) -> JobError:
    """The answer to a wish that cannot be granted."""
    return JobError(
        f"A job of the kind {kind} cannot be paused while it runs.",
        "Only trainings can: interrupt it, or wait.",
    )
