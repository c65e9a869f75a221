"""What hires fix and inpainting cost beside their own network calls. Run through bench.py.

Both times come from the same run, in this process: the whole of ``paint()``, and within it the
calls of U-Net and VAE (the text is unchanged between runs and therefore already encoded). What a
request over HTTP adds is measured by ``bench.py starter`` and ``bench.py full``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.big_pictures import Silent, Supplies
from benchmarks.table import header, row

PICTURE, MASK = "0" * 64, "1" * 64


class _PictureAndMask(Supplies):
    def __init__(self, model: Any, encoder: Any, image: Any, mask: Any) -> None:
        super().__init__(model, encoder, image)
        self._mask = mask

    def input(self, key: str) -> Any:
        return self._mask if key == MASK else super().input(key)


class _Clock:
    """Adds up the seconds inside some functions."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, owner: Any, name: str) -> None:
        work: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began

        setattr(owner, name, timed)


def measure(file: Path, *, side: int, steps: int, runs: int) -> None:
    """Print the table for one checkpoint.

    Args:
        side: Of the first pass, in pixels. steps: Of each pass. runs: After one to warm up.
    """
    from webui.torch_setup import prepare_torch

    prepare_torch()
    import torch
    from PIL import Image

    from webui.checkpoints.load import load_checkpoint
    from webui.params import build
    from webui.pipelines.conditioning import PromptEncoder
    from webui.pipelines.runs import run_class
    from webui.prompts.tokenizer import ClipTokenizer

    image = Image.linear_gradient("L").resize((side, side)).convert("RGB")
    mask = Image.new("L", (side, side))
    mask.paste(255, (side // 4, side // 4, side // 4 * 3, side // 4 * 3))
    model = load_checkpoint(file, device="cpu", dtype=torch.float32)
    supplies = _PictureAndMask(model, PromptEncoder(model, ClipTokenizer.load()), image, mask)
    clock = _Clock()
    for owner, name in ((model.unet, "forward"), (model.vae, "encode"), (model.vae, "decode")):
        clock.watch(owner, name)
    label = f"{file.stem}, {side}x{side}, {steps} steps"
    header(label, "whole s", "network calls s", "ratio, run by run")
    for name, (kind, wish) in _wishes().items():
        values = {
            "prompt": "a red apple on a yellow background", "negative_prompt": "blurry",
            "sampler": "DPM++ 2M", "schedule": "Karras", "steps": steps, "cfg_scale": 5,
            "width": side, "height": side, "seed": 7, **wish,
        }  # fmt: skip
        params = build(kind, values)
        wholes, calls = [], []
        for run in range(runs + 1):
            clock.seconds, began = 0.0, time.perf_counter()
            run_class(params)(params, supplies, Silent()).paint()
            if run:
                wholes.append(time.perf_counter() - began)
                calls.append(clock.seconds)
        ratios = [whole / part for whole, part in zip(wholes, calls, strict=True)]
        row(name, *(_spread(values) for values in (wholes, calls, ratios)))


def _wishes() -> dict[str, tuple[str, dict[str, Any]]]:
    hires = {"scale": 2.0, "denoising_strength": 0.7}
    inpaint = {"mask": MASK, "content": "original", "only_masked": False}
    repaint = {"init_images": [PICTURE], "denoising_strength": 0.75}
    return {
        "hires fix x2, Latent": ("txt2img", {"hires": {**hires, "upscaler": "Latent"}}),
        "hires fix x2, Lanczos": ("txt2img", {"hires": {**hires, "upscaler": "Lanczos"}}),
        "inpaint": ("img2img", {**repaint, "inpaint": inpaint}),
        "inpaint, only masked": (
            "img2img",
            {**repaint, "inpaint": {**inpaint, "only_masked": True}},
        ),
    }


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"
