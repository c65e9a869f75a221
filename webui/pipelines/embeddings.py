"""Textual inversions of one job: which words stand for vectors, and the vectors.

The words are looked for in the tokens of a text (``prompts.chunks``); vectors are asked for when
their word is met, and asked for again when their file has changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from webui.checkpoints.embeddings import FAMILIES
from webui.prompts.chunks import EmbeddingTable
from webui.prompts.tokenizer import ClipTokenizer

KEPT_FILES = 64


@dataclass(frozen=True)
class EmbeddingFile:
    """One textual inversion, as the catalog describes it.

    Attributes:
        name: The word that stands for it.
        vectors: Token places it fills. width: Numbers in a vector.
        size, mtime_ns: The state of the file these were found in.
    """

    name: str
    path: str
    vectors: int
    width: int
    size: int = 0
    mtime_ns: int = 0

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> EmbeddingFile:
        """From a job message's entry."""
        return cls(**{name: message[name] for name in cls.__dataclass_fields__})


class Reader(Protocol):
    """Reads embedding files."""

    def vectors(self, file: EmbeddingFile) -> Tensor:
        """(vectors, width) float32 on the CPU.

        Raises:
            CheckpointError: The file is gone, has changed its shape or cannot be read.
        """
        ...

    def short_hash(self, file: EmbeddingFile) -> str:
        """As recipes name it; '' when the file is gone."""
        ...


class WidthTable:
    """The words that one text encoder knows, and those it does not. The same object as long as
    the same text means the same vectors.

    Args:
        files: All embeddings; of two of one name and width the later counts.
        width: Of the text encoder's vectors.
        tokenizer: CLIP's.
    """

    def __init__(
        self, files: Sequence[EmbeddingFile], width: int, tokenizer: ClipTokenizer
    ) -> None:
        self.width = width
        self.files = {file.name: file for file in files if file.width == width}
        self.others = {
            file.name: file for file in files if file.width != width and file.name not in self.files
        }
        vectors = {file.name: file.vectors for file in self.files.values()}
        self.table = EmbeddingTable(vectors, tokenizer)
        self._others_table = EmbeddingTable(dict.fromkeys(self.others, 1), tokenizer)

    def foreign(self, tokens: Sequence[int]) -> list[str]:
        """Words of other text encoders' embeddings in a text, in reading order."""
        found: list[str] = []
        position = 0
        while position < len(tokens):
            known = self.table.find(tokens, position)
            other = None if known else self._others_table.find(tokens, position)
            if other:
                found.append(other[0])
            taken = known or other
            position += taken[1] if taken else 1
        return found


class EmbeddingShelf:
    """What is worth keeping from job to job: tables of words, and vectors read lately.

    Args:
        tokenizer: CLIP's.
        reader: Where vectors come from.
    """

    def __init__(self, tokenizer: ClipTokenizer, reader: Reader) -> None:
        self.reader = reader
        self._tokenizer = tokenizer
        self._files: tuple[EmbeddingFile, ...] = ()
        self._tables: dict[int, WidthTable] = {}
        self._read: OrderedDict[EmbeddingFile, Tensor] = OrderedDict()

    def put(self, files: Iterable[EmbeddingFile]) -> None:
        """What there is now; tables are made anew when it differs from before."""
        present = tuple(files)
        if present != self._files:
            self._files, self._tables = present, {}

    def table(self, width: int) -> WidthTable:
        """Words for a text encoder of that width."""
        if width not in self._tables:
            self._tables[width] = WidthTable(self._files, width, self._tokenizer)
        return self._tables[width]

    def vectors(self, file: EmbeddingFile) -> Tensor:
        """(vectors, width) float32 on the CPU; not to be changed.

        Raises:
            CheckpointError: From ``Reader``.
        """
        if file not in self._read:
            self._read[file] = self.reader.vectors(file)
        self._read.move_to_end(file)
        while len(self._read) > KEPT_FILES:
            self._read.popitem(last=False)
        return self._read[file]


class JobEmbeddings:
    """The embeddings of one job, and which of them it really used.

    Args:
        shelf: Tables and vectors.
        warn: Told once about each word that means something to another text encoder only.
    """

    def __init__(self, shelf: EmbeddingShelf, warn: Callable[[str], None]) -> None:
        self._shelf = shelf
        self._warn = warn
        self._used: dict[str, EmbeddingFile] = {}
        self._told: set[str] = set()

    def table(self, width: int) -> WidthTable:
        """Words for a text encoder of that width."""
        return self._shelf.table(width)

    def vectors(self, table: WidthTable, names: Iterable[str]) -> dict[str, Tensor]:
        """Vectors by name, (n, width) float32 each.

        Raises:
            CheckpointError: A file cannot be read.
        """
        return {name: self._shelf.vectors(table.files[name]) for name in names}

    def note(self, table: WidthTable, names: Iterable[str], foreign: Iterable[str]) -> None:
        """Remember which words a text has; say which of them mean nothing here."""
        for name in names:
            self._used.setdefault(name, table.files[name])
        for name in foreign:
            if name not in self._told:
                self._told.add(name)
                self._warn(_foreign(table.others[name], table.width))

    def hashes(self) -> str:
        """The recipe's «TI hashes»: ``name: hash12`` of each used one, '' when none was."""
        found = ((name, self._shelf.reader.short_hash(file)) for name, file in self._used.items())
        cut = str.maketrans("", "", ":,")
        return ", ".join(f"{name.translate(cut)}: {digest}" for name, digest in found if digest)


def _foreign(file: EmbeddingFile, width: int) -> str:
    def owner(of: int) -> str:
        return f" ({FAMILIES[of]})" if of in FAMILIES else ""

    return (
        f"The embedding {file.name!r} was left out: its vectors have {file.width} numbers"
        f"{owner(file.width)}, this checkpoint reads {width}{owner(width)}."
    )
