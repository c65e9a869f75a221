"""Which tensors a regular expression leaves out of a result, within a time that is told.

Somebody else's expression may take for ever on an ordinary name (``(a|a)*$``), and Python's own
``re`` cannot be stopped: ``regex`` can.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

import regex

from webui.errors import ParamsError

MOST_SECONDS: Final = 10.0
"""For all names of a model: an ordinary expression takes milliseconds."""


def discarded(pattern: str, names: Iterable[str], seconds: float = MOST_SECONDS) -> frozenset[str]:
    """The names in which the expression is found; none for an empty one.

    Raises:
        ParamsError: It is no regular expression, or takes longer than that.
    """
    if not pattern:
        return frozenset()
    end = time.monotonic() + seconds
    try:
        wanted = regex.compile(pattern)
        return frozenset(
            name
            for name in names
            if wanted.search(name, timeout=max(0.001, end - time.monotonic()))
        )
    except TimeoutError as err:
        raise ParamsError(
            f"The expression for discarded weights, {pattern!r}, was still being looked for after "
            f"{seconds:g} seconds.",
            "Take repeats inside of repeats out of it, such as (a+)+, and merge again.",
            field="discard_weights",
        ) from err
    except (regex.error, OverflowError, RecursionError, MemoryError) as err:
        raise ParamsError(
            f"The expression for discarded weights, {pattern!r}, cannot be read ({err}).",
            "Correct it, or leave the field empty.",
            field="discard_weights",
        ) from err
