"""Lines of "prompts from file or textbox": a prompt each, or options such as ``--steps 20``.

Source:
    Option names and their meaning: A1111's script of that name.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from webui.hookspecs import Names, ParamsError, Switch


@dataclass(frozen=True)
class PromptLine:
    """What one line asks for.

    Attributes:
        values: Fields of a request; both prompts as they stand in the line.
        number: Of the line, from 1.
    """

    values: dict[str, Any]
    number: int

    def changes(self, request: Any, position: str) -> dict[str, Any]:
        """What differs from a request; prompts of both stand one behind the other.

        Args:
            position: ``start`` or ``end``: where the line's prompts stand beside the request's.
        """
        values = dict(self.values)
        for name in ("prompt", "negative_prompt"):
            own, added = getattr(request, name), values.get(name, "")
            if own and added:
                values[name] = f"{added} {own}" if position == "start" else f"{own} {added}"
        return values


def read_lines(text: str, names: Names) -> Iterator[PromptLine]:
    """All lines that are not empty, one after the other.

    Raises:
        ParamsError: An option that is unknown or has no usable value, with the line's number.
        CheckpointNotFoundError: ``--sd_model`` names none.
    """
    lines = enumerate(text.splitlines(), 1)
    return (_read(line.strip(), number, names) for number, line in lines if line.strip())


def _read(line: str, number: int, names: Names) -> PromptLine:
    if "--" not in line:
        return PromptLine({"prompt": line}, number)
    try:
        return PromptLine(_read_options(line, names), number)
    except ParamsError as err:
        raise ParamsError(f"Line {number}: {err.message}", err.hint, field="text") from err


def _read_options(line: str, names: Names) -> dict[str, Any]:
    try:
        words = shlex.split(line)
    except ValueError as err:
        raise ParamsError(
            f"{line[:80]!r} cannot be split into options: {err}.",
            'Put texts with spaces into quotes: --prompt "a red cat".',
        ) from err
    values: dict[str, Any] = {}
    place = 0
    while place < len(words):
        option = words[place].removeprefix("--")
        if not words[place].startswith("--"):
            raise ParamsError(
                f"{words[place][:80]!r} belongs to no option.",
                'Texts with spaces need quotes: --prompt "a red cat".',
            )
        place += 1
        if option in _TEXTS:
            end = place
            while end < len(words) and not words[end].startswith("--"):
                end += 1
            values[_TEXTS[option]] = " ".join(words[place:end])
            place = end
            continue
        if place >= len(words):
            raise ParamsError(f"--{option} has no value.", f"Write --{option} and a value.")
        values.update(_read_option(option, words[place], names))
        place += 1
    return values


def _read_option(option: str, value: str, names: Names) -> dict[str, Any]:
    if option in _IGNORED:
        return {}
    reader = _OPTIONS.get(option)
    if reader is None:
        known = ", ".join(f"--{name}" for name in sorted({*_OPTIONS, *_TEXTS}))
        raise ParamsError(f"There is no option --{option[:40]}.", f"Known: {known}.")
    try:
        return reader(value, names)
    except ValueError as err:
        raise ParamsError(f"--{option} was {value[:80]!r}; a number is needed.") from err


def _whole(name: str) -> Callable[[str, Names], dict[str, Any]]:
    return lambda value, names: {name: int(value)}


def _number(name: str) -> Callable[[str, Names], dict[str, Any]]:
    return lambda value, names: {name: float(value)}


def _switch(name: str, *, is_inverted: bool = False) -> Callable[[str, Names], dict[str, Any]]:
    def read(value: str, names: Names) -> dict[str, Any]:
        try:
            return {name: Switch(name=name).checked(value) != is_inverted}
        except ValueError as err:
            raise ParamsError(f"{name} was {value[:80]!r}; {err}.") from err

    return read


def _sampler_number(value: str, names: Names) -> dict[str, Any]:
    place, known = int(value), names.all("sampler")
    if not 0 <= place < len(known):
        raise ParamsError(f"--sampler_index was {place}; there are {len(known)} samplers.")
    return {"sampler": known[place]}


_TEXTS = {"prompt": "prompt", "negative_prompt": "negative_prompt"}
_IGNORED = ("outpath_samples", "outpath_grids", "prompt_for_display", "do_not_save_grid")
"""Options of A1111's that do nothing here: no line makes a grid, and folders are the settings'."""
_OPTIONS: dict[str, Callable[[str, Names], dict[str, Any]]] = {
    "sd_model": lambda value, names: {"checkpoint": names.find("checkpoint", value)},
    "sampler_name": lambda value, names: {"sampler": names.find("sampler", value)},
    "scheduler": lambda value, names: {"schedule": names.find("schedule", value)},
    "sampler_index": _sampler_number,
    "styles": lambda value, names: {"styles": tuple(s.strip() for s in value.split(",") if s)},
    "seed": _whole("seed"),
    "subseed": _whole("subseed"),
    "subseed_strength": _number("subseed_strength"),
    "seed_resize_from_w": _whole("seed_resize_from_w"),
    "seed_resize_from_h": _whole("seed_resize_from_h"),
    "batch_size": _whole("batch_size"),
    "n_iter": _whole("batch_count"),
    "steps": _whole("steps"),
    "cfg_scale": _number("cfg_scale"),
    "width": _whole("width"),
    "height": _whole("height"),
    "clip_skip": _whole("clip_skip"),
    "restore_faces": _switch("restore_faces"),
    "tiling": _switch("tiling"),
    "do_not_save_samples": _switch("save", is_inverted=True),
}
