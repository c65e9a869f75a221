"""What a recipe says about masks, noise and guidance of pictures that begin with a picture.

Source:
    Keys and order: AUTOMATIC1111 1.10.1 and its script "Soft inpainting".
"""

from __future__ import annotations

from typing import Any

from webui.params import ImageToImage, Inpaint, Painting, SoftInpainting
from webui.pipelines.image_to_image import DEFAULT_IMAGE_CFG_SCALE


def inpaint_pairs(params: ImageToImage) -> dict[str, Any]:
    """Keys of a request with a mask; none for others."""
    inpaint = params.inpaint
    if inpaint is None:
        return {}
    return {**(_soft_pairs(inpaint.soft) if inpaint.soft else {}), **_mask_pairs(inpaint)}


def _mask_pairs(inpaint: Inpaint) -> dict[str, Any]:
    has_one_blur = inpaint.blur_x == inpaint.blur_y != 0
    return {
        "Mask mode": "Inpaint not masked" if inpaint.is_inverted else None,
        "Mask blur": inpaint.blur_x if has_one_blur else None,
        "Inpaint area": "Only masked" if inpaint.only_masked else None,
        "Masked area padding": inpaint.padding if inpaint.only_masked else None,
        "Masked content": inpaint.content if inpaint.content != "original" else None,
    }


def _soft_pairs(soft: SoftInpainting) -> dict[str, Any]:
    return {
        "Soft inpainting enabled": True,
        "Soft inpainting schedule bias": soft.schedule_bias,
        "Soft inpainting preservation strength": soft.preservation_strength,
        "Soft inpainting transition contrast boost": soft.transition_contrast_boost,
        "Soft inpainting mask influence": soft.mask_influence,
        "Soft inpainting difference threshold": soft.difference_threshold,
        "Soft inpainting difference contrast": soft.difference_contrast,
    }


def noise_pairs(params: ImageToImage) -> dict[str, Any]:
    """How the first noise differs from the usual."""
    multiplier = params.initial_noise_multiplier
    return {
        "Noise multiplier": multiplier if multiplier != 1 else None,
        "Extra noise": params.extra_noise or None,
    }


def purpose_pairs(params: Painting, purpose: str) -> dict[str, Any]:
    """What checkpoints that are shown the input picture were told about it.

    Args:
        purpose: See ``checkpoints.specs.ArchSpec``.
    """
    return {
        "Image CFG scale": _image_scale(params, purpose),
        "Conditional mask weight": mask_weight(params, purpose),
    }


def mask_weight(params: Painting, purpose: str) -> float | None:
    """«Conditional mask weight»: how much of the masked picture an inpainting checkpoint was not
    shown; None when none was used on a picture."""
    if purpose != "inpaint" or not isinstance(params, ImageToImage):
        return None
    return params.inpaint.conditioning_weight if params.inpaint else 1.0


def _image_scale(params: Painting, purpose: str) -> float | None:
    """«Image CFG scale»; None when no InstructPix2Pix checkpoint was used on a picture."""
    if purpose != "edit" or not isinstance(params, ImageToImage):
        return None
    scale = params.image_cfg_scale
    return DEFAULT_IMAGE_CFG_SCALE if scale is None else scale
