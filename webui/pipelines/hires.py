"""Enlarging between the two passes of hires fix."""

from __future__ import annotations

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.errors import ParamsError
from webui.pipelines.decode import decode, encode
from webui.samplers.steps import HiresTarget

LATENT_MODES: dict[str, tuple[str, bool]] = {
    "Latent": ("bilinear", False),
    "Latent (antialiased)": ("bilinear", True),
    "Latent (bicubic)": ("bicubic", False),
    "Latent (bicubic antialiased)": ("bicubic", True),
    "Latent (nearest)": ("nearest", False),
    "Latent (nearest-exact)": ("nearest-exact", False),
}
"""A1111's names: (interpolation, antialias)."""

PICTURE_MODES: dict[str, Image.Resampling] = {
    "Lanczos": Image.Resampling.LANCZOS,
    "Nearest": Image.Resampling.NEAREST,
    "None": Image.Resampling.LANCZOS,
}


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
    upscaler: str,
    target: HiresTarget,
    warn: Callable[[str], None],
) -> Tensor:
    """Decode, enlarge as pictures, encode again.

    Raises:
        ParamsError: No upscaler has that name.
    """
    if upscaler not in PICTURE_MODES:
        raise ParamsError(
            f"could not find upscaler named {upscaler}.",
            f"Known upscalers: {', '.join([*LATENT_MODES, *PICTURE_MODES])}.",
            field="hr_upscaler",
        )
    pictures = decode(model, latents, warn)
    width, height = (side // 8 * 8 for side in target.upscale_to)
    large = [picture.resize((width, height), PICTURE_MODES[upscaler]) for picture in pictures]
    return _cut(encode(model, large).to(latents.dtype), target)


def _cut(latents: Tensor, target: HiresTarget) -> Tensor:
    columns, rows = target.truncate_latent
    height, width = latents.shape[-2:]
    left, top = columns // 2, rows // 2
    right, bottom = width - (columns + 1) // 2, height - (rows + 1) // 2
    return latents[:, :, top:bottom, left:right].contiguous()
