"""DPM-Solver++ for the stochastic path: Brownian noise on the way.

Source:
    Lu et al. 2022, arXiv 2211.01095, sec. 5 and appendix (SDE-DPM-Solver++), generalised to a
    share ``eta`` of noise: the step is exact for a clean estimate that does not change, with
    lambda = -ln sigma running (1 + eta) times as fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

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
from webui.samplers.stepping import halfway, move_to, renoise, split_ancestral


def dpmpp_sde(
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
    """Second order from a second, noised estimate mid-step ("DPM++ SDE")."""
    steps = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(denoiser, latents, sigma, cond)
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        if sigma_next == 0:
            return denoised
        middle_sigma = halfway(sigma, sigma_next)
        middle = _noisy_step(latents, sigma, middle_sigma, denoised, noise, eta, s_noise)
        denoised = denoise(denoiser, middle, middle_sigma, cond)
        latents = _noisy_step(latents, sigma, sigma_next, denoised, noise, eta, s_noise)
    return latents


def _noisy_step(
    latents: Tensor,
    sigma: float,
    sigma_next: float,
    denoised: Tensor,
    noise: StepNoise,
    eta: float,
    s_noise: float,
) -> Tensor:
    sigma_down, sigma_up = split_ancestral(sigma, sigma_next, eta)
    stepped = move_to(latents, sigma, sigma_down, denoised)
    return renoise(stepped, sigma, sigma_next, s_noise * sigma_up, noise)


def dpmpp_2m_sde(
    denoiser: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: StepNoise,
    on_step: OnStep = ignore_step,
    eta: float = 1.0,
    s_noise: float = 1.0,
    solver_type: Literal["midpoint", "heun"] = "midpoint",
) -> Tensor:
    """Second order from the last two estimates ("DPM++ 2M SDE", and with ``heun`` its twin).

    The two solver types weigh the change of the estimate a little differently.
    """
    steps = len(sigmas) - 1
    previous: Tensor | None = None
    last_width = 0.0
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(denoiser, latents, sigma, cond)
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        if sigma_next == 0:
            return denoised
        width = math.log(sigma / sigma_next)
        fast_width = width * (1 + eta)
        kept = math.exp(-fast_width)
        latents = latents * kept + denoised * (1 - kept)
        if previous is not None:
            weight = (1 - kept) / 2 if solver_type == "midpoint" else _phi_2(fast_width)
            latents = latents + (denoised - previous) * (weight * width / last_width)
        latents = _add_sde_noise(latents, sigma, sigma_next, noise, eta, s_noise)
        previous, last_width = denoised, width
    return latents


def dpmpp_3m_sde(
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
    """Three remembered estimates ("DPM++ 3M SDE"); the first two steps remember fewer.

    Trap: the quadratic part enters with half its exact weight, here as in every implementation
    people have used, so the measured order is two. Pictures depend on it.
    """
    steps = len(sigmas) - 1
    past: list[tuple[Tensor, float]] = []  # (estimate, width of the step it began), newest first
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(denoiser, latents, sigma, cond)
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        if sigma_next == 0:
            return denoised
        width = math.log(sigma / sigma_next)
        fast_width = width * (1 + eta)
        kept = math.exp(-fast_width)
        latents = latents * kept + denoised * (1 - kept)
        if past:
            slope, bend = _divided_differences(denoised, past, width)
            latents = latents + slope * _phi_2(fast_width)
            if bend is not None:
                latents = latents - bend * _phi_3(fast_width)
        latents = _add_sde_noise(latents, sigma, sigma_next, noise, eta, s_noise)
        past = [(denoised, width), *past[:1]]
    return latents


def _divided_differences(
    denoised: Tensor, past: Sequence[tuple[Tensor, float]], width: float
) -> tuple[Tensor, Tensor | None]:
    """First and second derivative of the estimate, in units of the present step."""
    last, last_width = past[0]
    ratio = last_width / width
    slope = (denoised - last) / ratio
    if len(past) == 1:
        return slope, None
    older, older_width = past[1]
    older_ratio = older_width / width
    bend = (slope - (last - older) / older_ratio) / (ratio + older_ratio)
    return slope + bend * ratio, bend


def _phi_2(width: float) -> float:
    """How far a linearly changing estimate moves the step beyond a constant one."""
    return 1 + math.expm1(-width) / width


def _phi_3(width: float) -> float:
    """The same for the quadratic part, at half its exact weight (see ``dpmpp_3m_sde``)."""
    return _phi_2(width) / width - 0.5


def _add_sde_noise(
    latents: Tensor,
    sigma: float,
    sigma_next: float,
    noise: StepNoise,
    eta: float,
    s_noise: float,
) -> Tensor:
    spread = sigma_next * math.sqrt(1 - (sigma_next / sigma) ** (2 * eta))
    return renoise(latents, sigma, sigma_next, s_noise * spread, noise)
