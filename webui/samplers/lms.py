"""Linear multistep: one slope per step, four remembered.

Source:
    Adams-Bashforth with unequal steps, e.g. Hairer, Norsett, Wanner, "Solving Ordinary
    Differential Equations I", sec. III.1 and III.5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.polynomial import Polynomial
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
from webui.samplers.stepping import noise_direction


def lms(
    denoiser: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: StepNoise,
    on_step: OnStep = ignore_step,
    order: int = 4,
) -> Tensor:
    """Integrate the polynomial through the last ``order`` slopes ("LMS")."""
    steps = len(sigmas) - 1
    slopes: deque[Tensor] = deque(maxlen=order)  # newest first
    for i, sigma in enumerate(sigmas[:-1]):
        denoised = denoise(denoiser, latents, sigma, cond)
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        slopes.appendleft(noise_direction(latents, sigma, denoised))
        nodes = [sigmas[i - j] for j in range(len(slopes))]
        weights = multistep_weights(nodes, sigmas[i + 1])
        for slope, weight in zip(slopes, weights, strict=True):
            latents = latents + slope * weight
    return latents


def multistep_weights(nodes: Sequence[float], end: float) -> list[float]:
    """Weights that integrate the polynomial through values at ``nodes`` from nodes[0] to ``end``.

    Args:
        nodes: Distinct places, newest first.
        end: Upper limit of the integral.

    Returns:
        One weight per node; exact for polynomials of degree below ``len(nodes)``.
    """
    width = end - nodes[0]
    places = [(node - nodes[0]) / width for node in nodes]  # the step becomes 0 ... 1
    weights: list[float] = []
    for j, place in enumerate(places):
        others = places[:j] + places[j + 1 :]
        basis = Polynomial.fromroots(others) if others else Polynomial([1.0])
        area = basis.integ()(1.0)
        weights.append(float(width * area / np.prod([place - other for other in others])))
    return weights
