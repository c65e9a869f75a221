"""Pictures from pictures: what strength means, which inputs are used, resuming, stopping."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pipelines.conftest import Ear
from webui.samplers.names import SAMPLERS

Painted = Callable[..., Ear]
KEYS = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(4)]


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image.convert("RGB"), dtype=np.float32)


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures, 0–255."""
    return float(np.abs(pixels(one) - pixels(other)).mean())


@pytest.fixture(scope="module")
def apple() -> Image.Image:
    """A red disc on white, 64×64."""
    y, x = np.mgrid[0:64, 0:64]
    disc = (x - 32) ** 2 + (y - 32) ** 2 < 18**2
    array = np.where(disc[..., None], (200, 30, 30), (250, 250, 250)).astype(np.uint8)
    return Image.fromarray(array)


def test_img2img_when_the_strength_rises_then_the_result_moves_away(
    painted: Painted, apple: Image.Image
) -> None:
    def made(strength: float) -> Image.Image:
        ear = painted(
            kind="img2img",
            inputs={KEYS[0]: apple},
            init_images=[KEYS[0]],
            denoising_strength=strength,
            steps=10,
        )
        return ear.pictures[0].image

    distances = [distance(made(strength), apple) for strength in (0.0, 0.4, 1.0)]
    assert distances[0] < 12
    assert distances == sorted(distances)


def test_img2img_when_steps_are_fixed_then_exactly_so_many_are_run(
    painted: Painted, apple: Image.Image
) -> None:
    ears = [
        painted(
            kind="img2img",
            inputs={KEYS[0]: apple},
            init_images=[KEYS[0]],
            denoising_strength=0.5,
            steps=6,
            sampler="Euler",
            fix_steps=fixed,
        )
        for fixed in (False, True)
    ]
    counted = [len([s for s in ear.steps if s[2] == "sampling"]) for ear in ears]
    assert counted == [4, 6]


def test_img2img_when_each_picture_has_its_own_input_then_each_begins_there(
    painted: Painted, apple: Image.Image
) -> None:
    blue = Image.new("RGB", (64, 64), (20, 40, 220))
    ear = painted(
        kind="img2img",
        inputs={KEYS[0]: apple, KEYS[1]: blue},
        init_images=[KEYS[0], KEYS[1]],
        batch_size=2,
        batch_count=2,
        denoising_strength=0.1,
    )
    for i, (parent, other) in enumerate([(apple, blue), (blue, apple)] * 2):
        image = ear.pictures[i].image
        assert distance(image, parent) < distance(image, other) / 2, i


def test_img2img_when_batched_then_each_picture_is_as_if_alone(
    painted: Painted, apple: Image.Image
) -> None:
    values: dict[str, Any] = {
        "kind": "img2img",
        "inputs": {KEYS[0]: apple},
        "init_images": [KEYS[0]],
        "sampler": "Euler a",
    }
    together = painted(batch_size=2, seed=5, **values)
    alone = painted(seed=6, **values)
    assert distance(together.pictures[1].image, alone.pictures[0].image) < 0.5


def test_img2img_when_taken_up_again_then_only_what_is_missing_is_painted(
    painted: Painted, apple: Image.Image
) -> None:
    ear = painted(
        kind="img2img",
        inputs={KEYS[0]: apple},
        init_images=[KEYS[0]],
        batch_count=3,
        have={0, 1},
    )
    assert [p.index for p in ear.pictures] == [2]


def test_img2img_when_interrupted_then_no_further_step_is_made(
    painted: Painted, apple: Image.Image
) -> None:
    ear = Ear(stop_after=lambda ear: any(s[2] == "sampling" for s in ear.steps))
    painted(
        ear,
        kind="img2img",
        inputs={KEYS[0]: apple},
        init_images=[KEYS[0]],
        steps=8,
        batch_count=2,
        denoising_strength=1.0,
    )
    assert len([s for s in ear.steps if s[2] == "sampling"]) == 1
    assert len(ear.pictures) == 1


@pytest.mark.parametrize(
    "mode",
    ["Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)"],
)
@pytest.mark.parametrize("size", [(1, 1), (150, 40), (31, 90)])
def test_img2img_when_the_input_has_another_size_then_the_result_has_the_wanted_one(
    painted: Painted, mode: str, size: tuple[int, int]
) -> None:
    ear = painted(
        kind="img2img",
        inputs={KEYS[0]: Image.new("RGB", size, (30, 160, 60))},
        init_images=[KEYS[0]],
        resize_mode=mode,
        width=72,
        height=64,
        denoising_strength=0.0,
        fix_steps=True,
    )
    image = ear.pictures[0].image
    assert image.size == (72, 64)
    mean = pixels(image).mean(axis=(0, 1))
    assert mean[1] > mean[0] + 40  # still green everywhere
    assert mean[1] > mean[2] + 40


def test_img2img_when_the_noise_is_changed_then_the_picture_is(
    painted: Painted, apple: Image.Image
) -> None:
    def made(**values: float) -> Image.Image:
        ear = painted(
            kind="img2img",
            inputs={KEYS[0]: apple},
            init_images=[KEYS[0]],
            denoising_strength=0.5,
            sampler="Euler",
            **values,
        )
        return ear.pictures[0].image

    plain = made()
    assert distance(made(initial_noise_multiplier=0.5), plain) > 1
    assert distance(made(extra_noise=0.2), plain) > 0.5
    assert distance(made(initial_noise_multiplier=1.0, extra_noise=0.0), plain) == 0


def test_img2img_when_the_seed_is_the_same_then_the_picture_is(
    painted: Painted, apple: Image.Image
) -> None:
    one, other = (
        painted(kind="img2img", inputs={KEYS[0]: apple}, init_images=[KEYS[0]]).pictures[0].image
        for _ in range(2)
    )
    assert distance(one, other) == 0


def test_img2img_when_many_batches_share_an_input_then_it_is_encoded_once(
    painted: Painted, apple: Image.Image
) -> None:
    ear = painted(
        kind="img2img", inputs={KEYS[0]: apple}, init_images=[KEYS[0]], batch_count=3, batch_size=2
    )
    assert len(ear.pictures) == 6
    assert len([step for step in ear.steps if step[2] == "encoding"]) == 1


@pytest.mark.parametrize("sampler", [info.name for info in SAMPLERS])
def test_img2img_when_any_sampler_paints_then_the_input_shows(
    painted: Painted, apple: Image.Image, sampler: str
) -> None:
    ear = painted(
        kind="img2img",
        inputs={KEYS[0]: apple},
        init_images=[KEYS[0]],
        denoising_strength=0.2,
        sampler=sampler,
        steps=6,
    )
    assert 0 < distance(ear.pictures[0].image, apple) < 40
