"""From prompt text to what the network is shown at each step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from webui.checkpoints.families.model import Frame, TextPart
from webui.checkpoints.load import LoadedModel
from webui.networks.lora.applying import changes_in
from webui.networks.text_encoding import TextStates, encode_chunks, token_width
from webui.pipelines.embeddings import JobEmbeddings, WidthTable
from webui.pipelines.encoding import Encoding, joined
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
        entries: ``(end_step, encoding)`` in order; each encoding is of one prompt for all
            pictures at work, or of one for each.
    """

    entries: tuple[tuple[int, Encoding], ...]

    def at(self, call_index: int) -> Encoding:
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


def side_by_side(each: Sequence[Conditioning]) -> Conditioning:
    """Conditionings of one shape (``PromptEncoder.shape``), one for each picture of a batch."""
    if len(each) == 1:
        return each[0]
    positive = (
        (parts[0][0], _joined_entries([cond for _, cond in parts]))
        for parts in zip(*(one.positive for one in each), strict=True)
    )
    return Conditioning(tuple(positive), _joined_entries([one.negative for one in each]))


def _joined_entries(each: Sequence[ScheduledCond]) -> ScheduledCond:
    entries = zip(*(one.entries for one in each), strict=True)
    return ScheduledCond(tuple((same[0][0], joined([e for _, e in same])) for same in entries))


@dataclass(frozen=True)
class _How:
    """What besides the text decides an encoding.

    Attributes:
        layers: Of each text encoder, the one whose output is taken, counted from the last.
    """

    layers: tuple[int, ...]
    emphasis: str
    comma_backtrack: int


@dataclass(frozen=True)
class _Encoded:
    """What is remembered of texts encoded together.

    Attributes:
        encodings: Of each text; without the numbers, which differ from pass to pass.
        names: Embeddings in them. foreign: Words of embeddings for other text encoders.
    """

    encodings: tuple[Encoding, ...]
    names: tuple[str, ...]
    foreign: tuple[str, ...]


@dataclass(frozen=True)
class PassFacts:
    """What besides the prompts decides what the network is told in a pass.

    Attributes:
        width, height: Pixels of the pass.
        clip_skip: A1111 counting, 1 = last layer; for families that follow it.
        skips_in_sdxl: SDXL's first text encoder follows it, too (``sdxl_clip_l_skip``).
        crop_top, crop_left: Pixels, as SDXL is told.
        score, negative_score: Beauty that SDXL's refiner is told of, for the prompt and for the
            negative one.
    """

    width: int
    height: int
    clip_skip: int = 1
    comma_backtrack: int = 20
    skips_in_sdxl: bool = False
    crop_top: int = 0
    crop_left: int = 0
    score: float = 6.0
    negative_score: float = 2.5

    def layer(self, part: TextPart) -> int:
        """Which layer of a text encoder is taken, counted from the last, which is 1."""
        follows = part.clip_skip == "always" or (part.clip_skip == "option" and self.skips_in_sdxl)
        return self.clip_skip if follows else part.layer

    def frame(self, *, is_negative: bool) -> Frame:
        """As a family is asked for its numbers."""
        score = self.negative_score if is_negative else self.score
        return Frame(self.width, self.height, self.crop_top, self.crop_left, score)


class PromptEncoder:
    """Encodes prompts with one loaded model and remembers the last ones.

    Args:
        model: Its text encoders are used; it is not owned.
        tokenizer: CLIP's.

    Attributes:
        embeddings: The textual inversions of the job that runs; None = words are only words.
    """

    def __init__(self, model: LoadedModel, tokenizer: ClipTokenizer) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._widths = [token_width(encoder) for encoder in model.text_encoders]
        self._cache: OrderedDict[tuple[object, ...], _Encoded] = OrderedDict()
        self.embeddings: JobEmbeddings | None = None

    def encode(
        self,
        prompt: ReadPrompt,
        facts: PassFacts,
        *,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Conditioning:
        """Encode a whole prompt, positive and negative, every scheduled variant once.

        Raises:
            Interrupted: ``should_stop`` said so between two parts.
        """
        how = self._how(prompt, facts)
        told = self._numbers(facts.frame(is_negative=False))
        positive = tuple(
            (part.weight, self._scheduled(part.schedule, how, told, should_stop))
            for part in prompt.positive
        )
        told = self._numbers(facts.frame(is_negative=True))
        negative = self._scheduled(prompt.negative, how, told, should_stop)
        is_empty = not any(text for _, text in prompt.negative)
        if is_empty and self._model.family.has_empty_negative:
            negative = ScheduledCond(tuple((end, _zeros(e)) for end, e in negative.entries))
        return Conditioning(positive, negative)

    def shape(self, prompt: ReadPrompt, facts: PassFacts) -> object:
        """Equal for prompts whose conditionings can stand ``side_by_side``; nothing is encoded."""
        how = self._how(prompt, facts)

        def ends(schedule: Sequence[tuple[int, str]]) -> object:
            table = self._table()
            texts = dict.fromkeys(text for _, text in schedule)
            longest = max(len(self._chunks(text, how, table, lambda: False)) for text in texts)
            return tuple(end for end, _ in schedule), longest

        parts = tuple((part.weight, ends(part.schedule)) for part in prompt.positive)
        return parts, ends(prompt.negative)

    def _how(self, prompt: ReadPrompt, facts: PassFacts) -> _How:
        layers = tuple(facts.layer(part) for part in self._model.family.texts)
        return _How(layers, prompt.emphasis, facts.comma_backtrack)

    def _table(self) -> WidthTable | None:
        return self.embeddings.table(sum(self._widths)) if self.embeddings else None

    def _numbers(self, frame: Frame) -> Tensor | None:
        numbers = self._model.family.numbers(frame)
        if not numbers:
            return None
        return torch.tensor([numbers], dtype=torch.float32, device=self._model.device)

    def _scheduled(
        self,
        schedule: Sequence[tuple[int, str]],
        how: _How,
        numbers: Tensor | None,
        should_stop: Callable[[], bool],
    ) -> ScheduledCond:
        texts = tuple(dict.fromkeys(text for _, text in schedule))
        encoded = dict(zip(texts, self._encode_texts(texts, how, should_stop), strict=True))
        if numbers is not None:
            encoded = {text: replace(e, numbers=numbers) for text, e in encoded.items()}
        return ScheduledCond(tuple((end, encoded[text]) for end, text in schedule))

    def _encode_texts(
        self, texts: tuple[str, ...], how: _How, should_stop: Callable[[], bool]
    ) -> tuple[Encoding, ...]:
        table = self._table()
        worn = tuple(changes_in(encoder) for encoder in self._model.text_encoders)
        key = (texts, how, table, worn)
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
        places = zip(self._model.family.texts, how.layers, self._split(vectors), strict=True)
        encoded = [
            self._encode_with(encoder, part, chunked, layer, own, how.emphasis)
            for encoder, (part, layer, own) in zip(self._model.text_encoders, places, strict=True)
        ]
        together = Encoding(
            torch.cat([e.states for e in encoded], dim=2),  # (texts, 77·k, all widths)
            next((e.pooled for e in encoded if e.pooled is not None), None),
        )
        encodings = tuple(together[i : i + 1] for i in range(len(texts)))
        return _Encoded(encodings, names, self._foreign(texts, how, table))

    def _encode_with(
        self,
        encoder: nn.Module,
        part: TextPart,
        chunked: Sequence[PromptChunks],
        layer: int,
        vectors: Mapping[str, Tensor],
        emphasis: str,
    ) -> TextStates:
        with torch.inference_mode(), on_device(encoder, self._model.device):
            return encode_chunks(
                encoder,
                chunked,
                clip_skip=layer,
                is_normed=part.is_normed,
                pad_token=part.pad_token,
                emphasis=emphasis,
                embeddings=vectors,
            )

    def _split(self, vectors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Each text encoder's share of vectors that are as wide as all of them together."""
        shares = {name: v.split(self._widths, dim=1) for name, v in vectors.items()}
        return [{name: s[i] for name, s in shares.items()} for i in range(len(self._widths))]

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


def _zeros(encoding: Encoding) -> Encoding:
    """The same without a word in it."""
    vector = encoding.vector
    return replace(
        encoding,
        states=torch.zeros_like(encoding.states),
        vector=None if vector is None else torch.zeros_like(vector),
    )
