"""How many steps a training has, and after which of them something is due; no torch.

Source: lora-training.md, sections 3.6 and 3.14.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from webui.params.training import TrainingOptions

STATE_FACTS: Final = "train_state.json"
"""The file of a state that tells how far it is; a folder that holds it holds a whole state."""


@dataclass(frozen=True)
class Length:
    """The arithmetic of one training. A step is an optimiser step.

    Attributes:
        steps: Of the whole training. epochs: The last may be cut short.
    """

    steps_per_epoch: int
    steps: int
    epochs: int


def training_length(options: TrainingOptions, batches_per_epoch: int, processes: int = 1) -> Length:
    """Steps and epochs.

    Args:
        batches_per_epoch: Of all processes together.
    """
    shared = math.ceil(batches_per_epoch / processes)
    per_epoch = max(1, math.ceil(shared / options.gradient_accumulation_steps))
    if options.max_train_epochs is not None:
        return Length(per_epoch, options.max_train_epochs * per_epoch, options.max_train_epochs)
    steps = options.max_train_steps
    return Length(per_epoch, steps, math.ceil(steps / per_epoch))


@dataclass(frozen=True)
class Due:
    """When files are written: ``epochs`` and ``steps`` apart, 0 = never, ``keep`` that many.

    Attributes:
        keep_epochs, keep_steps: 0 = all.
    """

    epochs: int
    steps: int
    keep_epochs: int
    keep_steps: int

    @classmethod
    def of(cls, options: TrainingOptions, length: Length) -> Due:
        """As the options say; ``save_n_epoch_ratio`` files over the whole training."""
        epochs = options.save_every_n_epochs or 0
        if not epochs and options.save_n_epoch_ratio:
            epochs = max(1, length.epochs // options.save_n_epoch_ratio)
        return cls(
            epochs,
            options.save_every_n_steps or 0,
            options.save_last_n_epochs or 0,
            options.save_last_n_steps or 0,
        )

    def most_files(self, length: Length) -> int:
        """LoRAs that lie side by side at most, the last one among them."""
        pairs = (
            (length.epochs, self.epochs, self.keep_epochs),
            (length.steps, self.steps, self.keep_steps),
        )
        counts = [(total // every, keep) for total, every, keep in pairs if every]
        return 1 + sum(min(count, keep + 1) if keep else count for count, keep in counts)

    def outdated_epoch(self, epoch: int, keep: int | None = None) -> int | None:
        """The epoch whose file goes when this one's was written."""
        keep = self.keep_epochs if keep is None else keep
        gone = epoch - self.epochs * keep
        return gone if keep and gone > 0 else None

    def outdated_step(self, step: int, keep: int | None = None) -> int | None:
        """The step whose file goes when this one's was written."""
        keep = self.keep_steps if keep is None else keep
        gone = (step - keep - 1) // self.steps * self.steps if self.steps else 0
        return gone if keep and gone > 0 else None


def is_due(number: int, every: int | None) -> bool:
    """Whether something that comes every so often comes now."""
    return bool(every) and number % (every or 1) == 0


def history_name(options: TrainingOptions) -> str:
    """Name of the file with the losses of a whole training."""
    return f"{file_stem(options)}-history.jsonl"


def file_stem(options: TrainingOptions, *, epoch: int = 0, step: int = 0) -> str:
    """Name of a file without its ending; with neither number that of the last one.

    Source:
        kohya's names; without ``output_name`` they are ``last``, ``epoch-…``, ``at-step…``.
    """
    name = options.output_name
    if epoch:
        return f"{name or 'epoch'}-{epoch:06d}"
    if step:
        return f"{name}-step{step:08d}" if name else f"at-step{step:08d}"
    return name or "last"
