from __future__ import annotations

import pytest
import torch
from torch import Tensor

from webui.errors import ParamsError
from webui.samplers.noise import ImageNoise, make_source, slerp
from webui.samplers.philox import PhiloxGenerator

SHAPE = (4, 8, 6)
LATER = torch.zeros(2, *SHAPE)


def plain(seed: int, shape: tuple[int, ...] = SHAPE, draws: int = 1) -> Tensor:
    """The ``draws``-th tensor of a seed."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(draws)][-1]


def test_first_when_plain_is_the_first_tensor_of_each_seed() -> None:
    noise = ImageNoise(SHAPE, [10, 11]).first()
    assert torch.equal(noise, torch.stack([plain(10), plain(11)]))


def test_first_when_nv_is_philox() -> None:
    noise = ImageNoise(SHAPE, [10], source="NV").first()
    assert torch.equal(noise[0], PhiloxGenerator(10).draw(SHAPE))


def test_like_goes_on_with_each_images_own_stream() -> None:
    noise = ImageNoise(SHAPE, [10, 11])
    noise.first()
    assert torch.equal(noise.like(LATER), torch.stack([plain(10, draws=2), plain(11, draws=2)]))
    assert torch.equal(noise.like(LATER)[1], plain(11, draws=3))


def test_like_when_ensd_comes_from_the_shifted_seed() -> None:
    noise = ImageNoise(SHAPE, [10, 11], eta_noise_seed_delta=31337)
    first = noise.first()
    assert torch.equal(first[0], plain(10))
    assert torch.equal(noise.like(LATER)[1], plain(11 + 31337))


def test_like_follows_shape_and_dtype_of_the_latents() -> None:
    drawn = ImageNoise(SHAPE, [1]).like(torch.zeros(1, 4, 3, 5, dtype=torch.float64))
    assert (drawn.shape, drawn.dtype) == ((1, 4, 3, 5), torch.float64)


def test_each_shares_the_streams() -> None:
    noise = ImageNoise(SHAPE, [10, 11])
    noise.first()
    second = noise.each()[1]
    assert torch.equal(second(LATER[:1], 1.0, 0.5)[0], plain(11, draws=2))
    assert torch.equal(noise.like(LATER), torch.stack([plain(10, draws=2), plain(11, draws=3)]))


def test_first_when_variation_blends_on_the_sphere() -> None:
    noise = ImageNoise(SHAPE, [10], subseeds=[77], subseed_strength=0.3).first()[0]
    low, high = plain(10), plain(77)
    for channel in range(4):
        for column in range(6):
            a, b = low[channel, :, column], high[channel, :, column]
            angle = torch.acos(torch.dot(a, b) / (a.norm() * b.norm()))
            blend = (torch.sin(0.7 * angle) * a + torch.sin(0.3 * angle) * b) / torch.sin(angle)
            assert torch.allclose(noise[channel, :, column], blend, atol=1e-5)


def test_first_when_variation_is_off_ignores_the_subseed() -> None:
    noise = ImageNoise(SHAPE, [10], subseeds=[77], subseed_strength=0.0).first()
    assert torch.equal(noise[0], plain(10))


def test_slerp_keeps_the_ends() -> None:
    low, high = plain(1), plain(2)
    assert torch.allclose(slerp(0.0, low, high), low, atol=1e-5)
    assert torch.allclose(slerp(1.0, low, high), high, atol=1e-5)


def test_slerp_when_nearly_parallel_swaps_the_weights() -> None:
    low = plain(1)
    high = low * 2
    assert torch.allclose(slerp(0.25, low, high), low * 0.25 + high * 0.75)


def test_first_when_resized_from_smaller_pastes_it_in_the_middle() -> None:
    noise = ImageNoise(
        (4, 8, 10), [10], seed_resize_from_width=32, seed_resize_from_height=48
    ).first()[0]
    expected = plain(10, (4, 8, 10))
    expected[:, 1:7, 3:7] = plain(10, (4, 6, 4))
    assert torch.equal(noise, expected)


def test_first_when_resized_from_larger_is_its_middle() -> None:
    noise = ImageNoise(SHAPE, [10], seed_resize_from_width=64, seed_resize_from_height=96).first()[
        0
    ]
    assert torch.equal(noise, plain(10, (4, 12, 8))[:, 2:10, 1:7])


def test_like_when_resized_follows_the_full_size_draw() -> None:
    noise = ImageNoise(SHAPE, [10], seed_resize_from_width=32, seed_resize_from_height=32)
    noise.first()
    assert torch.equal(noise.like(LATER[:1])[0], plain(10, draws=2))


def test_like_when_seeds_are_missing_says_so() -> None:
    with pytest.raises(ParamsError, match="2 images came with 1 seeds"):
        ImageNoise(SHAPE, [10]).like(LATER)
    with pytest.raises(ParamsError, match="2 images came with 1 seeds"):
        ImageNoise(SHAPE, [10]).brownian(LATER, 0.1, 1.0)


@pytest.mark.parametrize(
    ("source", "seed", "field"), [("CPU", 2**64, "seed"), ("cpu", 1, "randn_source")]
)
def test_make_source_when_impossible_names_the_field(source: str, seed: int, field: str) -> None:
    with pytest.raises(ParamsError) as caught:
        make_source(source, seed, torch.device("cpu"))
    assert caught.value.field == field


def test_brownian_when_one_path_depends_on_the_whole_batch() -> None:
    noise = ImageNoise(SHAPE, [10, 11])
    each = noise.brownian(LATER, 0.1, 10.0)(LATER, 5.0, 1.0)
    together = noise.brownian(LATER, 0.1, 10.0, one_path=True)(LATER, 5.0, 1.0)
    alone = ImageNoise(SHAPE, [11]).brownian(LATER[:1], 0.1, 10.0)(LATER[:1], 5.0, 1.0)
    assert torch.equal(each[1:], alone)
    assert together.shape == each.shape
    assert not torch.equal(together[1:], alone)


@pytest.mark.gpu
def test_first_when_gpu_source_is_the_cards_own_generator() -> None:
    noise = ImageNoise(SHAPE, [10], source="GPU", device="cuda").first()
    card = torch.Generator("cuda").manual_seed(10)
    assert torch.equal(noise[0], torch.randn(SHAPE, device="cuda", generator=card))
    assert torch.allclose(noise[0].cpu(), PhiloxGenerator(10).draw(SHAPE), atol=1e-5)


def test_first_when_resized_by_odd_cells_lies_towards_the_top_left() -> None:
    noise = ImageNoise((4, 7, 10), [10], seed_resize_from_width=56, seed_resize_from_height=64)
    expected, seed_noise = plain(10, (4, 7, 10)), plain(10, (4, 8, 7))
    expected[:, 0:6, 1:8] = seed_noise[:, 1:7]  # a row is lost on either side, one stays new
    assert torch.equal(noise.first()[0], expected)
