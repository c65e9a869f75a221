"""Pictures ready for training: latents and tokenised captions in shards on disk."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from tools.starter.networks import END, START

CAPTIONS: Final = 8
"""Different wordings of every picture."""

MOST_TOKENS: Final = 40
"""Longer captions are cut; the grammar's longest have about 35 tokens."""

LAYOUTS: Final = (
    "one", "big", "small", "left", "right", "top", "bottom", "two", "three", "pair",
)  # fmt: skip
FIRST_SHARES: Final = (0.60, 0.04, 0.05, 0.05, 0.05, 0.035, 0.035, 0.06, 0.05, 0.03)
LAST_SHARES: Final = (0.53, 0.04, 0.05, 0.06, 0.06, 0.04, 0.04, 0.07, 0.06, 0.05)
"""Shares of the layouts at the beginning and at the end of a training: single subjects first."""


@dataclass(frozen=True)
class Shard:
    """Some hundred pictures.

    Attributes:
        latents: (N, 4, H/8, W/8) float16, VAE-scaled.
        tokens: (N, CAPTIONS, MOST_TOKENS) int32 without marks, filled up with -1.
        layouts: (N,) uint8, places in ``LAYOUTS``.
    """

    latents: np.ndarray
    tokens: np.ndarray
    layouts: np.ndarray

    def save(self, path: Path) -> None:
        """Write so that a reader never meets half a file."""
        unfinished = path.with_suffix(".unfinished.npz")
        np.savez(unfinished, latents=self.latents, tokens=self.tokens, layouts=self.layouts)
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> Shard:
        """Read one file."""
        with np.load(path) as arrays:
            return cls(arrays["latents"], arrays["tokens"], arrays["layouts"])

    def __len__(self) -> int:
        return len(self.latents)


class Pool:
    """All shards of a folder that lie there now; call ``refresh`` to see new ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: set[Path] = set()
        self._shards: list[Shard] = []
        self._places: list[list[tuple[int, int]]] = [[] for _ in LAYOUTS]
        self.refresh()

    def refresh(self) -> None:
        """Read files that were written since the last look, in the order of their names."""
        for file in sorted(set(self.folder.glob("shard_*.npz")) - self._files):
            if file.name.endswith(".unfinished.npz"):
                continue
            self._files.add(file)
            self._shards.append(Shard.load(file))
            for place, layout in enumerate(self._shards[-1].layouts):
                self._places[layout].append((len(self._shards) - 1, place))

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def draw(
        self, count: int, progress: float, rng: random.Random
    ) -> tuple[Tensor, list[list[int]]]:
        """Some pictures, each with one of its captions.

        Args:
            progress: 0 at the beginning of the training, 1 at its end.
        Returns:
            Latents (count, 4, h, w) float32, and token lists without marks.
        """
        shares = [
            (a + (b - a) * progress) * bool(places)
            for a, b, places in zip(FIRST_SHARES, LAST_SHARES, self._places, strict=True)
        ]
        chosen = [
            rng.choice(self._places[layout])
            for layout in rng.choices(range(len(LAYOUTS)), shares, k=count)
        ]
        latents = np.stack([self._shards[s].latents[p] for s, p in chosen])
        captions = [self._shards[s].tokens[p, rng.randrange(CAPTIONS)] for s, p in chosen]
        return torch.from_numpy(latents).float(), [t[t >= 0].tolist() for t in captions]

    def tokens(self) -> list[int]:
        """Every token number in the captions."""
        found = np.unique(np.concatenate([np.unique(shard.tokens) for shard in self._shards]))
        return [int(token) for token in found if token >= 0]


def padded(captions: Sequence[Sequence[int]], length: int | None = None) -> Tensor:
    """Token lists → (B, L) with CLIP's marks; L is the longest, in steps of 8, or ``length``."""
    length = length or min(77, -(-(max(map(len, captions)) + 2) // 8) * 8)
    rows = [[START, *caption[: length - 2], END] for caption in captions]
    return torch.tensor([row + [END] * (length - len(row)) for row in rows])
