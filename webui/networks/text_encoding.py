"""Encode prompt chunks with a CLIP text encoder of any kind, with A1111's clip skip and emphasis.

Source: formats.md, sections 3.3 and 3.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from webui.errors import ParamsError

START_TOKEN: Final = 49406
END_TOKEN: Final = 49407
CHUNK_TOKENS: Final = 77
EMPHASIS_MODES: Final = ("Original", "No norm", "Ignore", "None")


class PromptChunk(Protocol):
    """77 tokens of one prompt (``webui.prompts.chunks.Chunk``).

    Attributes:
        tokens: 77 token numbers, start and end token included.
        weights: 77 weights, 1.0 for start, end and padding.
        embeddings: (index of the first replaced token in ``tokens``, embedding name).
    """

    @property
    def tokens(self) -> Sequence[int]: ...
    @property
    def weights(self) -> Sequence[float]: ...
    @property
    def embeddings(self) -> Sequence[tuple[int, str]]: ...


class _EmptyChunk:
    """What shorter prompts of a batch are padded with."""

    tokens: Sequence[int] = (START_TOKEN,) + (END_TOKEN,) * (CHUNK_TOKENS - 1)
    weights: Sequence[float] = (1.0,) * CHUNK_TOKENS
    embeddings: Sequence[tuple[int, str]] = ()


EMPTY_CHUNK: Final = _EmptyChunk()


@dataclass(frozen=True)
class TextStates:
    """What a text encoder makes of several prompts.

    Attributes:
        states: (B, 77·k, C) in its dtype and device, k = chunks of the longest prompt.
        pooled: (B, P), the projected vector at the first end mark of each prompt's first chunk;
            None for encoders without projection.
    """

    states: Tensor
    pooled: Tensor | None


def encode_chunks(
    text_encoder: nn.Module,
    prompts: Sequence[Sequence[PromptChunk]],
    *,
    clip_skip: int = 1,
    is_normed: bool = True,
    pad_token: int = END_TOKEN,
    emphasis: str = "Original",
    embeddings: Mapping[str, Tensor] | None = None,
) -> TextStates:
    """Encode several prompts together, chunk by chunk.

    Args:
        text_encoder: transformers' CLIPTextModel, with projection or without; not changed.
        prompts: For each prompt its chunks; shorter prompts get empty chunks at the end.
        clip_skip: 1 = last layer, 2 = the one before …
        is_normed: The final norm is applied to what is taken.
        pad_token: Stands behind the first end mark of a chunk.
        emphasis: ``Original`` (weights, then the mean of the whole chunk call is restored),
            ``No norm`` (weights only), ``Ignore`` or ``None`` (no weights). The pooled vector
            knows no weights.
        embeddings: Textual inversion vectors by name, each (vectors, C); a chunk that names
            one that is not here keeps its placeholder tokens.
    Raises:
        ParamsError: ``clip_skip`` or ``emphasis`` is out of range.
    """
    _check(text_encoder, clip_skip, emphasis)
    if not prompts:
        raise ParamsError("There is no prompt to encode.", "", field="prompt")
    count = max(1, *(len(chunks) for chunks in prompts))
    parts: list[Tensor] = []
    pooled: list[Tensor | None] = []
    for index in range(count):
        column = [chunks[index] if index < len(chunks) else EMPTY_CHUNK for chunks in prompts]
        output = _output(text_encoder, _tokens(column, pad_token), column, embeddings or {})
        states = output.hidden_states[-clip_skip]  # (B, 77, C)
        if is_normed:
            states = _inner(text_encoder).final_layer_norm(states)
        parts.append(_emphasised(states, column, emphasis))
        pooled.append(getattr(output, "text_embeds", None))
    return TextStates(torch.cat(parts, dim=1), pooled[0])  # (B, 77·k, C)


def layer_count(text_encoder: nn.Module) -> int:
    """Number of transformer layers, the largest possible clip skip."""
    return len(_inner(text_encoder).encoder.layers)


def token_width(text_encoder: nn.Module) -> int:
    """Numbers in a token's vector, which those of an embedding must have, too."""
    return int(_inner(text_encoder).embeddings.token_embedding.weight.shape[1])


def _inner(text_encoder: nn.Module) -> Any:
    """The module with embeddings, encoder and final norm: CLIPTextModel itself in
    transformers 5, its ``text_model`` before."""
    return getattr(text_encoder, "text_model", text_encoder)


def _check(text_encoder: nn.Module, clip_skip: int, emphasis: str) -> None:
    layers = layer_count(text_encoder)
    if not 1 <= clip_skip <= layers:
        raise ParamsError(
            f"Clip skip {clip_skip} was asked for; this model's text encoder has {layers} layers.",
            f"Choose 1 to {layers}.",
            field="clip_skip",
        )
    if emphasis not in EMPHASIS_MODES:
        raise ParamsError(
            f"The emphasis mode {emphasis!r} is not known.",
            f"Choose one of {', '.join(EMPHASIS_MODES)}.",
            field="emphasis",
        )


def _tokens(column: Sequence[PromptChunk], pad_token: int) -> Tensor:
    """(B, 77) token numbers of one chunk of every prompt, with the encoder's own padding."""
    tokens = torch.tensor([list(chunk.tokens) for chunk in column])
    if pad_token == END_TOKEN:
        return tokens
    is_end = (tokens == END_TOKEN).int()
    is_behind = is_end.cumsum(dim=1) > is_end  # an end mark stands before it
    return torch.where(is_behind, pad_token, tokens)


def _output(
    text_encoder: nn.Module,
    tokens: Tensor,
    column: Sequence[PromptChunk],
    embeddings: Mapping[str, Tensor],
) -> Any:
    """What the encoder says of one chunk of every prompt, all layers included."""
    table = _inner(text_encoder).embeddings.token_embedding
    places = [
        (row, position, embeddings[name])
        for row, chunk in enumerate(column)
        for position, name in chunk.embeddings
        if name in embeddings
    ]
    with _replaced_vectors(table, places):
        return text_encoder(
            input_ids=tokens.to(table.weight.device), output_hidden_states=True, return_dict=True
        )


@contextmanager
def _replaced_vectors(
    token_embedding: nn.Module, places: Sequence[tuple[int, int, Tensor]]
) -> Iterator[None]:
    """While inside, put vectors (row, first position, (n, C)) in place of token vectors."""
    if not places:
        yield
        return

    def replace(_module: nn.Module, _inputs: Any, vectors: Tensor) -> Tensor:
        changed = vectors.clone()  # (B, 77, C)
        for row, position, new in places:
            end = min(position + new.shape[0], CHUNK_TOKENS - 1)  # the end token stays
            changed[row, position:end] = new[: end - position].to(changed)
        return changed

    handle = token_embedding.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def _emphasised(states: Tensor, column: Sequence[PromptChunk], emphasis: str) -> Tensor:
    """Apply the weights of one chunk call; (B, 77, C) → the same shape and dtype."""
    if emphasis in ("Ignore", "None"):
        return states
    weights = torch.tensor(
        [list(chunk.weights) for chunk in column], device=states.device, dtype=torch.float32
    )
    if bool((weights == 1).all()):
        return states
    weighted = states.float() * weights.unsqueeze(-1)  # (B, 77, C)
    if emphasis == "Original":
        weighted = weighted * (states.float().mean() / weighted.mean())
    return weighted.to(states.dtype)
