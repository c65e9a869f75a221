"""Plans of extensions: which there are, and what they make of a request.

A plan and a request go in; a request for each cell and the sheet's labels come out. Nothing is
submitted here, so the same functions tell beforehand what a plot will cost.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from webui.errors import CheckpointError, ExtensionError, ParamsError
from webui.extension_forms import Axis, ModelFile, PlanField, checked_values, unique_fields
from webui.extensions.fence import REFUSALS
from webui.extensions.note import label
from webui.hookspecs import MOMENTS, Plan, Sheet, SheetLabel
from webui.params import MAX_CELLS, Label, params_error
from webui.roles import is_guest
from webui.services.extensions.room import ExtensionRoom
from webui.services.plots.names import Names
from webui.services.plots.recipe import pairs_of
from webui.services.resolve import AnyRequest

MOMENT = MOMENTS["plans"]
KIND = "kind"
"""Under which a wish names its plan."""
Wished = Mapping[str, Any]
"""A plan's name under ``kind``, and values of its fields."""
_PASSES = (*REFUSALS, CheckpointError)
"""What a plan says to the person, and no failure of its extension."""
NOT_CHANGED = ("kind", "user")
"""Fields of a request that a plan leaves alone: what is asked for, and who asks."""
Labels = tuple[tuple[Label, ...], ...]


@dataclass(frozen=True)
class Owned:
    """A plan and whose it is."""

    plan: Plan
    extension: str
    is_built_in: bool

    @property
    def title(self) -> str:
        """What recipes and requests call it."""
        return self.plan.title.en

    def checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values of all its fields. Raises ParamsError where one does not fit."""
        values = {name: value for name, value in given.items() if name != KIND}
        return checked_values(self.plan.name, unique_fields(self.plan.fields), values)

    def changed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of its values that are not as usual."""
        usual = {one.name: one.usual for one in self.plan.fields}
        return {name: value for name, value in values.items() if value != usual[name]}


@dataclass(frozen=True)
class Planned:
    """What a plan comes to.

    Attributes:
        title: The plan's. cells: A request for each, sheet by sheet, row by row.
        columns, rows, sheets: Their labels.
        pairs: What the recipes of the sheets say besides.
        options: Further fields of ``params.Plot``.
    """

    title: str
    cells: tuple[AnyRequest, ...]
    columns: Labels = ((),)
    rows: Labels = ((),)
    sheets: Labels = ((),)
    pairs: tuple[tuple[str, str], ...] = ()
    options: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Plans:
    """The plans of all extensions that are switched on.

    Attributes:
        names: What plans are handed to look names up.
    """

    room: ExtensionRoom
    names: Names

    def all(self, tab: str = "", user: str = "") -> list[Owned]:
        """Those that can be chosen; guests have those that came with the program.

        Args:
            tab: ``txt2img`` or ``img2img``; '' = of both.
        """
        return [
            Owned(plan, known.name, known.extension.is_built_in)
            for known in self.room.loaded()
            for plan in known.plans.values()
            if (not tab or tab in plan.tabs)
            and (known.extension.is_built_in or not is_guest(user))
        ]  # fmt: skip

    def find(self, name: str, tab: str = "", user: str = "") -> Owned | None:
        """A plan by its name or its English title, capitals aside; None where there is none."""
        wanted = name.strip().lower()
        for owned in self.all(tab, user):
            if wanted in (owned.plan.name, owned.title.lower()):
                return owned
        return None

    def named(self, name: str, tab: str = "", user: str = "") -> Owned:
        """As ``find``.

        Raises:
            ParamsError: There is none.
        """
        found = self.find(name, tab, user)
        if found is None:
            known = ", ".join(owned.plan.name for owned in self.all(tab, user))
            raise ParamsError(
                f"No plan is called {name[:80]!r}, or its extension is switched off.",
                f"There are: {known or 'none'}.", field="script",
            )  # fmt: skip
        return found

    def plan(self, wished: Wished, request: AnyRequest) -> Planned:
        """Work out the cells.

        Raises:
            ParamsError: No such plan, a value that cannot be used, or too many cells.
            CheckpointNotFoundError: A value names a file that is not there.
            ExtensionError: The extension failed.
        """
        owned = self.named(str(wished.get(KIND, "")), request.kind, request.user)
        values = owned.checked(wished)
        request = request.model_copy(update={"grid": False})
        sheet = self._asked(owned, request, values)
        cells = tuple(_cell(request, change) for change in sheet.cells)
        pairs = pairs_of(owned.plan, values, sheet.pairs, request, cells[0])
        return Planned(
            owned.title, cells, sheet.columns, sheet.rows, sheet.sheets, tuple(pairs), sheet.options
        )

    def _asked(self, owned: Owned, request: AnyRequest, values: dict[str, Any]) -> _Taken:
        """The extension's answer, within the fence until it is plain data."""

        def ask() -> _Taken:
            return _taken(owned.plan.sheet(request, copy.deepcopy(values), self.names))

        fence, name = self.room.fence, owned.extension
        note = label(name, MOMENT.name, MOMENT.seconds)
        answer = fence.call_labelled(name, MOMENT.name, note, MOMENT.seconds, ask, _PASSES)
        if answer is None:
            why = "; ".join(trouble.message for trouble in fence.troubles(name)[-1:])
            raise ExtensionError(
                f"The extension {name} could not plan the pictures: {why}.",
                "Choose another script, or look at the Extensions tab.",
                plugin=name, hook=MOMENT.name,
            )  # fmt: skip
        return answer

    # What doors draw and list

    def panel(self, owned: Owned, tab: str) -> dict[str, Any]:
        """Plain data for the script that draws its fields: ``name``, ``title``, ``help``,
        ``fields``; ``files`` that fields offer; ``menus`` of axes by their choices' names."""
        fields = owned.plan.fields
        return {
            "name": owned.plan.name,
            "title": owned.plan.title.model_dump(),
            "help": owned.plan.help.model_dump(),
            "fields": [_on_tab(one, tab).to_page() for one in fields],
            "files": {f.name: self.room.files_for(f) for f in fields if isinstance(f, ModelFile)},
            "menus": {one.name: self.menus(one, tab) for one in fields if isinstance(one, Axis)},
        }

    def menus(self, axis: Axis, tab: str) -> dict[str, list[str] | None]:
        """All that an axis can stand for, and what its values are chosen from (None: anything)."""
        return {
            one.name: [*one.values, *(self.names.all(one.names) if one.names else ())]  # type: ignore[arg-type]
            if one.has_menu
            else None
            for one in axis.choices
            if one.is_offered and tab in one.tabs
        }


def _on_tab(one: PlanField, tab: str) -> PlanField:
    if not isinstance(one, Axis):
        return one
    choices = tuple(c for c in one.choices if c.is_offered and tab in c.tabs)
    return one.model_copy(update={"choices": choices})


@dataclass(frozen=True)
class _Taken:
    """What an extension answered, checked but for the fields that differ."""

    cells: list[Mapping[str, Any]]
    columns: Labels
    rows: Labels
    sheets: Labels
    pairs: list[tuple[str, str]]
    options: dict[str, Any]


def _taken(sheet: Any) -> _Taken:
    """A sheet's labels, and its cells, as many as there is room for.

    Raises:
        ParamsError: Far too many. TypeError, ValueError: It is no sheet, or its cells do not fit.
    """
    if not isinstance(sheet, Sheet):
        raise TypeError(f"it answered with {type(sheet).__name__}; Sheet is needed")
    sides = [len(side) for side in (sheet.columns, sheet.rows, sheet.sheets) if side]
    _check_count(math.prod(sides))
    cells = list(itertools.islice(iter(sheet.cells), MAX_CELLS + 1))
    _check_count(len(cells))
    if not cells or (sides and len(cells) != math.prod(sides)):
        raise ValueError(f"its sheet has {len(cells)} cells for {math.prod(sides)} places")
    if not all(isinstance(cell, Mapping) for cell in cells):
        raise TypeError("its sheet has cells that are no dicts of fields")
    columns, rows = _labels(sheet.columns), _labels(sheet.rows)
    if not sides:
        columns, rows = _square(len(cells))
    return _Taken(
        cells, columns, rows, _labels(sheet.sheets),
        [(str(key), str(value)) for key, value in sheet.pairs],
        {
            "has_legend": bool(sheet.has_legend), "margin": int(sheet.margin),
            "include_lone_images": bool(sheet.include_lone_images),
            "include_sub_grids": bool(sheet.include_sub_grids), "has_sheet": bool(sheet.is_drawn),
        },
    )  # fmt: skip


def _check_count(count: int) -> None:
    if count > MAX_CELLS:
        raise ParamsError(
            f"That comes to {count} cells; at most {MAX_CELLS} are painted in one go.",
            "Give the axes fewer values.", field="values",
        )  # fmt: skip


def _cell(request: AnyRequest, changes: Mapping[str, Any]) -> AnyRequest:
    """A request with what differs.

    Raises:
        ParamsError: A field that is not there or may not be changed, or a value that does not fit.
    """
    values = dict(request)
    for name in changes:
        if name not in values or name in NOT_CHANGED:
            raise ParamsError(
                f"The plan changes {name!r}, which is no field of {request.kind}.",
                f"There are: {', '.join(one for one in values if one not in NOT_CHANGED)}.",
                field=name,
            )
    try:
        merged = {name: _merged(values[name], change) for name, change in changes.items()}
        return type(request).model_validate({**values, **merged})
    except ValidationError as err:
        raise params_error(err) from err


def _merged(now: Any, change: Any) -> Any:
    """A field's new value; of one that has parts only those change that are named, and of a part
    that has parts likewise."""
    if not isinstance(change, Mapping) or not isinstance(now, BaseModel | Mapping):
        return change
    parts = dict(now)
    both = {**parts, **{name: _merged(parts.get(name), one) for name, one in change.items()}}
    return type(now).model_validate(both) if isinstance(now, BaseModel) else both


def _labels(given: Sequence[SheetLabel]) -> Labels:
    return tuple(tuple(_lines(label)) for label in given) or ((),)


def _lines(label: SheetLabel) -> Iterator[Label]:
    for line in [label] if isinstance(label, str) else label:
        text, is_active = (line, True) if isinstance(line, str) else line
        if text:
            yield Label(text=text, is_active=is_active)


def _square(count: int) -> tuple[Labels, Labels]:
    """Columns and rows without labels, as square as can be."""
    across = next(n for n in range(1, count + 1) if n * n >= count)
    return ((),) * across, ((),) * -(-count // across)
