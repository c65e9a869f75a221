from __future__ import annotations

import pytest
import torch
from torch import Tensor

from webui.samplers.brownian import BrownianNoise, BrownianPath

SHAPE = (4, 8, 8)


def draw(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def path(seed: int = 5) -> BrownianPath:
    return BrownianPath(0.03, 14.6, seed, draw)


def test_between_adds_up() -> None:
    whole = path().between(0.5, 9.0)
    parts = path().between(0.5, 2.25) + path().between(2.25, 9.0)
    assert torch.allclose(whole, parts, atol=1e-5)


def test_between_does_not_depend_on_earlier_questions() -> None:
    asked = path()
    for low in range(1, 14):
        asked.between(low / 2, low)
    assert torch.equal(asked.between(1.1, 1.7), path().between(1.1, 1.7))


def test_between_outside_the_range_counts_as_its_ends() -> None:
    assert torch.equal(path().between(-3.0, 99.0), path().between(0.03, 14.6))


@pytest.mark.parametrize("seed", [0, 5, 4294967295])
def test_between_equals_torchsde(seed: int) -> None:
    torchsde = pytest.importorskip("torchsde")
    tree = torchsde.BrownianTree(0.03, torch.zeros(SHAPE), 14.6, entropy=seed)
    ours = path(seed)
    for low, high in ((7.0, 14.6), (3.3, 7.0), (3.3, 3.300002), (0.03, 3.3), (1.234567, 9.87)):
        assert torch.allclose(ours.between(low, high), tree(low, high), atol=5e-6)


def test_steps_have_unit_variance_and_no_common_part() -> None:
    shape = (4, 64, 64)
    noise = BrownianNoise(
        shape,
        [1, 2],
        0.03,
        14.6,
        lambda seed: torch.randn(shape, generator=torch.Generator().manual_seed(seed)),
    )
    latents = torch.zeros(2, *shape)
    first, second = noise(latents, 14.6, 5.0), noise(latents, 5.0, 0.7)
    assert float(first.std()) == pytest.approx(1, abs=0.03)
    assert float(second.std()) == pytest.approx(1, abs=0.03)
    assert abs(float((first * second).mean())) < 0.02
    assert abs(float((first[0] * first[1]).mean())) < 0.03


def test_overlapping_steps_share_noise() -> None:
    noise = BrownianNoise(SHAPE, [1], 0.03, 14.6, draw)
    latents = torch.zeros(1, *SHAPE)
    half, whole = noise(latents, 4.0, 2.0), noise(latents, 4.0, 1.0)
    expected = (2 / 3) ** 0.5  # covariance 2 over spreads sqrt(2) and sqrt(3)
    correlation = float((half * whole).mean() / (half.std() * whole.std()))
    assert correlation == pytest.approx(expected, abs=0.1)


def test_negative_seeds_have_a_path_too() -> None:
    assert not torch.equal(path(-1).between(1, 2), path(1).between(1, 2))
