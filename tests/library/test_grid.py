from __future__ import annotations

import pytest
from PIL import Image

from webui.library.grid import draw_grid, grid_rows, make_grid, plan_grid

COLOURS = ["red", "lime", "blue", "yellow", "cyan", "magenta", "white", "black"]


def squares(count: int, size: tuple[int, int] = (10, 8)) -> list[Image.Image]:
    return [Image.new("RGB", size, COLOURS[index % 8]) for index in range(count)]


@pytest.mark.parametrize(
    ("count", "rows", "batch_size", "prevent", "expected"),
    [
        (4, -1, 1, False, 2),
        (5, -1, 1, False, 2),
        (6, -1, 1, False, 2),
        (7, -1, 1, False, 3),
        (2, -1, 1, False, 1),
        (1, -1, 1, False, 1),
        (6, 0, 3, False, 3),
        (6, 4, 1, False, 4),
        (2, 9, 1, False, 2),
        (12, -1, 1, True, 3),
        (7, -1, 1, True, 1),
        (9, -1, 1, True, 3),
    ],
)
def test_rows_follow_the_option(
    count: int, rows: int, batch_size: int, prevent: bool, expected: int
) -> None:
    assert grid_rows(count, rows, batch_size, prevent_empty_spots=prevent) == expected


def test_cells_are_row_major_without_gaps() -> None:
    sheet = make_grid(squares(5))
    assert (sheet.mode, sheet.size) == ("RGBA", (30, 16))
    centres = [sheet.getpixel((5 + 10 * c, 4 + 8 * r)) for r in range(2) for c in range(3)]
    expected = [image.convert("RGBA").getpixel((0, 0)) for image in squares(5)]
    assert centres == [*expected, (255, 255, 255, 255)]


def test_the_largest_picture_gives_the_cell_and_the_background_shows() -> None:
    images = [Image.new("RGB", (10, 4), "red"), Image.new("L", (4, 10), 0)]
    sheet = make_grid(images, rows=1, background="#0000ff80")
    assert sheet.size == (20, 10)
    assert sheet.getpixel((9, 3)) == (255, 0, 0, 255)
    assert sheet.getpixel((9, 4)) == (0, 0, 255, 128)
    assert sheet.getpixel((13, 9)) == (0, 0, 0, 255)


def test_a_sheet_beyond_the_limit_is_drawn_smaller() -> None:
    sheet = make_grid(squares(4, (100, 50)), max_pixels=5000)
    assert sheet.width * sheet.height <= 5000
    assert sheet.size == (100, 50)
    assert sheet.getpixel((75, 12)) == (0, 255, 0, 255)


def test_a_missing_picture_leaves_its_cell_empty() -> None:
    red, lime = squares(2)
    sheet = draw_grid(plan_grid([(10, 8)] * 3, rows=1), [red, None, lime], "#000000")
    assert [sheet.getpixel((x, 4)) for x in (5, 15, 25)] == [
        (255, 0, 0, 255), (0, 0, 0, 255), (0, 255, 0, 255),
    ]  # fmt: skip


def test_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        make_grid([])
