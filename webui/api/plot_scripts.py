"""Plans of extensions as A1111's selectable scripts: ``script_name`` with ``script_args``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from webui.api.schemas import ImageToImageBody, SomeBody
from webui.api.script_arguments import Argument, Script
from webui.errors import ParamsError
from webui.extension_forms import Axis, Choice, Number, PlanField, Switch, Whole
from webui.services.plots.plans import KIND, Owned, Plans, Wished

TABS = ("txt2img", "img2img")


def plan_scripts(plans: Plans) -> list[Script]:
    """What lists of scripts tell of all plans, and how their arguments are read."""
    return [script_of(owned, tab) for tab in TABS for owned in plans.all(tab)]


def script_of(owned: Owned, tab: str) -> Script:
    """A plan as a script of a tab."""
    fields = owned.plan.arguments or owned.plan.fields
    arguments = tuple(argument for one in fields for argument in _arguments(one, tab))
    is_img2img = tab == "img2img"
    return Script(owned.title.lower(), False, is_img2img, arguments)


def _arguments(one: PlanField, tab: str) -> Iterator[Argument]:
    """A field's arguments: an axis has three."""
    label = one.label.en or one.name
    if isinstance(one, Axis):
        choices = tuple(choice.name for choice in one.choices if tab in choice.tabs)
        kind, values = one.usual["axis"], f"{label} values"
        yield Argument(f"{one.name}.axis", f"{label} type", kind, "choice", choices=choices)
        yield Argument(f"{one.name}.values", values, "", "text")
        yield Argument(f"{one.name}.chosen", values, (), "texts")
    elif isinstance(one, Whole | Number):
        kind = "int" if isinstance(one, Whole) else "float"
        limits = one.minimum, one.maximum, one.step
        yield Argument(one.name, label, one.default, kind, *limits)
    elif isinstance(one, Choice):
        yield Argument(one.name, label, one.usual, "choice", choices=one.choices)
    else:
        kind = "bool" if isinstance(one, Switch) else "text"
        yield Argument(one.name, label, one.usual, kind)


def take_plan(plans: Plans, body: SomeBody, user: str) -> tuple[SomeBody, Wished | None]:
    """A request without the plan that it names, and what it asks of it; None where it names none.

    Raises:
        ParamsError: An argument that cannot be read or is out of range.
    """
    tab = "img2img" if isinstance(body, ImageToImageBody) else "txt2img"
    owned = plans.find(body.script_name or "", tab, user)
    if owned is None:
        return body, None
    script = script_of(owned, tab)
    given = _by_field(script.read(body.script_args or (), "script_args"))
    plan = owned.plan
    try:
        values = owned.checked(plan.from_arguments(given) if plan.arguments else _joined(given))
    except ParamsError as err:
        raise ParamsError(f"{script.name}: {err.message}", err.hint, field="script_args") from err
    without = body.model_copy(update={"script_name": None, "script_args": []})
    return without, {KIND: plan.name, **values}


def _by_field(arguments: dict[str, Any]) -> dict[str, Any]:
    """Values by field; the three of an axis are one."""
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        field, _, part = name.partition(".")
        if part:
            found.setdefault(field, {})[part] = value
        else:
            found[field] = value
    return found


def _joined(given: dict[str, Any]) -> dict[str, Any]:
    """Values of axes: what was chosen counts before what was written."""
    found = dict(given)
    for name, value in given.items():
        if isinstance(value, dict):
            found[name] = {"axis": value["axis"], "values": value["chosen"] or value["values"]}
    return found
