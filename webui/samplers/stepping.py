"""Small sums that several samplers share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from webui.samplers.protocol import StepNoise


def noise_direction(latents: Tensor, sigma: float, denoised: Tensor) -> Tensor:
    """Slope of the probability-flow path at ``latents``: predicted noise, d latents / d sigma.

    Source:
        Karras et al. 2022, arXiv 2206.00364, eq. 3.
    """
    return (latents - denoised) / sigma


def move_to(latents: Tensor, sigma: float, sigma_next: float, denoised: Tensor) -> Tensor:
    """Walk in a straight line towards (or away from) ``denoised`` until the noise is sigma_next."""
    return torch.lerp(denoised, latents, sigma_next / sigma)


def split_ancestral(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """Divide a step into a longer deterministic one and fresh noise on top.

    Args:
        sigma: Present noise level, > 0.
        sigma_next: Noise level to reach, 0 to ``sigma``.
        eta: Share of fresh noise, 0 = none.

    Returns:
        (level to step down to, spread of the fresh noise); their squares add up to
        ``sigma_next`` squared.

    Source:
        Song et al. 2020, arXiv 2010.02502, eq. 16, written in sigma.
    """
    variance = sigma_next**2 * max(sigma**2 - sigma_next**2, 0.0) / sigma**2
    sigma_up = min(sigma_next, eta * math.sqrt(variance))
    return math.sqrt(max(sigma_next**2 - sigma_up**2, 0.0)), sigma_up


def renoise(
    latents: Tensor, sigma: float, sigma_next: float, spread: float, noise: StepNoise
) -> Tensor:
    """Add the fresh noise of a step; where its spread is 0 none is drawn."""
    return latents + noise(latents, sigma, sigma_next) * spread if spread > 0 else latents


def halfway(sigma: float, sigma_next: float) -> float:
    """The noise level in the middle of a step, on a logarithmic scale."""
    return math.sqrt(sigma * sigma_next)


def churned_sigma(sigma: float, steps: int, s_churn: float, s_tmin: float, s_tmax: float) -> float:
    """Noise level raised by Karras churn.

    Source:
        Karras et al. 2022, arXiv 2206.00364, algorithm 2.
    """
    if not s_tmin <= sigma <= s_tmax:
        return sigma
    return sigma * (1 + min(s_churn / steps, math.sqrt(2) - 1))


def churn(
    latents: Tensor,
    sigma: float,
    steps: int,
    noise: StepNoise,
    *,
    s_churn: float,
    s_tmin: float,
    s_tmax: float,
    s_noise: float,
) -> tuple[Tensor, float]:
    """Raise the noise before a step; gives the noisier latents and their level.

    With churn on, a noise is drawn on every step, also where it is not used: pictures made with
    limits s_tmin and s_tmax depend on how many were drawn before.
    """
    sigma_hat = churned_sigma(sigma, steps, s_churn, s_tmin, s_tmax)
    if s_churn <= 0:
        return latents, sigma_hat
    fresh = noise(latents, sigma, sigma_hat)
    if sigma_hat == sigma:
        return latents, sigma
    return latents + fresh * (s_noise * math.sqrt(sigma_hat**2 - sigma**2)), sigma_hat
