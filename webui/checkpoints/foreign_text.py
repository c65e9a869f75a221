"""Text and JSON out of files that strangers wrote, so that it can be stored, sent and shown.

JSON may spell halves of surrogate pairs, which no encoding holds, and Python reads numbers that
no other program does; either would make every answer fail that such a text is part of.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

SHOWN_NAME: Final = 150


def storable(text: str) -> str:
    """The text with halves of surrogate pairs as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def spelt(name: str) -> str:
    """A name as it can be shown: short, and without characters that nobody sees."""
    shown = name if name.isprintable() else repr(name[:SHOWN_NAME])[1:-1]
    return shown if len(shown) <= SHOWN_NAME else shown[:SHOWN_NAME] + "…"


def parse_json(text: str) -> Any:
    """What a JSON text says, numbers that are not finite as texts; None when it is none."""
    try:
        value = json.loads(text, parse_constant=str, parse_float=_finite)
        if "\\ud" not in text.lower():
            return value
        return json.loads(storable(json.dumps(value, ensure_ascii=False)))
    except (ValueError, RecursionError):
        return None


def _finite(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits
