"""The three scripts that make many requests of one: X/Y/Z plot, prompt matrix, prompts from a list.

A script and a request go in; a request for each cell and the sheet's labels come out. Nothing is
submitted here, so the same functions tell beforehand what a plot will cost.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from webui.errors import ParamsError
from webui.params import (
    MAX_CELLS,
    PROMPT_LIST,
    PROMPT_MATRIX,
    XYZ_PLOT,
    Label,
    params_error,
)
from webui.services.plots.axes import NOTHING, SEEDS, Axis, Names, find_axis
from webui.services.plots.axis_values import join_values
from webui.services.plots.prompt_lines import read_lines
from webui.services.plots.recipe import pairs_of
from webui.services.resolve import AnyRequest, draw_seed

MAX_MATRIX_PARTS = 10
"""Parts that come and go: 1024 combinations."""


class _Script(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AxisWish(_Script):
    """One axis: what differs, and its values as text or as entries chosen from a menu."""

    axis: str = NOTHING
    values: str | tuple[str, ...] = ""


class XyzPlot(_Script):
    """Every combination of the values of up to three axes.

    Attributes:
        has_legend: Draw labels.
        include_lone_images, include_sub_grids, margin: As for ``Plot``.
        keep_random_seeds: Every cell draws its own where the seed is −1.
        vary_seeds_x, vary_seeds_y, vary_seeds_z: Seeds grow along these axes.
    """

    kind: Literal["xyz"] = "xyz"
    x: AxisWish = AxisWish()
    y: AxisWish = AxisWish()
    z: AxisWish = AxisWish()
    has_legend: bool = True
    include_lone_images: bool = False
    include_sub_grids: bool = False
    keep_random_seeds: bool = False
    vary_seeds_x: bool = False
    vary_seeds_y: bool = False
    vary_seeds_z: bool = False
    margin: int = Field(default=0, ge=0, le=500)


class PromptMatrix(_Script):
    """The prompt's first part with every choice of its other parts; ``|`` stands between parts.

    Attributes:
        put_at_start: The parts that come and go stand before the first.
        different_seeds: Seeds grow from cell to cell.
        prompt: Which prompt is in parts.
        delimiter: What is put between parts.
    """

    kind: Literal["matrix"] = "matrix"
    put_at_start: bool = False
    different_seeds: bool = False
    prompt: Literal["positive", "negative"] = "positive"
    delimiter: Literal["comma", "space"] = "comma"
    margin: int = Field(default=0, ge=0, le=500)
    include_lone_images: bool = False


class PromptList(_Script):
    """One request for each line of a text; a line may have options, such as ``--steps 20``.

    Attributes:
        iterate_seed: Seeds go on from line to line.
        same_seed: All lines share one random seed.
        position: Where a line's prompt is put beside the request's own.
        has_sheet: Also lay all pictures out on one sheet.
    """

    kind: Literal["list"] = "list"
    text: str = Field(default="", max_length=2_000_000)
    iterate_seed: bool = False
    same_seed: bool = False
    position: Literal["start", "end"] = "start"
    has_sheet: bool = False


AnyScript = Annotated[XyzPlot | PromptMatrix | PromptList, Field(discriminator="kind")]
_SCRIPTS: TypeAdapter[XyzPlot | PromptMatrix | PromptList] = TypeAdapter(AnyScript)
Labels = tuple[tuple[Label, ...], ...]


@dataclass(frozen=True)
class Plan:
    """What a script comes to.

    Attributes:
        cells: A request for each, sheet by sheet, row by row.
        columns, rows, sheets: Their labels.
        pairs: What the recipes of the sheets say besides.
        options: Further fields of ``Plot``.
    """

    script: str
    cells: tuple[AnyRequest, ...]
    columns: Labels = ((),)
    rows: Labels = ((),)
    sheets: Labels = ((),)
    pairs: tuple[tuple[str, str], ...] = ()
    options: dict[str, Any] = field(default_factory=dict[str, Any])


def script_from(value: Any) -> XyzPlot | PromptMatrix | PromptList:
    """A script out of JSON values.

    Raises:
        ParamsError: An unknown script or field, or a value out of its range.
    """
    try:
        return _SCRIPTS.validate_python(value)
    except ValidationError as err:
        raise params_error(err) from err


def plan(script: XyzPlot | PromptMatrix | PromptList, request: AnyRequest, names: Names) -> Plan:
    """Work out the cells.

    Raises:
        ParamsError: An axis, a value or a line that cannot be used, or too many cells.
        CheckpointNotFoundError: A value names a file that is not there.
    """
    planned = _planned(script, request.model_copy(update={"grid": False}), names)
    fields = script.model_dump(mode="json", exclude_defaults=True)
    more = pairs_of(fields, request, planned.cells[0])
    return replace(planned, pairs=(*planned.pairs, *more))


def _planned(
    script: XyzPlot | PromptMatrix | PromptList, request: AnyRequest, names: Names
) -> Plan:
    if isinstance(script, XyzPlot):
        return _plan_xyz(script, request, names)
    if isinstance(script, PromptMatrix):
        return _plan_matrix(script, request)
    return _plan_list(script, request, names)


# X/Y/Z


@dataclass(frozen=True)
class _Values:
    """An axis with its values."""

    axis: Axis
    values: list[Any]
    written: str
    is_fixed: bool

    def labels(self) -> Labels:
        texts = [self.axis.show(value) for value in self.values]
        return tuple((Label(text=text),) if text else () for text in texts)

    def pairs(self, letter: str) -> Iterator[tuple[str, str]]:
        """What A1111 writes of an axis."""
        if self.axis.label == NOTHING:
            return
        yield f"{letter} Type", self.axis.label
        yield f"{letter} Values", self.written
        if self.axis.label in SEEDS and self.is_fixed:
            yield f"Fixed {letter} Values", ", ".join(map(str, self.values))


def _plan_xyz(script: XyzPlot, request: AnyRequest, names: Names) -> Plan:
    is_fixed = not script.keep_random_seeds
    x, y, z = (_values(wish, request.kind, is_fixed) for wish in (script.x, script.y, script.z))
    _check_count(len(x.values) * len(y.values) * len(z.values))
    if is_fixed:
        request = _with_fixed_seeds(request)
    cells = tuple(
        _with_seed_ahead(cell, _ahead(script, (x, y, z), at))
        for at, cell in _combined(request, names, x, y, z)
    )
    pairs = [("Script", XYZ_PLOT), *x.pairs("X"), *y.pairs("Y"), *z.pairs("Z")]
    return Plan(
        XYZ_PLOT, cells, x.labels(), y.labels(), z.labels(), tuple(pairs),
        {
            "has_legend": script.has_legend,
            "include_lone_images": script.include_lone_images,
            "include_sub_grids": script.include_sub_grids, "margin": script.margin,
        },
    )  # fmt: skip


def _values(wish: AxisWish, tab: str, is_fixed: bool) -> _Values:
    axis = find_axis(wish.axis, tab)
    values = axis.read(wish.values)
    if axis.label in SEEDS and is_fixed:
        values = [draw_seed(value) for value in values]
    written = wish.values if isinstance(wish.values, str) else join_values(wish.values)
    return _Values(axis, values, written, is_fixed)


def _combined(
    request: AnyRequest, names: Names, x: _Values, y: _Values, z: _Values
) -> Iterator[tuple[tuple[int, int, int], AnyRequest]]:
    """Every cell with its place along x, y and z; z is the slowest."""
    order = itertools.product(*(range(len(axis.values)) for axis in (z, y, x)))
    for iz, iy, ix in order:
        cell = request
        for axis, at in ((x, ix), (y, iy), (z, iz)):
            cell = axis.axis.apply(names, cell, axis.values[at], axis.values)
        yield (ix, iy, iz), cell


def _ahead(
    script: XyzPlot, axes: tuple[_Values, _Values, _Values], at: tuple[int, int, int]
) -> int:
    """How far a cell's seed is ahead of the request's."""
    width = len(axes[0].values) if script.vary_seeds_x else 1
    depth = len(axes[1].values) if script.vary_seeds_y else 1
    steps = (
        (script.vary_seeds_x, at[0]), (script.vary_seeds_y, at[1] * width),
        (script.vary_seeds_z, at[2] * width * depth),
    )  # fmt: skip
    return sum(step for is_varied, step in steps if is_varied)


def _with_fixed_seeds(request: AnyRequest) -> AnyRequest:
    seeds = {"seed": draw_seed(request.seed), "subseed": draw_seed(request.subseed)}
    return request.model_copy(update=seeds)


def _with_seed_ahead(request: AnyRequest, ahead: int) -> AnyRequest:
    if not ahead:
        return request
    return request.model_copy(update={"seed": draw_seed(request.seed) + ahead})


def _check_count(count: int) -> None:
    if count > MAX_CELLS:
        raise ParamsError(
            f"That comes to {count} cells; at most {MAX_CELLS} are painted in one go.",
            "Give the axes fewer values.", field="values",
        )  # fmt: skip


# Prompt matrix


def _plan_matrix(script: PromptMatrix, request: AnyRequest) -> Plan:
    field_name = "prompt" if script.prompt == "positive" else "negative_prompt"
    first, *others = split_parts(getattr(request, field_name))
    if len(others) > MAX_MATRIX_PARTS:
        raise ParamsError(
            f"{len(others)} parts that come and go make {2 ** len(others)} combinations; at most "
            f"{MAX_MATRIX_PARTS} parts are combined.",
            "Leave some parts out.", field=field_name,
        )  # fmt: skip
    request, across = _with_fixed_seeds(request), (len(others) + 1) // 2
    cells: list[AnyRequest] = []
    for number in range(2 ** len(others)):
        chosen = [part for bit, part in enumerate(others) if number >> bit & 1]
        parts = [*chosen, first] if script.put_at_start else [first, *chosen]
        text = (", " if script.delimiter == "comma" else " ").join(parts)
        cell = request.model_copy(update={field_name: text})
        cells.append(_with_seed_ahead(cell, number if script.different_seeds else 0))
    return Plan(
        PROMPT_MATRIX, tuple(cells), _matrix_labels(others[:across]),
        _matrix_labels(others[across:]), pairs=(("Script", PROMPT_MATRIX),),
        options={"margin": script.margin, "include_lone_images": script.include_lone_images},
    )  # fmt: skip


def _matrix_labels(parts: Sequence[str]) -> Labels:
    """For each combination of these parts all of them, those left out struck through."""
    return tuple(
        tuple(Label(text=part, is_active=bool(n >> bit & 1)) for bit, part in enumerate(parts))
        for n in range(2 ** len(parts))
    )


def split_parts(prompt: str) -> list[str]:
    """The parts of a prompt; a ``|`` within brackets belongs to alternation or wildcards."""
    parts, depth = [""], 0
    for before, character in zip(["", *prompt], prompt, strict=False):
        if before != "\\" and character in "{[":
            depth += 1
        elif before != "\\" and character in "}]":
            depth = max(0, depth - 1)
        if character == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [parts[0].strip(), *(part.strip().strip(",") for part in parts[1:])]


# Prompts from a list


def _plan_list(script: PromptList, request: AnyRequest, names: Names) -> Plan:
    lines = read_lines(script.text, names)
    if not lines:
        raise ParamsError(
            "There are no prompts: every line is empty.", "Write one prompt on each line.",
            field="text",
        )  # fmt: skip
    _check_count(len(lines))
    if script.iterate_seed or script.same_seed:
        request = request.model_copy(update={"seed": draw_seed(request.seed)})
    cells: list[AnyRequest] = []
    ahead = 0
    for line in lines:
        cell = line.applied_to(request, script.position)
        if script.iterate_seed and "seed" not in line.values:
            cell = _with_seed_ahead(cell, ahead)
        ahead += request.batch_size * request.batch_count
        cells.append(cell)
    return Plan(
        PROMPT_LIST, tuple(cells), *_square(len(cells)), pairs=(("Script", PROMPT_LIST),),
        options={"has_sheet": script.has_sheet, "include_lone_images": True},
    )  # fmt: skip


def _square(count: int) -> tuple[Labels, Labels]:
    """Columns and rows without labels, as square as can be."""
    across = next(n for n in range(1, count + 1) if n * n >= count)
    return ((),) * across, ((),) * -(-count // across)
