"""What people write as the values of a plot's axis: ranges, lists, quotes.

Source:
    A1111's X/Y/Z plot: ``1-5``, ``1-10 (+2)``, ``1-10 [5]``, CSV with double quotes.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Sequence

from webui.hookspecs import ParamsError, Switch

MAX_VALUES = 1000
_NUMBER = r"([+-]?\s*\d+(?:\.\d*)?)"
_RANGE = re.compile(rf"\s*{_NUMBER}\s*-\s*{_NUMBER}\s*(?:\(\s*([+-]\d+(?:\.\d*)?)\s*\))?\s*")
_COUNTED = re.compile(rf"\s*{_NUMBER}\s*-\s*{_NUMBER}\s*\[\s*(\d+)\s*\]\s*")


def split_values(text: str) -> list[str]:
    """The entries of a CSV text, without the space around them; lines count as commas."""
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return [entry.strip() for entry in itertools.chain.from_iterable(rows)]


def numbers(entries: Sequence[str], axis: str, *, is_whole: bool) -> list[int] | list[float]:
    """Numbers and ranges of numbers, in order.

    Args:
        entries: ``3``, ``1-5``, ``1-10 (+2)`` or ``1-10 [5]`` each; empty ones are left out.
        axis: Its name, for messages.
        is_whole: Whole numbers; what ``[n]`` gives between them is cut.
    Raises:
        ParamsError: An entry that is none of these, or far too many values.
    """
    found: list[float] = []
    for entry in filter(str.strip, entries):
        found += _numbers_of(entry, axis, is_whole)
        if len(found) > MAX_VALUES:
            raise ParamsError(
                f"The axis «{axis}» has more than {MAX_VALUES} values.",
                "Write a larger step, such as 1-100 (+10).", field="values",
            )  # fmt: skip
    return [int(n) for n in found] if is_whole else found


def _numbers_of(entry: str, axis: str, is_whole: bool) -> list[float]:
    counted, stepped = _COUNTED.fullmatch(entry), _RANGE.fullmatch(entry)
    try:
        if counted:
            return _spread(_number(counted[1]), _number(counted[2]), int(counted[3]))
        if stepped:
            step = float(stepped[3]) if stepped[3] else 1.0
            return _stepped(_number(stepped[1]), _number(stepped[2]), step)
        number = float(entry)
        if not math.isfinite(number) or (is_whole and number != int(number)):
            raise ValueError
    except ValueError as err:
        kind = "a whole number" if is_whole else "a number"
        raise ParamsError(
            f"The axis «{axis}» was given {entry.strip()[:80]!r}; {kind} or a range is needed.",
            "Write numbers with commas, or ranges: 1-5, 1-10 (+2), 1-10 [5].", field="values",
        ) from err  # fmt: skip
    # float loses the last digits of long seeds
    return [int(entry)] if is_whole and entry.strip().lstrip("+-").isdecimal() else [number]


def _number(text: str) -> float:
    return float(re.sub(r"\s", "", text))


def _spread(start: float, end: float, count: int) -> list[float]:
    """So many numbers at even distances, both ends among them."""
    count = max(1, min(count, MAX_VALUES + 1))
    if count == 1:
        return [start]
    return [_plain(start + (end - start) * i / (count - 1)) for i in range(count)]


def _stepped(start: float, end: float, step: float) -> list[float]:
    """From start by steps up to the end, which is among them if a step meets it."""
    if step == 0 or (end - start) * step < 0:
        step = -step
    if step == 0:
        return [start]
    count = math.floor((end - start) / step + 1e-6) + 1
    return [_plain(start + step * i) for i in range(min(max(count, 0), MAX_VALUES + 1))]


def _plain(number: float) -> float:
    return round(number, 8)


def truth(entry: str, axis: str) -> bool:
    """A switch, as A1111 reads it.

    Raises:
        ParamsError: Neither yes nor no.
    """
    try:
        return Switch(name="switch").checked(entry) is True
    except ValueError as err:
        raise ParamsError(
            f"The axis «{axis}» was given {entry[:80]!r}; True or False is needed.", field="values"
        ) from err
