"""The forward process as it is trained: timesteps, noise, noisy latents, targets.

All random numbers are drawn on the CPU from one generator, so that a training comes out the same
on every device.

Source: lora-training.md, section 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from webui.params.training import TrainingOptions


@dataclass(frozen=True)
class Noised:
    """One batch on its way into the network.

    Attributes:
        latents: (B, 4, h, w), noisy. target: What the network shall answer, same shape.
        timesteps: (B,) int64.
    """

    latents: Tensor
    target: Tensor
    timesteps: Tensor


def draw_timesteps(count: int, options: TrainingOptions, generator: torch.Generator) -> Tensor:
    """(B,) whole numbers in [min_timestep, max_timestep); one number when the two are equal."""
    low, high = options.min_timestep, options.max_timestep
    if high <= low:
        return torch.full((count,), min(low, 999), dtype=torch.int64)
    return torch.randint(low, high, (count,), generator=generator)


def draw_noise(latents: Tensor, options: TrainingOptions, generator: torch.Generator) -> Tensor:
    """Noise for clean latents (B, 4, h, w): normal, with offset and pyramid as asked for."""
    noise = _normal(latents.shape, generator)
    if options.noise_offset is not None:
        noise = noise + _offset(latents, options, generator)
    if options.multires_noise_iterations:
        noise = _pyramid(
            noise, options.multires_noise_iterations, options.multires_noise_discount, generator
        )
    return noise.to(latents)


def _normal(shape: tuple[int, ...] | torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def _offset(latents: Tensor, options: TrainingOptions, generator: torch.Generator) -> Tensor:
    """The same number over a whole channel, so that brightness is learnt, too.

    Source:
        Guttenberg 2023, "Diffusion with Offset Noise".
    """
    amount = torch.tensor(options.noise_offset or 0.0)
    if options.noise_offset_random_strength:
        amount = amount * torch.rand((), generator=generator)
    if options.adaptive_noise_scale is not None:
        means = latents.float().cpu().mean(dim=(2, 3), keepdim=True).abs()  # (B, 4, 1, 1)
        amount = (amount + options.adaptive_noise_scale * means).clamp(min=0)
    return amount * _normal((*latents.shape[:2], 1, 1), generator)


def _pyramid(noise: Tensor, iterations: int, discount: float, generator: torch.Generator) -> Tensor:
    """Noise of several resolutions together, brought back to spread 1.

    Source:
        Whitaker 2023, "Multi-Resolution Noise for Diffusion Model Training".
    """
    height, width = noise.shape[-2:]
    for i in range(iterations):
        ratio = 2 + 2 * float(torch.rand((), generator=generator))
        small = (max(1, int(height / ratio**i)), max(1, int(width / ratio**i)))
        coarse = _normal((*noise.shape[:2], *small), generator)
        noise = noise + discount**i * functional.interpolate(
            coarse, size=(height, width), mode="bilinear", align_corners=False
        )
        if 1 in small:
            break
    return noise / noise.std()


def make_noisy(
    latents: Tensor, alphas_cumprod: Tensor, options: TrainingOptions, generator: torch.Generator
) -> Noised:
    """Draw noise and timesteps for clean latents.

    Args:
        latents: (B, 4, h, w), VAE-scaled.
        alphas_cumprod: (1000,), on the CPU.
    """
    noise = draw_noise(latents, options, generator)
    timesteps = draw_timesteps(latents.shape[0], options, generator)
    kept = alphas_cumprod[timesteps].view(-1, 1, 1, 1).to(latents)
    added = noise
    if options.ip_noise_gamma:
        strength = options.ip_noise_gamma
        if options.ip_noise_gamma_random_strength:
            strength *= float(torch.rand((), generator=generator))
        added = noise + strength * _normal(latents.shape, generator).to(latents)
    noisy = kept.sqrt() * latents + (1 - kept).sqrt() * added
    target = noise
    if options.v_parameterization:
        target = kept.sqrt() * noise - (1 - kept).sqrt() * latents
    return Noised(noisy, target, timesteps)
