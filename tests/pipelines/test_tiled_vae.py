"""The VAE in strips: the numbers of the whole, less memory, and a way out between strips."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.pipelines.conftest import Ear
from webui.networks.packing import can_pack, pack_weights
from webui.networks.tiles import Span, pieces
from webui.networks.tiling import set_tiling
from webui.pipelines import decode as decoding
from webui.pipelines import tiled_vae
from webui.pipelines.decode import ROUGH_WARNING, VaeWork, decode, encode
from webui.pipelines.tiled_vae import Kept, Moments, decode_in_tiles, encode_in_tiles

SPARE = {"kept": 1 << 30, "some twice": 1 << 18, "all twice": 0}


@pytest.fixture(autouse=True)
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of a few rows even in small pictures."""
    monkeypatch.setattr(tiled_vae, "STRIP_BYTES", 1 << 17)


@pytest.fixture(scope="module")
def vae() -> Any:
    """A narrow SD 1.x VAE of random weights, packed where torch can."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    torch.manual_seed(5)
    made = AutoencoderKL(
        block_out_channels=(16, 32, 64, 64),
        norm_num_groups=8,
        layers_per_block=2,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
    )
    made = made.eval().requires_grad_(False)
    for layer in made.modules():
        if isinstance(layer, nn.GroupNorm):
            layer.weight.normal_(1, 0.3)
            layer.bias.normal_(0, 0.3)
    pack_weights(made)
    return made


@pytest.fixture(params=[False, True], ids=["edges", "seamless"])
def is_seamless(request: Any, vae: Any) -> Any:
    model = SimpleNamespace(vae=vae, unet=nn.Identity())
    set_tiling(model, request.param)
    yield request.param
    set_tiling(model, False)


def uneven(channels: int, height: int, width: int) -> torch.Tensor:
    """Flat above, noisy below: tiles that took their own statistics would differ at once."""
    values = torch.randn(1, channels, height, width, generator=torch.Generator().manual_seed(2))
    return values * torch.linspace(0.1, 2, height)[None, None, :, None] + 0.3


@pytest.mark.parametrize("spare", SPARE.values(), ids=SPARE)
def test_decode_in_tiles_gives_the_picture_of_the_whole(
    vae: Any, is_seamless: bool, spare: int
) -> None:
    latents = uneven(4, 20, 24)
    with torch.inference_mode():
        whole = vae.decode(latents, return_dict=False)[0]

    tiled = decode_in_tiles(vae, latents, spare_bytes=spare)

    assert tiled.shape == (1, 3, 160, 192)
    assert float((tiled - whole).abs().max()) < 1e-4


@pytest.mark.parametrize("spare", SPARE.values(), ids=SPARE)
def test_encode_in_tiles_gives_the_latents_of_the_whole(
    vae: Any, is_seamless: bool, spare: int
) -> None:
    pixels = uneven(3, 168, 200).clamp(-1, 1)
    with torch.inference_mode():
        whole = vae.encode(pixels, return_dict=False)[0].mean

    tiled = encode_in_tiles(vae, pixels, spare_bytes=spare)

    assert tiled.shape == (1, 4, 21, 25)
    assert float((tiled - whole).abs().max()) < 1e-4


def test_weights_when_packed_stay_packed(vae: Any) -> None:
    if not can_pack():
        pytest.skip("torch without oneDNN")
    decode_in_tiles(vae, uneven(4, 16, 16))
    convolution: Any = vae.decoder.up_blocks[0].resnets[0].conv1

    assert convolution._packed is not None


def test_progress_counts_every_strip_up_to_the_number_planned(vae: Any) -> None:
    told: list[tuple[int, int]] = []

    decode_in_tiles(vae, uneven(4, 20, 24), lambda done, total: told.append((done, total)))

    total = told[0][1]
    assert total > 100 and told == [(i + 1, total) for i in range(total)]


def test_memory_when_in_tiles_is_a_fraction_of_the_whole(vae: Any) -> None:
    latents = uneven(4, 40, 40)
    whole = peak_bytes(lambda: vae.decode(latents, return_dict=False)[0])
    tiled = peak_bytes(lambda: decode_in_tiles(vae, latents, spare_bytes=0))

    picture_maps = 320 * 320 * 16 * 4  # one map at full size
    assert whole > 4 * picture_maps
    assert tiled < 2.2 * picture_maps


def peak_bytes(work: Any) -> int:
    """Most bytes that tensors made inside held at once, as torch's profiler counts them."""
    from torch.profiler import ProfilerActivity, profile

    with (
        torch.inference_mode(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen,
    ):
        work()
    level = peak = 0
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        level += event.nbytes()
        peak = max(peak, level)
    return peak


def test_rows_when_written_over_are_still_read_as_they_were() -> None:
    old = torch.arange(12.0).view(1, 1, 12, 1)
    kept = Kept(old.clone(), torch.device("cpu"), is_ring=True)
    kept.begin_overwriting(2)
    seen = []
    for rows in pieces(12, 5):
        seen.append(kept.read(Span(rows.start - 2, rows.stop + 2)).flatten().tolist())
        kept.overwrite(rows, torch.full((1, 1, rows.length, 1), -1.0))
    kept.end_overwriting()

    assert seen == [
        [10, 11, 0, 1, 2, 3, 4, 5, 6],
        [3, 4, 5, 6, 7, 8, 9, 10, 11],
        [8, 9, 10, 11, 0, 1],
    ]
    assert kept.read(Span(0, 12)).flatten().tolist() == [-1] * 12


def test_moments_of_strips_are_those_of_a_group_norm_over_the_whole() -> None:
    values = uneven(8, 30, 7) * 3 + 100  # far from 0, where sums of squares lose their digits
    norm = nn.GroupNorm(4, 8)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    moments = Moments()
    for rows in pieces(30, 7):
        moments.add(values[:, :, rows.start : rows.stop])

    found = moments.normaliser(norm, torch.device("cpu"))(values)

    assert torch.allclose(found, norm(values), atol=1e-4)


def test_decode_when_asked_for_tiles_is_the_same_picture(starter: Any) -> None:
    latents = torch.randn(1, 4, 16, 12, generator=torch.Generator().manual_seed(1))
    whole = decode(starter, latents, lambda message: None)[0]

    tiled = decode(starter, latents, lambda message: None, VaeWork(is_tiled=True))[0]

    apart = np.abs(np.asarray(whole, dtype=int) - np.asarray(tiled, dtype=int))
    assert apart.mean() < 0.01 and apart.max() <= 1


def test_encode_when_asked_for_tiles_is_the_same(starter: Any) -> None:
    image = decode(starter, torch.randn(1, 4, 16, 12), lambda message: None)[0]

    assert torch.allclose(
        encode(starter, [image]), encode(starter, [image], VaeWork(is_tiled=True)), atol=1e-4
    )


def test_decode_when_memory_is_short_goes_in_tiles_by_itself(
    starter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    work = VaeWork(on_tile=lambda done, total: told.append(done))
    latents = torch.randn(1, 4, 16, 16)
    decode(starter, latents, lambda message: None, work)
    assert told == []

    monkeypatch.setattr(decoding, "available_bytes", lambda device: 1 << 20)
    decode(starter, latents, lambda message: None, work)
    assert len(told) > 10


def test_interrupt_when_decoding_in_tiles_shows_a_rough_picture_soon(
    painted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "ROUGH_SIDE", 16)

    def stop(ear: Ear) -> bool:  # the first report says that decoding begins
        return sum(stage == "decoding" for _, _, stage in ear.steps) >= 2

    values: dict[str, Any] = {"steps": 4, "width": 192, "tiled_vae": True}
    whole = painted(**values)
    ear = painted(Ear(stop_after=stop), **values)

    assert sum(stage == "decoding" for _, _, stage in whole.steps) > 20
    assert sum(stage == "decoding" for _, _, stage in ear.steps) <= 3
    assert ear.warnings == [ROUGH_WARNING]
    rough = ear.pictures[0].image
    assert rough.size == (192, 64)
    apart = np.asarray(rough, dtype=int) - np.asarray(whole.pictures[0].image, dtype=int)
    assert 0 < np.abs(apart).mean() < 40


def test_interrupt_when_sampling_decodes_what_there_is_to_the_end(painted: Any) -> None:
    ear = painted(
        Ear(
            stop_after=lambda e: any(
                stage == "sampling" and step >= 2 for _, step, stage in e.steps
            )
        ),
        steps=6,
        tiled_vae=True,
    )

    assert len(ear.pictures) == 1 and ear.warnings == []


def test_tiling_when_the_vae_is_tiled_still_makes_edges_meet(painted: Any) -> None:
    whole = painted(steps=6, seed=3, tiling=True).pictures[0].image
    tiled = painted(steps=6, seed=3, tiling=True, tiled_vae=True).pictures[0].image

    apart = np.abs(np.asarray(whole, dtype=int) - np.asarray(tiled, dtype=int))
    assert apart.max() <= 1
