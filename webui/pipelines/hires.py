"""Enlarging between the two passes of hires fix."""

from __future__ import annotations

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor

from webui.pipelines.upscaling import Upscaler
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
    return cut_to_target(large, target)


def upscale_pictures(
    pictures: list[Image.Image],
    upscaler: Upscaler,
    target: HiresTarget,
    *,
    should_stop: Callable[[], bool],
    on_tile: Callable[[int, int], None],
) -> list[Image.Image]:
    """Enlarge pictures to the size that is encoded, before anything is cut.

    Args:
        pictures: All of one size.
        should_stop: Asked between tiles.
        on_tile: Told (done, total), counted over all pictures.
    Returns:
        As many, with sides that are multiples of 8.
    Raises:
        Interrupted: ``should_stop`` said so.
    """
    width, height = (side // 8 * 8 for side in target.upscale_to)
    large = []
    for index, picture in enumerate(pictures):

        def told(done: int, total: int, before: int = index) -> None:
            on_tile(before * total + done, len(pictures) * total)

        large.append(
            upscaler.enlarge(picture, width, height, should_stop=should_stop, on_tile=told)
        )
    return large


def cut_to_target(latents: Tensor, target: HiresTarget) -> Tensor:
    """Cut from all sides what a target that is covered does not show.

    Args:
        latents: (B, 4, h, w) of ``target.upscale_to``.
    Returns:
        (B, 4, H/8, W/8) of the second pass.
    """
    columns, rows = target.truncate_latent
    height, width = latents.shape[-2:]
    left, top = columns // 2, rows // 2
    right, bottom = width - (columns + 1) // 2, height - (rows + 1) // 2
    return latents[:, :, top:bottom, left:right].contiguous()
