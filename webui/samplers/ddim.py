"""Samplers that walk whole training steps.

They are written here for latents of spread sigma like all others; ``run`` converts from and to
the unit-variance latents these samplers are known by. Their schedules do not end in 0: the last
little noise stays, as it always did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from webui.samplers.protocol import (
    Cond,
    Denoiser,
    GuidedDenoiser,
    OnStep,
    StepInfo,
    StepNoise,
    denoise,
    ignore_step,
)
from webui.samplers.stepping import noise_direction, split_ancestral

CFGPP_SHARE = 1 / 12.5
"""CFG++ wants guidance between 0 and 1; A1111 keeps the familiar scale and divides by 12.5."""

ADAMS_BASHFORTH: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Weights of the newest, second newest ... noise prediction, for equal steps."""


def ddim(
    denoiser: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: StepNoise,
    on_step: OnStep = ignore_step,
    eta: float = 0.0,
) -> Tensor:
    """Keep the clean estimate, carry the predicted noise on at its next level ("DDIM").

    Source:
        Song et al. 2020, arXiv 2010.02502, eq. 12.
    """
    steps = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(denoiser, latents, sigma, cond)
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        noise_pred = noise_direction(latents, sigma, denoised)
        latents = _renoise(denoised, noise_pred, latents, sigma, sigma_next, noise, eta)
    return latents


def ddim_cfgpp(
    denoiser: GuidedDenoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: StepNoise,
    on_step: OnStep = ignore_step,
    eta: float = 0.0,
) -> Tensor:
    """DDIM that carries on the *unconditional* noise, with gentle guidance ("DDIM CFG++").

    The denoiser's usual guidance, any scale, is cut down here: scale 12.5 is the paper's 1.

    Source:
        Chung et al. 2024, arXiv 2406.08070, algorithm 2.
    """
    steps = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        level = latents.new_full((latents.shape[0],), sigma)
        guided, uncond = denoiser.guided(latents, level, cond)
        denoised = uncond + (guided - uncond) * CFGPP_SHARE
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        noise_pred = noise_direction(latents, sigma, uncond)
        latents = _renoise(denoised, noise_pred, latents, sigma, sigma_next, noise, eta)
    return latents


def _renoise(
    denoised: Tensor,
    noise_pred: Tensor,
    latents: Tensor,
    sigma: float,
    sigma_next: float,
    noise: StepNoise,
    eta: float,
) -> Tensor:
    sigma_down, sigma_up = split_ancestral(sigma, sigma_next, eta)
    stepped = denoised + noise_pred * sigma_down
    if sigma_up == 0:
        return stepped
    return stepped + noise(latents, sigma, sigma_next) * sigma_up


def plms(
    denoiser: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: StepNoise,
    on_step: OnStep = ignore_step,
) -> Tensor:
    """DDIM steps along a blend of the last four noise predictions ("PLMS").

    The first step asks the denoiser twice. The weights are those of equal steps in the training
    step, where the sigmas are not equally spaced; that is part of the method.

    Source:
        Liu et al. 2022, arXiv 2202.09778, eq. 12, with a two-call start.
    """
    steps = len(sigmas) - 1
    predictions: deque[Tensor] = deque(maxlen=len(ADAMS_BASHFORTH))  # newest first
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(denoiser, latents, sigma, cond)
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        predictions.appendleft(noise_direction(latents, sigma, denoised))
        if i == 0:
            guess = latents + predictions[0] * (sigma_next - sigma)
            denoised_next = denoise(denoiser, guess, sigma_next, cond)
            blend = (predictions[0] + noise_direction(guess, sigma_next, denoised_next)) / 2
        else:
            blend = _weighted(predictions, ADAMS_BASHFORTH[len(predictions) - 1])
        latents = latents + blend * (sigma_next - sigma)
    return latents


def _weighted(predictions: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    total = predictions[0] * weights[0]
    for i in range(1, len(weights)):
        total = total + predictions[i] * weights[i]
    return total
