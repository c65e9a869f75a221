"""What img2img and inpainting mean, looked at in pictures of the starter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pipelines.conftest import Ear

Painted = Callable[..., Ear]
Array = np.ndarray[Any, Any]
PICTURE, MASK = (hashlib.sha256(name).hexdigest() for name in (b"picture", b"mask"))
SIZE = {"width": 128, "height": 128, "cfg_scale": 5.0}  # what the starter was trained for


def array(image: Image.Image) -> Array:
    return np.asarray(image.convert("RGB"), dtype=int)


@pytest.fixture
def apple(painted: Painted) -> Image.Image:
    ear = painted(prompt="a red apple", seed=3, steps=16, **SIZE)
    return ear.pictures[0].image


def is_red(image: Image.Image) -> Array:
    pixels = array(image)
    return (pixels[..., 0] > 150) & (pixels[..., 1:].max(axis=-1) < 120)


def is_yellow(image: Image.Image) -> Array:
    pixels = array(image)
    return (pixels[..., 0] > 170) & (pixels[..., 1] > 130) & (pixels[..., 2] < 110)


def test_img2img_when_the_strength_is_low_then_keeps_the_subject_and_turns_to_the_colour(
    painted: Painted, apple: Image.Image
) -> None:
    def repainted(prompt: str) -> Image.Image:
        ear = painted(
            kind="img2img",
            inputs={PICTURE: apple},
            init_images=[PICTURE],
            denoising_strength=0.3,
            prompt=prompt,
            steps=20,
            seed=4,
            **SIZE,
        )
        return ear.pictures[0].image

    before = is_red(apple)
    assert before.mean() > 0.15, "the apple of this test is not red"
    result, same_words = repainted("a red apple on a blue background"), repainted("a red apple")
    after = is_red(result)
    assert (before & after).sum() / (before | after).sum() > 0.85  # still there, same shape
    background = np.ones(before.shape, dtype=bool)
    background[8:-8, 8:-8] = False
    warmth = [float(array(p)[background][:, 0].mean()) for p in (result, same_words)]
    assert warmth[0] < warmth[1] - 4  # less red in it than without the wish for blue


def test_inpaint_when_a_star_is_asked_for_in_a_box_then_yellow_comes_only_there(
    painted: Painted,
) -> None:
    flat = Image.new("RGB", (192, 192), (120, 180, 230))
    box = (48, 48, 144, 144)
    mask = Image.new("RGB", flat.size)
    mask.paste((255, 255, 255), box)

    def shares(prompt: str) -> list[float]:
        found = []
        for seed in (1, 2, 3):
            ear = painted(
                kind="img2img",
                inputs={PICTURE: flat, MASK: mask},
                init_images=[PICTURE],
                inpaint={
                    "mask": MASK,
                    "content": "latent noise",
                    "only_masked": True,
                    "padding": 0,
                    "blur_x": 0,
                    "blur_y": 0,
                },
                denoising_strength=1.0,
                prompt=prompt,
                steps=12,
                seed=seed,
                **SIZE,
            )
            result = ear.pictures[0].image
            outside = np.ones((192, 192), dtype=bool)
            outside[box[1] : box[3], box[0] : box[2]] = False
            assert (array(result)[outside] == (120, 180, 230)).all()
            found.append(float(is_yellow(result)[~outside].mean()))
        return found

    star, whale = shares("a yellow star"), shares("a blue whale")
    assert np.mean(star) > 0.1
    assert np.mean(star) > 3 * np.mean(whale)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 4), (4, 20_000), (31, 77)])
@pytest.mark.parametrize("only_masked", [False, True])
def test_inpaint_when_the_picture_has_an_odd_shape_then_works(
    painted: Painted, size: tuple[int, int], only_masked: bool
) -> None:
    ear = painted(
        kind="img2img",
        inputs={
            PICTURE: Image.new("RGB", size, (9, 90, 200)),
            MASK: Image.new("RGB", size, "white"),
        },
        init_images=[PICTURE],
        inpaint={"mask": MASK, "only_masked": only_masked, "content": "fill"},
    )
    assert ear.pictures[0].image.size == (size if only_masked else (64, 64))


@pytest.mark.parametrize("mode", ["Crop and resize", "Just resize (latent upscale)"])
def test_inpaint_when_the_picture_is_resized_too_then_the_mask_goes_along(
    painted: Painted, mode: str
) -> None:
    """The left half of a picture is masked; it is still the left half of the result."""
    picture = Image.new("RGB", (130, 66), (60, 160, 90))
    mask = Image.new("RGB", (130, 66))
    mask.paste((255, 255, 255), (0, 0, 65, 66))
    ear = painted(
        kind="img2img",
        inputs={PICTURE: picture, MASK: mask},
        init_images=[PICTURE],
        resize_mode=mode,
        inpaint={"mask": MASK, "content": "latent noise", "blur_x": 0, "blur_y": 0},
        denoising_strength=1.0,
    )
    pixels = array(ear.pictures[0].image)
    assert pixels.shape == (64, 64, 3)
    assert (pixels[:, 40:] == (60, 160, 90)).all()
    assert (pixels[:, :28] != (60, 160, 90)).any(axis=-1).mean() > 0.9
