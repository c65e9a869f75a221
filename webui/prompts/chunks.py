"""Weighted text to the chunks of 77 tokens that a CLIP text encoder reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

from webui.errors import PromptSyntaxError
from webui.prompts.attention import BREAK, Piece, weigh
from webui.prompts.comments import cut_comments
from webui.prompts.composition import split_and
from webui.prompts.networks import cut_networks
from webui.prompts.schedule import Schedule, schedule_prompt
from webui.prompts.tokenizer import ClipTokenizer

CHUNK_LENGTH = 75
"""Tokens of text in one chunk; the start and end marks make it 77."""


@dataclass(frozen=True)
class Chunk:
    """What the encoder reads at once: start mark, 75 tokens, end mark.

    Attributes:
        tokens: 77 token numbers, padded with the end mark. 0 where an embedding goes.
        weights: 77 factors; 1.0 for marks and padding.
        embeddings: ``(index in tokens of the first replaced token, embedding name)``.
    """

    tokens: list[int]
    weights: list[float]
    embeddings: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


@dataclass(frozen=True)
class PromptChunks(Sequence[Chunk]):
    """The chunks of one prompt, one at least.

    Attributes:
        chunks: In reading order.
        token_count: As A1111 counts: 75 for every chunk but the last, and the last one's text.
    """

    chunks: tuple[Chunk, ...]
    token_count: int

    @property
    def capacity(self) -> int:
        """Tokens that fit before another chunk is needed: a multiple of 75."""
        return capacity_for(self.token_count)

    @property
    def embedding_names(self) -> list[str]:
        """Embeddings really used, each once, in reading order."""
        return list(dict.fromkeys(name for chunk in self.chunks for _, name in chunk.embeddings))

    def __len__(self) -> int:
        return len(self.chunks)

    @overload
    def __getitem__(self, index: int) -> Chunk: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Chunk]: ...
    def __getitem__(self, index: int | slice) -> Chunk | Sequence[Chunk]:
        return self.chunks[index]


class EmbeddingTable:
    """Embeddings by the tokens of their names, so that they are found inside a prompt.

    Args:
        vectors: Name to the number of token places it fills, >= 1.
        tokenizer: Reads the names; matching is on tokens, hence not case-sensitive.
    """

    def __init__(self, vectors: Mapping[str, int], tokenizer: ClipTokenizer) -> None:
        self.vectors = dict(vectors)
        self._by_first: dict[int, list[tuple[list[int], str]]] = {}
        for name in self.vectors:
            tokens = tokenizer.encode(name)
            if tokens:
                self._by_first.setdefault(tokens[0], []).append((tokens, name))
        for found in self._by_first.values():
            found.sort(key=lambda entry: len(entry[0]), reverse=True)

    def find(self, tokens: Sequence[int], position: int) -> tuple[str, int] | None:
        """The longest embedding name that begins at a position, and how many tokens it takes."""
        for name_tokens, name in self._by_first.get(tokens[position], ()):
            if list(tokens[position : position + len(name_tokens)]) == name_tokens:
                return name, len(name_tokens)
        return None


def chunk_prompt(
    pieces: Iterable[Piece],
    tokenizer: ClipTokenizer,
    *,
    comma_backtrack: int = 20,
    embeddings: EmbeddingTable | None = None,
    chunk_length: int = CHUNK_LENGTH,
) -> PromptChunks:
    """Cut weighted text into chunks.

    Args:
        pieces: From :func:`webui.prompts.attention.weigh`; ``("BREAK", -1)`` ends a chunk.
        tokenizer: CLIP's.
        comma_backtrack: A chunk that fills up is cut after its last comma when that lies at most
            this many tokens back; 0 cuts anywhere.
        embeddings: Names that stand for vectors of their own.
        chunk_length: Tokens of text in a chunk.
    Raises:
        PromptSyntaxError: An embedding has more vectors than a chunk has places.
    Source:
        A1111 1.8.0 to 1.10; an embedding behind the comma moves with its tokens.
    """
    writer = _Writer(tokenizer, comma_backtrack, chunk_length)
    for text, weight in pieces:
        if (text, weight) == BREAK:
            writer.close()
            continue
        tokens = tokenizer.encode(text)
        position = 0
        while position < len(tokens):
            writer.make_room(tokens[position])
            found = embeddings.find(tokens, position) if embeddings else None
            if embeddings and found:
                name, length = found
                writer.add_embedding(name, embeddings.vectors[name], weight)
                position += length
            else:
                writer.add(tokens[position], weight)
                position += 1
    return writer.finish()


class _Writer:
    """Fills chunks; holds the one that is being filled."""

    def __init__(self, tokenizer: ClipTokenizer, comma_backtrack: int, chunk_length: int) -> None:
        self._tokenizer = tokenizer
        self._backtrack = comma_backtrack
        self._length = chunk_length
        self._done: list[Chunk] = []
        self._start()

    def _start(self) -> None:
        self._tokens: list[int] = []
        self._weights: list[float] = []
        self._embeddings: list[tuple[int, str]] = []  # positions without the start mark
        self._last_comma: int | None = None

    def make_room(self, token: int) -> None:
        """Close the chunk if it is full, at its last comma where that is near enough."""
        is_full = len(self._tokens) == self._length
        if token == self._tokenizer.comma:
            self._last_comma = len(self._tokens)
        elif (
            is_full
            and self._backtrack
            and self._last_comma is not None
            and self._length - self._last_comma <= self._backtrack
        ):
            self._close_after(self._last_comma)
            return
        if is_full:
            self.close()

    def add(self, token: int, weight: float) -> None:
        self._tokens.append(token)
        self._weights.append(weight)

    def add_embedding(self, name: str, vectors: int, weight: float) -> None:
        if vectors > self._length:
            raise PromptSyntaxError(
                f"Embedding {name!r} has {vectors} vectors, a chunk has {self._length} places.",
                "Use an embedding with fewer vectors.",
                field="prompt",
            )
        if len(self._tokens) + vectors > self._length:
            self.close()
        self._embeddings.append((len(self._tokens), name))
        self._tokens += [0] * vectors
        self._weights += [weight] * vectors

    def _close_after(self, comma: int) -> None:
        cut = comma + 1
        tokens, weights = self._tokens[cut:], self._weights[cut:]
        moved = [(at - cut, name) for at, name in self._embeddings if at >= cut]
        del self._tokens[cut:], self._weights[cut:]
        self._embeddings = [entry for entry in self._embeddings if entry[0] < cut]
        self.close()
        self._tokens, self._weights, self._embeddings = tokens, weights, moved

    def close(self) -> None:
        missing = self._length - len(self._tokens)
        start, end = self._tokenizer.start, self._tokenizer.end
        self._done.append(
            Chunk(
                [start, *self._tokens, *[end] * (missing + 1)],
                [1.0, *self._weights, *[1.0] * (missing + 1)],
                [(at + 1, name) for at, name in self._embeddings],
            )
        )
        self._start()

    def finish(self) -> PromptChunks:
        count = len(self._done) * self._length
        if self._tokens or not self._done:
            count += len(self._tokens)
            self.close()
        return PromptChunks(tuple(self._done), count)


def capacity_for(token_count: int, chunk_length: int = CHUNK_LENGTH) -> int:
    """The count rounded up to whole chunks, one at least."""
    return math.ceil(max(token_count, 1) / chunk_length) * chunk_length


def schedules_of(text: str, steps: int, *, is_positive: bool) -> list[Schedule]:
    """The texts a prompt goes through, of each side of AND; comments and network tags cut.

    Args:
        is_positive: AND and network tags are read in positive prompts only.
    """
    text = cut_comments(text)
    parts = [text]
    if is_positive:
        text, _ = cut_networks(text)
        parts = [part for part, _ in split_and(text)]
    return [schedule_prompt(part, steps) for part in parts]


def count_tokens(
    text: str,
    tokenizer: ClipTokenizer,
    *,
    steps: int = 20,
    is_positive: bool = True,
    emphasis: str = "Original",
    comma_backtrack: int = 20,
    embeddings: EmbeddingTable | None = None,
) -> tuple[int, int]:
    """Tokens of a prompt and the capacity of its chunks, for the counter on the page.

    Args:
        text: A prompt as typed; styles already applied.
        steps: Steps of the pass. The longest of the texts the prompt goes through counts.
        is_positive: AND and network tags are read in positive prompts only.
    Returns:
        ``(count, capacity)``, for example ``(12, 75)``.
    """
    schedules = schedules_of(text, steps, is_positive=is_positive)
    texts = dict.fromkeys(shown for schedule in schedules for _, shown in schedule)
    chunked = (
        chunk_prompt(
            weigh(shown, emphasis),
            tokenizer,
            comma_backtrack=comma_backtrack,
            embeddings=embeddings,
        )
        for shown in texts
    )
    count = max(chunks.token_count for chunks in chunked)
    return count, capacity_for(count)
