"""UniPC: a predictor and a corrector that share one network call per step.

Source:
    Zhao et al. 2023, arXiv 2302.04867, algorithms 5 to 8 (multistep, data prediction), written
    with alpha = 1, so lambda = -ln sigma.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from webui.samplers.options import UniPCVariant
from webui.samplers.protocol import (
    Cond,
    Denoiser,
    OnStep,
    StepInfo,
    StepNoise,
    denoise,
    ignore_step,
)
from webui.samplers.stepping import move_to

SERIES_END = 1e-17
"""Terms smaller than this share of the sum no longer change a float64."""

Past = list[tuple[float, Tensor]]
"""(sigma, estimate), newest first."""


def unipc(
    denoiser: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: StepNoise,
    on_step: OnStep = ignore_step,
    variant: UniPCVariant = "bh1",
    order: int = 3,
    lower_order_final: bool = True,
) -> Tensor:
    """Predict each step from past estimates, correct it with the next one ("UniPC").

    Args:
        denoiser: Called once per step.
        latents: (B, C, H/8, W/8), spread sigmas[0].
        sigmas: Descending, all > 0.
        cond: Passed through.
        noise: Not used: the method is deterministic.
        on_step: Told about every step.
        variant: B(h) of the paper: ``bh1`` = h, ``bh2`` = e^h - 1; ``vary_coeff`` is UniPC_v,
            whose weights do not depend on B.
        order: Of the predictor; cut down to the number of steps.
        lower_order_final: Lower the order for the last steps.
    """
    steps = len(sigmas) - 1
    past: Past = []
    predicted_from: tuple[Tensor, Past, int] | None = None
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(denoiser, latents, sigma, cond)
        if predicted_from is not None:
            latents = _correct(*predicted_from, (sigma, denoised), variant)
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        past = [(sigma, denoised), *past[: order - 1]]
        step_order = min(order, i + 1, steps - i if lower_order_final else order)
        predicted_from = latents, past, step_order
        latents = _predict(latents, past, sigma_next, step_order, variant)
    return latents


def _predict(
    latents: Tensor, past: Past, sigma_next: float, order: int, variant: UniPCVariant
) -> Tensor:
    """UniP: extrapolate the last ``order`` estimates over the step."""
    sigma, denoised = past[0]
    width = math.log(sigma / sigma_next)
    places = [_place(sigma, width, other) for other, _ in past[1:order]]
    if len(places) == 1 and variant != "vary_coeff":
        weights = [0.5 / places[0] * _b_of(width, variant)]  # the paper's shortcut for order 2
    else:
        weights = _weights(places, width)
    stepped = move_to(latents, sigma, sigma_next, denoised)
    for (_, other), weight in zip(past[1:order], weights, strict=True):
        stepped = stepped + (other - denoised) * weight
    return stepped


def _correct(
    latents: Tensor, past: Past, order: int, found: tuple[float, Tensor], variant: UniPCVariant
) -> Tensor:
    """UniC: repeat the step that led here, now knowing the estimate at its end."""
    sigma, denoised = past[0]
    sigma_next, denoised_next = found
    width = math.log(sigma / sigma_next)
    places = [_place(sigma, width, other) for other, _ in past[1:order]] + [1.0]
    if len(places) == 1 and variant != "vary_coeff":
        weights = [0.5 * _b_of(width, variant)]  # the paper's shortcut for order 1
    else:
        weights = _weights(places, width)
    estimates = [estimate for _, estimate in past[1:order]] + [denoised_next]
    stepped = move_to(latents, sigma, sigma_next, denoised)
    for estimate, weight in zip(estimates, weights, strict=True):
        stepped = stepped + (estimate - denoised) * weight
    return stepped


def _place(sigma: float, width: float, other: float) -> float:
    """Where an estimate lies in units of the step: 0 at its start, 1 at its end, past < 0."""
    return math.log(sigma / other) / width


def _b_of(width: float, variant: UniPCVariant) -> float:
    """B(h) for data prediction, with the sign that makes it a positive step size."""
    return width if variant == "bh1" else -math.expm1(-width)


def _weights(places: Sequence[float], width: float) -> list[float]:
    """Weights that integrate the polynomial through the estimates exactly over the step.

    Solves eq. 9 of the paper for rho_m B(h) / r_m; B cancels out.
    """
    if not places:
        return []
    powers = np.array([[place ** (k + 1) for place in places] for k in range(len(places))])
    return [float(w) for w in np.linalg.solve(powers, _moments(len(places), width))]


def _moments(count: int, width: float) -> list[float]:
    """How far an estimate that grows like r^k, k = 1 ... count, moves the step, 0 <= r <= 1."""
    return [moment(k, width) for k in range(1, count + 1)]


def moment(k: int, width: float) -> float:
    """Integral of h e^(h (r - 1)) r^k over r = 0 ... 1.

    By parts m_k = 1 - (k / h) m_(k-1). Trap: for small h that loses all digits, so there the
    series sum of h (-h)^n k! / (k + 1 + n)! is used.
    """
    if width > k + 1:
        value = -math.expm1(-width)
        for j in range(1, k + 1):
            value = 1 - j / width * value
        return value
    term, total, n = width / (k + 1), 0.0, 0
    while abs(term) > SERIES_END * abs(total):
        total += term
        n += 1
        term *= -width / (k + 1 + n)
    return total
