"""Preprocessors make the maps they are named after, at the size that is painted, unspoilt."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from webui.errors import ParamsError
from webui.params import ControlUnit
from webui.preprocessors import names
from webui.preprocessors.maps import Knobs, Pixels, make_map
from webui.preprocessors.names import BY_NAME, PREPROCESSORS, complete, find
from webui.preprocessors.placing import placed, resized, thinned, working_size
from webui.preprocessors.units import UnitMap, draw_map

KEY = "0" * 64


def drawing(width: int = 96, height: int = 64) -> Pixels:
    """A dark box on light ground."""
    pixels = np.full((height, width, 3), 220, np.uint8)
    pixels[16 : height - 16, 16 : width - 16] = (40, 20, 60)
    return pixels


def made(name: str, picture: Pixels | None = None, resolution: int = 64, **knobs: float) -> Pixels:
    module = BY_NAME[name]
    usual = [knob.value for knob in module.knobs] + [0.0, 0.0]
    a, b = knobs.get("a", usual[0]), knobs.get("b", usual[1])
    seed = int(knobs.get("seed", 0))
    source = drawing() if picture is None else picture
    return make_map(source, module, resolution, Knobs(a, b, seed))


@pytest.mark.parametrize(
    "module", [p for p in PREPROCESSORS if not p.is_network], ids=lambda m: m.short or m.name
)
def test_map_when_made_then_is_rgb_of_the_working_size(module: names.Preprocessor) -> None:
    source = drawing()
    before = source.copy()
    found = made(module.name, source, resolution=128)
    assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3
    assert found.shape[:2] == ((128, 192) if module.resolution else (64, 96))
    assert (source == before).all()


def test_edges_when_found_then_lie_around_the_box() -> None:
    inside, around = np.zeros((64, 96), bool), np.zeros((64, 96), bool)
    around[12:52, 12:84] = True
    inside[22:42, 22:74] = True
    for name in ("canny", "scribble_xdog", "softedge_gradient", "lineart_standard"):
        found = made(name)[..., 0] > 60
        assert found.any() and not found[~around].any(), name
    for name in ("canny", "softedge_gradient"):
        assert not (made(name)[..., 0] > 60)[inside].any(), name
    assert not made("canny", a=255, b=256, picture=np.full((64, 64, 3), 128, np.uint8)).any()


def test_plain_maps_when_made_then_are_the_arithmetic_they_are_named_after() -> None:
    assert (made("invert") == 255 - drawing()).all()
    assert set(np.unique(made("threshold"))) == {0, 255}
    assert (made("threshold")[32, 48] == 0).all() and (made("threshold")[2, 2] == 255).all()
    assert not made("threshold", a=250).any()
    assert made("tile_resample", a=2).shape == (32, 48, 3)
    assert (made("tile_resample", a=1) == drawing()).all()
    soft = made("blur_gaussian", a=20).astype(int)
    assert np.ptp(soft) < np.ptp(drawing().astype(int)) / 2
    grey = made("recolor_luminance")
    assert (grey[..., 0] == grey[..., 2]).all() and grey[2, 2, 0] > grey[32, 48, 0]
    darker = made("recolor_intensity", a=2.0)
    assert darker[2, 2, 0] == int((220 / 255) ** 2 * 255)


def test_shuffle_when_made_then_keeps_colours_and_follows_its_seed() -> None:
    first = made("shuffle", seed=1)
    assert (first == made("shuffle", seed=1)).all()
    assert (first != made("shuffle", seed=2)).any() and (first != drawing()).any()
    assert first.min() >= drawing().min() and first.max() <= drawing().max()


# Placing


def test_lines_when_enlarged_then_stay_one_pixel_thin_and_whole() -> None:
    map_ = np.zeros((64, 64, 3), np.uint8)
    cv2.circle(map_, (32, 32), 20, (255, 255, 255), 1)
    found = resized(map_, 160, 160)
    lines = found[..., 0]
    assert set(np.unique(found)) == {0, 255}
    assert cv2.connectedComponents(lines, connectivity=8)[0] == 2  # ground and one ring
    assert cv2.connectedComponents(255 - lines, connectivity=4)[0] == 3  # inside, outside
    assert (thinned(lines) == lines).all()
    assert 1.6 < (lines > 0).sum() / ((map_[..., 0] > 0).sum()) < 3.4


def test_regions_when_resized_then_no_new_colours_come() -> None:
    regions = np.zeros((30, 30, 3), np.uint8)
    regions[:10], regions[10:20] = (255, 0, 0), (0, 200, 0)
    assert {tuple(c) for c in resized(regions, 77, 50).reshape(-1, 3)} == {
        (255, 0, 0), (0, 200, 0), (0, 0, 0),
    }  # fmt: skip


def test_map_when_placed_then_as_its_mode_says() -> None:
    wide = np.random.default_rng(0).integers(0, 255, (40, 80, 3), np.uint8)
    wide[0], wide[-1], wide[:, 0], wide[:, -1] = 9, 9, 9, 9
    for mode in ("Just Resize", "Crop and Resize", "Resize and Fill"):
        assert placed(wide, mode, 64, 64).shape == (64, 64, 3)
    filled = placed(wide, "Resize and Fill", 80, 80)
    assert (filled[:20] == 9).all() and (filled[20:60] == wide).all() and (filled[60:] == 9).all()
    assert (placed(wide, "Crop and Resize", 40, 40) == wide[:, 20:60]).all()


def test_working_size_when_pixel_perfect_then_nothing_is_resized_afterwards() -> None:
    assert working_size((400, 300), "Crop and Resize", 128, 128) == 128
    assert working_size((400, 300), "Resize and Fill", 128, 128) == 96
    assert working_size((300, 400), "Just Resize", 512, 768) == 576


def test_strip_when_made_into_a_map_then_memory_stays_bounded() -> None:
    """One pixel by sixteen thousand would become 512 by eight million, or 2048 by 33 million."""
    strip = np.zeros((1, 16_000, 3), np.uint8)
    strip[:, 7_990:8_010] = 255
    assert max(made("canny", strip, resolution=2048).shape) <= 8192
    for mode in ("Just Resize", "Crop and Resize", "Resize and Fill"):
        assert placed(strip, mode, 512, 512).shape == (512, 512, 3)
    assert placed(strip, "Crop and Resize", 64, 64)[32, 32, 0] == 255
    long = np.random.default_rng(0).integers(0, 255, (40, 400, 3), np.uint8)
    assert (placed(long, "Crop and Resize", 40, 40) == long[:, 180:220]).all()


# Units


def unit(**values: object) -> ControlUnit:
    return complete(ControlUnit.model_validate({"model": "a", "image": KEY, **values}))


def test_unit_when_complete_then_its_knobs_are_in_their_ranges() -> None:
    canny = unit(module="Canny", processor_res=4000, threshold_a=300, threshold_b=20)
    assert (canny.module, canny.processor_res) == ("canny", 512)
    assert (canny.threshold_a, canny.threshold_b) == (100, 20)
    plain = unit(processor_res=512, threshold_a=3)
    assert (plain.processor_res, plain.threshold_a, plain.threshold_b) == (-1, -1, -1)
    with pytest.raises(ParamsError, match=r"mlsd_large_512_fp32\.pth"):
        unit(module="mlsd")
    with pytest.raises(ParamsError, match="There are: none"):
        unit(module="magic")
    assert find("LINEART_STANDARD") is BY_NAME["lineart_standard"]


def unit_map(
    unit: ControlUnit, image: Image.Image, mask: Image.Image | None, size: tuple[int, int]
) -> UnitMap:
    return draw_map(unit, image, mask, size, 0).placed(*size)


def test_map_of_a_unit_when_inpainting_then_the_mask_is_hidden() -> None:
    image, mask = Image.fromarray(drawing()), Image.new("L", (96, 64))
    mask.paste(255, (0, 0, 48, 64))
    found = unit_map(unit(module="inpaint", resize_mode="Just Resize"), image, mask, (48, 32))
    assert found.hidden is not None
    assert found.hidden[:, :23].all() and not found.hidden[:, 25:].any()
    assert found.picture().size == (48, 32)


def test_map_of_a_unit_when_a_mask_is_drawn_then_that_is_the_map() -> None:
    image, scribble = Image.fromarray(drawing()), Image.new("RGBA", (96, 64), (0, 0, 0, 0))
    scribble.paste((10, 10, 10, 255), (40, 0, 50, 64))
    drawn = unit_map(unit(module="canny"), image, scribble, (96, 64))
    assert (drawn.pixels[:, 42:48] == 255).all() and not drawn.pixels[:, :38].any()
    blank = Image.new("L", (96, 64), 0)
    usual = unit_map(unit(module="canny"), image, blank, (96, 64))
    plain = unit_map(unit(module="canny"), image, None, (96, 64))
    assert (usual.pixels == plain.pixels).all()
