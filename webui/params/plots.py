"""The request that lays the pictures of other jobs out on a sheet: a plot."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from webui.params.base import Params
from webui.params.without_painting import WithoutPainting

MAX_CELLS = 4096


class Label(Params):
    """One line beside a row or above a column; what is not active is struck through."""

    text: str
    is_active: bool = True


class Plot(WithoutPainting):
    """Lay the pictures of this job's parts out on sheets.

    Attributes:
        script: English title of the plan the parts were made by. painted: Their kind.
        title: What people see in the queue: the prompt all have in common.
        columns, rows, sheets: Labels of each; a label may have several lines, or none.
        places: Place of each part, in the order of the parts: sheet by sheet, row by row.
        has_legend: Draw the labels.
        margin: Pixels between cells.
        include_lone_images: Show the parts' pictures beside the sheets.
        include_sub_grids: Keep each sheet by itself, too, where there are several.
        pairs: What the sheets' recipes say besides the first picture's.
        has_sheet: False = the parts only belong together.
    """

    kind: Literal["plot"] = "plot"
    script: str = Field(min_length=1, max_length=80)
    painted: Literal["txt2img", "img2img"] = "txt2img"
    title: str = ""
    columns: tuple[tuple[Label, ...], ...] = ((),)
    rows: tuple[tuple[Label, ...], ...] = ((),)
    sheets: tuple[tuple[Label, ...], ...] = ((),)
    places: tuple[int, ...] = Field(min_length=1, max_length=MAX_CELLS)
    has_legend: bool = True
    margin: int = Field(default=0, ge=0, le=500)
    include_lone_images: bool = False
    include_sub_grids: bool = False
    pairs: tuple[tuple[str, str], ...] = ()
    has_sheet: bool = True

    @model_validator(mode="after")
    def _has_a_place_for_each(self) -> Plot:
        room = len(self.columns) * len(self.rows) * len(self.sheets)
        if len(set(self.places)) != len(self.places) or not set(self.places) <= set(range(room)):
            raise ValueError(
                f"{len(self.places)} pictures were to lie in {room} cells, and their places do "
                "not fit. Ask for the plot again."
            )
        return self

    @property
    def image_count(self) -> int:
        """Sheets: all together on one, and each by itself if wanted."""
        several = len(self.sheets) if self.include_sub_grids and len(self.sheets) > 1 else 0
        return 1 + several if self.has_sheet else 0
