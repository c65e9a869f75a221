"""Outpainting: what is kept, what is continued, and how the canvas is laid out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from webui.errors import ParamsError
from webui.params import Outpaint
from webui.pipelines.outpaint import canvas_for, cell_mask, join, newness
from webui.pipelines.outward import continue_outwards, distance_outwards, matched_noise

KEY = "a" * 64
OTHER = "b" * 64
BLUE = (20, 90, 220)
SIDES = ("left", "right", "up", "down")


def noisy(size: tuple[int, int] = (64, 64), seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def array(image: Image.Image) -> Any:
    return np.asarray(image.convert("RGB"), dtype=np.int16)


# The canvas


@pytest.mark.parametrize("size", [(64, 64), (61, 43), (1, 1)])
@pytest.mark.parametrize("grown", [{"left": 20}, {"right": 3, "up": 9}, dict.fromkeys(SIDES, 7)])
def test_canvas_when_laid_out_has_whole_cells_and_the_exact_result(
    size: tuple[int, int], grown: dict[str, int]
) -> None:
    outpaint = Outpaint(**grown)

    canvas = canvas_for(size, outpaint)

    assert all(side % 8 == 0 for side in (*canvas.size, *canvas.old[:2]))
    left, up, right, down = canvas.result
    assert right - left == size[0] + outpaint.left + outpaint.right
    assert down - up == size[1] + outpaint.up + outpaint.down
    assert (canvas.old[0] - left, canvas.old[1] - up) == (outpaint.left, outpaint.up)
    assert right <= canvas.size[0] and down <= canvas.size[1]


def test_canvas_when_too_large_is_refused() -> None:
    with pytest.raises(ParamsError, match="8192"):
        canvas_for((8000, 64), Outpaint(right=200))


@pytest.mark.parametrize("blur", [0, 1, 8, 30])
def test_newness_when_measured_fades_over_blur_pixels_at_grown_sides_only(blur: int) -> None:
    outpaint = Outpaint(left=16, blur=blur)

    new = newness(canvas_for((64, 40), outpaint), outpaint)

    assert new.shape == (40, 80)
    row = new[20]
    assert (row[:16] == 1).all()
    assert (row[16 + blur :] == 0).all()
    assert (np.diff(row) <= 0).all()
    if blur > 1:
        assert 0.5 < row[16] < 1 and 0 < row[15 + blur] < 0.5


def test_cells_when_only_partly_new_are_painted_whole() -> None:
    outpaint = Outpaint(right=8, blur=3)

    mask = array(cell_mask(newness(canvas_for((24, 24), outpaint), outpaint)))

    assert (mask[:24, 16:] == 255).all() and (mask[:24, :16] == 0).all()


def test_join_when_nothing_is_new_gives_the_old_pixels() -> None:
    outpaint = Outpaint(up=8, blur=8)
    canvas = canvas_for((32, 32), outpaint)
    old = noisy((32, 32))

    joined = join(old, Image.new("RGB", canvas.size), canvas, newness(canvas, outpaint))

    assert (array(joined)[16:] == array(old)[8:]).all()
    assert (array(joined)[:8] == 0).all()


# What the new part begins with


def test_flat_picture_when_continued_stays_flat() -> None:
    grown = continue_outwards(Image.new("RGB", (40, 30), BLUE), (104, 96), (32, 24))

    assert (array(grown) == BLUE).all()


def test_picture_when_continued_keeps_its_pixels_and_the_colours_of_its_edges() -> None:
    old = Image.new("RGB", (64, 64), BLUE)
    old.paste((250, 200, 0), (0, 40, 64, 64))

    grown = array(continue_outwards(old, (128, 128), (32, 32)))

    assert (grown[32:96, 32:96] == array(old)).all()
    assert np.abs(grown[34:60, 4:30] - BLUE).mean() < 12
    assert np.abs(grown[100:124, 40:88] - (250, 200, 0)).mean() < 12


def test_grain_when_the_picture_has_some_goes_on_where_it_is() -> None:
    pixels = np.full((96, 96, 3), 128.0)
    pixels[:48] += np.random.default_rng(0).normal(0, 20, (48, 96, 1))
    old = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

    grown = array(continue_outwards(old, (160, 96), (0, 0)))

    grainy, smooth = grown[8:40, 110:150].std(), grown[60:90, 110:150].std()
    assert 6 < grainy < 30 and smooth < 3


def test_detail_when_drawn_outwards_fades_with_distance() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:16] = stripes[32:48] = 255

    grown = array(continue_outwards(Image.fromarray(stripes), (160, 64), (0, 0)))

    near, far = grown[:, 65, 0].std(), grown[:, 150, 0].std()
    assert near > 2 * far


def test_matched_noise_when_made_has_the_colours_of_the_picture_and_keeps_it() -> None:
    old = Image.new("RGB", (64, 64), BLUE)
    old.paste((200, 220, 240), (0, 0, 64, 32))
    new = distance_outwards((128, 64), (0, 0, 64, 64)) > 0

    grown = array(matched_noise(old, (128, 64), (0, 0), new.astype(np.float32)))

    assert (grown[:, :64] == array(old)).all()
    noise = grown[:, 64:].reshape(-1, 3)
    known = array(old).reshape(-1, 3)
    assert np.abs(noise.mean(axis=0) - known.mean(axis=0)).max() < 3
    assert noise.std() > 20


def test_matched_noise_when_its_falloff_rises_has_less_fine_detail() -> None:
    old = noisy((64, 64)).resize((16, 16)).resize((64, 64), Image.Resampling.BICUBIC)
    new = (distance_outwards((128, 64), (0, 0, 64, 64)) > 0).astype(np.float32)

    def roughness(falloff: float) -> float:
        grown = array(matched_noise(old, (128, 64), (0, 0), new, falloff=falloff))
        return float(np.abs(np.diff(grown[:, 72:], axis=1)).mean())

    assert roughness(0.2) > roughness(1.0) > roughness(2.5)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255)])
def test_matched_noise_when_the_picture_is_one_colour_is_that_colour(
    color: tuple[int, int, int],
) -> None:
    new = (distance_outwards((80, 64), (0, 0, 64, 64)) > 0).astype(np.float32)

    grown = matched_noise(Image.new("RGB", (64, 64), color), (80, 64), (0, 0), new)

    assert (array(grown) == color).all()


# Painting


@pytest.fixture
def grow(painted: Callable[..., Any]) -> Callable[..., Any]:
    """Outpaint a picture with the starter; gives the ear that heard it."""

    def run(old: Image.Image, outpaint: dict[str, Any], **more: Any) -> Any:
        values = {"init_images": (KEY,), "denoising_strength": 0.6, "prompt": "blue", **more}
        inputs = values.pop("inputs", {KEY: old})
        return painted(kind="img2img", inputs=inputs, outpaint=outpaint, **values)

    return run


@pytest.mark.parametrize("sides", [*[(side,) for side in SIDES], SIDES])
def test_old_pixels_when_grown_stay_bit_for_bit(
    grow: Callable[..., Any], sides: tuple[str, ...]
) -> None:
    old, blur = noisy((61, 66)), 8
    amounts = {side: 24 if side in sides else 0 for side in SIDES}

    image = grow(old, {**amounts, "blur": blur}).pictures[0].image

    left, up = amounts["left"], amounts["up"]
    assert image.size == (61 + left + amounts["right"], 66 + up + amounts["down"])
    kept = array(image)[up : up + 66, left : left + 61]
    inside = [blur if side in sides else 0 for side in SIDES]
    area = np.s_[inside[2] : 66 - inside[3], inside[0] : 61 - inside[1]]
    assert (kept[area] == array(old)[area]).all()
    assert (kept != array(old)).any()  # the soft edge


def test_background_when_grown_goes_on(
    painted: Callable[..., Any], grow: Callable[..., Any]
) -> None:
    prompt = "a red apple, blue background"
    old = painted(prompt=prompt, seed=3, steps=12, width=128, height=128).pictures[0].image
    border = np.concatenate([array(old)[:4].reshape(-1, 3), array(old)[:, :4].reshape(-1, 3)])
    background = np.median(border, axis=0)

    amounts = {"left": 32, "up": 32, "blur": 16}
    more = {"denoising_strength": 0.5, "steps": 12, "prompt": "blue background"}
    grown = array(grow(old, amounts, **more).pictures[0].image)

    band = np.concatenate([grown[:32].reshape(-1, 3), grown[:, :32].reshape(-1, 3)])
    assert np.abs(np.median(band, axis=0) - background).max() < 40
    green = np.array((20, 180, 40))
    assert np.abs(band - background).mean() < np.abs(band - green).mean() / 2


@pytest.mark.parametrize(
    "content",
    ["continue", "matched noise", "fill", "original", "latent noise", "latent nothing"],
)
def test_content_when_chosen_paints_and_differs(grow: Callable[..., Any], content: str) -> None:
    old = Image.new("RGB", (64, 64), BLUE)
    image = grow(old, {"right": 32, "content": content}).pictures[0].image
    plain = grow(old, {"right": 32, "content": "latent noise"}).pictures[0].image

    assert image.size == (96, 64)
    assert (image.tobytes() == plain.tobytes()) is (content == "latent noise")


def test_batch_when_grown_has_a_seed_for_each_and_repeats(grow: Callable[..., Any]) -> None:
    old = noisy()
    pair = grow(old, {"down": 16}, seed=5, batch_size=2).pictures
    single = grow(old, {"down": 16}, seed=6).pictures

    assert [p.seed for p in pair] == [5, 6]
    assert pair[0].image.tobytes() != pair[1].image.tobytes()
    difference = np.abs(array(pair[1].image) - array(single[0].image))
    assert difference.max() <= 2


def test_inputs_when_of_different_sizes_are_each_grown(grow: Callable[..., Any]) -> None:
    inputs = {KEY: noisy((64, 64)), OTHER: noisy((80, 72))}
    ear = grow(None, {"left": 16}, inputs=inputs, init_images=(KEY, OTHER), batch_size=2)

    assert [p.image.size for p in ear.pictures] == [(80, 64), (96, 72)]


def test_transparent_input_when_grown_stands_on_the_background(grow: Callable[..., Any]) -> None:
    image = grow(Image.new("RGBA", (64, 64)), {"left": 16, "blur": 0}, background="#00ff00")

    assert array(image.pictures[0].image)[30, 70].tolist() == [0, 255, 0]


def test_outpainting_when_interrupted_keeps_the_old_picture_whole(
    painted: Callable[..., Any],
) -> None:
    from tests.pipelines.conftest import Ear

    old = noisy()
    ear = Ear(stop_after=lambda ear: sum(stage == "sampling" for *_, stage in ear.steps) >= 2)
    painted(
        ear, kind="img2img", inputs={KEY: old}, init_images=(KEY,), steps=20,
        outpaint={"right": 16, "blur": 8}, batch_count=3,
    )  # fmt: skip

    assert len(ear.pictures) == 1 and len(ear.steps) < 12
    assert (array(ear.pictures[0].image)[:, :56] == array(old)[:, :56]).all()
