"""How texts become the words that are searched; the index and the search agree on it here."""

from __future__ import annotations

import re

_ONE_BY_ONE = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff])")
"""Kana, Chinese characters and Korean syllables: written without spaces between words."""
_JOINING = str.maketrans({"_": " "})


def spaced(text: str) -> str:
    """The text as SQLite's ``unicode61`` tokenizer shall see it.

    Each character of a script without spaces becomes a word of its own, so that any run of them
    is found as a phrase, from one character on; ``long_hair`` becomes two words.
    """
    return _ONE_BY_ONE.sub(r" \1 ", text.translate(_JOINING))


def has_words(text: str) -> bool:
    """False for text in which nothing could be searched, such as punctuation alone."""
    return any(character.isalnum() for character in text)


def phrase(text: str, *, is_whole: bool = False) -> str:
    """An FTS5 phrase: these words side by side; the last may be the beginning of a longer one.

    Args:
        text: Something that ``has_words``. is_whole: The last word must be whole.
    """
    inner = " ".join(spaced(text).replace('"', " ").split())
    return f'"{inner}"' + ("" if is_whole else "*")
