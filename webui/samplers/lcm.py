"""Sampling of latent consistency models: jump to the clean estimate, noise it again.

Source:
    Luo et al. 2023, arXiv 2310.04378, algorithm 3 and sec. 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
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
from webui.samplers.schedules import NoiseTable

SIGMA_DATA = 0.5
TIMESTEP_SCALING = 10.0


def lcm(
    denoiser: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: StepNoise,
    table: NoiseTable,
    on_step: OnStep = ignore_step,
) -> Tensor:
    """Multistep consistency sampling ("LCM").

    Args:
        denoiser: Of a noise-predicting model, as all latent consistency models are.
        latents: (B, C, H/8, W/8), spread sigmas[0].
        sigmas: Descending; usually ends in 0.
        cond: Passed through.
        noise: Fresh noise of each step but the last.
        table: The 50 noise levels the model was distilled on.
        on_step: Told about every step.
    """
    steps = len(sigmas) - 1
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = _consistent(denoiser, latents, sigma, cond, table)
        on_step(StepInfo(i, steps, sigma, latents, denoised))
        latents = denoised
        if sigma_next > 0:
            latents = denoised + noise(latents, sigma, sigma_next) * sigma_next
    return latents


def _consistent(
    denoiser: Denoiser, latents: Tensor, sigma: float, cond: Cond, table: NoiseTable
) -> Tensor:
    """Clean estimate of the consistency model, with its boundary condition.

    The network only knows the 50 distilled timesteps. So it is asked at the nearest one, with
    latents scaled to look the same to it, and its noise prediction is used at the true sigma.
    """
    timestep = float(table.sigma_to_t(torch.tensor(sigma), quantize=True))
    known = float(table.t_to_sigma(torch.tensor(timestep)))
    scaled = latents * math.sqrt((1 + known**2) / (1 + sigma**2))
    noise_pred = (scaled - denoise(denoiser, scaled, known, cond)) / known
    denoised = latents - noise_pred * sigma
    c_skip, c_out = boundary_scaling(timestep)
    return denoised * c_out + latents * c_skip


def boundary_scaling(timestep: float) -> tuple[float, float]:
    """(c_skip, c_out): at timestep 0 the latents themselves, later the estimate alone."""
    scaled = TIMESTEP_SCALING * timestep
    size = scaled**2 + SIGMA_DATA**2
    return SIGMA_DATA**2 / size, scaled / math.sqrt(size)
