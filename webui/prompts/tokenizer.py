"""CLIP's tokenizer, built from the vocabulary file beside this module. Needs no network."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from webui.errors import SettingsError

VOCABULARY_FILE = Path(__file__).parent / "data" / "bpe_simple_vocab_16e6.txt.gz"
VOCABULARY_SIZE = 49408
"""Rows of CLIP's token embedding: 256 bytes, the same ending a word, 48,894 merges, 2 marks."""

START = "<|startoftext|>"
END = "<|endoftext|>"
_WORD_END = "</w>"
_MERGE_COUNT = VOCABULARY_SIZE - 2 * 256 - 2

# What counts as one word before merging: a mark, an English contraction, letters, one digit, or a
# run of anything else but white space (Radford et al. 2021, CLIP's own rule).
_WORD = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"
    r"|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


@dataclass(frozen=True)
class ClipTokenizer:
    """Text to token numbers, as CLIP's text encoders were trained.

    Attributes:
        start, end: Numbers of the marks around every chunk (49406, 49407).
        comma: Number of a comma standing as a word of its own (267).
    """

    backend: Tokenizer
    start: int
    end: int
    comma: int

    @classmethod
    def load(cls, file: Path = VOCABULARY_FILE) -> ClipTokenizer:
        """Read the vocabulary; takes a few tenths of a second, so keep the result.

        Args:
            file: A gzipped merges file in OpenAI's layout.
        Raises:
            SettingsError: The file is missing, damaged or not CLIP's.
        """
        try:
            backend = _build(read_merges(file))
        except (OSError, EOFError, ValueError) as err:
            raise _wrong_vocabulary(file, f"could not be read ({err})") from err
        size = backend.get_vocab_size()
        if size != VOCABULARY_SIZE:
            raise _wrong_vocabulary(file, f"holds {size} tokens, not {VOCABULARY_SIZE}")
        start, end, comma = (backend.token_to_id(word) for word in (START, END, "," + _WORD_END))
        if start is None or end is None or comma is None:
            raise _wrong_vocabulary(file, "lacks the marks or the comma")
        return cls(backend, start, end, comma)

    def __len__(self) -> int:
        return self.backend.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Token numbers of a text, in order, without start and end marks; [] for empty text."""
        return list(self.backend.encode(_encodable(text), add_special_tokens=False).ids)

    def word(self, number: int) -> tuple[bytes, bool]:
        """The text of a token in UTF-8, perhaps a part of a character, and whether a word ends."""
        symbols = self.backend.id_to_token(number) or ""
        plain = symbols.removesuffix(_WORD_END)
        return bytes(_BYTES[symbol] for symbol in plain if symbol in _BYTES), symbols != plain


def _wrong_vocabulary(file: Path, found: str) -> SettingsError:
    return SettingsError(
        f"CLIP's vocabulary was wanted, but {file} {found}.",
        "Install the program again, or put the file back from its source.",
        path=str(file),
    )


def _encodable(text: str) -> str:
    """The text with halves of surrogate pairs, which no encoding can hold, made visible."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def read_merges(file: Path) -> list[tuple[str, str]]:
    """The pairs of CLIP's byte-pair encoding, in the order in which they are merged."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = lines.read().split("\n")[1 : _MERGE_COUNT + 1]
    merges: list[tuple[str, str]] = []
    for row in rows:
        left, _, right = row.partition(" ")
        merges.append((left, right))
    return merges


def _byte_symbols() -> list[str]:
    """One printable character for each byte, in the order of CLIP's vocabulary."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = 256 - len(printable)
    return [chr(code) for code in printable] + [chr(256 + i) for i in range(others)]


def _bytes_of_symbols() -> dict[str, int]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printable))
    return dict(zip(_byte_symbols(), [*printable, *others], strict=True))


_BYTES = _bytes_of_symbols()


def _build(merges: list[tuple[str, str]]) -> Tokenizer:
    symbols = _byte_symbols()
    words = [
        *symbols,
        *(symbol + _WORD_END for symbol in symbols),
        *(left + right for left, right in merges),
        START,
        END,
    ]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(
        BPE(vocabulary, merges, end_of_word_suffix=_WORD_END, unk_token=END, fuse_unk=False)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    marks = [AddedToken(mark, normalized=False) for mark in (START, END)]
    tokenizer.add_special_tokens(marks)  # pyright: ignore[reportUnknownMemberType] (stub says list)
    return tokenizer
