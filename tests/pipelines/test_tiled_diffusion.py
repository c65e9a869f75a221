"""Network calls in tiles: one tile is the plain call, several cover everything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.pipelines.conftest import Ear
from webui.networks.tiling import set_tiling
from webui.params import Hires, TiledDiffusion
from webui.pipelines.conditioning import Interrupted
from webui.pipelines.encoding import Encoding
from webui.pipelines.network_call import call_network
from webui.pipelines.tiled_diffusion import TiledCall

METHODS = ["MultiDiffusion", "Mixture of Diffusers"]
SMALL = {"tile_width": 64, "tile_height": 64, "overlap": 32}


def pixels(picture: Any) -> np.ndarray:
    return np.asarray(picture.image, dtype=int)


class Recorder:
    """A network that says twice what it is shown, and remembers the shapes."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.timesteps: list[list[float]] = []
        self.contexts: list[list[float]] = []

    def __call__(
        self, model: Any, inputs: Tensor, timesteps: Tensor, context: Encoding, stop: Any
    ) -> Tensor:
        self.shapes.append(tuple(inputs.shape))
        self.timesteps.append(timesteps.tolist())
        self.contexts.append(context.states[:, 0, 0].tolist())
        return inputs[:, :4] * 2


def call(network: Any, inputs: Tensor, *, is_seamless: bool = False, **wish: Any) -> Tensor:
    count = len(inputs)
    tiled = TiledCall(TiledDiffusion(**{**SMALL, **wish}), network, is_seamless=is_seamless)
    model: Any = SimpleNamespace(unet=nn.Identity())
    context = torch.arange(float(count)).view(-1, 1, 1).expand(-1, 77, 8)
    return tiled(model, inputs, torch.arange(float(count)), Encoding(context), lambda: None)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("is_seamless", [False, True])
@pytest.mark.parametrize("at_once", [1, 3, 64])
def test_call_in_tiles_blends_to_what_the_network_says_everywhere(
    method: str, is_seamless: bool, at_once: int
) -> None:
    recorder = Recorder()
    inputs = torch.randn(2, 4, 20, 11, generator=torch.Generator().manual_seed(0))

    output = call(recorder, inputs, is_seamless=is_seamless, method=method, batch_size=at_once)

    assert torch.allclose(output, inputs * 2, atol=1e-5)
    assert {shape[2:] for shape in recorder.shapes} == {(8, 8)}
    assert max(shape[0] for shape in recorder.shapes) <= at_once * 2


def test_call_when_tiles_go_together_keeps_each_samples_prompt_and_time() -> None:
    recorder = Recorder()
    call(recorder, torch.randn(2, 4, 8, 12), batch_size=2)

    assert recorder.shapes == [(4, 4, 8, 8)]
    assert recorder.timesteps == [[0, 1, 0, 1]] and recorder.contexts == [[0, 1, 0, 1]]


def test_call_when_the_checkpoint_is_shown_more_channels_cuts_them_too() -> None:
    recorder = Recorder()
    inputs = torch.randn(1, 9, 8, 12)

    assert call(recorder, inputs).shape == (1, 4, 8, 12)
    assert {shape[1] for shape in recorder.shapes} == {9}


def test_call_when_everything_fits_into_one_tile_is_the_plain_one() -> None:
    recorder = Recorder()
    call(recorder, torch.randn(2, 4, 8, 8), batch_size=4, is_seamless=True)

    assert recorder.shapes == [(2, 4, 8, 8)]


def test_convolutions_when_seamless_wrap_around_the_picture_and_not_a_tile() -> None:
    class Unet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(4, 4, 3, padding=1, bias=False)

        def forward(self, inputs: Tensor, timesteps: Tensor, **_: Any) -> tuple[Tensor]:
            return (self.first(inputs),)

    unet = Unet().requires_grad_(False)
    model: Any = SimpleNamespace(unet=unet, vae=nn.Identity())
    inputs = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    set_tiling(model, True)
    whole = unet.first(inputs)
    wish = TiledDiffusion(**SMALL, method="Mixture of Diffusers")
    tiled = TiledCall(wish, call_network, is_seamless=True)(
        model, inputs, torch.zeros(1), Encoding(torch.zeros(1, 77, 8)), lambda: None
    )

    # only a tile's outermost cells see its edge, and they count for almost nothing
    assert float((tiled - whole).abs().max()) < 0.02 * float(whole.abs().max())
    assert unet.first.padding_mode == "circular"  # as it was found


def test_stop_when_asked_between_tiles_ends_the_call() -> None:
    calls: list[int] = []

    def network(*args: Any) -> Tensor:
        calls.append(1)
        return args[1]

    def stop() -> None:
        if len(calls) == 2:
            raise Interrupted(None)

    tiled = TiledCall(TiledDiffusion(**SMALL), network)
    model: Any = SimpleNamespace(unet=nn.Identity())
    with pytest.raises(Interrupted):
        tiled(
            model, torch.randn(1, 4, 20, 20), torch.zeros(1), Encoding(torch.zeros(1, 77, 8)), stop
        )
    assert len(calls) == 2


def test_paint_when_the_picture_fits_into_a_tile_is_exactly_the_plain_one(painted: Any) -> None:
    plain = painted(batch_size=2)
    tiled = painted(batch_size=2, tiled_diffusion=TiledDiffusion(**SMALL))

    for one, other in zip(plain.pictures, tiled.pictures, strict=True):
        assert np.array_equal(pixels(one), pixels(other))


@pytest.mark.parametrize("method", METHODS)
def test_paint_when_larger_than_a_tile_has_no_seams(painted: Any, method: str) -> None:
    wish = TiledDiffusion(**SMALL, method=method, batch_size=3)
    (picture,) = painted(width=160, steps=8, tiled_diffusion=wish).pictures
    values = pixels(picture).mean(axis=2)

    steps = np.abs(np.diff(values, axis=1)).mean(axis=0)
    borders = [31, 63, 95, 127]
    near = np.mean([steps[b] for b in borders])
    assert picture.image.size == (160, 64)
    assert near < 1.6 * np.mean(np.delete(steps, borders))


def test_hires_and_img2img_when_tiled_go_through_tiles(painted: Any) -> None:
    wish = TiledDiffusion(**SMALL)
    hires = Hires(denoising_strength=0.5, steps=2)
    plain = painted(hires=hires).pictures[0]
    tiled = painted(hires=hires, tiled_diffusion=wish).pictures[0]
    assert tiled.image.size == (128, 128) and not np.array_equal(pixels(plain), pixels(tiled))

    key = "b" * 64
    values = {"kind": "img2img", "inputs": {key: plain.image}, "init_images": (key,)}
    values |= {"width": 128, "height": 128}
    one, other = painted(**values), painted(**values, tiled_diffusion=wish)
    assert not np.array_equal(pixels(one.pictures[0]), pixels(other.pictures[0]))


def test_seamless_when_tiled_makes_the_pictures_edges_meet(painted: Any) -> None:
    wish = TiledDiffusion(**SMALL)
    values: dict[str, Any] = {"steps": 8, "seed": 3, "width": 128, "tiled_diffusion": wish}
    open_edges = pixels(painted(**values).pictures[0])
    meeting = pixels(painted(**values, tiling=True).pictures[0])

    def seam(values: np.ndarray) -> float:
        return float(np.abs(values[:, 0] - values[:, -1]).mean())

    inside = float(np.abs(np.diff(meeting, axis=1)).mean())
    assert seam(meeting) < 2 * inside + 4
    assert seam(meeting) < seam(open_edges)


def test_interrupt_when_painting_in_tiles_shows_the_last_whole_step(painted: Any) -> None:
    asked: list[int] = []

    def stop(ear: Ear) -> bool:
        asked.append(1)
        return sum(stage == "sampling" for _, _, stage in ear.steps) >= 2 and len(asked) % 3 == 0

    ear = painted(
        Ear(stop_after=stop), steps=10, width=160, tiled_diffusion=TiledDiffusion(**SMALL)
    )

    assert len(ear.pictures) == 1
    assert max(step for _, step, stage in ear.steps if stage == "sampling") <= 3
