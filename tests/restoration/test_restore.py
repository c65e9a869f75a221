"""One photograph through all steps; sizes, crops, depth, grey, files, recipe."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.restoration.conftest import Watched, settings
from tests.restoration.test_faces import Found, Inverted, face_at
from webui.errors import CheckpointNotFoundError, LibraryError, ParamsError
from webui.infotext import parse_infotext
from webui.pictures import read_infotext
from webui.progress import Interrupted
from webui.restoration.colour import repair_colours
from webui.restoration.pixels import (
    encode_deep,
    is_grey,
    is_neutral,
    read_pixels,
    resized,
    to_eight,
)
from webui.restoration.recipe import extras_infotext, extras_pairs
from webui.restoration.restore import goal_size, restore
from webui.restoration.scratches import find_scratches, repair_scratches


class Plain:
    """Enlarges by repeating, and remembers what it was asked for."""

    def __init__(self, shift: int = 0) -> None:
        self.asked: list[tuple[int, int]] = []
        self._shift = shift

    def enlarge_pixels(
        self, pixels: np.ndarray, width: int, height: int, *, should_stop: Any, on_tile: Any
    ) -> np.ndarray:
        if should_stop():
            raise Interrupted
        self.asked.append((width, height))
        on_tile(1, 1)
        return np.clip(resized(pixels, width, height).astype(int) + self._shift, 0, 255).astype(
            pixels.dtype
        )


class Kit:
    """Tools that need no weights."""

    def __init__(self, faces: list[Any] | None = None, width: int = 160) -> None:
        self.upscalers = {"One": Plain(), "Two": Plain(40)}
        self.restored = Inverted()
        self.found = Found(width, faces or [])
        self.asked: list[str] = []

    def upscaler(self, name: str, denoising: float) -> Plain:
        self.asked.append(name)
        return self.upscalers[name]

    def restorer(self, name: str, weight: float) -> Inverted:
        self.asked.append(f"{name} {weight}")
        return self.restored

    def detector(self) -> Found:
        self.asked.append("detector")
        return self.found


@pytest.mark.parametrize(
    ("size", "values", "expected"),
    [
        ((100, 75), {"upscaling_resize": 2}, (200, 150)),
        ((100, 75), {"upscaling_resize": 2, "multiple_of": 8}, (200, 144)),
        ((101, 67), {"upscaling_resize": 1.5}, (151, 100)),
        ((300, 200), {"resize_mode": "to", "upscaling_resize_w": 100,
                      "upscaling_resize_h": 100}, (150, 100)),
        ((300, 200), {"resize_mode": "to", "upscaling_resize_w": 100, "upscaling_resize_h": 100,
                      "upscaling_crop": False}, (100, 66)),
        ((400, 100), {"upscaling_resize": 4, "max_side": 800}, (800, 200)),
        ((1, 1), {"upscaling_resize": 0.1}, (1, 1)),
    ],
)  # fmt: skip
def test_goal_when_asked_then_follows_the_rules(
    size: tuple[int, int], values: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert goal_size(*size, settings(upscaler_1="One", **values)) == expected


def test_goal_when_beyond_reason_then_refused() -> None:
    with pytest.raises(ParamsError, match="megapixels"):
        goal_size(20_000, 2_000, settings(upscaler_1="One", upscaling_resize=16))


def test_restore_when_nothing_is_asked_then_the_very_picture_returns(
    photograph: np.ndarray,
) -> None:
    kit = Kit()
    result = restore(photograph, settings(), kit, Watched())
    assert np.array_equal(result.pixels, photograph)
    assert kit.asked == []


def test_restore_when_no_upscaler_then_a_size_is_not_reached(photograph: np.ndarray) -> None:
    wish = settings(resize_mode="to", upscaling_resize_w=999)
    assert restore(photograph, wish, Kit(), Watched()).pixels.shape == photograph.shape


def test_crop_when_covering_then_cuts_evenly(photograph: np.ndarray) -> None:
    kit = Kit()
    wish = settings(
        upscaler_1="One", resize_mode="to", upscaling_resize_w=100, upscaling_resize_h=120
    )
    got = restore(photograph, wish, kit, Watched()).pixels
    assert kit.upscalers["One"].asked == [(160, 120)]
    assert np.array_equal(got, photograph[:, 30:130])


def test_crop_when_rounding_leaves_it_short_then_black_fills(photograph: np.ndarray) -> None:
    wish = settings(
        upscaler_1="One", resize_mode="to", upscaling_resize_w=100, upscaling_resize_h=115,
        multiple_of=8,
    )  # fmt: skip
    got = restore(photograph, wish, Kit(), Watched()).pixels
    assert got.shape == (115, 100, 3)
    assert not got[0].any()
    assert got[57].any()


def test_two_upscalers_when_blended_then_by_the_visibility(photograph: np.ndarray) -> None:
    photograph = photograph // 2
    wish = settings(upscaler_1="One", upscaler_2="Two", extras_upscaler_2_visibility=0.25,
                    upscaling_resize=1)  # fmt: skip
    got = restore(photograph, wish, Kit(), Watched()).pixels
    assert np.abs(got.astype(int) - photograph - 10).max() <= 1


def test_second_upscaler_when_invisible_then_does_not_run(photograph: np.ndarray) -> None:
    kit = Kit()
    restore(photograph, settings(upscaler_1="One", upscaler_2="Two"), kit, Watched())
    assert kit.asked == ["One"]


@pytest.mark.parametrize("upscale_first", [False, True])
def test_faces_when_enlarged_too_then_pasted_at_the_large_size_and_told_in_the_small_one(
    upscale_first: bool, photograph: np.ndarray
) -> None:
    kit = Kit([face_at(60, 60, 80)])
    wish = settings(
        upscaler_1="One", upscaling_resize=3, gfpgan_visibility=1, upscale_first=upscale_first
    )
    result = restore(photograph, wish, kit, Watched())
    assert result.pixels.shape == (360, 480, 3)
    plain = resized(photograph, 480, 360)
    middle = (slice(170, 190), slice(170, 190))
    assert np.abs(result.pixels[middle] - (255 - plain[middle].astype(int))).mean() < 8
    assert np.array_equal(result.pixels[330:], plain[330:])
    (face,) = result.faces
    assert face.box == pytest.approx((40, 40, 80, 80))


def test_faces_when_all_three_are_visible_then_run_in_their_order(photograph: np.ndarray) -> None:
    kit = Kit([face_at(60, 60, 80)])
    wish = settings(gfpgan_visibility=1, codeformer_visibility=0.5, restoreformer_visibility=0.2,
                    codeformer_weight=0.3)  # fmt: skip
    restore(photograph, wish, kit, Watched())
    assert kit.asked == ["GFPGAN 0.3", "RestoreFormer 0.3", "CodeFormer 0.3", "detector"]
    assert kit.restored.calls == 3


def test_faces_when_there_is_none_then_warned_and_unchanged(photograph: np.ndarray) -> None:
    watched = Watched()
    result = restore(photograph, settings(gfpgan_visibility=1), Kit(), watched)
    assert np.array_equal(result.pixels, photograph)
    assert result.faces == ()
    assert "No face was found" in watched.warnings[0]


def test_faces_when_only_the_centre_counts_then_one(photograph: np.ndarray) -> None:
    kit = Kit([face_at(20, 60, 40), face_at(80, 60, 40), face_at(150, 60, 40)])
    wish = settings(gfpgan_visibility=1, only_centre_face=True)
    assert len(restore(photograph, wish, kit, Watched()).faces) == 1


def test_faces_when_aligned_input_then_no_detector_is_asked(photograph: np.ndarray) -> None:
    kit = Kit()
    result = restore(photograph, settings(gfpgan_visibility=1, is_aligned=True), kit, Watched())
    assert "detector" not in kit.asked
    assert len(result.faces) == 1
    assert result.pixels.shape == photograph.shape


def test_input_when_restored_then_is_never_changed(photograph: np.ndarray) -> None:
    before = photograph.copy()
    wish = settings(gfpgan_visibility=1, colour_repair=1, scratch_repair=0.5)
    restore(photograph, wish, Kit([face_at(60, 60, 80)]), Watched())
    assert np.array_equal(photograph, before)


def test_grey_when_a_restorer_brings_colour_then_stays_grey(photograph: np.ndarray) -> None:
    grey = np.repeat(photograph[:, :, :1], 3, 2)

    class Reddening(Inverted):
        def restore(self, face: np.ndarray) -> np.ndarray:
            return np.clip(face + np.array([0.4, 0, 0], np.float32), 0, 1)

    kit = Kit([face_at(60, 60, 80)])
    kit.restored = Reddening()
    kept = restore(grey, settings(gfpgan_visibility=1), kit, Watched()).pixels
    assert np.ptp(kept.astype(int), axis=2).max() == 0
    free = restore(grey, settings(gfpgan_visibility=1, keep_grey=False), kit, Watched()).pixels
    assert np.ptp(free.astype(int), axis=2).max() > 50


def test_stop_when_asked_then_every_stage_ends(photograph: np.ndarray) -> None:
    wish = settings(upscaler_1="One", gfpgan_visibility=1, scratch_repair=0.5)
    for after in range(3):
        with pytest.raises(Interrupted):
            restore(photograph, wish, Kit([face_at(60, 60, 80)]), Watched(stop_after=after))


# Colours


def faded(picture: np.ndarray) -> np.ndarray:
    return (picture * np.array([0.6, 0.55, 0.45]) + np.array([80, 60, 40])).astype(np.uint8)


def rich() -> np.ndarray:
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 256, (90, 120, 3), np.uint8), (0, 0), 1) // 1


def test_colours_when_faded_then_come_nearer_to_what_they_were() -> None:
    data = pytest.importorskip("skimage.data").astronaut()
    old = faded(data)
    new = repair_colours(old)
    assert np.abs(new.astype(int) - data).mean() < 0.5 * np.abs(old.astype(int) - data).mean()


@pytest.mark.parametrize("level", [0, 128, 255])
def test_colours_when_flat_then_stay(level: int) -> None:
    flat = np.full((20, 20, 3), level, np.uint8)
    assert np.array_equal(repair_colours(flat), flat)


def test_colours_when_sixteen_bits_then_agree_with_eight_and_keep_alpha() -> None:
    eight = np.dstack([faded(rich()), np.full((90, 120), 99, np.uint8)])
    deep = repair_colours(eight.astype(np.uint16) * 257)
    assert deep.dtype == np.uint16
    assert np.abs(to_eight(deep).astype(int) - repair_colours(eight)).max() <= 1
    assert (deep[..., 3] == 99 * 257).all()


def test_colours_when_strength_is_half_then_half_the_way() -> None:
    old = faded(rich())
    full, half = repair_colours(old, 1).astype(int), repair_colours(old, 0.5).astype(int)
    assert np.abs(half - (old + full) / 2).max() <= 1
    assert repair_colours(old, 0) is old


def test_colours_when_black_and_white_then_no_colour_appears() -> None:
    grey = np.repeat(faded(rich())[..., :1], 3, 2)
    assert is_neutral(repair_colours(grey))
    toned = np.clip(grey.astype(int) + np.array([20, 5, -20]), 0, 255).astype(np.uint8)
    assert is_grey(toned)
    assert not is_neutral(toned)
    assert not is_grey(rich())


# Scratches


def test_scratch_when_on_a_calm_photograph_then_found_and_filled() -> None:
    y, x = np.mgrid[0:300, 0:400].astype(float)
    calm = np.stack([80 + x / 4, 90 + y / 4, 150 - x / 8], 2).astype(np.uint8)
    hurt = calm.copy()
    cv2.line(hurt, (40, 10), (330, 290), (250, 250, 245), 2)
    mask = find_scratches(hurt)
    truth = (hurt != calm).any(2)
    assert (mask[truth] > 0).mean() > 0.95
    assert (mask > 0).mean() < 0.05
    assert not find_scratches(calm).any()
    repaired = repair_scratches(hurt, mask)
    assert np.abs(repaired.astype(int) - calm)[truth].mean() < 4
    assert np.array_equal(repaired[mask == 0], hurt[mask == 0])


def test_scratch_when_a_mask_is_given_then_only_that_is_filled(photograph: np.ndarray) -> None:
    mask = Image.new("L", (160, 120))
    mask.paste(255, (100, 20, 104, 60))
    result = restore(photograph, settings(), Kit(), Watched(), scratch_mask=mask).pixels
    changed = (result != photograph).any(2)
    assert changed[20:60, 100:104].any()
    changed[20:60, 100:104] = False
    assert not changed.any()


def test_scratch_when_sixteen_bits_then_stays_deep(photograph: np.ndarray) -> None:
    mask = np.zeros((120, 160), np.uint8)
    mask[40:44, 20:80] = 255
    deep = repair_scratches(photograph.astype(np.uint16) * 257, mask)
    assert deep.dtype == np.uint16
    shallow = repair_scratches(photograph, mask)
    assert np.abs(to_eight(deep).astype(int) - shallow).max() <= 6


# Files


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_deep_file_when_read_then_every_bit_and_the_order_of_colours_stay(
    ending: str, channels: int, tmp_path: Path
) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (9, 13, channels), np.uint16)
    path = tmp_path / f"deep{ending}"
    cv2.imwrite(str(path), deep[..., [2, 1, 0, 3][:channels]])
    assert np.array_equal(read_pixels(path), deep)


def test_deep_grey_when_read_then_becomes_three_channels(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (9, 13), np.uint16)
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), deep)
    assert np.array_equal(read_pixels(path), np.repeat(deep[..., None], 3, 2))


def test_deep_png_when_written_then_holds_pixels_and_recipe() -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (9, 13, 4), np.uint16)
    data = encode_deep(deep, "Postprocess upscale by: 2, 中文: 1")
    assert np.array_equal(read_pixels(data), deep)
    assert read_infotext(data)[0] == "Postprocess upscale by: 2, 中文: 1"


def file_of(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("mode", ["CMYK", "L", "P", "1", "RGBA", "LA", "RGB"])
def test_modes_when_read_then_are_rgb_or_rgba(mode: str) -> None:
    image = Image.new("RGB", (5, 4), (200, 100, 50)).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(100)
    pixels = read_pixels(file_of(image, "TIFF" if mode in ("CMYK", "LA") else "PNG"))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (4, 5, 4 if mode in ("RGBA", "LA") else 3)


def test_exif_when_the_photograph_lies_then_is_read_upright() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    assert read_pixels(file_of(Image.new("RGB", (8, 4)), "JPEG", exif=exif)).shape == (8, 4, 3)


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_broken_file_when_read_then_says_so(data: bytes) -> None:
    with pytest.raises(LibraryError):
        read_pixels(data)


def test_cut_jpeg_when_read_then_says_so() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    with pytest.raises(LibraryError, match="damaged or cut off"):
        read_pixels(file_of(noise, "JPEG")[:900])


# Recipe


def test_recipe_when_written_then_has_a1111s_keys_in_its_order() -> None:
    wish = settings(
        upscaler_1="R-ESRGAN 4x+", upscaler_2="Lanczos", extras_upscaler_2_visibility=0.5,
        gfpgan_visibility=1, codeformer_visibility=0.5, codeformer_weight=0.2, upscaling_resize=2,
    )  # fmt: skip
    text = extras_infotext(None, extras_pairs(wish, 0, "GFPGAN v1.4"))
    assert text.startswith(
        "Postprocess upscale by: 2, Postprocess upscaler: R-ESRGAN 4x+, "
        "Postprocess upscaler 2: Lanczos"
    )
    for pair in ("GFPGAN visibility: 1", "CodeFormer visibility: 0.5", "CodeFormer weight: 0.2"):
        assert pair in text


def test_recipe_when_the_picture_had_one_then_it_goes_on() -> None:
    old = "a cat\nSteps: 20, Sampler: Euler, Seed: 3, Size: 64x64"
    text = extras_infotext(old, extras_pairs(settings(upscaler_1="Lanczos"), 0))
    read = parse_infotext(text)
    assert read.prompt == "a cat"
    assert read.params["Seed"] == "3"
    assert read.params["Postprocess upscaler"] == "Lanczos"
    assert extras_infotext(old, {}) == old


def test_recipe_when_faces_were_refused_then_names_them() -> None:
    wish = settings(gfpgan_visibility=1, refused_faces=[{"face": 2}, {"image": 1, "face": 0}])
    assert extras_pairs(wish, 0)["Faces refused"] == "2"


def test_missing_when_a_known_name_then_file_folder_licence_and_source_are_told() -> None:
    from webui.checkpoints.known_weights import missing

    err = missing("CodeFormer")
    assert isinstance(err, CheckpointNotFoundError)
    assert "non-commercial" in err.message
    assert "models/Codeformer" in err.hint
    assert "Restore tab" in missing("R-ESRGAN 4x+").hint
