"""Values as clients really send them: numbers as text, floats for ints, nulls; files as people
really write them.

Reading is forgiving about the shape of a value and strict about its meaning: ``"20"`` and
``20.7`` are the int 20, but ``"many"`` is an error.
"""

from __future__ import annotations

import codecs
import math
from typing import Any

MOST_NESTED = 100
_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")
_ENCODINGS = ("utf-8-sig", "gb18030", "latin-1")
"""Tried in this order; the last one reads anything."""


def read_int(value: Any) -> int | None:
    """An int from a number or a numeric text; fractions are cut off.

    Raises:
        ValueError: Not a number, or not a finite one.
    """
    if value is None or isinstance(value, int):
        return None if value is None else int(value)
    if isinstance(value, str):
        try:
            return int(value.strip())
        except ValueError:
            value = read_float(value)
    if not isinstance(value, float) or not math.isfinite(value):
        raise ValueError("a whole number is needed")
    return int(value)


def read_float(value: Any) -> float | None:
    """A float from a number or a numeric text. NaN and infinities pass: ranges are judged later.

    Raises:
        ValueError: Not a number, or one too large for a float.
    """
    if value is None:
        return None
    if not isinstance(value, (int, float, str)):
        raise ValueError("a number is needed")
    try:
        return float(value)
    except (ValueError, OverflowError) as err:
        raise ValueError("a number is needed") from err


def read_bool(value: Any) -> bool | None:
    """A bool from true, false, 0, 1 or their texts.

    Raises:
        ValueError: Anything else.
    """
    if value is None or isinstance(value, bool):
        return value
    text = value.strip().lower() if isinstance(value, str) else value
    if text in _TRUE or text in (1, 1.0):
        return True
    if text in _FALSE or text in (0, 0.0):
        return False
    raise ValueError("true or false is needed")


def read_text(value: Any) -> str | None:
    """A text that can be written as UTF-8: lone surrogates become question marks.

    Raises:
        ValueError: Not a text.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("a text is needed")
    return value.encode("utf-8", "replace").decode("utf-8")


def decoded(data: bytes) -> str:
    """Text of a file that somebody wrote somewhere: UTF-8, UTF-16 that says so, else GB18030,
    else anything.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    for encoding in _ENCODINGS[:-1]:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode(_ENCODINGS[-1])


def json_safe(value: Any, most_nested: int = MOST_NESTED) -> Any:
    """The value with everything that JSON text cannot hold replaced.

    NaN and infinities become None, lone surrogates question marks, unknown objects their text,
    and what lies in more than ``most_nested`` lists and objects None.
    """
    inner = most_nested - 1
    if isinstance(value, (dict, list, tuple, set, frozenset)) and inner < 0:
        return None
    if isinstance(value, dict):
        return {read_text(str(key)): json_safe(item, inner) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_safe(item, inner) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return read_text(value)
    if value is None or isinstance(value, (bool, int)):
        return value
    return str(value)
