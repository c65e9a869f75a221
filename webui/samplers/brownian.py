"""Brownian paths over noise levels: noise of overlapping steps that belongs together.

A path is fixed by its seed alone, not by the places it is asked for: the value at any point is
found by halving the range again and again, each half drawn from a seed of its own.

Source:
    Li et al. 2020, arXiv 2001.01328, sec. 4 (virtual Brownian tree). Seeds, rounding and order of
    halving agree with torchsde's BrownianTree, whose paths the A1111 SDE samplers follow.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

DIGITS = 6
"""Points are rounded to this many decimals, which ends the halving."""

POOL_SIZE = 24
"""Entropy pool of the seed sequence; part of the recipe, as are the two seed counts below."""

ROOT_SEEDS, NODE_SEEDS = 3, 4

KEPT_HALVES = 64
"""Halves kept per path: neighbouring steps share most of their way down."""


KEPT_POINTS = 4


class BrownianPath:
    """One Brownian motion W over [start, end] with W(start) = 0.

    Args:
        start: Lower end.
        end: Upper end, above ``start``.
        seed: Fixes the path; negative seeds are taken modulo 2^64.
        draw: Gives the first unit normal tensor of a seed.
    """

    def __init__(self, start: float, end: float, seed: int, draw: Callable[[int], Tensor]) -> None:
        self._start, self._end = round(start, DIGITS), round(end, DIGITS)
        self._entropy = seed % 2**64
        self._draw = draw
        root = np.random.SeedSequence(self._entropy, pool_size=POOL_SIZE)
        first_seed = int(root.generate_state(ROOT_SEEDS)[0])
        self._whole = draw(first_seed) * math.sqrt(end - start)
        self._halves: OrderedDict[tuple[int, int], Tensor] = OrderedDict()
        self._points: OrderedDict[float, Tensor] = OrderedDict()

    def between(self, low: float, high: float) -> Tensor:
        """W(high) - W(low); points outside the range count as its ends."""
        return self._at(high) - self._at(low)

    def _at(self, point: float) -> Tensor:
        """W at a point; a step begins where the last one ended, so recent points are kept."""
        point = min(max(round(point, DIGITS), self._start), self._end)
        if point not in self._points:
            self._points[point] = self._found(point)
            if len(self._points) > KEPT_POINTS:
                self._points.popitem(last=False)
        return self._points[point]

    def _found(self, point: float) -> Tensor:
        low, high, key, depth = self._start, self._end, 0, 0
        below, increment = torch.zeros_like(self._whole), self._whole
        while low < point < high:
            middle = 0.5 * (low + high)
            left = self._left_half(low, middle, high, increment, key, depth)
            middle = round(middle, DIGITS)
            if point < middle:
                high, increment, key = middle, left, 2 * key
            else:
                low, key = middle, 2 * key + 1
                below, increment = below + left, increment - left
            depth += 1
        return below if point == low else below + increment

    def _left_half(
        self, low: float, middle: float, high: float, increment: Tensor, key: int, depth: int
    ) -> Tensor:
        """Increment over the lower half of [low, high], drawn given the whole."""
        if (key, depth) in self._halves:
            self._halves.move_to_end((key, depth))
            return self._halves[key, depth]
        seeds = np.random.SeedSequence(
            self._entropy, spawn_key=(key, depth), pool_size=POOL_SIZE
        ).generate_state(NODE_SEEDS)
        middle = round(middle, DIGITS)
        share = (middle - low) / (high - low)
        spread = math.sqrt((middle - low) * (high - middle) / (high - low))
        left = increment * share + self._draw(int(seeds[0])) * spread
        self._halves[key, depth] = left
        if len(self._halves) > KEPT_HALVES:
            self._halves.popitem(last=False)
        return left


class BrownianNoise:
    """Unit noise of a step between two noise levels, from one path per image.

    Args:
        shape: Shape of one path: (C, H, W), or (B, C, H, W) for one path over the whole batch.
        seeds: One per path.
        sigma_min: Smallest positive sigma of the schedule.
        sigma_max: Largest sigma of the schedule.
        draw: Gives the first unit normal tensor of a seed, of this shape.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        seeds: Sequence[int],
        sigma_min: float,
        sigma_max: float,
        draw: Callable[[int], Tensor],
    ) -> None:
        self._is_batched = len(shape) == 3
        self._paths = [BrownianPath(sigma_min, sigma_max, seed, draw) for seed in seeds]

    def __call__(self, latents: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """Noise of the step from ``sigma`` to ``sigma_next``.

        Returns:
            Shaped, placed and typed like ``latents``; steps that share a stretch share noise.
        """
        low, high = sorted((sigma, sigma_next))
        increments = [path.between(low, high) for path in self._paths]
        noise = torch.stack(increments) if self._is_batched else increments[0]
        sign = -1 if sigma > sigma_next else 1  # a path walked downwards counts backwards
        return (noise * (sign / math.sqrt(high - low))).to(latents.device, latents.dtype)
