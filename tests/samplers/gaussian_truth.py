"""A denoiser whose answers are known exactly, and noise that can be played twice.

For data of mean 0 and spread s, noisy latents x = data + sigma * noise have the best clean
estimate x s^2 / (s^2 + sigma^2), and the noise-free path from sigma_a to sigma_b multiplies x by
sqrt((s^2 + sigma_b^2) / (s^2 + sigma_a^2)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MOST_IMAGES = 16


class GaussianDenoiser:
    """The exact denoiser of Gaussian data; counts its calls and keeps the sigmas it was asked."""

    def __init__(self, spread: float = 1.0) -> None:
        self.spread = spread
        self.sigmas: list[float] = []

    def __call__(self, latents: Tensor, sigma: Tensor, cond: object) -> Tensor:
        assert sigma.shape == (latents.shape[0],)
        self.sigmas.append(float(sigma[0]))
        level = sigma.view(-1, *[1] * (latents.ndim - 1))
        return latents * (self.spread**2 / (self.spread**2 + level**2))

    def guided(self, latents: Tensor, sigma: Tensor, cond: object) -> tuple[Tensor, Tensor]:
        denoised = self(latents, sigma, cond)
        return denoised, denoised.clone()


class WarpedDenoiser(GaussianDenoiser):
    """A nonlinear denoiser, different for every pixel: nothing cancels by accident."""

    def __call__(self, latents: Tensor, sigma: Tensor, cond: object) -> Tensor:
        denoised = super().__call__(latents, sigma, cond)
        level = sigma.view(-1, *[1] * (latents.ndim - 1))
        return denoised + 0.3 * torch.sin(2 * latents / (1 + level)) / (1 + level)


def exact_end(latents: Tensor, sigmas: Sequence[float], spread: float = 1.0) -> Tensor:
    """Where the noise-free path through Gaussian data ends."""
    start, end = spread**2 + sigmas[0] ** 2, spread**2 + sigmas[-1] ** 2
    return latents * math.sqrt(end / start)


class NoiseTape:
    """Unit noise from one seed: two tapes of the same seed play the same."""

    def __init__(self, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self.plays = 0

    def __call__(self, latents: Tensor, sigma: float = 0.0, sigma_next: float = 0.0) -> Tensor:
        self.plays += 1
        noise = torch.randn(latents.shape, generator=self._generator, dtype=torch.float32)
        return noise.to(latents.dtype)

    def each(self) -> list[NoiseTape]:
        return [self] * MOST_IMAGES


def karras_levels(count: int, sigma_max: float = 14.6, sigma_min: float = 0.03) -> list[float]:
    """``count`` smoothly spaced positive sigmas, highest first."""
    high, low = sigma_max ** (1 / 7), sigma_min ** (1 / 7)
    return [(high + (low - high) * i / (count - 1)) ** 7 for i in range(count)]
