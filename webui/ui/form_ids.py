"""The ids that A1111 gives the fields of its form; scripts and their JavaScript look for them."""

from __future__ import annotations

A1111_IDS = {
    "prompt": "prompt",
    "negative_prompt": "neg_prompt",
    "styles": "styles",
    "sampler": "sampling",
    "schedule": "scheduler",
    "steps": "steps",
    "width": "width",
    "height": "height",
    "batch_count": "batch_count",
    "batch_size": "batch_size",
    "cfg_scale": "cfg_scale",
    "seed": "seed",
    "subseed": "subseed",
    "subseed_strength": "subseed_strength",
    "denoising": "denoising_strength",
    "resize_mode": "resize_mode",
    "has_hires": "hr-checkbox",
    "hires_upscaler": "hr_upscaler",
    "hires_steps": "hires_steps",
    "hires_denoising": "denoising_strength",
    "hires_scale": "hr_scale",
    "hires_resize_x": "hr_resize_x",
    "hires_resize_y": "hr_resize_y",
}
"""By the names of our fields, behind ``txt2img_`` or ``img2img_``."""
