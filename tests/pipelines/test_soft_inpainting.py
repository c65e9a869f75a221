"""Soft inpainting: how masks act at a noise level, how latents mix, which pixels are taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from webui.params import SoftInpainting
from webui.pipelines.soft_inpainting import (
    SoftBlend,
    changed_mask,
    mixed_latents,
    neighbourhood_mean,
)

KNOBS = SoftInpainting()
ORIGINAL = torch.full((1, 4, 1, 3), 1.0)
PAINTED = torch.full((1, 4, 1, 3), -1.0)
MASK = torch.tensor([[[[0.0, 0.5, 1.0]]]])


def blended(sigma: float, **knobs: Any) -> torch.Tensor:
    blend = SoftBlend(ORIGINAL, MASK, SoftInpainting(**knobs))
    return blend.estimated(PAINTED, torch.tensor([sigma]))


def test_soft_blend_when_masked_wholly_or_not_then_is_painted_or_original() -> None:
    for sigma in (14.6, 1.0, 0.03):
        result = blended(sigma)
        assert torch.allclose(result[..., 0], ORIGINAL[..., 0], atol=1e-4)
        assert torch.allclose(result[..., 2], PAINTED[..., 2], atol=1e-4)


def test_soft_blend_when_noise_falls_then_a_grey_cell_joins_the_repainting() -> None:
    painted = torch.full((1, 4, 1, 3), 3.0)
    values = []
    for sigma in (14.6, 4.0, 1.0, 0.03):
        blend = SoftBlend(ORIGINAL, MASK, KNOBS)
        values.append(float(blend.estimated(painted, torch.tensor([sigma]))[0, 0, 0, 1]))
    assert values == sorted(values)
    assert values[-1] > 2.9


@pytest.mark.parametrize("knob", ["schedule_bias", "preservation_strength"])
def test_soft_blend_when_preservation_rises_then_more_of_the_original_stays(knob: str) -> None:
    painted = torch.full((1, 4, 1, 3), 3.0)
    values = [
        float(
            SoftBlend(ORIGINAL, MASK, SoftInpainting(**{knob: value})).estimated(
                painted, torch.tensor([6.0])
            )[0, 0, 0, 1]
        )
        for value in (0.25, 1.0, 2.0)
    ]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[2]


def test_mixed_latents_when_boosted_then_contrast_is_kept() -> None:
    one = torch.tensor([1.0, 0, 0, 0]).view(1, 4, 1, 1)
    other = torch.tensor([0, 1.0, 0, 0]).view(1, 4, 1, 1)
    half = torch.full((1, 1, 1, 1), 0.5)
    lengths = [float(mixed_latents(one, other, half, boost).norm()) for boost in (1.0, 4.0, 32.0)]
    straight = float(torch.lerp(one, other, half).norm())
    assert lengths == pytest.approx([1.0, 1.0, 1.0], abs=1e-3)
    assert straight < 0.75
    longer = float(mixed_latents(one, other * 3, half, 32.0).norm())
    assert longer > float(mixed_latents(one, other * 3, half, 1.0).norm()) > 1.9


def test_changed_mask_when_a_region_changed_then_only_it_is_taken() -> None:
    original = torch.zeros(4, 12, 16)
    painted = original.clone()
    painted[:, :, 8:] = 2.0
    mask = changed_mask(original, painted, torch.ones(1, 12, 16), KNOBS, 128, 96)
    values = np.asarray(mask, dtype=int)
    assert mask.size == (128, 96)
    assert values[:, :36].max() < 5
    assert values[:, 92:].min() > 240


def test_changed_mask_when_the_threshold_rises_then_less_is_taken() -> None:
    original, painted = torch.zeros(4, 8, 8), torch.full((4, 8, 8), 0.3)
    whites = [
        np.asarray(
            changed_mask(
                original,
                painted,
                torch.ones(1, 8, 8),
                SoftInpainting(difference_threshold=threshold),
                64,
                64,
            )
        ).mean()
        for threshold in (0.0, 0.25, 1.0, 4.0)
    ]
    assert whites == sorted(whites, reverse=True)
    assert whites[0] == 255
    assert whites[-1] < 20


def test_changed_mask_when_the_mask_has_all_influence_then_it_decides() -> None:
    original, painted = torch.zeros(4, 8, 8), torch.full((4, 8, 8), 1.0)
    mask = torch.zeros(1, 8, 8)
    mask[..., 4:] = 1
    knobs = SoftInpainting(mask_influence=1.0)
    values = np.asarray(changed_mask(original, painted, mask, knobs, 64, 64), dtype=int)
    assert values[:, :20].max() < 5
    assert values[:, 44:].min() > 250


def test_neighbourhood_mean_when_judged_by_plain_counting_then_agrees() -> None:
    """Against a slow walk along each cell's sorted neighbours."""
    values = np.random.default_rng(5).random((6, 7))
    for low, high in ((0.9, 1.0), (0.25, 0.75), (0.0, 1.0)):
        found = neighbourhood_mean(values, low, high)
        assert found[3, 3] == pytest.approx(slow_mean(values, 3, 3, low, high), rel=1e-6)
        assert found[0, 6] == pytest.approx(slow_mean(values, 0, 6, low, high), rel=1e-6)


def slow_mean(values: Any, row: int, column: int, low: float, high: float) -> float:
    zero = np.exp(-9 / 2.25)
    cells = []
    for y in range(max(row - 2, 0), min(row + 3, values.shape[0])):
        for x in range(max(column - 2, 0), min(column + 3, values.shape[1])):
            square = (y - row) ** 2 + (x - column) ** 2
            cells.append((values[y, x], max(0.0, (np.exp(-square / 2.25) - zero) / (1 - zero))))
    cells.sort()
    total = sum(weight for _, weight in cells)
    start, stop = total * low, total * high
    if stop - start < 1:
        middle = (start + stop) / 2
        start, stop = middle - 0.5, middle + 0.5
        if stop > total:
            start, stop = total - 1, total
    mean = taken = position = 0.0
    for value, weight in cells:
        share = max(0.0, min(position + weight, stop) - max(position, start))
        mean, taken, position = mean + value * share, taken + share, position + weight
    return mean / taken
