"""What a person or a program wants an option to be, read as the option's own type and checked."""

from __future__ import annotations

import math
from typing import Any, cast

from webui.errors import ParamsError
from webui.lenient import json_safe, read_bool, read_float, read_int
from webui.options import OPTION_BY_KEY, Option

MOST_CHARACTERS = 20_000
"""Of one text, or of all texts of a list."""


def checked_value(key: str, value: Any) -> Any:
    """``checked`` for an option by its key; one that is not declared takes what JSON can hold."""
    option = OPTION_BY_KEY.get(key)
    return json_safe(value) if option is None else checked(option, value)


def checked(option: Option, value: Any) -> Any:
    """The value in the type of the option's default and in its range; None means the default.

    A text stands for a list of what its commas part, and an empty one for nothing where nothing
    is the default.

    Raises:
        ParamsError: It cannot be read as that type, is none of the choices, or out of range.
    """
    default = option.default
    if value is None:
        return default
    if isinstance(default, list):
        return _list(option, value)
    typed = _typed(option, value)
    if option.choices:
        return _one_of(option, typed)
    if isinstance(typed, (int, float)) and not isinstance(typed, bool):
        _check_range(option, typed)
    elif isinstance(typed, str):
        _check_length(option, typed)
    return None if default is None and typed == "" else typed


def _typed(option: Option, value: Any) -> Any:
    default = option.default
    try:
        if default is None:
            return json_safe(value)
        if isinstance(default, bool):
            return read_bool(value)
        if isinstance(default, int):
            number = read_float(value)
            return read_int(value) if number is None or number.is_integer() else number
        if isinstance(default, float):
            return read_float(value)
        if isinstance(value, type(default)):
            return json_safe(value)
    except ValueError as err:
        raise _wrong_type(option, value) from err
    raise _wrong_type(option, value)


def _list(option: Option, value: Any) -> list[Any]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        raise _wrong_type(option, value)
    entries = [json_safe(entry) for entry in cast("list[Any]", value)]
    if any(not isinstance(entry, str) for entry in entries):
        raise _wrong_type(option, value)
    _check_length(option, "".join(entries))
    return [_one_of(option, entry) for entry in entries] if option.choices else entries


def _check_range(option: Option, value: float) -> None:
    low, high = option.minimum, option.maximum
    is_low_enough = high is None or value <= high
    is_high_enough = low is None or value >= low
    is_whole = not isinstance(option.default, int) or float(value).is_integer()
    if math.isfinite(value) and is_low_enough and is_high_enough and is_whole:
        return
    limits = [f"{sign} {end:g}" for sign, end in (("≥", low), ("≤", high)) if end is not None]
    room = f" ({', '.join(limits)})" if limits else ""
    kind = "a whole number" if isinstance(option.default, int) else "a number"
    raise ParamsError(
        f"The option {option.key} was {value}; {kind}{room} is needed.",
        f"Its default is {option.default!r}. Nothing was changed.",
        field=option.key,
    )


def _check_length(option: Option, text: str) -> None:
    if len(text) > MOST_CHARACTERS:
        raise ParamsError(
            f"The option {option.key} was given {len(text):,} characters; at most "
            f"{MOST_CHARACTERS:,} are kept.",
            "Nothing was changed.",
            field=option.key,
        )


def _one_of(option: Option, value: Any) -> Any:
    """The choice that was meant; capitals do not matter."""
    for choice in option.choices:
        if str(value).lower() == str(choice).lower():
            return choice
    raise ParamsError(
        f"The option {option.key} was {str(value)[:80]!r}, which is unknown.",
        f"Choose one of: {', '.join(map(str, option.choices))}. Nothing was changed.",
        field=option.key,
    )


def _wrong_type(option: Option, value: Any) -> ParamsError:
    wanted = type(option.default).__name__
    return ParamsError(
        f"The option {option.key} was given {str(value)[:80]!r}; {wanted} is needed.",
        f"Its default is {option.default!r}. Nothing was changed.",
        field=option.key,
    )
