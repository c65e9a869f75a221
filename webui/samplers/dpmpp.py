"""DPM-Solver++: steps that are exact for a clean estimate that does not change.

Source:
    Lu et al. 2022, arXiv 2211.01095, with alpha = 1, so lambda = -ln sigma.
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
from webui.samplers.stepping import halfway, move_to, renoise, split_ancestral


def dpmpp_2m(
    denoiser: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: StepNoise,
    on_step: OnStep = ignore_step,
) -> Tensor:
    """Second order from the last two estimates ("DPM++ 2M"; algorithm 2 of the paper).

    The first step and the one that ends at 0 are first order.
    """
    steps = len(sigmas) - 1
    previous: Tensor | None = None
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(denoiser, latents, sigma, cond)
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        target = denoised
        if previous is not None and sigma_next > 0:
            width, last_width = math.log(sigma / sigma_next), math.log(sigmas[i - 1] / sigma)
            target = denoised + (denoised - previous) * (width / (2 * last_width))
        latents = move_to(latents, sigma, sigma_next, target)
        previous = denoised
    return latents


def dpmpp_2s_ancestral(
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
    """Second order from a second estimate mid-step (algorithm 1), with fresh noise on top
    ("DPM++ 2S a")."""
    steps = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(denoiser, latents, sigma, cond)
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        sigma_down, sigma_up = split_ancestral(sigma, sigma_next, eta)
        if sigma_down > 0:
            sigma_middle = halfway(sigma, sigma_down)
            middle = move_to(latents, sigma, sigma_middle, denoised)
            denoised = denoise(denoiser, middle, sigma_middle, cond)
        latents = move_to(latents, sigma, sigma_down, denoised)
        latents = renoise(latents, sigma, sigma_next, s_noise * sigma_up, noise)
    return latents
