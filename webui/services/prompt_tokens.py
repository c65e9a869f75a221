"""How prompts become tokens with the chosen checkpoint, for counters and for a closer look."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from webui.checkpoints.catalog import Catalog, EmbeddingFacts, Record
from webui.errors import WebUIError
from webui.options import Options
from webui.prompts.chunks import EmbeddingTable, count_tokens
from webui.prompts.comments import cut_comments
from webui.prompts.token_view import SeenText, look_at_tokens
from webui.prompts.tokenizer import ClipTokenizer


@dataclass
class PromptTokens:
    """Safe from several threads.

    Attributes:
        draw: A prompt and its field's name, to the text of a picture with seed 0.
        as_counted: What stands in a prompt box, the steps, the chosen styles and whether it is the
            positive prompt, to the text whose tokens are counted.
        checkpoint: The chosen one; None = there is none.
    """

    options: Options
    draw: Callable[[str, str], str]
    as_counted: Callable[[str, int, Sequence[str], bool], str]
    catalog: Catalog
    checkpoint: Callable[[], Record | None]
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _tokenizer: ClipTokenizer | None = None
    _table: tuple[tuple[int, int | None], EmbeddingTable] | None = None

    def count(self, text: str, *, steps: int = 20, is_positive: bool = True) -> tuple[int, int]:
        """Tokens of a prompt and the capacity of its chunks, for the page's counters; of a prompt
        with choices, those of one of its texts."""
        return count_tokens(
            self.example(text, is_negative=not is_positive),
            self._words(),
            steps=steps,
            is_positive=is_positive,
            embeddings=self._embedding_table(),
        )

    def count_written(
        self, text: str, *, steps: int, styles: Sequence[str], is_positive: bool
    ) -> tuple[int, int]:
        """As ``count``, of what a person has written; extensions may want another text counted."""
        meant = self.as_counted(text, steps, styles, is_positive)
        return self.count(meant, steps=steps, is_positive=is_positive)

    def example(self, text: str, *, is_negative: bool = False) -> str:
        """One of the texts that a prompt may become; itself where it holds no choices or cannot be
        drawn."""
        if not self.options["dynamic_prompts"] or not text:
            return text
        try:
            return self.draw(cut_comments(text), "negative_prompt" if is_negative else "prompt")
        except WebUIError:
            return text

    def look(self, text: str, *, steps: int, is_positive: bool) -> list[SeenText]:
        """Which text of a prompt becomes which token; see ``prompts.token_view``."""
        return look_at_tokens(
            text,
            self._words(),
            steps=steps,
            is_positive=is_positive,
            emphasis=self.options["emphasis"],
            comma_backtrack=self.options["comma_padding_backtrack"],
            embeddings=self._embedding_table(),
        )

    def embeddings(self) -> tuple[tuple[Record, EmbeddingFacts], ...]:
        """Textual inversions that can be read, whichever text encoder they are for."""
        records = self.catalog.embeddings()
        facts = ((record, self.catalog.embedding_facts(record)) for record in records)
        return tuple((record, found) for record, found in facts if found is not None)

    def _words(self) -> ClipTokenizer:
        """CLIP's tokenizer, loaded at first use."""
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = ClipTokenizer.load()
            return self._tokenizer

    def _embedding_table(self) -> EmbeddingTable:
        """The words that stand for vectors with the chosen checkpoint."""
        record = self.checkpoint()
        width = self.catalog.text_width(record) if record else None
        state = (self.catalog.generation, width)
        with self._lock:
            if self._table is None or self._table[0] != state:
                fitting = {f.name: f.vectors for _, f in self.embeddings() if f.width == width}
                self._table = (state, EmbeddingTable(fitting, self._words()))
            return self._table[1]
