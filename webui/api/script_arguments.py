"""How a script's arguments are described, and read out of a request's list.

Source:
    A1111 1.10: arguments come in the order of its page's components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from webui.errors import ParamsError
from webui.lenient import read_bool, read_float, read_int


@dataclass(frozen=True)
class Argument:
    """One argument of a script.

    Attributes:
        name: Ours, for whoever reads the arguments.
        kind: How a value is read; ``note`` is a text of A1111's page and takes anything.
        minimum, maximum, step: Of A1111's slider; what is painted has ranges of its own.
    """

    name: str
    label: str | None
    value: Any
    kind: Literal["note", "int", "float", "bool", "choice", "choices", "text", "texts"]
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()

    def info(self) -> dict[str, Any]:
        """As GET /sdapi/v1/script-info tells it."""
        return {
            "label": self.label,
            "value": list(self.value) if isinstance(self.value, tuple) else self.value,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "step": self.step,
            "choices": list(self.choices) or None,
        }


@dataclass(frozen=True)
class Script:
    """A script that a request may name.

    Attributes:
        name: Its title in lower case.
        is_alwayson: Goes into ``alwayson_scripts``; the others into ``script_name``.
        is_img2img: For img2img; the others are for txt2img.
    """

    name: str
    is_alwayson: bool
    is_img2img: bool
    arguments: tuple[Argument, ...] = ()

    def read(self, values: Sequence[Any], field: str) -> dict[str, Any]:
        """The arguments by name; those left out, and nulls, have their defaults.

        Args:
            field: What the client called the list.
        Raises:
            ParamsError: Too many arguments, or one that cannot be read.
        """
        if len(values) > len(self.arguments):
            names = ", ".join(a.label or "a note" for a in self.arguments)
            raise ParamsError(
                f"{field} has {len(values)} entries; «{self.name}» takes {len(self.arguments)}: "
                f"{names}.",
                "GET /sdapi/v1/script-info describes them.",
                field=field,
            )
        read = {argument.name: argument.value for argument in self.arguments}
        for place, (argument, value) in enumerate(zip(self.arguments, values, strict=False)):
            if value is not None:
                read[argument.name] = self._read_one(argument, value, f"{field}[{place}]")
        return read

    def with_upscalers(self, names: Sequence[str]) -> Script:
        """The same script offering these upscalers, where it offers any."""
        arguments = (
            replace(argument, choices=tuple(names)) if argument.name == "upscaler" else argument
            for argument in self.arguments
        )
        return replace(self, arguments=tuple(arguments))

    def _read_one(self, argument: Argument, value: Any, place: str) -> Any:
        try:
            return _READERS[argument.kind](argument, value)
        except ValueError as err:
            raise ParamsError(
                f"{place} («{argument.label}» of «{self.name}») was {str(value)[:80]!r}; {err}.",
                "Change that value and send it again.",
                field=place,
            ) from err


def _read_choice(argument: Argument, value: Any) -> str:
    """A choice by its text, capitals aside, or by its number."""
    if isinstance(value, str):
        for choice in argument.choices:
            if choice.lower() == value.strip().lower():
                return choice
    elif not isinstance(value, bool) and value in range(len(argument.choices)):
        return argument.choices[int(value)]
    names = ", ".join(argument.choices)
    raise ValueError(f"one of {names} is needed, or its number from 0")


def _read_choices(argument: Argument, value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list):
        raise ValueError(f"a list of {', '.join(argument.choices)} is needed")
    return tuple(_read_choice(argument, one) for one in values)


def _read_text(argument: Argument, value: Any) -> str:
    if isinstance(value, list | dict):
        raise ValueError("a text is needed")
    return str(value)


def _read_texts(argument: Argument, value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) and value else value or []
    if not isinstance(values, list):
        raise ValueError("a list of texts is needed")
    return tuple(str(one) for one in values)


_READERS: dict[str, Any] = {
    "note": lambda argument, value: None,
    "int": lambda argument, value: read_int(value),
    "float": lambda argument, value: read_float(value),
    "bool": lambda argument, value: read_bool(value),
    "choice": _read_choice,
    "choices": _read_choices,
    "text": _read_text,
    "texts": _read_texts,
}


def arguments_of(name: str, entry: Any) -> list[Any]:
    """The list that a request's ``alwayson_scripts`` holds for a script; empty where it has none.

    Raises:
        ParamsError: The entry is no object with a list.
    """
    arguments = entry.get("args") if isinstance(entry, dict) else None
    if isinstance(entry, dict) and arguments is None:
        return []
    if isinstance(arguments, list):
        return arguments
    raise ParamsError(
        f"alwayson_scripts.{name[:80]} was {str(entry)[:80]!r}; "
        'an object with a list is needed: {"args": […]}.',
        field="alwayson_scripts",
    )
