"""Colour correction: LAB there and back, and what moves."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from webui.pipelines.colour import from_lab, match_colours, match_histogram, to_lab


def test_lab_when_turned_back_then_every_colour_is_the_same() -> None:
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    assert (from_lab(to_lab(cube)) == cube).all()


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_when_colours_are_known_then_has_their_published_values(
    rgb: tuple[int, int, int], lab: tuple[float, float, float]
) -> None:
    assert to_lab(np.array([[rgb]], dtype=np.uint8))[0, 0] == pytest.approx(lab, abs=0.05)


def test_match_histogram_when_values_are_shifted_then_moves_them_back() -> None:
    values = np.random.default_rng(1).normal(0, 10, 20_000)
    moved = match_histogram(values * 2 + 30, values)
    assert np.abs(np.sort(moved) - np.sort(values)).mean() < 0.5


@pytest.mark.parametrize("target", [-40.0, 3.0, 90.0])
def test_match_histogram_when_both_are_flat_then_takes_the_other_value(target: float) -> None:
    moved = match_histogram(np.full((4, 4), 12.0), np.full((9, 9), target))
    assert moved == pytest.approx(target, abs=0.5)


def test_match_colours_when_a_cast_is_to_go_then_colours_change_and_lightness_stays() -> None:
    numbers = np.random.default_rng(2)
    like = Image.fromarray(numbers.integers(60, 200, (40, 40, 3)).astype(np.uint8))
    cast = np.asarray(like, dtype=float) * (1.2, 0.9, 0.7)
    image = Image.fromarray(cast.clip(0, 255).astype(np.uint8))
    result = match_colours(image, like)
    before, after, target = (to_lab(np.asarray(p)) for p in (image, result, like))
    assert np.abs((after - target).mean(axis=(0, 1)))[1:].max() < 1.5
    assert np.abs((before - target).mean(axis=(0, 1)))[1:].max() > 8
    assert np.abs(after[..., 0] - before[..., 0]).mean() < 1.5


def test_match_colours_when_equal_then_hardly_changes() -> None:
    numbers = np.random.default_rng(4)
    image = Image.fromarray(numbers.integers(0, 255, (40, 40, 3)).astype(np.uint8))
    changed = np.asarray(match_colours(image, image), dtype=int) - np.asarray(image, dtype=int)
    assert np.abs(changed).mean() < 1
