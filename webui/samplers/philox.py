"""The normal numbers of an NVIDIA card, on any machine.

Source:
    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox 4x32-10), laid out
    and turned into normal numbers (Box-Muller) as torch does on CUDA.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Words: TypeAlias = "npt.NDArray[np.uint64]"

MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
LOW_WORD = np.uint64(0xFFFFFFFF)
WORD_BITS = np.uint64(32)

BLOCK = 16384
"""Numbers made at a time: few enough to stay in the processor's cache."""

PER_WORD = float(np.float32(2.3283064e-10))
"""2^-32, brings a word into [0, 1). Trap: rounded to float32 first, the sums are float64."""
RADIANS_PER_WORD = float(np.float32(2.3283064e-10 * 6.2831855))
"""The same for [0, 2 pi)."""


class PhiloxGenerator:
    """Counts its draws; each draw is a function of (seed, number of the draw) alone.

    Args:
        seed: Taken modulo 2^64.
    """

    def __init__(self, seed: int) -> None:
        self._key = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
        self._draws = 0

    def draw(self, shape: Sequence[int]) -> Tensor:
        """Draw the next unit normal tensor.

        Returns:
            ``shape`` float32 on the CPU, filled row by row.
        """
        count, draw = math.prod(shape), self._draws
        self._draws += 1
        numbers = torch.empty(count)
        for start in range(0, count, BLOCK):
            length = min(BLOCK, count - start)
            words = _philox_words(draw, start, length, self._key)
            numbers[start : start + length] = _box_muller(*words)
        return numbers.view(tuple(shape))


def _philox_words(draw: int, start: int, count: int, key: tuple[int, int]) -> tuple[Words, Words]:
    """The first two words of the counters (draw, 0, j, 0), j = start ... start + count - 1."""
    c0, c2 = np.full(count, draw, np.uint64), np.arange(start, start + count, dtype=np.uint64)
    c1, c3 = np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    product0, product2 = np.empty(count, np.uint64), np.empty(count, np.uint64)
    for turn in range(ROUNDS):
        key0, key1 = (_low_word(k + turn * s) for k, s in zip(key, KEY_STEPS, strict=True))
        np.multiply(c0, MULTIPLIERS[0], out=product0)
        np.multiply(c2, MULTIPLIERS[1], out=product2)
        np.right_shift(product2, WORD_BITS, out=c0)
        np.bitwise_xor(c0, c1, out=c0)
        np.bitwise_xor(c0, key0, out=c0)
        np.right_shift(product0, WORD_BITS, out=c2)
        np.bitwise_xor(c2, c3, out=c2)
        np.bitwise_xor(c2, key1, out=c2)
        np.bitwise_and(product2, LOW_WORD, out=c1)
        np.bitwise_and(product0, LOW_WORD, out=c3)
    return c0, c1


def _low_word(value: int) -> np.uint64:
    return np.uint64(value & 0xFFFFFFFF)


def _box_muller(first: Words, second: Words) -> Tensor:
    """Normal numbers from pairs of words: sqrt(-2 ln u) sin v, computed in float64."""
    radius = torch.from_numpy(first.astype(np.float64)).add_(0.5).mul_(PER_WORD)
    angle = torch.from_numpy(second.astype(np.float64)).add_(0.5).mul_(RADIANS_PER_WORD)
    return radius.log_().mul_(-2).sqrt_().mul_(angle.sin_()).float()
