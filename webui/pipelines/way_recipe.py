"""What a recipe says about outpainting, loopback and SD upscale.

Source:
    A1111's keys where it writes any: «Final denoising strength», «Denoising curve», «SD upscale
    overlap», «SD upscale upscaler». The others are ours.
"""

from __future__ import annotations

from typing import Any

from webui.params import ImageToImage, Loopback, Outpaint, SdUpscale


def way_pairs(params: ImageToImage) -> dict[str, Any]:
    """The keys and values of a request's way of working; none for a plain one."""
    if params.outpaint is not None:
        return _outpaint_pairs(params.outpaint)
    if params.loopback is not None:
        return _loopback_pairs(params.loopback)
    return _upscale_pairs(params.sd_upscale) if params.sd_upscale is not None else {}


def _outpaint_pairs(outpaint: Outpaint) -> dict[str, Any]:
    has_noise = outpaint.content == "matched noise"
    return {
        "Outpaint left": outpaint.left or None,
        "Outpaint right": outpaint.right or None,
        "Outpaint up": outpaint.up or None,
        "Outpaint down": outpaint.down or None,
        "Outpaint blur": outpaint.blur,
        "Outpaint content": outpaint.content,
        "Outpaint fall-off": outpaint.noise_q if has_noise else None,
        "Outpaint color variation": outpaint.color_variation if has_noise else None,
    }


def _loopback_pairs(loopback: Loopback) -> dict[str, Any]:
    return {
        "Loops": loopback.loops,
        "Final denoising strength": loopback.final_denoising_strength,
        "Denoising curve": loopback.curve,
    }


def _upscale_pairs(upscale: SdUpscale) -> dict[str, Any]:
    return {
        "SD upscale overlap": upscale.overlap,
        "SD upscale upscaler": upscale.upscaler,
        "SD upscale factor": upscale.scale,
    }
