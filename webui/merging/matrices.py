"""The best matrices of low rank for a change of a layer."""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-12


def low_rank(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Two matrices whose product is the nearest to ``change`` that this rank allows.

    The smaller of the two squares of the matrix is taken apart in float64, which is many times
    quicker than a whole singular value decomposition and as exact as float32 data are.

    Args:
        change: (o, i).
    Returns:
        up (o, r), which carries the lengths, and down (r, i), of rows of length 1 (0 where the
        change is of lower rank); float32, r = rank, o or i, whichever is least.
    Source:
        Eckart & Young 1936; the lengths go to the left as in kohya's extraction.
    """
    exact = change.to(torch.float64)
    rows, columns = exact.shape
    rank = min(rank, rows, columns)
    if rows <= columns:
        left = _leading(exact @ exact.T, rank)  # (o, r)
        scaled = left.T @ exact  # (r, i), rows as long as the singular values
        lengths = scaled.norm(dim=1)
        down = scaled / lengths.clamp_min(_TINY)[:, None]
        up = left * lengths
    else:
        right = _leading(exact.T @ exact, rank)  # (i, r)
        up, down = exact @ right, right.T
    return up.float(), down.float()


def _leading(square: Tensor, rank: int) -> Tensor:
    """Eigenvectors of the largest eigenvalues, largest first, as columns."""
    return torch.linalg.eigh(square)[1].flip(1)[:, :rank]


def clamped(up: Tensor, down: Tensor, quantile: float) -> tuple[Tensor, Tensor]:
    """Both with their largest numbers cut, so that this share of all stays as it is.

    Source: ``clamp_quantile`` of kohya's extraction: outliers harm more than they tell.
    """
    if quantile >= 1:
        return up, down
    values = torch.cat([up.flatten(), down.flatten()])
    place = min(values.numel(), max(1, round(quantile * (values.numel() - 1)) + 1))
    most = values.kthvalue(place).values.abs()
    return up.clamp(-most, most), down.clamp(-most, most)
