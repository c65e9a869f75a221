"""Enlarging by networks: loading, tiles, alpha, depth, sizes, stopping."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from webui.errors import (
    CheckpointError,
    ParamsError,
    UnknownArchitectureError,
    UnsafeCheckpointError,
)
from webui.progress import Interrupted
from webui.restoration.networks import Shelf, load_network, read_tensors
from webui.restoration.upscalers import MAX_PASSES, NetworkUpscaler, Tiling, load_upscaler

WHOLE = Tiling(0, 0)


def enlarged(upscaler: NetworkUpscaler, pixels: np.ndarray, factor: int) -> np.ndarray:
    return upscaler.enlarge_pixels(pixels, pixels.shape[1] * factor, pixels.shape[0] * factor)


@pytest.mark.parametrize(
    ("name", "scale"), [("compact", 2), ("esrgan", 4), ("swinir", 2), ("compact4", 4)]
)
def test_network_when_saved_and_loaded_then_enlarges_as_the_module_does(
    name: str, scale: int, saved: Any, networks: Any, shelf: Shelf, photograph: np.ndarray
) -> None:
    small = photograph[:40, :48]
    upscaler = load_upscaler(name, saved(name), shelf, tiling=WHOLE)
    values = torch.from_numpy(small.astype(np.float32) / 255).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = networks[name]()(values)[0].clamp(0, 1).permute(1, 2, 0).numpy()
    got = enlarged(upscaler, small, scale)
    assert upscaler.scale == scale
    assert got.shape == (40 * scale, 48 * scale, 3)
    assert np.abs(got - expected * 255).max() <= 1.0


def test_cpu_when_half_precision_is_on_then_only_8_bit_pictures_are_quick_and_hardly_differ(
    saved: Any, photograph: np.ndarray
) -> None:
    path, small = saved("compact"), photograph[:40, :48]
    exact, quick = (
        load_upscaler("x", path, Shelf(torch.device("cpu"), has_half=half), tiling=WHOLE)
        for half in (False, True)
    )
    apart = np.abs(enlarged(exact, small, 2).astype(int) - enlarged(quick, small, 2))
    assert 0 < apart.mean() < 0.5

    deep = small.astype(np.uint16) * 257
    assert np.array_equal(enlarged(exact, deep, 2), enlarged(quick, deep, 2))


def test_pth_when_weights_lie_under_params_ema_then_loads(saved: Any, shelf: Shelf) -> None:
    assert load_upscaler("x", saved("compact", "x.pth"), shelf).scale == 2


@pytest.mark.parametrize("tile", [48, 64, 100])
@pytest.mark.parametrize("name", ["compact", "esrgan"])
def test_tiles_when_they_overlap_by_what_the_network_sees_then_equal_the_whole(
    name: str, tile: int, saved: Any, shelf: Shelf, photograph: np.ndarray
) -> None:
    # The outermost quarter of an overlap counts nothing: 40 leaves ten pixels around each place.
    path, factor = saved(name), 2
    whole = enlarged(load_upscaler("a", path, shelf, tiling=WHOLE), photograph, factor)
    tiled = load_upscaler("b", path, shelf, tiling=Tiling(tile, 40))
    difference = np.abs(enlarged(tiled, photograph, factor).astype(int) - whole)
    assert difference.mean() < 0.05
    assert difference.max() <= 8


def test_tiles_when_nothing_overlaps_then_seams_show_that_the_test_above_can_fail(
    saved: Any, shelf: Shelf, photograph: np.ndarray
) -> None:
    path = saved("compact")
    whole = enlarged(load_upscaler("a", path, shelf, tiling=WHOLE), photograph, 2)
    tiled = enlarged(load_upscaler("b", path, shelf, tiling=Tiling(48, 0)), photograph, 2)
    assert np.abs(tiled.astype(int) - whole).max() > 8


def test_tiles_when_counted_then_progress_reaches_the_total(
    saved: Any, shelf: Shelf, photograph: np.ndarray
) -> None:
    told: list[tuple[int, int]] = []
    upscaler = load_upscaler("a", saved("compact"), shelf, tiling=Tiling(64, 16))
    upscaler.enlarge_pixels(photograph, 320, 240, on_tile=lambda *n: told.append(n))
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert {total for _, total in told} == {len(told)}
    assert len(told) > 4


def test_interrupt_when_asked_before_a_tile_then_stops_there(
    saved: Any, shelf: Shelf, photograph: np.ndarray
) -> None:
    told: list[int] = []
    upscaler = load_upscaler("a", saved("compact"), shelf, tiling=Tiling(64, 16))
    with pytest.raises(Interrupted):
        upscaler.enlarge_pixels(
            photograph, 320, 240,
            should_stop=lambda: len(told) >= 2, on_tile=lambda done, _: told.append(done),
        )  # fmt: skip
    assert told == [1, 2]


def test_alpha_when_it_varies_then_is_enlarged_too(
    saved: Any, shelf: Shelf, photograph: np.ndarray
) -> None:
    alpha = np.zeros((120, 160, 1), np.uint8)
    alpha[:, 80:] = 255
    upscaler = load_upscaler("a", saved("compact"), shelf)
    got = enlarged(upscaler, np.dstack([photograph, alpha]), 2)
    assert got.shape == (240, 320, 4)
    assert abs(float(got[:, 20:140, 3].mean()) - float(got[:, 180:300, 3].mean())) > 100
    assert np.array_equal(got[..., :3], enlarged(upscaler, photograph, 2))


def test_alpha_when_opaque_then_stays_exactly_opaque(saved: Any, shelf: Shelf) -> None:
    image = Image.new("RGBA", (40, 40), (200, 30, 60, 255))
    got = load_upscaler("a", saved("compact"), shelf).enlarge(image, 80, 80)
    assert got.mode == "RGBA"
    assert got.getchannel("A").getextrema() == (255, 255)


def test_sixteen_bits_when_enlarged_then_keep_what_eight_would_lose(
    saved: Any, shelf: Shelf
) -> None:
    fine = np.broadcast_to(
        np.linspace(20000, 20600, 64)[None, :, None], (64, 64, 3)
    ).astype(np.uint16)  # fmt: skip
    upscaler = load_upscaler("a", saved("compact"), shelf)
    got = enlarged(upscaler, fine, 2)
    assert got.dtype == np.uint16
    assert len(np.unique(got[40:-40, 40:-40])) > 50
    eight = enlarged(upscaler, (fine // 257).astype(np.uint8), 2)
    assert np.abs(got / 257 - eight).mean() < 1.5


@pytest.mark.parametrize("size", [(100, 75), (161, 121), (333, 250), (900, 700), (40, 300)])
def test_outscale_when_any_size_is_asked_then_it_is_exact(
    size: tuple[int, int], saved: Any, shelf: Shelf, photograph: np.ndarray
) -> None:
    upscaler = load_upscaler("a", saved("compact"), shelf)
    assert upscaler.enlarge_pixels(photograph, *size).shape[:2] == (size[1], size[0])


def test_passes_when_more_is_asked_than_three_give_then_three_are_made(
    saved: Any, shelf: Shelf
) -> None:
    tiles: list[int] = []
    upscaler = load_upscaler("a", saved("compact"), shelf, tiling=WHOLE)
    tiny = np.zeros((4, 4, 3), np.uint8)
    got = upscaler.enlarge_pixels(tiny, 400, 400, on_tile=lambda done, _: tiles.append(done))
    assert got.shape == (400, 400, 3)
    assert tiles == list(range(1, MAX_PASSES + 1))


def test_passes_when_smaller_is_asked_then_the_network_does_not_run(
    saved: Any, shelf: Shelf, photograph: np.ndarray
) -> None:
    tiles: list[int] = []
    upscaler = load_upscaler("a", saved("compact"), shelf)
    upscaler.enlarge_pixels(photograph, 80, 60, on_tile=lambda done, _: tiles.append(done))
    assert tiles == []


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2)])
@pytest.mark.parametrize("name", ["compact", "swinir"])
def test_tiny_pictures_when_enlarged_then_work(
    name: str, size: tuple[int, int], saved: Any, shelf: Shelf
) -> None:
    pixels = np.full((size[1], size[0], 3), 128, np.uint8)
    got = enlarged(load_upscaler("a", saved(name), shelf), pixels, 2)
    assert got.shape == (size[1] * 2, size[0] * 2, 3)


def test_wide_picture_when_enlarged_then_is_cut_into_one_row(saved: Any, shelf: Shelf) -> None:
    pixels = np.full((8, 20_000, 3), 90, np.uint8)
    got = load_upscaler("a", saved("compact"), shelf).enlarge_pixels(pixels, 40_000, 16)
    assert got.shape == (16, 40_000, 3)
    flat = got[4:12, 100:-100:2].astype(int)  # every second column: pixel shuffle alternates
    assert np.ptp(flat, axis=1).max() <= 1


def test_size_when_beyond_reason_then_refused_before_any_work(
    saved: Any, shelf: Shelf, photograph: np.ndarray
) -> None:
    with pytest.raises(ParamsError, match="megapixels"):
        load_upscaler("a", saved("compact"), shelf).enlarge_pixels(photograph, 60_000, 60_000)


def test_blend_when_two_weights_are_mixed_then_lies_between(saved: Any, shelf: Shelf) -> None:
    first, second = saved("compact", "a.safetensors"), saved("compact", "b.safetensors", body=0.5)
    half = load_upscaler("m", first, shelf, second=second, share=0.5)
    a, b = read_tensors(first), read_tensors(second)
    got = dict(half._network.model.named_parameters())
    assert torch.allclose(got["body.2.weight"], (a["body.2.weight"] + b["body.2.weight"]) / 2)


def test_blend_when_networks_differ_then_refused(saved: Any, shelf: Shelf) -> None:
    with pytest.raises(CheckpointError, match="different networks"):
        load_upscaler("m", saved("compact"), shelf, second=saved("esrgan"), share=0.5)


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("ending", [".pth", ".pt"])
def test_pickle_when_it_asks_for_more_than_tensors_then_refused_and_not_run(
    ending: str, tmp_path: Path, shelf: Shelf
) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / f"evil{ending}"
    path.write_bytes(pickle.dumps({"params_ema": {"conv_first.weight": Evil(marker)}}))
    with pytest.raises(CheckpointError):
        load_upscaler("evil", path, shelf)
    zipped = tmp_path / f"zipped{ending}"
    torch.save({"params_ema": {"conv_first.weight": Evil(marker)}}, zipped)
    with pytest.raises(UnsafeCheckpointError):
        load_upscaler("evil", zipped, shelf)
    assert not marker.exists()


def test_foreign_file_when_loaded_then_says_what_works(tmp_path: Path, shelf: Shelf) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"some.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(UnknownArchitectureError, match="1 tensors of no upscaler"):
        load_upscaler("x", path, shelf)


def test_damaged_shape_when_loaded_then_named(saved: Any, shelf: Shelf, tmp_path: Path) -> None:
    tensors = read_tensors(saved("compact"))
    tensors["body.2.weight"] = torch.zeros(5, 5, 3, 3)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_network(tmp_path / "x.pth", tensors, torch.device("cpu"))


def test_shelf_when_asked_again_then_keeps_the_network(saved: Any, shelf: Shelf) -> None:
    path = saved("compact")
    first, again = (load_upscaler("a", path, shelf) for _ in range(2))
    assert first._network is again._network
    shelf.clear()
    assert load_upscaler("a", path, shelf)._network is not first._network


@pytest.mark.weights
@pytest.mark.parametrize(
    ("file", "scale"), [("realesr-animevideov3-x4", 4), ("realesrgan-x4plus-anime-6b", 4)]
)
def test_real_weights_when_a_photograph_is_enlarged_then_its_content_stays(
    file: str, scale: int, weights_folder: Path, shelf: Shelf, photograph: np.ndarray
) -> None:
    upscaler = load_upscaler(file, weights_folder / f"{file}.safetensors", shelf)
    smooth = np.asarray(Image.fromarray(photograph).resize((40, 30)).resize((80, 60)))
    got = Image.fromarray(upscaler.enlarge_pixels(smooth, 80 * scale, 60 * scale))
    back = np.asarray(got.resize((80, 60), Image.Resampling.BOX)).astype(int)
    assert np.abs(back - smooth).mean() < 6
