"""A linear model with coefficients of 0 or more, of few and noisy measurements."""

from __future__ import annotations

from collections.abc import Sequence

ROUNDS, SWEEPS = 8, 60
OUTLIER = 0.15
"""Share of a measurement from which on its miss counts less than in proportion (Huber 1964)."""

Rows = Sequence[Sequence[float]]


def fit(
    rows: Rows, measured: Sequence[float], weights: Sequence[float], doubt: Sequence[float]
) -> list[float]:
    """Coefficients that miss the measurements least, counted in shares of each.

    Args:
        rows: Features of each measurement.
        measured: What came out, > 0.
        weights: How much each counts.
        doubt: For each feature how unwillingly it is used; where measurements cannot tell
            features apart, the one with the least doubt explains them.
    Returns:
        As many numbers ≥ 0 as there are features; all 0 without measurements.
    Source:
        Iteratively reweighted least squares with Huber's weights; each round is solved by
        coordinate descent over the normal equations, which keeps the bound at 0 exact.
    """
    scaled = [[value / target for value in row] for row, target in zip(rows, measured, strict=True)]
    found = [0.0] * len(doubt)
    counted = list(weights)
    for _ in range(ROUNDS):
        found = _solve(scaled, counted, doubt, found)
        for number, row in enumerate(scaled):
            miss = abs(_dot(row, found) - 1.0)
            counted[number] = weights[number] * min(1.0, OUTLIER / max(miss, 1e-9))
    return found


def _solve(
    rows: Rows, weights: Sequence[float], doubt: Sequence[float], start: Sequence[float]
) -> list[float]:
    count = len(doubt)
    pairs = list(zip(rows, weights, strict=True))
    gram = [[sum(w * r[i] * r[j] for r, w in pairs) for j in range(count)] for i in range(count)]
    aims = [sum(w * r[i] for r, w in pairs) for i in range(count)]
    found = list(start)
    for _ in range(SWEEPS):
        for i in range(count):
            curvature = gram[i][i] * (1 + doubt[i])
            if curvature > 0:
                rest = aims[i] - _dot(gram[i], found) + gram[i][i] * found[i]
                found[i] = max(0.0, rest / curvature)
    return found


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))
