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
        first, second = _philox_words(self._draws, math.prod(shape), self._key)
        self._draws += 1
        uniform = (first + 0.5) * PER_WORD
        angle = (second + 0.5) * RADIANS_PER_WORD
        values = np.sqrt(-2 * np.log(uniform)) * np.sin(angle)
        return torch.from_numpy(values.astype(np.float32)).reshape(tuple(shape))


def _philox_words(draw: int, count: int, key: tuple[int, int]) -> tuple[Words, Words]:
    """The first two of the four words of each counter (draw, 0, j, 0), j = 0 ... count - 1."""
    c0 = np.full(count, draw, dtype=np.uint64)
    c1 = np.zeros(count, dtype=np.uint64)
    c2 = np.arange(count, dtype=np.uint64)
    c3 = np.zeros(count, dtype=np.uint64)
    for turn in range(ROUNDS):
        key0 = np.uint64((key[0] + turn * KEY_STEPS[0]) & 0xFFFFFFFF)
        key1 = np.uint64((key[1] + turn * KEY_STEPS[1]) & 0xFFFFFFFF)
        product0, product2 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (product2 >> WORD_BITS) ^ c1 ^ key0,
            product2 & LOW_WORD,
            (product0 >> WORD_BITS) ^ c3 ^ key1,
            product0 & LOW_WORD,
        )
    return c0, c1
