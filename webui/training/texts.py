"""Captions to what the U-Net is told: 75, 150 or 225 tokens, without splitting at commas.

Source: lora-training.md, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from webui.prompts.attention import BREAK, weigh
from webui.prompts.tokenizer import ClipTokenizer
from webui.training.base import TextEncoder
from webui.training.text_cache import TextCache, Told

ROW: Final = 77
INNER: Final = 75
"""Tokens of a row, and of them those between the marks."""


class CaptionEncoder:
    """Encodes captions with the text encoders of a base, with or without gradient.

    Args:
        length: 75, 150 or 225. clip_skip: 1 = last layer; only for families that have it.
        is_weighted: ``(word:1.3)`` counts.
        say: What is encoded for a caption.
    """

    def __init__(
        self,
        texts: Sequence[TextEncoder],
        tokenizer: ClipTokenizer,
        *,
        length: int = INNER,
        clip_skip: int = 1,
        is_weighted: bool = False,
        say: Callable[[str], str] = str,
    ) -> None:
        self._say = say
        self._texts = texts
        self._tokenizer = tokenizer
        self._rows = length // INNER
        self._clip_skip = clip_skip
        self._is_weighted = is_weighted
        self._kept: dict[str, Told] = {}

    def keep(self, captions: Iterable[str], cache: TextCache | None = None) -> None:
        """Encode captions once; from then on ``encode`` only looks them up.

        Args:
            cache: Where they may lie already, and are kept for the next training.
        Raises:
            DatasetError: The cache's disk is full.
        """
        for caption in captions:
            if caption not in self._kept:
                self._kept[caption] = self._looked_up(caption, cache)

    @torch.no_grad()
    def _looked_up(self, caption: str, cache: TextCache | None) -> Told:
        if cache is None:
            return self._encode([caption])
        recipe = (*self._tokens(caption), self._rows, self._clip_skip)
        found = cache.read(recipe)
        if found is None:
            found = self._encode([caption])
            cache.write(caption, recipe, found)
            return found
        network: Any = self._texts[0].network
        like = next(network.parameters())
        pooled = None if found.pooled is None else found.pooled.to(like)
        return Told(found.states.to(like), pooled)

    def forget_networks(self) -> None:
        """Let go of the text encoders: every caption to come is kept."""
        self._texts = []

    def encode(self, captions: Sequence[str]) -> Told:
        """What the U-Net is told for a batch."""
        if all(caption in self._kept for caption in captions):
            kept = [self._kept[caption] for caption in captions]
            pooled = [k.pooled for k in kept if k.pooled is not None]
            states = torch.cat([k.states for k in kept])
            return Told(states, torch.cat(pooled) if pooled else None)
        return self._encode(captions)

    def _encode(self, captions: Sequence[str]) -> Told:
        tokens, weights = zip(*(self._tokens(caption) for caption in captions), strict=True)
        states: list[Tensor] = []
        pooled = None
        for text in self._texts:
            found, vector = self._through(text, list(tokens))
            states.append(found)
            pooled = vector if vector is not None else pooled
        joined = torch.cat(states, dim=-1)  # (B, T, C)
        if self._is_weighted:
            joined = joined * torch.tensor(weights).to(joined)[..., None]
        return Told(joined, pooled)

    def _tokens(self, caption: str) -> tuple[list[int], list[float]]:
        """Token numbers without marks, cut to the length; weights with the marks."""
        pieces = weigh(self._say(caption), "Original" if self._is_weighted else "None")
        tokens: list[int] = []
        weights: list[float] = []
        for text, weight in (piece for piece in pieces if piece != BREAK):
            found = self._tokenizer.encode(text)
            tokens += found
            weights += [weight] * len(found)
        most = self._rows * INNER
        weights = [1.0, *weights[:most], *([1.0] * (most - len(weights[:most]))), 1.0]
        return tokens[:most], weights

    def _through(self, text: TextEncoder, tokens: list[list[int]]) -> tuple[Tensor, Tensor | None]:
        facts, network = text.facts, text.network
        start, end = self._tokenizer.start, self._tokenizer.end
        rows = [rows_of(one, self._rows, start, end, facts.pad_token) for one in tokens]
        device = next(network.parameters()).device
        numbers = torch.tensor(rows, device=device)  # (B, k, 77)
        flat = numbers.flatten(0, 1)
        layer = self._clip_skip if facts.clip_skip == "always" else facts.layer
        called: Any = network
        output = called(input_ids=flat, output_hidden_states=True, return_dict=True)
        inner: Any = getattr(network, "text_model", network)
        states = output.hidden_states[-layer]
        if facts.is_normed:
            states = output.last_hidden_state if layer == 1 else inner.final_layer_norm(states)
        vector = None
        if facts.is_pooled:
            first = numbers[:, 0]  # (B, 77)
            place = (first == end).int().argmax(dim=-1)
            last = output.last_hidden_state.unflatten(0, numbers.shape[:2])[:, 0]  # (B, 77, C)
            vector = called.text_projection(last[torch.arange(len(last)), place])
        return joined_rows(states.unflatten(0, numbers.shape[:2])), vector


def rows_of(tokens: list[int], rows: int, start: int, end: int, pad: int) -> list[list[int]]:
    """Token numbers as rows of 77 with marks.

    Args:
        tokens: Without marks, at most 75 · rows. pad: What fills the rest; ``end`` for CLIP-L.
    """
    total = rows * INNER
    long = [start, *tokens, end][: total + 2]
    long += [pad] * (total + 2 - len(long))
    if rows == 1:
        return [long]
    found = []
    for index in range(rows):
        row = [start, *long[1 + INNER * index : 1 + INNER * (index + 1)], long[-1]]
        if pad != end:
            if row[-2] not in (end, pad):
                row[-1] = end
            if row[1] == pad:
                row[1] = end
        found.append(row)
    return found


def joined_rows(states: Tensor) -> Tensor:
    """(B, k, 77, C) → (B, 75·k + 2, C): one start, the middles, one end."""
    middles = states[:, :, 1:-1].flatten(1, 2)  # (B, 75·k, C)
    return torch.cat([states[:, 0, :1], middles, states[:, -1, -1:]], dim=1)
