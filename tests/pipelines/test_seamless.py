"""Pictures whose edges meet, in every pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from webui.params import Hires

KEY = "c" * 64


def seam(picture: Any) -> float:
    """Step across the edges where copies of the picture would meet, in steps inside of it."""
    values = np.asarray(picture.image, dtype=float)
    across = np.abs(values[:, 0] - values[:, -1]).mean() + np.abs(values[0] - values[-1]).mean()
    inside = np.abs(np.diff(values, axis=1)).mean() + np.abs(np.diff(values, axis=0)).mean()
    return float(across / inside)


@pytest.fixture(scope="module")
def slope() -> Image.Image:
    """Dark at the left and above, bright at the right and below: its edges are far apart."""
    ramp = np.add.outer(np.arange(64), np.arange(64)) * 2
    return Image.fromarray(np.repeat(ramp[:, :, None], 3, axis=2).astype(np.uint8))


@pytest.mark.parametrize("is_tiled", [False, True], ids=["whole", "tiled VAE"])
@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos"])
def test_hires_when_seamless_has_edges_that_meet(
    painted: Any, upscaler: str, is_tiled: bool
) -> None:
    hires = Hires(upscaler=upscaler, denoising_strength=0.6, steps=4)
    values: dict[str, Any] = {"steps": 6, "seed": 3, "hires": hires, "tiled_vae": is_tiled}
    meeting = painted(**values, tiling=True).pictures[0]

    assert seam(meeting) < 2


def test_img2img_when_seamless_brings_edges_together(painted: Any, slope: Image.Image) -> None:
    values: dict[str, Any] = {"kind": "img2img", "inputs": {KEY: slope}, "init_images": (KEY,)}
    values |= {"denoising_strength": 0.8, "steps": 10}
    open_edges = painted(**values).pictures[0]
    meeting = painted(**values, tiling=True).pictures[0]

    # what the input itself says about its edges stays; measured 3.2 and 9.4
    assert seam(meeting) < 0.5 * seam(open_edges)
