"""What a sampler needs from outside: a denoiser, a source of noise, someone to tell.

A sampler is a function of ``(denoiser, latents, sigmas, cond, *, noise, on_step, ...)``. It knows
nothing of networks, prompts, guidance, files or settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from torch import Tensor

Cond: TypeAlias = Any
"""The encoded prompts. Samplers hand it through to the denoiser and never look inside."""


class Denoiser(Protocol):
    """Anything that estimates the clean latents inside noisy ones."""

    def __call__(self, latents: Tensor, sigma: Tensor, cond: Cond, /) -> Tensor:
        """Estimate the clean latents, guidance included.

        Args:
            latents: (B, C, H/8, W/8), clean latents plus noise of spread ``sigma`` (not scaled
                down: a network trained on variance-preserving inputs divides by
                sqrt(1 + sigma^2) itself). Must not be changed in place.
            sigma: (B,) noise level of each image, > 0, same device and dtype.
            cond: Passed through.

        Returns:
            ``denoised``, same shape and dtype; a tensor of its own.
        """
        ...


class GuidedDenoiser(Denoiser, Protocol):
    """A denoiser that can also show what it would say without the prompt."""

    def guided(self, latents: Tensor, sigma: Tensor, cond: Cond, /) -> tuple[Tensor, Tensor]:
        """Return ``(denoised, denoised_uncond)`` from one network call.

        Arguments as in ``__call__``. The first is the usual guided estimate,
        ``uncond + cfg_scale * (cond - uncond)``; the second the unconditional part alone. Both
        are tensors of their own.
        """
        ...


class StepNoise(Protocol):
    """Fresh unit noise for one step."""

    def __call__(self, latents: Tensor, sigma: float, sigma_next: float, /) -> Tensor:
        """Draw noise of mean 0 and variance 1, shaped, placed and typed like ``latents``.

        The two noise levels between which it will act matter only to Brownian noise.
        """
        ...


class ImageStepNoise(StepNoise, Protocol):
    """Step noise that can also be drawn for one image of the batch at a time."""

    def each(self) -> Sequence[StepNoise]:
        """One source per image, in batch order, each for latents of batch size 1."""
        ...


@dataclass(frozen=True)
class StepInfo:
    """Where a run stands, told once per step before the latents move on.

    Attributes:
        index: 0-based number of this step.
        total: Steps of the whole run; an estimate that may change for DPM adaptive.
        sigma: Noise level of ``latents``.
        latents: (B, C, H/8, W/8) noisy latents of this step, spread ``sigma``. Look, don't change.
        denoised: Present clean estimate, good for a preview. Look, don't change.
    """

    index: int
    total: int
    sigma: float
    latents: Tensor
    denoised: Tensor


class OnStep(Protocol):
    """Told about every step. To stop the run, raise (``JobCancelled``)."""

    def __call__(self, info: StepInfo, /) -> None: ...


def ignore_step(info: StepInfo) -> None:
    """Nobody listens: for tests and scripts."""


class OnExtraNoise(Protocol):
    """Asked before more noise than the usual is put on a picture's latents."""

    def __call__(self, noise: Tensor, latents: Tensor, noised: Tensor, /) -> tuple[Tensor, Tensor]:
        """Answer with ``noise`` and ``noised``, or what shall take their places.

        Args:
            noise: (B, C, H/8, W/8) unit noise, of which a share will be added to ``noised``.
            latents: The picture's clean latents. noised: With the usual noise on them.
        """
        ...


def keep_extra_noise(noise: Tensor, latents: Tensor, noised: Tensor) -> tuple[Tensor, Tensor]:
    """Nobody changes it."""
    return noise, noised


def denoise(denoiser: Denoiser, latents: Tensor, sigma: float, cond: Cond) -> Tensor:
    """Call the denoiser with one noise level for the whole batch."""
    return denoiser(latents, latents.new_full((latents.shape[0],), sigma), cond)
