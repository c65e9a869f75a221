"""From latents to pictures, and back for passes that begin with a picture."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.errors import JobError
from webui.pipelines.placement import on_device

logger = logging.getLogger(__name__)
NAN_HINT = (
    "Start with --no-half, or choose another checkpoint or VAE: this one may be damaged. "
    "Very high CFG scales and prompt weights can cause it too."
)
NAN_WARNING = (
    "The VAE produced broken values in half precision and was run again in float32. "
    "Start with --no-half-vae to make this the rule."
)


@torch.inference_mode()
def decode(model: LoadedModel, latents: Tensor, warn: Callable[[str], None]) -> list[Image.Image]:
    """Decode latents, one picture at a time so that memory stays that of one picture.

    Args:
        model: Its VAE is used; broken values in half precision are retried in float32, and the
            VAE then stays in float32.
        latents: (B, 4, H/8, W/8), VAE-scaled.
        warn: Told when that happened.
    Returns:
        B RGB pictures of H×W pixels.
    Raises:
        JobError: The latents, or the pixels even in float32, are no numbers.
    """
    if not bool(torch.isfinite(latents).all()):
        raise JobError("The network produced broken values (NaN) instead of a picture.", NAN_HINT)
    with on_device(model.vae, model.device):
        return [to_image(_decode_one(model, one[None], warn)[0]) for one in latents]


def _decode_one(model: LoadedModel, latents: Tensor, warn: Callable[[str], None]) -> Tensor:
    scaled = latents / model.scaling_factor
    vae: Any = model.vae  # diffusers' annotations are narrower than its code
    pixels = vae.decode(scaled.to(vae.dtype), return_dict=False)[0]
    if vae.dtype != torch.float32 and not bool(torch.isfinite(pixels).all()):
        warn(NAN_WARNING)
        vae.to(dtype=torch.float32)
        pixels = vae.decode(scaled.to(torch.float32), return_dict=False)[0]
    if not bool(torch.isfinite(pixels).all()):
        raise JobError("The VAE produced broken values (NaN) instead of a picture.", NAN_HINT)
    return pixels.float()  # (1, 3, H, W), -1 … 1


def to_image(pixels: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] to an 8-bit picture; fractions are cut off, not rounded, as A1111's."""
    values = ((pixels + 1) * 127.5).nan_to_num(0.0).clamp_(0, 255)
    array = values.permute(1, 2, 0).to(torch.uint8).cpu().numpy()  # (H, W, 3)
    return Image.fromarray(np.ascontiguousarray(array))


@torch.inference_mode()
def encode(model: LoadedModel, images: list[Image.Image]) -> Tensor:
    """Encode pictures to the middle of the VAE's distribution.

    Args:
        images: RGB, all of one size, sides multiples of 8.
    Returns:
        (B, 4, H/8, W/8) float32, VAE-scaled.
    """
    arrays = np.stack([np.asarray(image.convert("RGB"), dtype=np.float32) for image in images])
    pixels = torch.from_numpy(arrays).permute(0, 3, 1, 2) / 127.5 - 1  # (B, 3, H, W)
    vae = model.vae
    with on_device(vae, model.device):
        (posterior,) = vae.encode(pixels.to(model.device, vae.dtype), return_dict=False)
    return posterior.mean.float() * model.scaling_factor
