"""What a U-Net is told about a prompt and the pass it is painted in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Encoding:
    """One prompt as the U-Net reads it, or several of one length.

    Attributes:
        states: (N, T, C) states of all text encoders side by side.
        vector: (N, P) pooled text; None for families without.
        numbers: (N, K) float32 facts of the pass (SDXL's sizes); None for families without.
    """

    states: Tensor
    vector: Tensor | None = None
    numbers: Tensor | None = None

    def __len__(self) -> int:
        return self.states.shape[0]

    def __getitem__(self, samples: slice) -> Encoding:
        return Encoding(
            self.states[samples],
            None if self.vector is None else self.vector[samples],
            None if self.numbers is None else self.numbers[samples],
        )

    @property
    def tokens(self) -> int:
        """Token places, a multiple of 77."""
        return self.states.shape[1]

    def with_states(self, states: Tensor) -> Encoding:
        """The same with other states."""
        return Encoding(states, self.vector, self.numbers)

    def for_batch(self, size: int) -> Encoding:
        """One prompt for each picture of a batch: this one for all, or those there are already."""
        return self if len(self) == size else self.repeated(size)

    def repeated(self, times: int) -> Encoding:
        """All of it, as many times, one after another."""
        return joined([self] * times)


def joined(encodings: Sequence[Encoding]) -> Encoding:
    """Several encodings of one length, one after another."""
    vectors = [e.vector for e in encodings if e.vector is not None]
    numbers = [e.numbers for e in encodings if e.numbers is not None]
    return Encoding(
        torch.cat([e.states for e in encodings]),
        torch.cat(vectors) if vectors else None,
        torch.cat(numbers) if numbers else None,
    )


def same_length(encodings: Sequence[Encoding]) -> bool:
    """True when all encodings have as many tokens, so that one network call can take them."""
    return len({encoding.tokens for encoding in encodings}) == 1
