"""Cutting and blending: everything covered, shares that sum to one, A1111's places."""

from __future__ import annotations

import itertools

import pytest
import torch

from webui.networks.tiles import (
    Mosaic,
    Span,
    gaussian,
    grid,
    pieces,
    ring_spans,
    soft_edged,
    spans,
)


def even(length: int) -> torch.Tensor:
    """Overlaps become the mean of their tiles."""
    return torch.ones(length)


SIZES = [(8, 8, 0), (9, 8, 0), (9, 8, 7), (64, 16, 4), (100, 33, 32), (7, 50, 10), (1, 8, 2)]


@pytest.mark.parametrize("length, size, overlap", SIZES)
def test_spans_cover_the_line_equally_long_and_share_enough(
    length: int, size: int, overlap: int
) -> None:
    parts = spans(length, size, overlap)

    assert parts[0].start == 0 and parts[-1].stop == length
    assert {p.length for p in parts} == {min(size, length)}
    shared = [one.stop - other.start for one, other in itertools.pairwise(parts)]
    assert all(s >= overlap for s in shared)
    starts = [p.start for p in parts]
    assert starts == sorted(set(starts))


def test_spans_when_the_line_fits_are_one() -> None:
    assert spans(64, 64, 16) == [Span(0, 64)]
    assert len(spans(65, 64, 16)) == 2


def test_spans_stand_where_a1111_puts_its_tiles() -> None:
    # split_grid(1024 px, tile 512, overlap 64): ceil(960 / 448) = 3 tiles, 256 apart
    assert [p.start for p in spans(1024, 512, 64)] == [0, 256, 512]
    # 1000 px, tile 512, overlap 0: 2 tiles; 1100: 3 tiles, (1100-512)/2 apart
    assert [p.start for p in spans(1000, 512, 0)] == [0, 488]
    assert [p.start for p in spans(1100, 512, 0)] == [0, 294, 588]


def test_spans_when_tiles_could_not_advance_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot overlap"):
        spans(100, 8, 8)


@pytest.mark.parametrize("length, size, overlap", SIZES)
def test_ring_spans_cover_the_place_where_the_ends_meet_from_inside(
    length: int, size: int, overlap: int
) -> None:
    parts = ring_spans(length, size, overlap)
    covered = torch.zeros(length, dtype=torch.int)
    for part in parts:
        covered[torch.arange(part.start, part.stop) % length] += 1

    assert len(parts) >= 2 and bool((covered > 0).all())
    # unless everything is cut without overlap, some part has the seam strictly inside
    if overlap and length > 1:
        assert any(part.start < length < part.stop for part in parts)


def test_pieces_cover_without_overlap() -> None:
    assert pieces(10, 4) == [Span(0, 4), Span(4, 8), Span(8, 10)]
    assert pieces(3, 4) == [Span(0, 3)]


def test_grid_is_in_reading_order() -> None:
    boxes = [tile.box for tile in grid(pieces(2, 1), pieces(4, 2))]

    assert boxes == [(0, 0, 2, 1), (2, 0, 4, 1), (0, 1, 2, 2), (2, 1, 4, 2)]


@pytest.mark.parametrize("weights", [even, soft_edged, gaussian])
@pytest.mark.parametrize("cut", [spans, ring_spans])
@pytest.mark.parametrize("height, width, size, overlap", [(40, 56, 16, 4), (16, 33, 16, 8)])
def test_mosaic_when_tiles_are_cut_and_blended_gives_the_same_map(
    weights: object, cut: object, height: int, width: int, size: int, overlap: int
) -> None:
    rows, columns = cut(height, size, overlap), cut(width, size, overlap)  # type: ignore[operator]
    mosaic = Mosaic(height, width, rows, columns, weights)  # type: ignore[arg-type]
    maps = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))

    again = mosaic.blend((tile, mosaic.cut(maps, tile)) for tile in mosaic.tiles)

    assert torch.allclose(again, maps, atol=1e-5)  # shares sum to 1 at every cell
    ones = mosaic.blend(
        (tile, torch.ones(1, 1, tile.rows.length, tile.columns.length)) for tile in mosaic.tiles
    )
    assert torch.allclose(ones, torch.ones_like(ones), atol=1e-5)


def test_soft_edged_rises_at_both_ends_and_is_even_between() -> None:
    weights = soft_edged(12).tolist()

    assert weights == [0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125]
    assert min(soft_edged(3).tolist()) > 0


def test_mosaic_when_weights_are_even_takes_the_mean_of_an_overlap() -> None:
    mosaic = Mosaic(1, 6, [Span(0, 1)], spans(6, 4, 2), even)
    values = {0: 1.0, 2: 3.0}

    row = mosaic.blend(
        (tile, torch.full((1, 1, 1, 4), values[tile.columns.start])) for tile in mosaic.tiles
    )

    assert row.flatten().tolist() == [1, 1, 2, 2, 3, 3]


def test_mosaic_when_weights_are_gaussian_trusts_the_middle_of_a_tile() -> None:
    mosaic = Mosaic(1, 48, [Span(0, 1)], spans(48, 32, 16), gaussian)
    first, second = (mosaic.share(tile)[0] for tile in mosaic.tiles)

    assert first[16] > 0.99 and second[15] > 0.99
    assert abs(float(first[23] - second[8])) < 1e-6


def test_mosaic_when_a_part_is_uncovered_is_refused() -> None:
    with pytest.raises(ValueError, match="uncovered"):
        Mosaic(4, 10, [Span(0, 4)], [Span(0, 4), Span(6, 10)], even)
