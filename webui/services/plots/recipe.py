"""What the recipe of a sheet says of its plan, and the plan's values read out of it again.

Source:
    A1111's X/Y/Z plot writes ``Script``, ``X Type``, ``X Values`` and, where seeds were drawn,
    ``Fixed X Values``, and the same for Y and Z. The other keys are ours.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webui.errors import ParamsError
from webui.extension_forms import (
    Text,
    checked_values,
    unique_fields,
    values_from_recipe,
    values_in_recipe,
)
from webui.hookspecs import Plan
from webui.services.resolve import AnyRequest

SCRIPT = "Script"
OPTIONS, PROMPT, NEGATIVE = "Script options", "Script prompt", "Script negative prompt"
MOST_CHARACTERS = 20_000
"""Of values that are written into the sheet."""


@dataclass(frozen=True)
class ReadScript:
    """A plan as a recipe tells it.

    Attributes:
        title: Of the plan. values: Of its fields, those that are not as usual.
        keys: Those of the recipe that were understood.
    """

    title: str
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    keys: frozenset[str] = frozenset()


def pairs_of(
    plan: Plan,
    values: Mapping[str, Any],
    own: Sequence[tuple[str, str]],
    request: AnyRequest,
    first: AnyRequest,
) -> Iterator[tuple[str, str]]:
    """What the sheet's recipe says beside that of its first cell.

    Args:
        values: Of the plan's fields. own: What the plan itself writes; those keys are its own.
        request: What all cells have in common. first: The first cell, whose recipe the sheet has.
    """
    fields = unique_fields(plan.fields)
    told = values_in_recipe(fields, values, with_usual=False)
    yield SCRIPT, plan.title.en
    yield from {**dict(own), **{key: str(said) for key, said in told.items()}}.items()
    if request.prompt != first.prompt:
        yield PROMPT, request.prompt
    if request.negative_prompt != first.negative_prompt:
        yield NEGATIVE, request.negative_prompt
    left = {
        name: values[name]
        for name, one in fields.items()
        if not one.infotext and values[name] != one.usual
    }
    text = json.dumps(left, ensure_ascii=False)
    if left and len(text) <= MOST_CHARACTERS:
        yield OPTIONS, text


def read_script(params: Mapping[str, str], plan: Plan) -> ReadScript | None:
    """The values of a plan in the recipe of its sheet; None where they cannot be told.

    What was written by a newer version, or changed by hand, is left out.
    """
    fields = unique_fields(plan.fields)
    rest = {name: one for name, one in fields.items() if not one.infotext}
    values: dict[str, Any] = values_from_recipe(fields, params)
    keys = {SCRIPT, PROMPT, NEGATIVE}
    for name in values:
        keys.update(fields[name].recipe_keys)
    if OPTIONS in params:
        with contextlib.suppress(ValueError, RecursionError, ParamsError):
            given = json.loads(params[OPTIONS])
            checked = checked_values(plan.name, rest, given)
            values |= {name: checked[name] for name in given}
            keys.add(OPTIONS)
    if any(isinstance(one, Text) and one.is_needed and name not in values
           for name, one in fields.items()):  # fmt: skip
        return None  # it was too long to be written down
    return ReadScript(plan.title.en, values, frozenset(keys))
