"""Masks as pictures: reading, blurring, regions, filling, latent cells."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from webui.params import Inpaint
from webui.pipelines.masks import (
    blur_reach,
    blurred,
    filled,
    masked_region,
    read_mask,
    to_latent_mask,
)

KEY = hashlib.sha256(b"mask").hexdigest()


def inpaint(**values: Any) -> Inpaint:
    return Inpaint(**{"mask": KEY, "blur_x": 0, "blur_y": 0, **values})


def box(size: tuple[int, int], area: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(255, area)
    return mask


def array(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image, dtype=int)


@pytest.mark.parametrize(
    ("values", "seen"),
    [({}, [0, 0, 255]), ({"round_mask": False}, [60, 128, 129]), ({"soft": {}}, [60, 128, 129])],
)
def test_read_mask_when_it_has_transparency_then_alpha_counts(
    values: dict[str, Any], seen: list[int]
) -> None:
    image = Image.new("RGBA", (3, 1))
    image.putdata([(255, 255, 255, 60), (0, 0, 0, 128), (9, 9, 9, 129)])
    assert list(array(read_mask(image, (3, 1), inpaint(**values)))[0]) == seen


def test_read_mask_when_opaque_then_brightness_counts_without_a_threshold() -> None:
    image = Image.new("RGB", (2, 1))
    image.putdata([(90, 90, 90), (200, 200, 200)])
    assert list(array(read_mask(image, (2, 1), inpaint()))[0]) == [90, 200]
    inverted = read_mask(image, (2, 1), inpaint(is_inverted=True))
    assert list(array(inverted)[0]) == [165, 55]


def test_read_mask_when_of_another_size_then_lies_over_the_whole_picture() -> None:
    mask = read_mask(box((10, 10), (5, 0, 10, 10)).convert("RGB"), (40, 20), inpaint())
    assert mask.size == (40, 20)
    values = array(mask)
    assert not values[:, :17].any()
    assert (values[:, 23:] == 255).all()


@pytest.mark.parametrize("sigma", [1, 4, 9, 40])
def test_blurred_when_a_dot_is_blurred_then_is_a_gaussian_that_ends(sigma: int) -> None:
    size, reach = 2 * blur_reach(sigma) + 41, blur_reach(sigma)
    middle = size // 2
    bar = box((size, 9), (middle - 10, 0, middle + 11, 9))
    values = array(blurred(bar, sigma, 0))
    x = np.arange(-reach, reach + 1)
    kernel = np.exp(-(x**2) / (2 * sigma**2))
    exact = np.convolve(array(bar)[0], kernel / kernel.sum(), "same")
    assert np.abs(values - exact).max() <= 0.51
    assert not values[:, : middle - 10 - reach].any()
    assert not values[:, middle + 11 + reach :].any()


def test_blurred_when_one_direction_is_asked_then_the_other_stays() -> None:
    values = array(blurred(box((40, 40), (15, 15, 25, 25)), 0, 3))
    assert not values[:, :15].any()
    assert values[13, 20] > 0


@pytest.mark.parametrize(
    ("area", "padding", "wanted", "region"),
    [
        ((40, 40, 60, 60), 0, (64, 64), (40, 40, 60, 60)),
        ((40, 40, 60, 60), 10, (64, 64), (30, 30, 70, 70)),
        ((40, 40, 60, 60), 200, (64, 64), (0, 0, 100, 100)),
        ((10, 40, 90, 60), 0, (64, 64), (10, 10, 90, 90)),  # grown in height
        ((40, 10, 60, 90), 0, (128, 64), (0, 10, 100, 90)),  # cut by the picture
        ((0, 0, 20, 40), 0, (64, 64), (0, 0, 40, 40)),  # shifted to stay inside
        ((80, 60, 100, 100), 0, (64, 64), (60, 60, 100, 100)),
        ((50, 50, 51, 51), 0, (64, 64), (50, 50, 51, 51)),
    ],
)
def test_masked_region_when_grown_then_has_the_aspect_and_stays_inside(
    area: tuple[int, int, int, int],
    padding: int,
    wanted: tuple[int, int],
    region: tuple[int, int, int, int],
) -> None:
    assert masked_region(box((100, 100), area), padding, *wanted) == region


def test_filled_when_the_sides_differ_then_each_colour_goes_on_inwards() -> None:
    image = Image.new("RGB", (120, 60), (200, 30, 30))
    image.paste((30, 30, 200), (60, 0, 120, 60))
    image.paste((0, 255, 0), (30, 10, 90, 50))
    values = array(filled(image, box((120, 60), (30, 10, 90, 50))))
    assert values[30, 34, 0] > values[30, 34, 2] + 60  # red at the left
    assert values[30, 85, 2] > values[30, 85, 0] + 60  # blue at the right
    assert values[10:50, 30:90, 1].max() < 60  # nothing of the green
    assert (values[:, :20] == (200, 30, 30)).all()


def test_filled_when_all_is_masked_then_is_the_mean_colour() -> None:
    image = Image.new("RGB", (32, 32), (10, 20, 30))
    assert (array(filled(image, Image.new("L", (32, 32), 255))) == (10, 20, 30)).all()


def test_to_latent_mask_when_rounded_then_cells_are_all_or_nothing() -> None:
    mask = blurred(box((64, 32), (20, 8, 50, 24)), 4, 4)
    rounded = to_latent_mask(mask, 8, 4, round_mask=True)
    grey = to_latent_mask(mask, 8, 4, round_mask=False)
    assert rounded.shape == grey.shape == (1, 1, 4, 8)
    assert set(rounded.unique().tolist()) == {0.0, 1.0}
    assert len(grey.unique()) > 4
    assert ((grey - rounded).abs() <= 0.5).all()
