"""Painting jobs as scripts see them, and painting itself."""

from __future__ import annotations

import random
from typing import Any

from webui.extensions.a1111.host import current
from webui.extensions.a1111.importing import guard
from webui.extensions.a1111.processing import (
    Processed,
    StableDiffusionProcessing,
    StableDiffusionProcessingImg2Img,
    StableDiffusionProcessingTxt2Img,
    opt_C,
    opt_f,
)

__all__ = [
    "Processed", "StableDiffusionProcessing", "StableDiffusionProcessingImg2Img",
    "StableDiffusionProcessingTxt2Img", "apply_color_correction", "apply_overlay",
    "create_infotext", "fix_seed", "get_fixed_seed", "get_seed", "opt_C", "opt_f",
    "process_images", "program_version", "setup_color_correction",
]  # fmt: skip


def process_images(p: Any) -> Any:
    """Paint a job; from ``run()`` or another method of a script, while a job runs."""
    return current().paint(p)


def get_fixed_seed(seed: Any) -> int:
    """A seed as a number; −1, empty and unreadable ones are drawn."""
    try:
        number = int(seed)
    except (TypeError, ValueError):
        number = -1
    return number if number != -1 else random.SystemRandom().randrange(4294967294)


get_seed = get_fixed_seed


def fix_seed(p: Any) -> None:
    """Draw the seeds that are left open."""
    p.seed, p.subseed = get_fixed_seed(p.seed), get_fixed_seed(p.subseed)


def program_version() -> str:
    """As recipes say it."""
    from webui import PROGRAM_VERSION

    return PROGRAM_VERSION


def create_infotext(
    p: Any,
    all_prompts: Any,
    all_seeds: Any,
    all_subseeds: Any,
    comments: Any = None,
    iteration: int = 0,
    position_in_batch: int = 0,
    use_main_prompt: bool = False,
    index: int | None = None,
    all_negative_prompts: Any = None,
) -> str:
    """The recipe of a picture, as far as ``p`` knows it."""
    from webui.infotext import write_infotext

    usual = position_in_batch + iteration * p.batch_size
    place: int = usual if index is None else index
    negatives = all_negative_prompts or p.all_negative_prompts or [p.negative_prompt]
    at = place % len(negatives)
    pairs = {
        "Steps": p.steps,
        "Sampler": p.sampler_name,
        "Schedule type": p.scheduler,
        "CFG scale": p.cfg_scale,
        "Seed": all_seeds[place],
        "Size": f"{p.width}x{p.height}",
        "Model hash": p.sd_model_hash,
        "Model": p.sd_model_name,
        "Denoising strength": getattr(p, "denoising_strength", None),
        **{key: value for key, value in p.extra_generation_params.items() if not callable(value)},
        "Version": program_version(),
    }
    prompt = p.main_prompt if use_main_prompt and p.main_prompt else all_prompts[place]
    return write_infotext(prompt, negatives[at], pairs)


def setup_color_correction(image: Any) -> Any:
    """What ``apply_color_correction`` brings pictures back to: a picture's own colours."""
    return image.convert("RGB")


def apply_color_correction(correction: Any, original_image: Any) -> Any:
    """A picture with the mean and spread of another's colours, in Lab."""
    import numpy as np
    from PIL import Image

    def lab(image: Any) -> Any:
        return np.asarray(image.convert("LAB"), dtype=np.float32)

    now, wanted = lab(original_image.convert("RGB")), lab(correction)
    axes = (0, 1)
    moved = (now - now.mean(axes)) / (now.std(axes) + 1e-6) * wanted.std(axes) + wanted.mean(axes)
    pixels = moved.clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels, "LAB").convert("RGB")


def apply_overlay(image: Any, paste_loc: Any, overlay: Any) -> Any:
    """A repainted part put back into its picture; returns it and what was painted, alone."""
    from PIL import Image

    if overlay is None:
        return image, image.copy()
    if paste_loc is not None:
        x, y, width, height = paste_loc
        whole = Image.new("RGBA", overlay.size)
        whole.paste(image.resize((width, height), Image.Resampling.LANCZOS), (x, y))
        image = whole
    painted = image.copy()
    return Image.alpha_composite(image.convert("RGBA"), overlay.convert("RGBA")).convert(
        "RGB"
    ), painted


guard(__name__)
