"""Resize modes: sizes, what is cut, what is filled; very long pictures stay cheap."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image

from webui.params import ResizeMode
from webui.pipelines.resize import covering_size, fitting_size, flatten, resize, whole_cells
from webui.pipelines.upscaling import PlainUpscaler

MODES: tuple[ResizeMode, ...] = ("Just resize", "Crop and resize", "Resize and fill")


def gradient(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    values = np.stack([x * 255 / width, y * 255 / height, 0 * x + 90], axis=-1)
    return Image.fromarray(values.astype(np.uint8))


def array(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image, dtype=int)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (64, 40), (20_000, 3), (3, 20_000), (200, 200)])
def test_resize_when_any_size_comes_then_the_wanted_one_goes(
    mode: ResizeMode, size: tuple[int, int]
) -> None:
    for image in (Image.new("RGB", size, (9, 9, 9)), Image.new("L", size, 7)):
        result = resize(image, mode, 72, 64)
        assert result.size == (72, 64)
        assert (array(result) == (9 if image.mode == "RGB" else 7)).all()


@pytest.mark.parametrize("size", [(150, 40), (40, 150), (63, 65), (500, 499)])
@pytest.mark.parametrize("wanted", [(64, 64), (96, 32), (200, 120)])
def test_crop_and_resize_when_done_in_one_go_then_equals_resizing_all_and_cutting(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    image = gradient(*size)
    whole = image.resize(covering_size(size, *wanted), Image.Resampling.LANCZOS)
    left, top = whole.width // 2 - wanted[0] // 2, whole.height // 2 - wanted[1] // 2
    exact = whole.crop((left, top, left + wanted[0], top + wanted[1]))
    result = resize(image, "Crop and resize", *wanted)
    assert np.abs(array(result) - array(exact)).max() <= 1


def test_resize_and_fill_when_bands_are_left_then_the_edges_go_on() -> None:
    image = gradient(120, 30)
    result = array(resize(image, "Resize and fill", 64, 64))
    inner = fitting_size(image.size, 64, 64)
    top = 64 // 2 - inner[1] // 2
    assert inner == (64, 16)
    assert (result[:top] == result[top]).all()
    assert (result[top + 16 :] == result[top + 15]).all()
    wide = array(resize(gradient(30, 120), "Resize and fill", 64, 64))
    assert (wide[:, :24] == wide[:, 24:25]).all()
    assert (wide[:, 40:] == wide[:, 39:40]).all()


@pytest.mark.parametrize("mode", MODES)
def test_resize_when_a_picture_grows_then_the_upscaler_does_it(mode: ResizeMode) -> None:
    nearest = PlainUpscaler("Nearest", Image.Resampling.NEAREST)
    image = Image.new("RGB", (2, 1), (255, 255, 255))
    image.putpixel((0, 0), (0, 0, 0))
    values = array(resize(image, mode, 64, 64, nearest))
    assert set(np.unique(values)) == {0, 255}  # Lanczos would make greys
    shrunk = resize(gradient(300, 300), mode, 64, 64, nearest)
    assert (array(shrunk) == array(resize(gradient(300, 300), mode, 64, 64))).all()


def test_crop_and_resize_when_an_upscaler_covers_then_the_middle_is_kept() -> None:
    lanczos = PlainUpscaler("Lanczos", Image.Resampling.LANCZOS)
    image = gradient(90, 30)
    one = array(resize(image, "Crop and resize", 128, 128, lanczos))
    other = array(resize(image, "Crop and resize", 128, 128))
    assert np.abs(one - other).mean() < 3


def test_crop_and_resize_when_a_picture_is_very_long_then_memory_stays_small() -> None:
    image = Image.new("RGB", (20_000, 2), (1, 2, 3))
    tracemalloc.start()
    result = resize(image, "Crop and resize", 512, 512, PlainUpscaler("x", Image.Resampling.BOX))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.size == (512, 512)
    assert peak < 50_000_000


def test_flatten_when_transparent_then_the_background_shows() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    assert array(flatten(image, "#00ff80"))[0].tolist() == [[255, 0, 0], [0, 255, 128]]


@pytest.mark.parametrize(
    ("size", "whole"), [((1, 1), (8, 8)), ((64, 64), (64, 64)), ((71, 9), (64, 8))]
)
def test_whole_cells_when_sides_are_odd_then_multiples_of_eight(
    size: tuple[int, int], whole: tuple[int, int]
) -> None:
    assert whole_cells(Image.new("RGB", size)).size == whole
