"""One batch to one loss: latents, words, noise, prediction."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import torch
from torch import Tensor

from webui.params.training import TrainingOptions
from webui.training.base import Base
from webui.training.batch import Batch
from webui.training.losses import batch_loss
from webui.training.noise import Noised, make_noisy
from webui.training.texts import CaptionEncoder, Told

VALIDATION_TIMESTEPS: Final = (200, 400, 600, 800)
HALVES: Final = {"fp16": torch.float16, "bf16": torch.bfloat16}


def seed_of(*parts: object) -> int:
    """A seed that follows from anything that names a moment of a training."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


class Learner:
    """Calculates losses.

    Args:
        warn: Told once about what was mended.
    """

    def __init__(
        self,
        base: Base,
        captions: CaptionEncoder,
        options: TrainingOptions,
        warn: Callable[[str], None],
    ) -> None:
        self._base = base
        self._captions = captions
        self._options = options
        self._warn = warn

    def loss(self, batch: Batch, seed: int) -> Tensor:
        """The loss of one batch, a float32 scalar with its graph.

        Args:
            seed: Of everything random in it, dropout included.
        """
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        latents = self._latents(batch, seed)
        noised = make_noisy(latents, self._base.alphas_cumprod, self._options, generator)
        return self._judged(batch, noised, self._options)

    @torch.no_grad()
    def validation_loss(self, batch: Batch, seed: int) -> float:
        """The mean loss of held-out pictures at four fixed timesteps, l2 and unweighed."""
        latents = self._latents(batch, seed)
        plain = TrainingOptions(v_parameterization=self._options.v_parameterization)
        total = 0.0
        for timestep in VALIDATION_TIMESTEPS:
            at = plain.model_copy(update={"min_timestep": timestep, "max_timestep": timestep})
            generator = torch.Generator().manual_seed(seed)
            noised = make_noisy(latents, self._base.alphas_cumprod, at, generator)
            total += float(self._judged(batch, noised, at))
        return total / len(VALIDATION_TIMESTEPS)

    def _judged(self, batch: Batch, noised: Noised, options: TrainingOptions) -> Tensor:
        with self._half():
            told = self._captions.encode(batch.captions)
            prediction = self._predict(batch, noised, told)
        return batch_loss(
            prediction,
            noised.target,
            noised.timesteps,
            batch.loss_weights,
            self._base.alphas_cumprod,
            options,
            batch.masks,
        )

    def _predict(self, batch: Batch, noised: Noised, told: Told) -> Tensor:
        base = self._base
        unet: Any = base.unet
        return unet(
            noised.latents.to(base.dtype),
            noised.timesteps.to(base.device),
            told.states.to(base.device, base.dtype),
            added_cond_kwargs=base.extra_conditioning(told.pooled, batch),
            return_dict=False,
        )[0]

    def _latents(self, batch: Batch, seed: int) -> Tensor:
        """Clean latents on the device, VAE-scaled, float32."""
        found = batch.latents
        if found is None:
            assert batch.images is not None, "a batch has images or latents"
            found = self._base.encode(
                batch.images, [seed_of(seed, "vae", i) for i in range(len(batch))]
            )
        if not torch.isfinite(found).all():
            self._warn("Some latents were not numbers and were set to zero.")
            found = torch.nan_to_num(found, 0.0, 0.0, 0.0)
        return found.to(self._base.device, torch.float32) * self._base.scaling_factor

    def _half(self) -> AbstractContextManager[Any]:
        dtype = HALVES.get(self._options.mixed_precision)
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._base.device.type, dtype)
