"""Small pictures of what a diffusers pipeline is at, while it walks."""

from __future__ import annotations

from typing import Any, Final

import torch
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from webui.checkpoints.load_pipeline import LoadedPipeline
from webui.pipelines.taking_turns import TAKES_TURNS

MOST_CELLS: Final = 48
"""Latents are made smaller than this on both sides before they are decoded: a preview then costs
a second on a CPU."""


def clean_estimate(scheduler: Any, before: Tensor | None, latents: Tensor) -> Tensor:
    """Where a walk is heading, as the network sees it.

    Args:
        before: Latents before the step that was just made; None = unknown.
        latents: After it.
    Returns:
        For a straight walk (flow matching) the clean estimate: a step of Euler's along the
        velocity v from noise level s to t makes x' = x + (t − s)·v, so that x' − t·v is clean.
        For other schedulers the latents themselves, with the noise that is left in them.
    """
    sigmas, place = getattr(scheduler, "sigmas", None), getattr(scheduler, "step_index", None)
    is_straight = type(scheduler).__name__ == "FlowMatchEulerDiscreteScheduler"
    if not is_straight or before is None or sigmas is None or not place:
        return latents
    now, level = float(sigmas[place]), float(sigmas[place - 1])
    return latents - now * (latents - before) / (now - level)


def glimpse(model: LoadedPipeline, latents: Tensor, width: int, height: int) -> list[Image.Image]:
    """Pictures of latents; none where that is dear, or not known for this model.

    Args:
        latents: (B, C, h, w), or packed as FLUX does.
        width, height: Pixels of the picture that is painted.
    """
    pipeline, vae = model.pipeline, getattr(model.pipeline, "vae", None)
    if TAKES_TURNS in model.extras or not isinstance(vae, (AutoencoderKL, AutoencoderDC)):
        return []
    if latents.ndim == 3 and hasattr(pipeline, "_unpack_latents"):
        latents = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
    if latents.ndim != 4:
        return []
    factor = MOST_CELLS / max(latents.shape[-2:])
    if factor < 1:
        latents = interpolate(latents.float(), scale_factor=factor, mode="area")
    config: Any = vae.config
    decode: Any = vae.decode
    latents = latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)
    with torch.inference_mode():
        pixels = decode(latents.to(vae.dtype), return_dict=False)[0]
    return pipeline.image_processor.postprocess(pixels, output_type="pil")
