"""Restart: go back up to a higher noise level and walk the stretch again.

Source:
    Xu et al. 2023, arXiv 2306.14878, algorithm 1, with the stretch and counts A1111 chose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor

from webui.samplers.euler import heun_step
from webui.samplers.protocol import (
    Cond,
    Denoiser,
    OnStep,
    StepInfo,
    StepNoise,
    denoise,
    ignore_step,
)

RESTART_FROM, RESTART_TO = 0.1, 2.0
"""Noise levels between which the stretch is repeated."""

RHO = 7.0


def restart(
    denoiser: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: StepNoise,
    on_step: OnStep = ignore_step,
    s_noise: float = 1.0,
) -> Tensor:
    """Heun steps; from 20 steps on, part of them repeats a low stretch with fresh noise."""
    plan = list(restart_steps(sigmas))
    reached = sigmas[0]
    for i, (sigma, sigma_next) in enumerate(plan):
        if sigma > reached:
            spread = math.sqrt(sigma**2 - reached**2)
            latents = latents + noise(latents, reached, sigma) * (s_noise * spread)
        denoised = denoise(denoiser, latents, sigma, cond)
        on_step(StepInfo(i, len(plan), sigma, latents, denoised))
        latents = heun_step(denoiser, latents, sigma, sigma_next, denoised, cond)
        reached = sigma_next
    return latents


def restart_steps(sigmas: Sequence[float]) -> Iterator[tuple[float, float]]:
    """The steps (from, to) of a run, repeats included.

    The number of steps stays that of ``sigmas``. Below 20 nothing is repeated; from 20 on, one
    stretch of 9 steps; from 36 on, two, each a quarter of the steps.
    """
    steps = len(sigmas) - 1
    if steps < 20:
        yield from pairwise(sigmas)
        return
    repeat_steps, repeats = (steps // 4, 2) if steps >= 36 else (9, 1)
    lowest = min(sigma for sigma in sigmas if sigma > 0)
    main = [*_karras(steps - repeat_steps * repeats, lowest, sigmas[0]), 0.0]
    low, high = _nearest(main, RESTART_FROM), _nearest(main, RESTART_TO)
    yield from pairwise(main[: low + 1])
    if high < low:
        stretch = _karras(repeat_steps + 1, main[low], main[high])
        for _ in range(repeats):
            yield from pairwise(stretch)
    yield from pairwise(main[low:])


def _nearest(sigmas: Sequence[float], wanted: float) -> int:
    return min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - wanted))


def _karras(count: int, sigma_min: float, sigma_max: float) -> list[float]:
    """Karras spacing whose ends are exactly the given ones, so that stretches join without gap."""
    if count == 1:
        return [sigma_max]
    high, low = sigma_max ** (1 / RHO), sigma_min ** (1 / RHO)
    inner = [(high + (low - high) * i / (count - 1)) ** RHO for i in range(1, count - 1)]
    return [sigma_max, *inner, sigma_min]
