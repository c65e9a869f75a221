"""The tiles of ``webui.networks.tiles``, under the name this room knows them by."""

from __future__ import annotations

from webui.networks.tiles import (
    GAUSSIAN_VARIANCE,
    Mosaic,
    Span,
    Tile,
    Weights,
    even,
    feathered,
    gaussian,
    grid,
    pieces,
    ring_spans,
    shares,
    spans,
)

__all__ = [
    "GAUSSIAN_VARIANCE", "Mosaic", "Span", "Tile", "Weights", "even", "feathered", "gaussian",
    "grid", "pieces", "ring_spans", "shares", "spans",
]  # fmt: skip
