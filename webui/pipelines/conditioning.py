"""From prompt text to what the network is shown at each step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.networks.lora.applying import changes_in
from webui.networks.text_encoding import encode_chunks, token_width
from webui.pipelines.embeddings import JobEmbeddings, WidthTable
from webui.pipelines.placement import on_device
from webui.progress import Interrupted
from webui.prompts.attention import weigh
from webui.prompts.chunks import PromptChunks, chunk_prompt
from webui.prompts.read import ReadPrompt
from webui.prompts.tokenizer import ClipTokenizer

CACHED_PROMPTS = 32


@dataclass(frozen=True)
class ScheduledCond:
    """One prompt over the whole run: encodings with the model call up to which each holds.

    Attributes:
        entries: ``(end_step, encoding)`` in order; an encoding is (1, 77·k, C).
    """

    entries: tuple[tuple[int, Tensor], ...]

    def at(self, call_index: int) -> Tensor:
        """The encoding for model call ``call_index``, counted from 0: the first with
        ``call_index <= end_step``; past the end (adaptive samplers) the first of all."""
        for end_step, encoding in self.entries:
            if call_index <= end_step:
                return encoding
        return self.entries[0][1]


@dataclass(frozen=True)
class Conditioning:
    """Everything a denoiser is told about the prompts.

    Attributes:
        positive: ``(weight, cond)`` for each part joined by AND.
        negative: The negative prompt.
        encode_again: Encodes the same prompts with the checkpoint that is in use by then, for
            one that takes over part-way.
    """

    positive: tuple[tuple[float, ScheduledCond], ...]
    negative: ScheduledCond
    encode_again: Callable[[], Conditioning] | None = None


@dataclass(frozen=True)
class _How:
    """What besides the text decides an encoding."""

    clip_skip: int
    emphasis: str
    comma_backtrack: int


@dataclass(frozen=True)
class _Encoded:
    """What is remembered of texts encoded together.

    Attributes:
        encodings: (1, 77·k, C) of each text.
        names: Embeddings in them. foreign: Words of embeddings for other text encoders.
    """

    encodings: tuple[Tensor, ...]
    names: tuple[str, ...]
    foreign: tuple[str, ...]


class PromptEncoder:
    """Encodes prompts with one loaded model and remembers the last ones.

    Args:
        model: Its text encoder is used; it is not owned.
        tokenizer: CLIP's.

    Attributes:
        embeddings: The textual inversions of the job that runs; None = words are only words.
    """

    def __init__(self, model: LoadedModel, tokenizer: ClipTokenizer) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._width = token_width(model.text_encoder)
        self._cache: OrderedDict[tuple[object, ...], _Encoded] = OrderedDict()
        self.embeddings: JobEmbeddings | None = None

    def encode(
        self,
        prompt: ReadPrompt,
        *,
        clip_skip: int,
        comma_backtrack: int,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Conditioning:
        """Encode a whole prompt, positive and negative, every scheduled variant once.

        Raises:
            Interrupted: ``should_stop`` said so between two parts.
        """
        how = _How(clip_skip, prompt.emphasis, comma_backtrack)
        positive = tuple(
            (part.weight, self._scheduled(part.schedule, how, should_stop))
            for part in prompt.positive
        )
        return Conditioning(positive, self._scheduled(prompt.negative, how, should_stop))

    def _scheduled(
        self, schedule: Sequence[tuple[int, str]], how: _How, should_stop: Callable[[], bool]
    ) -> ScheduledCond:
        texts = tuple(dict.fromkeys(text for _, text in schedule))
        encoded = dict(zip(texts, self._encode_texts(texts, how, should_stop), strict=True))
        return ScheduledCond(tuple((end, encoded[text]) for end, text in schedule))

    def _encode_texts(
        self, texts: tuple[str, ...], how: _How, should_stop: Callable[[], bool]
    ) -> tuple[Tensor, ...]:
        table = self.embeddings.table(self._width) if self.embeddings else None
        key = (texts, how, table, changes_in(self._model.text_encoder))
        if key not in self._cache:
            self._cache[key] = self._encoded(texts, how, table, should_stop)
        self._cache.move_to_end(key)
        while len(self._cache) > CACHED_PROMPTS:
            self._cache.popitem(last=False)
        found = self._cache[key]
        if self.embeddings and table:
            self.embeddings.note(table, found.names, found.foreign)
        return found.encodings

    def _encoded(
        self,
        texts: tuple[str, ...],
        how: _How,
        table: WidthTable | None,
        should_stop: Callable[[], bool],
    ) -> _Encoded:
        chunked = [self._chunks(text, how, table, should_stop) for text in texts]
        names = tuple(dict.fromkeys(n for chunks in chunked for n in chunks.embedding_names))
        vectors = self.embeddings.vectors(table, names) if self.embeddings and table else {}
        encoder = self._model.text_encoder
        with torch.inference_mode(), on_device(encoder, self._model.device):
            together = encode_chunks(
                encoder,
                chunked,
                clip_skip=how.clip_skip,
                emphasis=how.emphasis,
                embeddings=vectors,
            )
        encodings = tuple(together[i : i + 1] for i in range(len(texts)))
        return _Encoded(encodings, names, self._foreign(texts, how, table))

    def _chunks(
        self,
        text: str,
        how: _How,
        table: WidthTable | None,
        should_stop: Callable[[], bool],
    ) -> PromptChunks:
        if should_stop():
            raise Interrupted(None)
        return chunk_prompt(
            weigh(text, how.emphasis),
            self._tokenizer,
            comma_backtrack=how.comma_backtrack,
            embeddings=table.table if table else None,
        )

    def _foreign(
        self, texts: tuple[str, ...], how: _How, table: WidthTable | None
    ) -> tuple[str, ...]:
        if table is None or not table.others:
            return ()
        pieces = (piece for text in texts for piece, _ in weigh(text, how.emphasis))
        words = (w for piece in pieces for w in table.foreign(self._tokenizer.encode(piece)))
        return tuple(dict.fromkeys(words))


def same_length(encodings: Sequence[Tensor]) -> bool:
    """True when all encodings have as many tokens, so that one network call can take them."""
    return len({encoding.shape[1] for encoding in encodings}) == 1
