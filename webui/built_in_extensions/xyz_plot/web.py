"""X/Y/Z plot: every combination of the values of up to three axes.

Source:
    What it does, its arguments and their order: A1111 1.10's xyz_grid.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from webui.hookspecs import (
    Axis,
    Names,
    Plan,
    PlanField,
    Sheet,
    SheetLabel,
    Switch,
    Values,
    Whole,
    Words,
    hook,
    under_labels,
)

from .axes import CHOICES, NOTHING, SEEDS, AxisKind, Cell, find_kind

LETTERS = "xyz"
FIELDS: tuple[PlanField, ...] = (
    *(
        Axis(name=one, label=Words(en=one.upper()), infotext=one.upper(), choices=CHOICES)
        for one in LETTERS
    ),
    Switch(name="has_legend", label=Words(en="Labels", zh="显示图例"), default=True),
    Switch(
        name="include_lone_images",
        label=Words(en="Show single pictures too", zh="同时显示单张图片"),
    ),
    Switch(
        name="include_sub_grids",
        label=Words(en="Keep sheets of each Z, too", zh="同时保存各 Z 子图"),
    ),
    Switch(
        name="keep_random_seeds", label=Words(en="Keep −1 for seeds", zh="保持种子为 -1")
    ),
    *(
        Switch(
            name=f"vary_seeds_{one}",
            label=Words(en=f"Vary seeds along {one.upper()}", zh=f"沿 {one.upper()} 改变种子"),
        )
        for one in LETTERS
    ),
    Whole(name="margin", label=Words(en="Margin (px)", zh="间距（像素）"), maximum=500, step=2),
)  # fmt: skip
ARGUMENTS = {
    **{one: one.upper() for one in LETTERS},
    "has_legend": "Draw legend",
    "include_lone_images": "Include Sub Images",
    "include_sub_grids": "Include Sub Grids",
    "keep_random_seeds": "Keep -1 for seeds",
    **{f"vary_seeds_{one}": f"Vary seeds for {one.upper()}" for one in LETTERS},
    "margin": "Grid margins (px)",
}
X_SEED = FIELDS[0].model_copy(update={"default": SEEDS[0]})
"""Where a request says nothing, A1111 takes seeds for X."""
IS_WRITTEN = Switch(name="is_written", label=Words(en="Use text inputs instead of dropdowns"))


@hook
def plans() -> list[Plan]:
    """The plan."""
    return [
        Plan(
            name="xyz", title=Words(en="X/Y/Z plot", zh="X/Y/Z 图表"), sheet=sheet, fields=FIELDS,
            arguments=(X_SEED, *under_labels(FIELDS, ARGUMENTS)[1:], IS_WRITTEN),
            from_arguments=_from_arguments,
        )
    ]  # fmt: skip


def _from_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """What was chosen counts before what was written, where there is something to choose from."""
    values = dict(given)
    is_written, has_menu = values.pop(IS_WRITTEN.name), {one.name: one.has_menu for one in CHOICES}
    for letter in LETTERS:
        axis = dict(values[letter])
        chosen = axis.pop("chosen")
        if chosen and has_menu[axis["axis"]] and not is_written:
            axis["values"] = chosen
        values[letter] = axis
    return values


@dataclass(frozen=True)
class Side:
    """An axis with its values, as they were read."""

    letter: str
    kind: AxisKind
    written: str
    values: list[Any]
    is_varied: bool

    def labels(self) -> list[SheetLabel]:
        return [self.kind.show(value) for value in self.values]

    def pairs(self, is_fixed: bool) -> Iterator[tuple[str, str]]:
        """What A1111 writes of an axis, in its order."""
        if self.kind.label == NOTHING:
            return
        yield f"{self.letter} Type", self.kind.label
        yield f"{self.letter} Values", self.written
        if self.kind.label in SEEDS and is_fixed:
            yield f"Fixed {self.letter} Values", ", ".join(map(str, self.values))


def sheet(request: Any, values: Values, names: Names) -> Sheet:
    """X across, Y down, a sheet for each Z.

    Raises:
        ParamsError, CheckpointNotFoundError: An axis or a value that cannot be used.
    """
    is_fixed = not values["keep_random_seeds"]
    x, y, z = (_side(letter, values, request.kind, names, is_fixed) for letter in LETTERS)
    same: dict[str, Any] = {}
    if is_fixed:
        same = {"seed": names.seed(request.seed), "subseed": names.seed(request.subseed)}
    return Sheet(
        cells=_cells(request, same, names, x, y, z), columns=x.labels(), rows=y.labels(),
        sheets=z.labels(), pairs=[pair for side in (x, y, z) for pair in side.pairs(is_fixed)],
        has_legend=values["has_legend"], margin=values["margin"],
        include_lone_images=values["include_lone_images"],
        include_sub_grids=values["include_sub_grids"],
    )  # fmt: skip


def _side(letter: str, values: Values, tab: str, names: Names, is_fixed: bool) -> Side:
    wish: Any = values[letter]
    kind = find_kind(wish["axis"], tab)
    read = kind.read(wish["values"])
    if kind.label in SEEDS and is_fixed:
        read = [names.seed(value) for value in read]
    is_varied = bool(values[f"vary_seeds_{letter}"])
    return Side(letter.upper(), kind, wish["values"], read, is_varied)


def _cells(
    request: Any, same: dict[str, Any], names: Names, x: Side, y: Side, z: Side
) -> Iterator[dict[str, Any]]:
    """What differs in every cell; z is the slowest. Names are looked up here, where they are few:
    whoever asks has counted the cells."""
    meant = [[side.kind.found(names, value) for value in side.values] for side in (x, y, z)]
    order = itertools.product(*(range(len(side.values)) for side in (z, y, x)))
    for iz, iy, ix in order:
        cell = Cell(request, dict(same))
        for side, found, at in zip((x, y, z), meant, (ix, iy, iz), strict=True):
            cell.change(side.kind.change(cell, found[at], found))
        if ahead := _ahead((x, ix), (y, iy), (z, iz)):
            cell.change({"seed": names.seed(cell.get("seed")) + ahead})
        yield cell.changes


def _ahead(*places: tuple[Side, int]) -> int:
    """How far a cell's seed is ahead of the request's: seeds grow along x, then y, then z."""
    step, ahead = 1, 0
    for side, at in places:
        if side.is_varied:
            ahead += at * step
            step *= len(side.values)
    return ahead
