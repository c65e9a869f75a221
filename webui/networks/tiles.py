"""Tiles: how a length or an area is cut into overlapping parts and put together again.

One rule for everything that works in tiles: latents (``tiled_diffusion``), pictures
(``sd_upscale``, upscalers) and rows of the VAE's maps (``tiled_vae``). Plain arithmetic on whole
numbers; the unit is whatever the caller counts in (pixels, latent cells).

Source:
    Number and place of tiles: ``split_grid`` of A1111's ``modules/images.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

GAUSSIAN_VARIANCE = 0.01
"""Of a tile's side taken as 1. Source: Jiménez 2023, "Mixture of Diffusers", arXiv 2302.02412;
its published code."""

EDGE_CELLS = 4
"""With 2, steps at the borders of tiles are as large as elsewhere; with 4, smaller."""

Weights: TypeAlias = Callable[[int], Tensor]
"""From a tile's length to the (length,) weights of its cells, all > 0."""


@dataclass(frozen=True)
class Span:
    """A part of a line: cells start … stop-1. On a ring ``stop`` may lie beyond the end."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of cells."""
        return self.stop - self.start


@dataclass(frozen=True)
class Tile:
    """A part of an area, as its rows and its columns."""

    rows: Span
    columns: Span

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom), as PIL wants it."""
        return self.columns.start, self.rows.start, self.columns.stop, self.rows.stop


def spans(length: int, size: int, overlap: int) -> list[Span]:
    """Cut a line into equal parts that overlap by at least ``overlap``, spread evenly, the first
    at the beginning and the last at the end.

    Args:
        length: Cells of the line, >= 1.
        size: Cells of a part; one part of ``length`` when the line is no longer.
        overlap: Cells that neighbours share at least, 0 <= overlap < size.
    """
    _check(size, overlap)
    if length <= size:
        return [Span(0, length)]
    count = math.ceil((length - overlap) / (size - overlap))
    step = (length - size) / (count - 1)
    starts = [int(i * step) for i in range(count - 1)] + [length - size]
    return [Span(start, start + size) for start in starts]


def ring_spans(length: int, size: int, overlap: int) -> list[Span]:
    """Cut a ring, whose end meets its beginning, into equal overlapping parts; at least two, so
    that the place where the ends meet is inside one of them.

    Args:
        length: Cells of the ring. size, overlap: As for ``spans``.
    Returns:
        Spans whose cells count modulo ``length``.
    """
    _check(size, overlap)
    size = min(size, length)
    count = max(2, math.ceil(length / max(1, size - overlap)))
    return [Span(i * length // count, i * length // count + size) for i in range(count)]


def pieces(length: int, size: int) -> list[Span]:
    """Cut a line into parts of ``size`` without overlap; the last may be shorter."""
    return [Span(start, min(start + size, length)) for start in range(0, length, size)]


def grid(rows: Iterable[Span], columns: Iterable[Span]) -> list[Tile]:
    """All tiles of some rows and columns, in reading order."""
    columns = list(columns)
    return [Tile(row, column) for row in rows for column in columns]


def soft_edged(length: int) -> Tensor:
    """Even weights but for a rise over the outermost ``EDGE_CELLS``: where two tiles disagree, an
    edge that counts in full is a line in the picture."""
    places = torch.arange(length, dtype=torch.float64) + 0.5
    return torch.minimum(places, length - places).div(EDGE_CELLS).clamp(max=1).float()


def gaussian(length: int) -> Tensor:
    """Weights that fall off from the middle of a tile like a bell."""
    place = (torch.arange(length, dtype=torch.float64) + 0.5) / length - 0.5
    return torch.exp(-(place**2) / (2 * GAUSSIAN_VARIANCE)).float()


def feathered(overlap: int) -> Weights:
    """Weights that rise from the edges of a tile in a straight line.

    The outermost quarter of the overlap counts next to nothing, since a network saw least around
    it; the middle half goes from one tile to the other.

    Args:
        overlap: Cells that neighbours share; 0 = no feathering.
    """

    def weights(length: int) -> Tensor:
        places = torch.arange(length, dtype=torch.float64) + 0.5
        inwards = torch.minimum(places, length - places)
        rise = (inwards - overlap / 4) / max(overlap / 2, 1e-9)
        return rise.clamp(1e-6, 1.0)

    return weights


class Mosaic:
    """Cuts maps of one size into tiles and blends tiles into such maps.

    Args:
        height, width: Of the maps.
        rows, columns: Parts of height and width; together they must cover everything. They may
            run over the end, which then continues at the beginning.
        weights: Share of a tile's cells where tiles overlap; the same along rows and columns.
    """

    def __init__(
        self, height: int, width: int, rows: list[Span], columns: list[Span], weights: Weights
    ) -> None:
        self._size = (height, width)
        self.tiles = grid(rows, columns)
        self._down = dict(shares(rows, height, weights))
        self._across = dict(shares(columns, width, weights))

    def cut(self, maps: Tensor, tile: Tile) -> Tensor:
        """The tile's part of (B, C, height, width); a view where it can be one."""
        return _take(_take(maps, tile.rows, 2), tile.columns, 3)

    def share(self, tile: Tile) -> Tensor:
        """(rows, columns) share of a tile in the blended map; over all tiles they sum to 1."""
        return self._down[tile.rows][:, None] * self._across[tile.columns][None, :]

    def blend(self, parts: Iterable[tuple[Tile, Tensor]]) -> Tensor:
        """Put tiles together.

        Args:
            parts: Every tile once, with its (B, C, tile height, tile width); taken one by one.
        Returns:
            (B, C, height, width), in the parts' number format; added up in float32.
        """
        result: Tensor | None = None
        dtype = torch.float32
        height, width = self._size
        for tile, part in parts:
            if result is None:
                dtype = part.dtype
                result = part.new_zeros((*part.shape[:2], height, width), dtype=torch.float32)
            weighted = part.float() * self.share(tile).to(part.device)
            rows = _indices(tile.rows, height, part.device)
            columns = _indices(tile.columns, width, part.device)
            result[:, :, rows[:, None], columns[None, :]] += weighted
        assert result is not None, "a mosaic has at least one tile"
        return result.to(dtype)


def _check(size: int, overlap: int) -> None:
    if not 0 <= overlap < size:
        raise ValueError(f"tiles of {size} cannot overlap by {overlap}")


def shares(parts: list[Span], length: int, weights: Weights) -> Iterable[tuple[Span, Tensor]]:
    """Each part's (part,) weights, divided by the sum of all parts' weights at that cell."""
    total = torch.zeros(length, dtype=torch.float64)
    for span in parts:
        total[_indices(span, length)] += weights(span.length).double()
    if not bool((total > 0).all()):
        raise ValueError(f"tiles leave a part of {length} cells uncovered")
    for span in parts:
        share = weights(span.length).double() / total[_indices(span, length)]
        yield span, share.float()


def _indices(span: Span, length: int, device: torch.device | None = None) -> Tensor:
    return torch.arange(span.start, span.stop, device=device) % length


def _take(maps: Tensor, span: Span, dim: int) -> Tensor:
    length = maps.shape[dim]
    if span.start >= 0 and span.stop <= length:
        return maps.narrow(dim, span.start, span.length)
    return maps.index_select(dim, _indices(span, length, maps.device))
