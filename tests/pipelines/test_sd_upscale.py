"""SD upscale: tiles, seeds, seams, and what is left when it is stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pipelines.conftest import Ear
from webui.errors import ParamsError
from webui.params import SdUpscale
from webui.pipelines.sd_upscale import Canvas, SdUpscaleRun

KEY = "a" * 64


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=float)


def paint_apple(starter: Any, tokenizer: Any, side: int) -> Image.Image:
    from tests.pipelines.conftest import Shelf
    from webui.params import build
    from webui.pipelines.conditioning import PromptEncoder
    from webui.pipelines.text_to_image import TextToImageRun

    ear = Ear()
    values = {"width": side, "height": side, "steps": 12, "prompt": "a red apple", "seed": 3}
    params: Any = build("txt2img", values)
    TextToImageRun(params, Shelf(starter, PromptEncoder(starter, tokenizer)), ear).paint()
    return ear.pictures[0].image


@pytest.fixture(scope="module")
def apple(starter: Any, tokenizer: Any) -> Image.Image:
    """A 64×64 picture by the starter."""
    return paint_apple(starter, tokenizer, 64)


@pytest.fixture(scope="module")
def good_apple(starter: Any, tokenizer: Any) -> Image.Image:
    """A 128×128 picture by the starter, which is the size that it was trained for."""
    return paint_apple(starter, tokenizer, 128)


@pytest.fixture
def upscaled(painted: Any, apple: Image.Image) -> Any:
    def run(
        ear: Ear | None = None,
        overlap: int = 32,
        scale: float = 2,
        picture: Image.Image = apple,
        **values: Any,
    ) -> Ear:
        wish = {"upscaler": "Lanczos", "scale": scale, "overlap": overlap}
        few: dict[str, Any] = {
            "steps": 4, "denoising_strength": 0.5, "init_images": (KEY,), "width": picture.width,
            "height": picture.height,
        }  # fmt: skip
        return painted(ear, kind="img2img", inputs={KEY: picture}, sd_upscale=wish, **few | values)

    return run


def test_canvas_when_tiles_come_back_unchanged_is_the_picture() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (150, 170, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    canvas = Canvas(image, 64, 64, 24)
    for tile in canvas.tiles:
        part = canvas.cut(tile)
        assert part.size == (64, 64)
        canvas.put(tile, part)

    assert np.array_equal(np.asarray(canvas.finished()), noise)


def test_canvas_blends_overlaps_as_a1111_does() -> None:
    image = Image.new("RGB", (96, 64))
    canvas = Canvas(image, 64, 64, 32)  # tiles at 0 and 32
    first, second = canvas.tiles
    canvas.put(first, Image.new("RGB", (64, 64), (0, 0, 0)))
    canvas.put(second, Image.new("RGB", (64, 64), (255, 255, 255)))

    row = np.asarray(canvas.finished())[10, :, 0]

    # combine_grid: the new tile's first 32 pixels fade in by i * 255 / 32, then it is alone
    assert row[:32].tolist() == [0] * 32
    assert row[32:64].tolist() == [i * 255 // 32 for i in range(32)]
    assert row[64:].tolist() == [255] * 32


def test_canvas_when_a_tile_is_larger_than_the_picture_fills_it_up_and_cuts_it_off() -> None:
    image = Image.new("RGB", (40, 24), (9, 8, 7))
    canvas = Canvas(image, 64, 64, 8)
    (tile,) = canvas.tiles

    part = canvas.cut(tile)
    assert part.size == (64, 64) and part.getpixel((63, 63)) == (9, 8, 7)
    canvas.put(tile, Image.new("RGB", (64, 64), (1, 2, 3)))
    assert canvas.finished().size == (40, 24)
    assert canvas.finished().getcolors() == [(960, (1, 2, 3))]


def test_upscale_enlarges_and_repaints(upscaled: Any, good_apple: Image.Image) -> None:
    ear = upscaled(picture=good_apple, overlap=64, steps=8)

    (picture,) = ear.pictures
    plain = pixels(good_apple.resize((256, 256), Image.Resampling.LANCZOS))
    assert picture.image.size == (256, 256)
    apart = np.abs(pixels(picture.image) - plain).mean()
    assert 1 < apart < 40  # repainted, and still the same picture
    assert len({step for _, step, stage in ear.steps if stage == "sampling"}) >= 18  # 9 tiles


def test_upscale_when_nothing_is_repainted_is_what_the_vae_makes_of_the_enlarged(
    upscaled: Any, apple: Image.Image
) -> None:
    (picture,) = upscaled(denoising_strength=0.0, fix_steps=True).pictures

    plain = pixels(apple.resize((128, 128), Image.Resampling.LANCZOS))
    assert np.abs(pixels(picture.image) - plain).mean() < 12


def test_upscale_has_no_seams(upscaled: Any, good_apple: Image.Image) -> None:
    """Steps across the lines where tiles begin are no larger than steps elsewhere."""
    (picture,) = upscaled(picture=good_apple, overlap=64, denoising_strength=0.4, steps=8).pictures
    values = pixels(picture.image).mean(axis=2)

    across = np.abs(np.diff(values, axis=1)).mean(axis=0)  # step between column i and i + 1
    down = np.abs(np.diff(values, axis=0)).mean(axis=1)
    borders = [63, 127, 191]  # tiles begin at 64 and 128, end at 128 and 192
    for steps in (across, down):
        near = np.mean([steps[b] for b in borders])
        elsewhere = np.mean([s for i, s in enumerate(steps) if i not in borders])
        assert near < 1.5 * elsewhere


def test_seeds_rise_with_groups_of_tiles_and_with_pictures(
    upscaled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    real = SdUpscaleRun._paint_tiles

    def watched(self: Any, tiles: Any, seed: int, listener: Any) -> Any:
        seen.append((seed, len(tiles)))
        return real(self, tiles, seed, listener)

    monkeypatch.setattr(SdUpscaleRun, "_paint_tiles", watched)
    ear = upscaled(seed=100, batch_size=4, batch_count=2, steps=1)

    assert seen == [(100, 4), (101, 4), (102, 1), (101, 4), (102, 4), (103, 1)]
    assert [(p.index, p.seed) for p in ear.pictures] == [(0, 100), (1, 101)]


def test_tiles_when_painted_together_are_as_if_alone(upscaled: Any) -> None:
    """A tile's seed is its group's and its place in the group."""
    one = upscaled(overlap=0, seed=50, batch_size=1).pictures[0].image
    four = upscaled(overlap=0, seed=50, batch_size=4).pictures[0].image

    assert np.abs(pixels(one) - pixels(four)).max() <= 1


def test_interrupt_when_upscaling_keeps_finished_tiles_over_the_enlarged_picture(
    upscaled: Any, apple: Image.Image
) -> None:
    whole = pixels(upscaled(overlap=0).pictures[0].image)
    plain = pixels(apple.resize((128, 128), Image.Resampling.LANCZOS))

    def in_third_tile(ear: Ear) -> bool:
        return sum(stage == "encoding" for _, _, stage in ear.steps) >= 3

    ear = upscaled(Ear(stop_after=in_third_tile), overlap=0)

    (picture,) = ear.pictures
    assert np.array_equal(pixels(picture.image)[:64], whole[:64])  # two tiles
    assert np.array_equal(pixels(picture.image)[64:], plain[64:])


def test_upscale_when_the_overlap_is_no_smaller_than_a_tile_is_refused(upscaled: Any) -> None:
    with pytest.raises(ParamsError, match="cannot overlap by 64"):
        upscaled(overlap=64)


def test_upscale_when_tiling_is_asked_for_says_that_it_does_not_go(upscaled: Any) -> None:
    assert "Tiling" in upscaled(tiling=True, steps=1).warnings[0]


def test_upscaler_none_repaints_at_the_size_there_is(
    upscaled: Any, painted: Any, apple: Any
) -> None:
    wish = SdUpscale(upscaler="None", scale=4, overlap=8)
    ear = painted(kind="img2img", inputs={KEY: apple}, init_images=(KEY,), sd_upscale=wish, steps=1)

    assert ear.pictures[0].image.size == (64, 64)
