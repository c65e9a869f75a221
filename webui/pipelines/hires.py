"""Enlarging between the two passes of hires fix."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.pipelines.decode import decode, encode
from webui.pipelines.upscaling import Upscaler
from webui.samplers.steps import HiresTarget


class _Told(Protocol):
    def warn(self, message: str) -> None: ...
    def should_stop(self) -> bool: ...


LATENT_MODES: dict[str, tuple[str, bool]] = {
    "Latent": ("bilinear", False),
    "Latent (antialiased)": ("bilinear", True),
    "Latent (bicubic)": ("bicubic", False),
    "Latent (bicubic antialiased)": ("bicubic", True),
    "Latent (nearest)": ("nearest", False),
    "Latent (nearest-exact)": ("nearest-exact", False),
}
"""A1111's names: (interpolation, antialias)."""


def upscale_latents(latents: Tensor, mode: str, target: HiresTarget) -> Tensor:
    """Enlarge latents and cut what the target size does not need.

    Args:
        latents: (B, 4, h, w).
        mode: A key of ``LATENT_MODES``.
    Returns:
        (B, 4, H/8, W/8) of the second pass.
    """
    interpolation, antialias = LATENT_MODES[mode]
    size = (target.upscale_to[1] // 8, target.upscale_to[0] // 8)
    large = torch.nn.functional.interpolate(
        latents, size=size, mode=interpolation, antialias=antialias
    )
    return _cut(large, target)


def upscale_pictures(
    model: LoadedModel,
    latents: Tensor,
    upscaler: Upscaler,
    target: HiresTarget,
    listener: _Told,
) -> Tensor:
    """Decode, enlarge as pictures, encode again.

    Args:
        latents: (B, 4, h, w).
        listener: Told about warnings; asked between tiles whether to stop.
    Returns:
        (B, 4, H/8, W/8) of the second pass.
    """
    pictures = decode(model, latents, listener.warn)
    width, height = (side // 8 * 8 for side in target.upscale_to)
    large = [
        upscaler.enlarge(picture, width, height, should_stop=listener.should_stop)
        for picture in pictures
    ]
    return _cut(encode(model, large).to(latents.dtype), target)


def _cut(latents: Tensor, target: HiresTarget) -> Tensor:
    columns, rows = target.truncate_latent
    height, width = latents.shape[-2:]
    left, top = columns // 2, rows // 2
    right, bottom = width - (columns + 1) // 2, height - (rows + 1) // 2
    return latents[:, :, top:bottom, left:right].contiguous()
