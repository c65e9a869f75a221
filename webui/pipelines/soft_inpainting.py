"""Soft inpainting: grey masks, where each cell joins the repainting as late as its mask is dark.

Source:
    Levin and Fried 2023, "Differential Diffusion", arXiv 2306.00950. The smooth form used here
    (a power of the mask that falls with the noise level, magnitudes kept while blending, and a
    final mask from what really changed) with its six knobs is A1111's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from webui.params import SoftInpainting
from webui.pipelines.resize import resize

Array = np.ndarray[Any, Any]

TINY = 1e-5
KERNEL_SPREAD, KERNEL_RADIUS = 1.5, 2  # latent cells
BRIGHTEST, MIDDLE = (0.9, 1.0), (0.25, 0.75)
"""Shares of a neighbourhood's sorted differences that are averaged: single outliers neither make
holes nor specks."""
LEAST_WEIGHT = 1.0
"""Weight of neighbours that is averaged at least."""
OVERLAY_BLUR = 4  # pixels; hides the latent grid


@dataclass(frozen=True)
class SoftBlend:
    """Original and estimate mixed at every step, by the mask and the noise level; alike for
    every sampler.

    Attributes:
        original: (B, 4, h, w) clean latents the walk began with.
        mask: (B, 1, h, w), 0 … 1, 1 = repaint.
    """

    original: Tensor
    mask: Tensor
    knobs: SoftInpainting

    def shown(self, latents: Tensor, sigma: Tensor) -> Tensor:
        """See ``latent_blend.Blend``."""
        return latents

    def estimated(self, denoised: Tensor, sigma: Tensor) -> Tensor:
        """See ``latent_blend.Blend``."""
        exponent = sigma**self.knobs.schedule_bias * self.knobs.preservation_strength
        share = self.mask ** exponent.view(-1, 1, 1, 1)
        boost = self.knobs.transition_contrast_boost
        return mixed_latents(self.original, denoised, share, boost)

    def finished(self, latents: Tensor) -> Tensor:
        """See ``latent_blend.Blend``; the pixels are mixed instead, see ``changed_mask``."""
        return latents


def mixed_latents(original: Tensor, painted: Tensor, share: Tensor, boost: float) -> Tensor:
    """Mix latents without the loss of contrast that a straight line between them would have.

    Args:
        original, painted: (B, 4, h, w).
        share: (B, 1, h, w), 1 = painted alone.
        boost: >= 1; the higher, the nearer is the length of a mixed cell to the longer of the two.
    """
    line = torch.lerp(original, painted, share)
    # Float64: high powers of lengths leave the range of float32.
    length_a, length_b = (
        torch.linalg.vector_norm(x, dim=1, keepdim=True).double() ** boost
        for x in (original, painted)
    )
    wanted = torch.lerp(length_a, length_b, share.double()) ** (1 / boost)
    present = torch.linalg.vector_norm(line, dim=1, keepdim=True).double() + TINY
    return line * (wanted / present).to(line)


def changed_mask(
    original: Tensor, painted: Tensor, mask: Tensor, knobs: SoftInpainting, width: int, height: int
) -> Image.Image:
    """Which pixels to take from the painted picture: those that really changed.

    Args:
        original, painted: (4, h, w) clean latents.
        mask: (1, h, w).
        width, height: Of the painted picture.
    Returns:
        Grey, white = painted.
    """
    hidden = 1 - mask[0].clamp(0, 1) ** (knobs.preservation_strength / 2)  # (h, w), 1 = keep
    bias = 0.5 * (1 - knobs.mask_influence) + hidden * knobs.mask_influence
    half: Array = (knobs.difference_threshold * bias / (1 + TINY - bias)).float().cpu().numpy()
    distance: Array = torch.linalg.vector_norm(painted - original, dim=0).float().cpu().numpy()
    for share in (BRIGHTEST, MIDDLE):
        distance = neighbourhood_mean(distance, *share)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nan_to_num(distance / half, nan=0.0, posinf=np.inf)
        kept = 1 / (1 + ratio**knobs.difference_contrast)
    kept = kept**3 * (kept * (6 * kept - 15) + 10)  # smootherstep, Perlin 2002
    small = Image.fromarray((255 * (1 - kept)).clip(0, 255).astype(np.uint8))
    large = resize(small, "Resize and fill", width, height)
    return large.filter(ImageFilter.GaussianBlur(OVERLAY_BLUR))


def neighbourhood_mean(values: Array, low: float, high: float) -> Array:
    """For each cell the mean of a part of its neighbourhood's sorted values.

    Neighbours are weighted by a Gaussian that reaches 0 beyond ``KERNEL_RADIUS`` cells.

    Args:
        values: (h, w).
        low, high: Which part, as shares of the neighbourhood's whole weight.
    Returns:
        (h, w).
    """
    around, weights = _neighbours(values)  # (25, h, w) both
    order = np.argsort(around, axis=0)
    around, weights = (np.take_along_axis(a, order, 0) for a in (around, weights))
    ends = np.cumsum(weights, axis=0)
    begins, total = ends - weights, ends[-1]
    start, stop = _at_least(total * low, total * high, total)
    taken = np.clip(np.minimum(ends, stop) - np.maximum(begins, start), 0, None)
    return (around * taken).sum(0) / np.maximum(taken.sum(0), 1e-12)


def _at_least(start: Array, stop: Array, total: Array) -> tuple[Array, Array]:
    """The window start … stop, widened to ``LEAST_WEIGHT`` and shifted to lie within 0 … total."""
    middle = (start + stop) / 2
    is_narrow = stop - start < LEAST_WEIGHT
    start = np.where(is_narrow, middle - LEAST_WEIGHT / 2, start)
    stop = np.where(is_narrow, middle + LEAST_WEIGHT / 2, stop)
    over = np.maximum(stop - total, 0)
    start, stop = start - over, stop - over
    under = np.maximum(-start, 0)
    return start + under, np.minimum(stop + under, total)


def _neighbours(values: Array) -> tuple[Array, Array]:
    """Each cell's neighbours and their weights; those outside weigh nothing."""
    reach = range(-KERNEL_RADIUS, KERNEL_RADIUS + 1)
    padded = np.pad(values.astype(np.float64), KERNEL_RADIUS)
    inside = np.pad(np.ones_like(values, dtype=np.float64), KERNEL_RADIUS)
    height, width = values.shape
    found, weights = [], []
    for down in reach:
        for right in reach:
            rows = slice(KERNEL_RADIUS + down, KERNEL_RADIUS + down + height)
            columns = slice(KERNEL_RADIUS + right, KERNEL_RADIUS + right + width)
            found.append(padded[rows, columns])
            weights.append(inside[rows, columns] * _weight(down**2 + right**2))
    return np.stack(found), np.stack(weights)


def _weight(square_distance: float) -> float:
    """A Gaussian lowered and stretched so that it reaches 0 one cell beyond the radius."""
    zero = np.exp(-((KERNEL_RADIUS + 1) ** 2) / KERNEL_SPREAD**2)
    here = np.exp(-square_distance / KERNEL_SPREAD**2)
    return max(0.0, float((here - zero) / (1 - zero)))
