from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import pytest

from webui.errors import SettingsError
from webui.prompts.tokenizer import VOCABULARY_FILE, ClipTokenizer

UNITS = [
    "a", "Photo", " ", "  ", "cat's", "DON'T", "'RE", "</w>", "<|endoftext|>", "<|startoftext|>",
    "é", "e\u0301", "猫", "一只猫在沙发上", "かな", "한국어", "✨", "👩‍👩‍👧", "🇨🇳", "\u0130",
    "ß", "ﬁ", "Σ", "Ж",
    "عربي", "हिन्दी", "\n", "\t", "\r", "\x00", "\x1c", "\x7f", "\x85", "\u00ad", "\u200b", "\u200d",
    "\u2028", "\u3000", "\ufeff", "\ufffd", "12", "3.14", "½", "٣", "²", "!!", "...", "—", "“q”",
    ",", "#", "_", "-", "(", ")", "[", ":", "\\", "&amp;", "<b>", "http://x.y/z", "x" * 30,
]  # fmt: skip


@pytest.fixture(scope="module")
def reference(tokenizer: ClipTokenizer) -> Any:
    """The tokenizer of the transformers library, given the same vocabulary and merges."""
    from transformers import CLIPTokenizer

    with gzip.open(VOCABULARY_FILE, "rt", encoding="utf-8") as lines:
        rows = lines.read().split("\n")[1:48895]
    merges = [tuple(row.split()) for row in rows]
    return CLIPTokenizer(vocab=tokenizer.backend.get_vocab(), merges=merges)


def test_load_is_complete(tokenizer: ClipTokenizer) -> None:
    assert len(ClipTokenizer.load()) == 49408
    assert (tokenizer.start, tokenizer.end, tokenizer.comma) == (49406, 49407, 267)


def test_encode_gives_the_known_numbers(tokenizer: ClipTokenizer) -> None:
    assert tokenizer.encode("a photo of a cat") == [320, 1125, 539, 320, 2368]
    assert tokenizer.encode("") == []


@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_encode_equals_transformers(unit: str, tokenizer: ClipTokenizer, reference: Any) -> None:
    for text in (unit, f"a {unit} b", f"{unit}{unit}", unit.upper()):
        assert tokenizer.encode(text) == reference(text, add_special_tokens=False)["input_ids"]


def test_encode_of_random_text_equals_transformers(
    tokenizer: ClipTokenizer, reference: Any
) -> None:
    rng = random.Random(11)
    for _ in range(3000):
        words = [
            rng.choice(UNITS)
            if rng.random() < 0.8
            else chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)]))
            for _ in range(rng.randint(0, 10))
        ]
        text = "".join(words)
        expected = reference(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.encode(text) == expected, ascii(text)


def test_encode_of_half_a_surrogate_pair_does_not_fail(tokenizer: ClipTokenizer) -> None:
    assert tokenizer.encode("a \ud83d b") == tokenizer.encode("a \ufffd b")


@pytest.mark.parametrize("damage", ["missing", "not_gzip", "cut", "short"])
def test_load_when_vocabulary_is_damaged_names_the_file(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "vocabulary.txt.gz"
    whole = VOCABULARY_FILE.read_bytes()
    if damage == "not_gzip":
        file.write_bytes(b"text")
    elif damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "short":
        rows = gzip.decompress(whole).split(b"\n")[:1000]
        file.write_bytes(gzip.compress(b"\n".join(rows)))
    with pytest.raises(SettingsError) as caught:
        ClipTokenizer.load(file)
    assert str(file) in str(caught.value)
