"""What the recipe of a sheet says of its script, and the script read out of it again.

Source:
    A1111's X/Y/Z plot writes ``Script``, ``X Type``, ``X Values`` and, where seeds were drawn,
    ``Fixed X Values``, and the same for Y and Z. The other keys are ours.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from webui.params import PROMPT_LIST, PROMPT_MATRIX, XYZ_PLOT
from webui.services.plots.axes import AXES, NOTHING
from webui.services.resolve import AnyRequest

OPTIONS, PROMPT, NEGATIVE = "Script options", "Script prompt", "Script negative prompt"
KINDS = {XYZ_PLOT: "xyz", PROMPT_MATRIX: "matrix", PROMPT_LIST: "list"}
MOST_CHARACTERS = 20_000
"""Of a list of prompts that is written into the sheet."""
LETTERS = "xyz"


@dataclass(frozen=True)
class ReadScript:
    """A script as a recipe tells it.

    Attributes:
        name: Of the script. values: Its fields, as ``script_from`` takes them, without ``kind``.
        keys: Those of the recipe that were understood.
    """

    name: str
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    keys: frozenset[str] = frozenset()


def pairs_of(
    fields: Mapping[str, Any], request: AnyRequest, first: AnyRequest
) -> Iterator[tuple[str, str]]:
    """What no key of A1111's says.

    Args:
        fields: Of the script, those that do not stand at their defaults.
        request: What all cells have in common. first: The first cell, whose recipe the sheet has.
    """
    if request.prompt != first.prompt:
        yield PROMPT, request.prompt
    if request.negative_prompt != first.negative_prompt:
        yield NEGATIVE, request.negative_prompt
    left = {name: value for name, value in fields.items() if name not in ("kind", *LETTERS)}
    if left and len(text := json.dumps(left, ensure_ascii=False)) <= MOST_CHARACTERS:
        yield OPTIONS, text


def read_script(params: Mapping[str, str]) -> ReadScript | None:
    """The script of a sheet; None for a recipe of something else, or one that cannot be told."""
    name = params.get("Script", "")
    if name not in KINDS:
        return None
    values, keys = _options(params), {"Script", OPTIONS, PROMPT, NEGATIVE}
    if name == PROMPT_LIST and OPTIONS not in params:
        return None  # its list was too long to be written down
    if name == XYZ_PLOT:
        for letter in LETTERS:
            axis, understood = _axis(params, letter.upper())
            keys |= understood
            if axis:
                values[letter] = axis
    return ReadScript(name, values, frozenset(keys))


def _options(params: Mapping[str, str]) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(params.get(OPTIONS, "{}"))
        if isinstance(found, dict):
            return {str(name): value for name, value in found.items()}
    return {}


def _axis(params: Mapping[str, str], letter: str) -> tuple[dict[str, str], set[str]]:
    """An axis, and the keys it was read from; neither for one that is not known here."""
    keys = {f"{letter} Type", f"{letter} Values", f"Fixed {letter} Values"}
    wanted = params.get(f"{letter} Type", "").strip().lower()
    for axis in AXES:
        if axis.label.lower() == wanted and axis.label != NOTHING:
            values = params.get(f"Fixed {letter} Values") or params.get(f"{letter} Values", "")
            return {"axis": axis.label, "values": values}, keys
    return {}, set()
