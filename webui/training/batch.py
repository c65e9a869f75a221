"""What a dataset hands to the training loop. The loop knows nothing else of files and folders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from webui.progress import Progress
from webui.training.text_cache import TextCache


@dataclass(frozen=True)
class Batch:
    """Pictures of one bucket, ready to be learnt.

    Attributes:
        captions: B texts, already shuffled, dropped and varied for this use.
        loss_weights: B numbers: 1, or ``prior_loss_weight`` for regularisation pictures.
        size: Width and height of the bucket in pixels.
        original_sizes: B pairs of width and height before anything was done to the pictures.
        crops: B pairs (left, top), SDXL's crop corner (section 2.9), mirrored where flipped.
        images: (B, 3, H, W) float32 in [-1, 1]; None when latents are there.
        latents: (B, 4, H/8, W/8) float32, *not* multiplied by the VAE's factor; None without
            a cache.
        masks: (B, 1, H, W) float32, 1 = counts fully; None = everything does.
        network_multiplier: Weight of the LoRA for this batch.
    """

    captions: tuple[str, ...]
    loss_weights: tuple[float, ...]
    size: tuple[int, int]
    original_sizes: tuple[tuple[int, int], ...]
    crops: tuple[tuple[int, int], ...]
    images: Tensor | None = None
    latents: Tensor | None = None
    masks: Tensor | None = None
    network_multiplier: float = 1.0

    def __len__(self) -> int:
        return len(self.captions)


@dataclass(frozen=True)
class DatasetFacts:
    """What is known of the pictures before the first step.

    Attributes:
        batches_per_epoch: Of one process: the sum over buckets of entries / batch size, up.
        train_images, reg_images, validation_images: With repeats.
        metadata: Keys of the file's metadata that only the dataset knows, values as text:
            ``ss_bucket_info``, ``ss_dataset_dirs``, ``ss_reg_dataset_dirs``,
            ``ss_tag_frequency``, ``ss_num_train_images`` … (section 4.4), ``ss_datasets``.
        warnings: Sentences for the person.
    """

    batches_per_epoch: int
    train_images: int
    reg_images: int = 0
    validation_images: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    warnings: tuple[str, ...] = ()


class Encode(Protocol):
    """The VAE as a dataset may use it; never keep it beyond the call it was handed to."""

    def __call__(self, images: Tensor, seeds: list[int]) -> Tensor:
        """Encode.

        Args:
            images: (B, 3, H, W) float32 in [-1, 1].
            seeds: One for each picture; the same seed draws the same latent.
        Returns:
            (B, 4, H/8, W/8) float32 on the CPU, not multiplied by the VAE's factor. Never
            NaN: what half precision cannot encode is encoded in float32.
        """
        ...


@dataclass(frozen=True)
class Plan:
    """How batches become steps, for what varies with the progress of a training.

    Attributes:
        steps_per_epoch, total_steps: Optimiser steps.
        accumulation: Batches that make one step.
        process, processes: Of several devices, this one takes every ``processes``-th batch,
            beginning with the ``process``-th.
    """

    steps_per_epoch: int
    total_steps: int
    accumulation: int = 1
    process: int = 0
    processes: int = 1

    def step(self, epoch: int, batch: int) -> int:
        """Steps done before the ``batch``-th batch (of this process, from 0) of an epoch."""
        return (epoch - 1) * self.steps_per_epoch + batch // self.accumulation


class Dataset(Protocol):
    """Pictures and captions as the loop asks for them. Made by ``dataset.open_dataset``."""

    @property
    def facts(self) -> DatasetFacts:
        """Known once it is opened; nothing is decoded for it."""
        ...

    def cache_latents(self, encode: Encode, vae_key: str, progress: Progress) -> None:
        """Encode every picture once, into memory or onto the disk as the options say; from then
        on batches carry ``latents``. Called before training, only with ``cache_latents``.

        Args:
            vae_key: Stands for the VAE (hash, or path and time): a cache of another is stale.
        Raises:
            JobCancelled: ``progress`` was interrupted.
            DatasetError: A picture cannot be read.
        """
        ...

    def captions(self) -> frozenset[str] | None:
        """Every caption that batches can carry, "" included when it can be; None when they vary
        (shuffled, dropped tags, wildcards)."""
        ...

    def text_cache(self, encoders: str) -> TextCache:
        """Where encoded captions are kept on disk.

        Args:
            encoders: Stands for the text encoders; see ``text_cache.encoders_key``.
        """
        ...

    def batches(self, epoch: int, plan: Plan, *, skip: int = 0) -> Iterator[Batch]:
        """The batches of one epoch for this process, in an order that follows from (seed, epoch)
        alone. What is random in a picture or caption follows from (seed, epoch, its index).

        Args:
            epoch: From 1.
            skip: So many of this process are passed over without being read: for a resumed run.
        """
        ...

    def validation(self) -> Iterator[Batch]:
        """Held-out pictures, always the same order, captions unvaried; empty without a split."""
        ...

    def state(self) -> dict[str, Any]:
        """Plain facts that must be equal for a resumed run to go on with these pictures."""
        ...
