"""What recipes say about outpainting, loopback and SD upscale."""

from __future__ import annotations

from typing import Any

import pytest

from webui.infotext import parse_infotext
from webui.params import ImageToImage
from webui.pipelines.recipe import ModelFacts, write_recipe

WAYS: list[tuple[dict[str, Any], dict[str, str]]] = [
    (
        {"outpaint": {"left": 64, "down": 8, "blur": 24}},
        {
            "Outpaint left": "64", "Outpaint down": "8", "Outpaint blur": "24",
            "Outpaint content": "continue",
        },
    ),
    (
        {"outpaint": {"up": 16, "content": "matched noise", "noise_q": 1.5}},
        {
            "Outpaint up": "16", "Outpaint blur": "8", "Outpaint content": "matched noise",
            "Outpaint fall-off": "1.5", "Outpaint color variation": "0.05",
        },
    ),
    (
        {"loopback": {"loops": 3, "final_denoising_strength": 0.2, "curve": "Lazy"}},
        {"Loops": "3", "Final denoising strength": "0.2", "Denoising curve": "Lazy"},
    ),
    (
        {"sd_upscale": {"overlap": 32, "upscaler": "Lanczos", "scale": 1.5}},
        {"SD upscale overlap": "32", "SD upscale upscaler": "Lanczos", "SD upscale factor": "1.5"},
    ),
    ({}, {}),
]  # fmt: skip
OURS = ("Outpaint", "Loop", "Final", "Denoising curve", "SD upscale")


@pytest.mark.parametrize(("values", "expected"), WAYS)
def test_recipe_when_a_way_of_working_is_chosen_tells_its_values(
    values: dict[str, Any], expected: dict[str, str]
) -> None:
    params = ImageToImage(init_images=("a" * 64,), **values)
    text = write_recipe(params, ModelFacts("m"), index=0, seed=1, subseed=1, show={})

    told = {k: v for k, v in parse_infotext(text).params.items() if k.startswith(OURS)}
    assert told == expected


def test_recipe_when_a_picture_was_grown_tells_its_own_size() -> None:
    params = ImageToImage(init_images=("a" * 64,), outpaint={"left": 8}, width=512, height=512)
    told = write_recipe(
        params, ModelFacts("m"), index=0, seed=1, subseed=1, show={}, grown_to=(108, 75)
    )

    assert "Size: 108x75," in told
