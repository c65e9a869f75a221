"""Joins every moment of a painting; notes each in the job's state and changes what it can."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PIL import Image
from torch import Tensor

from webui.hookspecs import Estimates, Job, Pass, Step, Texts, hook
from webui.pipelines.conditioning import Conditioning

order: list[str] = []


@hook
def before_job(job: Job) -> None:
    order.clear()
    order.append("before_job")


@hook
def before_conditioning(texts: Texts) -> Texts:
    order.append("before_conditioning")
    return replace(texts, prompt=f"{texts.prompt} on white")


@hook
def after_conditioning(conditioning: Conditioning) -> Conditioning:
    order.append("after_conditioning")
    return replace(conditioning, encode_again=None)


@hook
def before_pass(start: Pass) -> Pass:
    order.append(f"before_pass {start.stage} {list(start.indices)} {tuple(start.noise.shape)}")
    return replace(start, noise=start.noise * 0.9)


@hook
def before_step(latents: Tensor, step: Step) -> Tensor:
    order.append(f"before_step {step.call}/{step.total}")
    assert step.sigma > 0
    return latents * 1.0


@hook
def after_model(estimates: Estimates) -> Estimates:
    order.append(f"after_model {len(estimates.conds)}")
    return replace(estimates, conds=tuple(cond * 0.99 for cond in estimates.conds))


@hook
def after_guidance(denoised: Tensor) -> Tensor:
    order.append("after_guidance")
    return denoised * 0.99


@hook
def after_pass(latents: Tensor, stage: str) -> Tensor:
    order.append(f"after_pass {stage}")
    return latents * 0.99


@hook
def after_decode(images: list[Image.Image]) -> list[Image.Image]:
    order.append("after_decode")
    return [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]


@hook
def picture_finished(image: Image.Image, index: int, seed: int, job: Job) -> Image.Image:
    order.append(f"picture_finished {index} {seed}")
    again = job.repaint(image, Image.new("L", image.size, 255), steps=2, denoising_strength=0.5)
    assert again.size == image.size
    return again.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


@hook
def infotext_written(pairs: dict[str, Any], index: int) -> dict[str, Any]:
    order.append("infotext_written")
    return {**pairs, "Little steps": index}


@hook
def after_job(job: Job) -> None:
    order.append("after_job")
