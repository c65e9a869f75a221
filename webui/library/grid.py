"""Many pictures on one sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image

MAX_GRID_PIXELS = 170_000_000
"""Above it the cells are drawn smaller: Pillow refuses to open pictures beyond 179 million."""


def grid_rows(
    count: int, rows: int = -1, batch_size: int = 1, *, prevent_empty_spots: bool = False
) -> int:
    """How many rows a grid of ``count`` pictures has.

    Args:
        rows: > 0 fixed; 0 = one row for each picture of a batch; -1 = as square as can be.
        prevent_empty_spots: For -1: the largest divisor of ``count`` up to its root.
    Source:
        formats.md 5.4.
    """
    if rows == 0:
        rows = batch_size
    elif rows < 0 and prevent_empty_spots:
        rows = next(n for n in range(math.isqrt(count), 0, -1) if count % n == 0)
    elif rows < 0:
        rows = round(math.sqrt(count))
    return max(1, min(rows, count))


@dataclass(frozen=True)
class GridPlan:
    """Where each picture goes.

    Attributes:
        rows, columns: Of cells. cell_width, cell_height: pixels.
        scale: Factor on every picture, at most 1.
    """

    rows: int
    columns: int
    cell_width: int
    cell_height: int
    scale: float


def plan_grid(
    sizes: Sequence[tuple[int, int]],
    rows: int = -1,
    batch_size: int = 1,
    *,
    prevent_empty_spots: bool = False,
    max_pixels: int = MAX_GRID_PIXELS,
) -> GridPlan:
    """Lay out a sheet whose cells are as large as the largest picture.

    Args:
        sizes: Width and height of each picture in pixels; at least one.
        rows, batch_size, prevent_empty_spots: As for ``grid_rows``.
        max_pixels: In a larger sheet all pictures are shrunk alike.
    Raises:
        ValueError: No picture.
    """
    if not sizes:
        raise ValueError("a grid needs at least one picture")
    rows = grid_rows(len(sizes), rows, batch_size, prevent_empty_spots=prevent_empty_spots)
    columns = math.ceil(len(sizes) / rows)
    width, height = max(w for w, _ in sizes), max(h for _, h in sizes)
    scale = min(1.0, math.sqrt(max_pixels / (columns * width * rows * height)))
    return GridPlan(rows, columns, max(1, int(width * scale)), max(1, int(height * scale)), scale)


def draw_grid(
    plan: GridPlan, images: Iterable[Image.Image | None], background: str = "#ffffff"
) -> Image.Image:
    """Draw pictures row by row, with no gaps; only one of them is held at a time.

    Args:
        images: As many as were planned, of any mode; None leaves a cell empty.
        background: Colour of what no picture covers, as ``#rrggbb`` or ``#rrggbbaa``.
    Returns:
        RGBA, columns * cell width by rows * cell height pixels.
    Raises:
        ValueError: A colour Pillow does not know.
    """
    size = (plan.columns * plan.cell_width, plan.rows * plan.cell_height)
    sheet = Image.new("RGBA", size, background)
    for index, image in enumerate(images):
        if image is not None:
            row, column = divmod(index, plan.columns)
            at = (column * plan.cell_width, row * plan.cell_height)
            sheet.paste(_shrunk(image, plan.scale).convert("RGBA"), at)
    return sheet


def _shrunk(image: Image.Image, scale: float) -> Image.Image:
    if scale == 1:
        return image
    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def make_grid(
    images: Sequence[Image.Image],
    rows: int = -1,
    batch_size: int = 1,
    *,
    prevent_empty_spots: bool = False,
    background: str = "#ffffff",
    max_pixels: int = MAX_GRID_PIXELS,
) -> Image.Image:
    """Plan and draw a sheet of pictures in memory; see ``plan_grid`` and ``draw_grid``."""
    plan = plan_grid(
        [image.size for image in images],
        rows,
        batch_size,
        prevent_empty_spots=prevent_empty_spots,
        max_pixels=max_pixels,
    )
    return draw_grid(plan, images, background)
