"""A slope taken in the middle of each step.

Source:
    Lu et al. 2022, arXiv 2206.00927 (DPM-Solver-2), with the churn of Karras et al. 2022,
    arXiv 2206.00364, algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from webui.samplers.protocol import (
    Cond,
    Denoiser,
    OnStep,
    StepInfo,
    StepNoise,
    denoise,
    ignore_step,
)
from webui.samplers.stepping import (
    churn,
    halfway,
    move_to,
    noise_direction,
    renoise,
    split_ancestral,
)


def dpm2(
    denoiser: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: StepNoise,
    on_step: OnStep = ignore_step,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
) -> Tensor:
    """Midpoint steps on a logarithmic scale, with churn ("DPM2")."""
    steps = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        latents, sigma_hat = churn(
            latents, sigma, steps, noise,
            s_churn=s_churn, s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise,
        )  # fmt: skip
        denoised = denoise(denoiser, latents, sigma_hat, cond)
        on_step(StepInfo(i, steps, sigma_hat, latents, denoised))
        latents = _midpoint_step(denoiser, latents, sigma_hat, sigma_next, denoised, cond)
    return latents


def dpm2_ancestral(
    denoiser: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: StepNoise,
    on_step: OnStep = ignore_step,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """Midpoint steps that go further down and come back up with fresh noise ("DPM2 a")."""
    steps = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(denoiser, latents, sigma, cond)
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        sigma_down, sigma_up = split_ancestral(sigma, sigma_next, eta)
        latents = _midpoint_step(denoiser, latents, sigma, sigma_down, denoised, cond)
        latents = renoise(latents, sigma, sigma_next, s_noise * sigma_up, noise)
    return latents


def _midpoint_step(
    denoiser: Denoiser,
    latents: Tensor,
    sigma: float,
    sigma_next: float,
    denoised: Tensor,
    cond: Cond,
) -> Tensor:
    if sigma_next == 0:
        return denoised
    sigma_middle = halfway(sigma, sigma_next)
    middle = move_to(latents, sigma, sigma_middle, denoised)
    slope = noise_direction(middle, sigma_middle, denoise(denoiser, middle, sigma_middle, cond))
    return latents + slope * (sigma_next - sigma)
