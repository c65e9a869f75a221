"""One slope per step, and its second-order correction.

Source:
    Karras et al. 2022, arXiv 2206.00364, algorithms 1 and 2.
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
from webui.samplers.stepping import churn, move_to, noise_direction, renoise, split_ancestral


def euler(
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
    """Follow the slope of each step; with churn, algorithm 2 of Karras et al. without Heun."""
    steps = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        latents, sigma_hat = churn(
            latents, sigma, steps, noise,
            s_churn=s_churn, s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise,
        )  # fmt: skip
        denoised = denoise(denoiser, latents, sigma_hat, cond)
        on_step(StepInfo(i, steps, sigma_hat, latents, denoised))
        latents = move_to(latents, sigma_hat, sigma_next, denoised)
    return latents


def heun(
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
    """Average the slopes at both ends of each step (Karras et al., algorithm 2)."""
    steps = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        latents, sigma_hat = churn(
            latents, sigma, steps, noise,
            s_churn=s_churn, s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise,
        )  # fmt: skip
        denoised = denoise(denoiser, latents, sigma_hat, cond)
        on_step(StepInfo(i, steps, sigma_hat, latents, denoised))
        latents = heun_step(denoiser, latents, sigma_hat, sigma_next, denoised, cond)
    return latents


def heun_step(
    denoiser: Denoiser,
    latents: Tensor,
    sigma: float,
    sigma_next: float,
    denoised: Tensor,
    cond: Cond,
) -> Tensor:
    """One step along the mean of the slopes at its ends; a plain Euler step where it ends at 0."""
    guess = move_to(latents, sigma, sigma_next, denoised)
    if sigma_next == 0:
        return guess
    denoised_next = denoise(denoiser, guess, sigma_next, cond)
    slope = noise_direction(latents, sigma, denoised)
    slope_next = noise_direction(guess, sigma_next, denoised_next)
    return latents + (slope + slope_next) * ((sigma_next - sigma) / 2)


def euler_ancestral(
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
    """Step further down than needed and come back up with fresh noise ("Euler a")."""
    steps = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(denoiser, latents, sigma, cond)
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        sigma_down, sigma_up = split_ancestral(sigma, sigma_next, eta)
        latents = move_to(latents, sigma, sigma_down, denoised)
        latents = renoise(latents, sigma, sigma_next, s_noise * sigma_up, noise)
    return latents
