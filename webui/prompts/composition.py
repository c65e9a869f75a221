"""Several prompts in one picture: ``a pond AND a heron:0.6``."""

from __future__ import annotations

import re

_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"[-+]?(?:\d+\.?|\d*\.\d+)")


def split_and(text: str) -> list[tuple[str, float]]:
    """Split a positive prompt at the upper-case word AND.

    A number after the last colon of a part is the part's weight, also when there is no AND at
    all: ``aspect 16:9`` is the text ``aspect 16`` with weight 9, as in A1111.

    Args:
        text: The prompt without extra network tags, before scheduling.
    Returns:
        ``[(text, weight), …]``, one part at least. White space before a part is kept, white
        space after it is not. The weight defaults to 1.0; any sign is legal.
    """
    return [_read_part(part) for part in _AND.split(text)]


def _read_part(part: str) -> tuple[str, float]:
    part = part.rstrip()
    before, colon, number = part.rpartition(":")
    number = number.lstrip()
    if colon and _WEIGHT.fullmatch(number):
        return before.rstrip(), float(number)
    return part, 1.0
