"""From a prediction to the number that is made small.

Source: lora-training.md, section 3.5; the papers are named at the functions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from webui.params.training import TrainingOptions


def snr_of(alphas_cumprod: Tensor, timesteps: Tensor) -> Tensor:
    """Signal-to-noise ratio (B,) float32 at timesteps."""
    kept = alphas_cumprod[timesteps.cpu()].float()
    return kept / (1 - kept)


def batch_loss(
    prediction: Tensor,
    target: Tensor,
    timesteps: Tensor,
    loss_weights: tuple[float, ...],
    alphas_cumprod: Tensor,
    options: TrainingOptions,
    masks: Tensor | None = None,
) -> Tensor:
    """The loss of one batch.

    Args:
        prediction, target: (B, 4, h, w).
        masks: (B, 1, H, W), any size; 1 = counts fully.
    Returns:
        A float32 scalar.
    """
    errors = pixel_errors(prediction.float(), target.float(), timesteps, alphas_cumprod, options)
    if masks is not None:
        small = functional.interpolate(masks.to(errors), size=errors.shape[-2:], mode="area")
        errors = errors * small
    losses = errors.mean(dim=(1, 2, 3))  # (B,)
    losses = losses * torch.tensor(loss_weights, device=losses.device)
    return weighed(losses, snr_of(alphas_cumprod, timesteps).to(losses), options).mean()


def pixel_errors(
    prediction: Tensor,
    target: Tensor,
    timesteps: Tensor,
    alphas_cumprod: Tensor,
    options: TrainingOptions,
) -> Tensor:
    """Errors (B, 4, h, w) before any mean."""
    if options.loss_type == "l2":
        return functional.mse_loss(prediction, target, reduction="none")
    if options.loss_type == "l1":
        return functional.l1_loss(prediction, target, reduction="none")
    width = huber_width(timesteps, alphas_cumprod, options).view(-1, 1, 1, 1).to(prediction)
    reach = ((prediction - target).square() + width**2).sqrt() - width
    return 2 * reach * (width if options.loss_type == "huber" else 1)


def huber_width(timesteps: Tensor, alphas_cumprod: Tensor, options: TrainingOptions) -> Tensor:
    """Where the Huber loss turns from squared to straight, (B,)."""
    steps = timesteps.cpu().float()
    if options.huber_schedule == "constant":
        return torch.full_like(steps, options.huber_c * options.huber_scale)
    if options.huber_schedule == "exponential":
        return torch.exp(math.log(options.huber_c) * steps / 1000) * options.huber_scale
    sigmas = snr_of(alphas_cumprod, timesteps).rsqrt()
    return (1 - options.huber_c) / (1 + sigmas).square() + options.huber_c


def weighed(losses: Tensor, snr: Tensor, options: TrainingOptions) -> Tensor:
    """Weigh each picture's loss by its noise level.

    Args:
        losses, snr: (B,).
    Source:
        min-SNR: Hang et al. 2023, arXiv 2303.09556; debiased: Yu et al. 2023,
        arXiv 2310.08442.
    """
    is_v = options.v_parameterization
    capped = snr.clamp(max=1000)
    if options.min_snr_gamma is not None and options.min_snr_gamma > 0:
        least = snr.clamp(max=options.min_snr_gamma)
        losses = losses * least / (snr + 1 if is_v else snr)
    if options.scale_v_pred_loss_like_noise_pred:
        losses = losses * capped / (capped + 1)
    if options.v_pred_like_loss:
        losses = losses + losses * options.v_pred_like_loss * (capped + 1) / capped
    if options.debiased_estimation_loss:
        losses = losses / (capped + 1 if is_v else capped.sqrt())
    return losses
