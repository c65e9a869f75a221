"""Recipes of pictures that begin with a picture: A1111's keys in A1111's order."""

from __future__ import annotations

from typing import Any

import pytest

from webui.params import ImageToImage, build
from webui.pipelines.recipe import ModelFacts, write_recipe

KEY = "ab" * 32


def pairs(model: ModelFacts | None = None, **values: Any) -> list[str]:
    """The last line of the recipe, cut into pairs, without what every recipe has."""
    params = build("img2img", {"prompt": "a (b)", "init_images": [KEY], **values})
    assert isinstance(params, ImageToImage)
    model = model or ModelFacts("m")
    text = write_recipe(params, model, index=0, seed=1, subseed=1, show={})
    return text.splitlines()[-1].split(", ")


def test_recipe_when_plain_img2img_then_only_the_strength_is_added() -> None:
    assert pairs(denoising_strength=0.4)[4:] == [
        "Seed: 1",
        "Size: 512x512",
        "Model: m",
        "Denoising strength: 0.4",
        "RNG: NV",
        "Version: Danqing 0.1.0",
    ]


def test_recipe_when_everything_about_the_mask_is_asked_then_keeps_the_order() -> None:
    found = pairs(
        emphasis="No norm",
        sampler="Euler a",
        sampling={"eta": 0.5},
        initial_noise_multiplier=1.1,
        extra_noise=0.05,
        inpaint={
            "mask": KEY,
            "blur_x": 6,
            "blur_y": 6,
            "is_inverted": True,
            "only_masked": True,
            "padding": 16,
            "content": "latent noise",
            "soft": {"mask_influence": 0.25},
        },
    )
    assert found[9:-1] == [
        "Soft inpainting enabled: True",
        "Soft inpainting schedule bias: 1.0",
        "Soft inpainting preservation strength: 0.5",
        "Soft inpainting transition contrast boost: 4.0",
        "Soft inpainting mask influence: 0.25",
        "Soft inpainting difference threshold: 0.5",
        "Soft inpainting difference contrast: 2.0",
        "Mask mode: Inpaint not masked",
        "Mask blur: 6",
        "Inpaint area: Only masked",
        "Masked area padding: 16",
        "Masked content: latent noise",
        "Emphasis: No norm",
        "Noise multiplier: 1.1",
        "Extra noise: 0.05",
        "Eta: 0.5",
    ]


@pytest.mark.parametrize(("x", "y"), [(0, 0), (4, 2)])
def test_recipe_when_blurs_differ_or_are_none_then_none_is_written(x: int, y: int) -> None:
    found = pairs(inpaint={"mask": KEY, "blur_x": x, "blur_y": y})
    assert not [pair for pair in found if pair.startswith("Mask")]


def test_recipe_when_the_checkpoint_is_for_inpainting_then_its_weight_follows_the_strength() -> (
    None
):
    model = ModelFacts("m", purpose="inpaint")
    found = pairs(model, inpaint={"mask": KEY, "conditioning_weight": 0.5})
    place = found.index("Conditional mask weight: 0.5")
    assert found[place - 1] == "Denoising strength: 0.75"
    assert "Conditional mask weight: 1.0" in pairs(model)


@pytest.mark.parametrize(("given", "written"), [(None, 1.5), (2.0, 2.0)])
def test_recipe_when_the_checkpoint_edits_then_the_image_scale_follows_the_scale(
    given: float | None, written: float
) -> None:
    found = pairs(ModelFacts("m", purpose="edit"), image_cfg_scale=given)
    place = found.index(f"Image CFG scale: {written}")
    assert found[place - 1] == "CFG scale: 7.0"


def test_recipe_when_the_checkpoint_is_plain_then_picture_guidance_is_not_written() -> None:
    found = pairs(image_cfg_scale=2.0)
    assert not [pair for pair in found if pair.startswith(("Image CFG", "Conditional"))]
