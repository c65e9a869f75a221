"""Which text became which token, and where the chunks of 75 end: for people to look at."""

from __future__ import annotations

from dataclasses import dataclass

from webui.prompts.attention import weigh
from webui.prompts.chunks import Chunk, EmbeddingTable, chunk_prompt, schedules_of
from webui.prompts.tokenizer import ClipTokenizer


@dataclass(frozen=True)
class Token:
    """One place of a chunk.

    Attributes:
        text: A character made of several tokens stands in the last of them; '' in the others.
        number: In CLIP's vocabulary. weight: 1 = as usual.
        ends_word: A space follows, as CLIP reads it.
        is_embedding: Belongs to a textual inversion, whose name is the text.
    """

    text: str
    number: int
    weight: float
    ends_word: bool = True
    is_embedding: bool = False


@dataclass(frozen=True)
class SeenText:
    """One text the prompt goes through.

    Attributes:
        until: The last step it holds for; 0 = all steps.
        chunks: Its tokens, without marks and padding.
    """

    until: int
    chunks: tuple[tuple[Token, ...], ...]


def look_at_tokens(
    text: str,
    tokenizer: ClipTokenizer,
    *,
    steps: int = 20,
    is_positive: bool = True,
    emphasis: str = "Original",
    comma_backtrack: int = 20,
    embeddings: EmbeddingTable | None = None,
) -> list[SeenText]:
    """The tokens of a prompt, as the text encoder reads them.

    Args:
        As for ``chunks.count_tokens``.
    Returns:
        Each side of AND, and each text of a schedule.
    """
    seen: list[SeenText] = []
    for schedule in schedules_of(text, steps, is_positive=is_positive):
        for until, shown in schedule:
            chunks = chunk_prompt(
                weigh(shown, emphasis),
                tokenizer,
                comma_backtrack=comma_backtrack,
                embeddings=embeddings,
            )
            tokens = tuple(_tokens(chunk, tokenizer, embeddings) for chunk in chunks)
            seen.append(SeenText(until if len(schedule) > 1 else 0, tokens))
    return seen


def _tokens(
    chunk: Chunk, tokenizer: ClipTokenizer, embeddings: EmbeddingTable | None
) -> tuple[Token, ...]:
    named = {
        place + offset: name
        for place, name in chunk.embeddings
        for offset in range(embeddings.vectors[name] if embeddings else 1)
    }
    last = max((i for i, n in enumerate(chunk.tokens) if n != tokenizer.end), default=0)
    found: list[Token] = []
    begun = b""
    for place in range(1, last + 1):
        number, weight = chunk.tokens[place], chunk.weights[place]
        if place in named:
            found.append(Token(named[place], 0, weight, is_embedding=True))
        else:
            word, ends_word = tokenizer.word(number)
            begun += word
            try:
                text, begun = begun.decode(), b""
            except UnicodeDecodeError:
                text = ""
            found.append(Token(text, number, weight, ends_word))
    return tuple(found)
