"""The files of one training: LoRAs, states, and which older ones go."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from webui.training import state as states
from webui.training.lora_file import write_lora
from webui.training.metadata import RunFacts, file_metadata
from webui.training.network import LoraNetwork
from webui.training.steps import Due, file_stem
from webui.training.updates import Updates

AUTOSAVE_SECONDS: Final = 120.0
"""Between two states written for the case of a crash."""
FIRST_AUTOSAVE_SECONDS: Final = 15.0
"""After so long at most the first is there: short trainings have one, too."""


class RunFiles:
    """Writes what a training leaves behind.

    Args:
        facts: What is told in the files; asked before each.
        folder: Where LoRAs and asked-for states go.
        autosave: Where the state for a crash or a pause is kept.
        place: How far the training is, read at every call; its ``files`` are kept here.
    """

    def __init__(
        self,
        facts: Callable[[], RunFacts],
        network: LoraNetwork,
        updates: Updates,
        place: states.Place,
        due: Due,
        *,
        folder: Path,
        autosave: Path,
        autosave_seconds: float = AUTOSAVE_SECONDS,
    ) -> None:
        self._facts, self._network, self._updates = facts, network, updates
        self._place, self._due = place, due
        self._folder, self.autosave_folder = folder, autosave
        self._autosave_seconds = autosave_seconds
        self._next_autosave = time.monotonic() + min(autosave_seconds, FIRST_AUTOSAVE_SECONDS)

    def save(self, stem: str, epoch: int) -> Path:
        """Write the LoRA as it is now.

        Raises:
            TrainingError: It cannot be written; what was saved before is still there.
        """
        run, place = self._facts(), self._place
        path = self._folder / f"{stem}.{run.options.save_model_as}"
        told = file_metadata(run, epoch=epoch, step=place.step, now=time.time())
        with self._updates.as_saved():
            write_lora(path, self._network.tensors(), told, run.options.save_precision)
        place.files = [*(f for f in place.files if f != str(path)), str(path)]
        return path

    def save_state(self, stem: str) -> None:
        """Write a state beside the LoRA of this name."""
        self._write_state(self._state_folder(stem))

    def autosave(self) -> None:
        """Write the state for a crash or a pause."""
        self._write_state(self.autosave_folder)
        self._next_autosave = time.monotonic() + self._autosave_seconds

    def autosave_if_due(self) -> None:
        """Do so now and then."""
        if time.monotonic() >= self._next_autosave:
            self.autosave()

    def remove_older(self, *, epoch: int, step: int) -> None:
        """Remove the file, and the state, whose turn it is when this one's were written."""
        options = self._facts().options
        states_kept = options.save_last_n_epochs_state if epoch else options.save_last_n_steps_state
        if (stem := self._outdated(epoch, step, None)) is not None:
            (self._folder / f"{stem}.{options.save_model_as}").unlink(missing_ok=True)
            self._place.files = [f for f in self._place.files if Path(f).stem != stem]
        if (stem := self._outdated(epoch, step, states_kept)) is not None:
            states.remove_state(self._state_folder(stem))

    def _outdated(self, epoch: int, step: int, keep: int | None) -> str | None:
        due, options = self._due, self._facts().options
        gone = due.outdated_epoch(epoch, keep) if epoch else due.outdated_step(step, keep)
        if gone is None:
            return None
        return file_stem(options, epoch=gone if epoch else 0, step=0 if epoch else gone)

    def _state_folder(self, stem: str) -> Path:
        return self._folder / f"{stem}-state"

    def _write_state(self, folder: Path) -> None:
        states.write_state(folder, self._place, self._network.tensors(), *self._updates.stored())
