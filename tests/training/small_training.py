"""A training so small that a test has time for it: the starter, pictures of a few pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from webui.checkpoints.load import load_checkpoint
from webui.params.training import TrainingOptions
from webui.progress import Progress
from webui.training.base import Base
from webui.training.batch import Batch, DatasetFacts, Encode, Plan
from webui.training.trainer import Outcome, Trainer
from webui.training.watching import Quiet, StepFacts, Watcher

SIDE = 64


@dataclass
class FewPictures:
    """Pictures in memory; see ``batch.Dataset``."""

    count: int = 4
    captions_of: tuple[str, ...] = ("a zork",)
    loss_weight: float = 1.0
    batch_size: int = 1
    held_out: int = 0
    latents: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def facts(self) -> DatasetFacts:
        batches = -(-self.count // self.batch_size)
        return DatasetFacts(batches, self.count, metadata={"ss_num_train_images": str(self.count)})

    def cache_latents(self, encode: Encode, vae_key: str, progress: Progress) -> None:
        for index in range(self.count):
            self.latents[index] = encode(_picture(index), [index])

    def captions(self) -> frozenset[str] | None:
        return frozenset(self.captions_of)

    def batches(self, epoch: int, plan: Plan, *, skip: int = 0) -> Iterator[Batch]:
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(epoch)).tolist()
        groups = [order[i : i + self.batch_size] for i in range(0, self.count, self.batch_size)]
        for group in groups[skip:]:
            yield self._batch(group)

    def validation(self) -> Iterator[Batch]:
        for index in range(self.held_out):
            yield self._batch([index])

    def state(self) -> dict[str, Any]:
        return {}

    def _batch(self, indices: list[int]) -> Batch:
        is_cached = bool(self.latents)
        n = len(indices)
        return Batch(
            captions=tuple(self.captions_of[i % len(self.captions_of)] for i in indices),
            loss_weights=(self.loss_weight,) * n,
            size=(SIDE, SIDE),
            original_sizes=((SIDE, SIDE),) * n,
            crops=((0, 0),) * n,
            images=None if is_cached else torch.cat([_picture(i) for i in indices]),
            latents=torch.cat([self.latents[i] for i in indices]) if is_cached else None,
        )


def _picture(index: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(index)
    coarse = torch.rand((1, 3, 4, 4), generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, SIDE)


class Notes(Quiet):
    """Remembers what it was told; asks to stop or pause after a step."""

    def __init__(self, stop_after: int = 0, pause_after: int = 0, sample_after: int = 0) -> None:
        self.steps: list[StepFacts] = []
        self.stages: list[str] = []
        self.warnings: list[str] = []
        self.files: list[tuple[str, int, int, bool]] = []
        self.validations: list[tuple[int, float]] = []
        self._stop_after, self._pause_after = stop_after, pause_after
        self._sample_after = sample_after

    def stage(self, name: str, done: int, total: int) -> None:
        if name not in self.stages[-1:]:
            self.stages.append(name)

    def stepped(self, facts: StepFacts) -> None:
        self.steps.append(facts)

    def saved(self, path: Path, epoch: int, step: int, is_last: bool) -> None:
        self.files.append((path.name, epoch, step, is_last))

    def validated(self, epoch: int, step: int, loss: float, train_loss: float) -> None:
        self.validations.append((step, loss))

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def wants_samples(self) -> bool:
        return bool(self._sample_after) and len(self.steps) == self._sample_after

    def wants_stop(self) -> bool:
        return bool(self._stop_after) and len(self.steps) >= self._stop_after

    def wants_pause(self) -> bool:
        return bool(self._pause_after) and len(self.steps) >= self._pause_after


def options_of(**changed: Any) -> TrainingOptions:
    values: dict[str, Any] = {
        "output_name": "zork", "network_dim": 2, "network_alpha": 2, "unet_lr": 1e-3,
        "max_train_epochs": 2, "seed": 5, "cache_latents": True, "network_train_unet_only": True,
    }  # fmt: skip
    return TrainingOptions(**{**values, **changed})


def train(
    checkpoint: Path,
    folder: Path,
    options: TrainingOptions,
    dataset: FewPictures | None = None,
    watcher: Watcher | None = None,
    **more: Any,
) -> Outcome:
    """Train on one thread, so that sums come in one order."""
    torch.set_num_threads(1)
    base = Base.of(load_checkpoint(checkpoint, for_painting=False))
    trainer = Trainer(
        options, base, dataset or FewPictures(), watcher or Quiet(), folder=folder,
        autosave=folder / f"{options.output_name}-autosave", **more,
    )  # fmt: skip
    return trainer.run()
