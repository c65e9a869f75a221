"""Everything that is needed to go on with a training, in one folder.

Random numbers need no state: those of every step follow from the seed and the step's number.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from torch import Tensor

from webui.errors import ParamsError, TrainingError
from webui.training.lora_file import cannot_write, write_pickle
from webui.training.steps import STATE_FACTS

NETWORK: Final = "network.safetensors"
MEAN: Final = "mean.safetensors"
OPTIMIZER: Final = "optimizer.pt"


@dataclass
class Place:
    """How far a training is.

    Attributes:
        epoch: At work, from 1. batch: Batches of it that are done (of one process).
        step: Optimiser steps done, over all resumes.
        losses: Of the last epoch's steps, for the running mean.
        started_at: Unix seconds of the very first start. session: Its id in files.
        files: Saved LoRAs so far. same: What must be equal to go on.
    """

    epoch: int = 1
    batch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list[float])
    started_at: float = 0.0
    session: str = ""
    files: list[str] = field(default_factory=list[str])
    same: dict[str, Any] = field(default_factory=dict[str, Any])


def write_state(
    folder: Path,
    place: Place,
    network: dict[str, Tensor],
    optimizer: dict[str, Any],
    mean: dict[str, Tensor] | None,
) -> None:
    """Write a state; an older one of this name stays until the new one is whole.

    Raises:
        TrainingError: It cannot be written.
    """
    new = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    old = folder.with_name(f"{folder.name}.old")
    facts = {"current_epoch": place.epoch, "current_step": place.step, **asdict(place)}
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        safetensors.torch.save_file(_plain(network), new / NETWORK)
        if mean is not None:
            safetensors.torch.save_file(_plain(mean), new / MEAN)
        write_pickle(optimizer, new / OPTIMIZER)
        (new / STATE_FACTS).write_text(json.dumps(facts), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, RuntimeError, safetensors.SafetensorError) as err:
        raise cannot_write(folder, err) from err
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(new, ignore_errors=True)


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}


def state_in(folder: Path) -> Path | None:
    """The folder that holds a whole state of this name, the older one if a crash left only it."""
    older = folder.with_name(f"{folder.name}.old")
    return next((f for f in (folder, older) if (f / STATE_FACTS).is_file()), None)


def remove_state(folder: Path) -> None:
    """Remove a state that nobody will go on from."""
    for one in (folder, folder.with_name(f"{folder.name}.old")):
        shutil.rmtree(one, ignore_errors=True)


def read_place(folder: Path) -> Place:
    """How far a stored training is.

    Raises:
        ParamsError: The folder holds no state.
    """
    try:
        facts = json.loads((folder / STATE_FACTS).read_text(encoding="utf-8"))
        known = {name: facts[name] for name in Place.__dataclass_fields__ if name in facts}
        place = Place(**known)
        place.same.setdefault("processes", 1)  # states of older versions do not tell
        return place
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as err:
        raise ParamsError(
            f'resume: "{folder}" holds no state of a training.',
            f"Choose a folder that ends in -state and holds {STATE_FACTS}.",
            field="resume",
        ) from err


def check_same(folder: Path, place: Place, now: dict[str, Any]) -> None:
    """Refuse to go on with another model, rank or optimiser.

    Raises:
        ParamsError: Says what was and what is.
    """
    was = {key: place.same.get(key) for key in now}
    if different := [key for key in now if was[key] != now[key]]:
        raise ParamsError(
            f'resume: "{folder}" is a state of {_listed(was, different)}; '
            f"this job has {_listed(now, different)}.",
            "Use the same settings, or start from its weights with network_weights.",
            field="resume",
        )


def _listed(facts: dict[str, Any], keys: list[str]) -> str:
    return ", ".join(f"{key} {facts[key]}" for key in keys)


@dataclass(frozen=True)
class Stored:
    """The tensors of a state."""

    network: dict[str, Tensor]
    optimizer: dict[str, Any]
    mean: dict[str, Tensor] | None


def read_tensors(folder: Path) -> Stored:
    """Read what a state holds besides its place.

    Raises:
        TrainingError: Files are missing or damaged.
    """
    try:
        mean = folder / MEAN
        return Stored(
            safetensors.torch.load_file(folder / NETWORK),
            torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True),
            safetensors.torch.load_file(mean) if mean.is_file() else None,
        )
    except (OSError, RuntimeError, ValueError, safetensors.SafetensorError, EOFError) as err:
        raise TrainingError(
            f"The state in {folder} is damaged: {err}.",
            "Start from an older one, or from a saved LoRA with network_weights.",
            path=str(folder),
        ) from err
