"""A plot's sheet: cells in rows and columns, labels above and beside them, holes marked.

Everything is measured first, then drawn onto one canvas, so that a large sheet is held once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from webui.model_process.label_fonts import Font, load_font
from webui.params import Label

MAX_SHEET_PIXELS = 170_000_000
"""Above it the cells are drawn smaller: Pillow refuses to open pictures beyond 179 million."""
SMALLEST_FONT = 13
WORDS_ACROSS = 5
"""A font is at most so large that a label of this many of its heights fits in a cell."""
BACKGROUND, INK, FAINT, HATCH, HATCH_LINE = "#ffffff", "#101010", "#9a9a9a", "#ececec", "#c4c4c4"
MOST_LINES = 12
LEAST_BAND, MOST_BAND = 8, 40
"""Width of the band of row labels, in heights of its font: it grows until they fit their rows."""


@dataclass(frozen=True)
class Layout:
    """What a sheet looks like.

    Attributes:
        columns, rows, sheets: Labels of each; there is at least one of each.
        margin: Pixels between cells.
        font: Its file; empty = Pillow's own.
    """

    columns: Sequence[Sequence[Label]]
    rows: Sequence[Sequence[Label]]
    sheets: Sequence[Sequence[Label]]
    has_legend: bool = True
    margin: int = 0
    font: str = ""

    @property
    def count(self) -> int:
        """Cells on all sheets."""
        return len(self.columns) * len(self.rows) * len(self.sheets)


@dataclass(frozen=True)
class Hole:
    """A cell without a picture, and the reason if there is one to tell."""

    reason: str = ""


OpenCell = Callable[[int], Image.Image | Hole]
"""From a cell's place to what lies there; called once for each, in order."""


@dataclass(frozen=True)
class Drawn:
    """A sheet of sheets, and where each of them lies on it (left, top, right, bottom)."""

    image: Image.Image
    sheets: tuple[tuple[int, int, int, int], ...]


def draw_sheets(
    layout: Layout, cell: tuple[int, int], open_cell: OpenCell, max_pixels: int = MAX_SHEET_PIXELS
) -> Drawn:
    """Draw all sheets side by side.

    Args:
        cell: Width and height of the largest picture, in pixels. Where the sheet would have more
            than ``max_pixels``, all cells are drawn smaller.
        open_cell: Gives the pictures one at a time.
    Returns:
        RGB; each sheet with its labels but without its title.
    """
    plan = _Plan(layout, _shrunk(layout, cell, max_pixels))
    canvas = Image.new("RGB", plan.size, BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    boxes = tuple(plan.sheet_box(number) for number in range(len(layout.sheets)))
    for number, box in enumerate(boxes):
        if layout.has_legend:
            _write_labels(pen, plan, number, box)
    for place in range(layout.count):
        found = open_cell(place)
        at = plan.cell_at(place)
        if isinstance(found, Hole):
            _mark_hole(canvas, at, plan, found.reason)
        else:
            _paste(canvas, found, at, plan)
    return Drawn(canvas, boxes)


def _shrunk(layout: Layout, cell: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """The cell's size on a sheet that is not too large."""
    width, height = cell
    while True:
        across, down = _Plan(layout, (width, height)).size
        excess = across * down / max_pixels
        if excess <= 1 or min(width, height) <= 8:
            return width, height
        factor = min(0.98, 1 / math.sqrt(excess))
        width, height = max(8, int(width * factor)), max(8, int(height * factor))


class _Plan:
    """Where everything lies, in pixels.

    Args:
        layout: What to draw. cell: Width and height of every cell.
    """

    def __init__(self, layout: Layout, cell: tuple[int, int]) -> None:
        self.layout, self.cell = layout, cell
        across, down = len(layout.columns), len(layout.rows)
        self.font_size = _font_size(cell, across * cell[0] * len(layout.sheets))
        self.font = load_font(layout.font, self.font_size)
        gap = layout.margin
        grid = across * cell[0] + (across - 1) * gap, down * cell[1] + (down - 1) * gap
        self.columns = [self.wrapped(lines, cell[0]) for lines in layout.columns]
        self.rows = self._wrapped_rows()
        self.titles = [self.wrapped(lines, grid[0]) for lines in layout.sheets]
        pad = self.font_size if layout.has_legend else 0
        self.left = self._breadth(self.rows) + pad if self._breadth(self.rows) else 0
        self.above = self._depth(self.columns) + pad if self._depth(self.columns) else 0
        self.title = self._depth(self.titles) + pad if self._depth(self.titles) else 0
        self.sheet = self.left + grid[0], self.above + grid[1]
        count = len(layout.sheets)
        self.size = count * self.sheet[0] + (count - 1) * gap, self.title + self.sheet[1]

    @property
    def line_height(self) -> int:
        return round(self.font_size * 1.25)

    def _breadth(self, blocks: list[list[Label]]) -> int:
        has_legend = self.layout.has_legend
        lines = (line.text for block in blocks for line in block) if has_legend else ()
        return max((self._length(text) for text in lines), default=0)

    def _depth(self, blocks: list[list[Label]]) -> int:
        if not self.layout.has_legend:
            return 0
        return max(map(len, blocks)) * self.line_height

    def _length(self, text: str) -> int:
        return math.ceil(self.font.getlength(text))

    def _wrapped_rows(self) -> list[list[Label]]:
        room = max(1, self.cell[1] // self.line_height)
        width = max(self.cell[0] * 3 // 4, self.font_size * LEAST_BAND)
        while True:
            rows = [self.wrapped(lines, width, min(room, MOST_LINES)) for lines in self.layout.rows]
            is_whole = not any(block and block[-1].text.endswith("…") for block in rows)
            if is_whole or width > self.font_size * MOST_BAND:
                return rows
            width = width * 3 // 2

    def wrapped(self, lines: Sequence[Label], width: int, most: int = MOST_LINES) -> list[Label]:
        """Labels in lines no wider than this, as far as single characters allow."""
        found = [
            Label(text=part, is_active=line.is_active)
            for line in lines
            for part in wrap(line.text, self.font, width)
        ]
        if len(found) <= most:
            return found
        last = found[most - 1]
        return [*found[: most - 1], last.model_copy(update={"text": last.text[:-1] + "…"})]

    def sheet_box(self, number: int) -> tuple[int, int, int, int]:
        """One sheet with its labels, below its title."""
        left = number * (self.sheet[0] + self.layout.margin)
        return left, self.title, left + self.sheet[0], self.title + self.sheet[1]

    def cell_at(self, place: int) -> tuple[int, int]:
        """Upper left corner of a cell on the canvas."""
        across, down = len(self.layout.columns), len(self.layout.rows)
        sheet, rest = divmod(place, across * down)
        row, column = divmod(rest, across)
        left, top, _, _ = self.sheet_box(sheet)
        gap = self.layout.margin
        return (
            left + self.left + column * (self.cell[0] + gap),
            top + self.above + row * (self.cell[1] + gap),
        )


def _font_size(cell: tuple[int, int], across: int) -> int:
    """Large enough to be read beside its cell and on a sheet that is shown whole.

    Source:
        A1111 writes labels a twenty-fifth of width + height high; on wide sheets they grow here.
    """
    wanted = max(sum(cell) / 25, across / 90)
    return max(SMALLEST_FONT, round(min(wanted, cell[0] / WORDS_ACROSS)))


def wrap(text: str, font: Font, width: int) -> list[str]:
    """A text in lines no wider than ``width`` pixels, broken between words, else anywhere."""
    lines: list[str] = []
    for word in _pieces(text):
        if lines and font.getlength(lines[-1] + word) <= width:
            lines[-1] += word
            continue
        word = word.lstrip()
        while word and font.getlength(word) > width and len(word) > 1:
            fitting = _fitting(word, font, width)
            lines.append(word[:fitting])
            word = word[fitting:]
        if word:
            lines.append(word)
    return lines


def _pieces(text: str) -> list[str]:
    """Words with the space before them; every character of scripts without spaces by itself."""
    pieces: list[str] = []
    for character in text.replace("\n", " "):
        is_alone = character.isspace() or ord(character) > 0x2E80
        if pieces and not is_alone and not (len(pieces[-1]) == 1 and ord(pieces[-1]) > 0x2E80):
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


def _fitting(word: str, font: Font, width: int) -> int:
    """How many characters of a long word go into a line; at least one."""
    count = 1
    while count < len(word) and font.getlength(word[: count + 1]) <= width:
        count += 1
    return count


def _write_labels(
    pen: ImageDraw.ImageDraw, plan: _Plan, number: int, box: tuple[int, int, int, int]
) -> None:
    left, top, right, _ = box
    for column, lines in enumerate(plan.columns):
        x = plan.cell_at(_place(plan, number, column=column))[0] + plan.cell[0] // 2
        _write(pen, lines, (x, top + plan.above // 2), plan)
    for row, lines in enumerate(plan.rows):
        y = plan.cell_at(_place(plan, number, row=row))[1] + plan.cell[1] // 2
        _write(pen, lines, (left + plan.left // 2, y), plan)
    _write(pen, plan.titles[number], ((left + right) // 2, plan.title // 2), plan)


def _place(plan: _Plan, sheet: int, *, row: int = 0, column: int = 0) -> int:
    across, down = len(plan.layout.columns), len(plan.layout.rows)
    return (sheet * down + row) * across + column


def _write(
    pen: ImageDraw.ImageDraw, lines: Sequence[Label], middle: tuple[int, int], plan: _Plan
) -> None:
    """Lines around a point, centred; those that are not active are struck through."""
    x, y = middle[0], middle[1] - (len(lines) - 1) * plan.line_height / 2
    for line in lines:
        ink = INK if line.is_active else FAINT
        pen.text((x, y), line.text, fill=ink, font=plan.font, anchor="mm")
        if not line.is_active:
            half = plan.font.getlength(line.text) / 2
            pen.line((x - half, y, x + half, y), fill=ink, width=max(1, plan.font_size // 12))
        y += plan.line_height


def _paste(canvas: Image.Image, image: Image.Image, at: tuple[int, int], plan: _Plan) -> None:
    """A picture in the middle of its cell, no larger than it."""
    width, height = plan.cell
    factor = min(1.0, width / image.width, height / image.height)
    if factor < 1:
        size = max(1, int(image.width * factor)), max(1, int(image.height * factor))
        image = image.resize(size, Image.Resampling.LANCZOS)
    place = at[0] + (width - image.width) // 2, at[1] + (height - image.height) // 2
    if image.mode in ("RGBA", "LA", "PA"):
        canvas.paste(image, place, image.getchannel("A"))
    else:
        canvas.paste(image.convert("RGB"), place)


def _mark_hole(canvas: Image.Image, at: tuple[int, int], plan: _Plan, reason: str) -> None:
    """Hatching where there is no picture, with the reason as far as it fits."""
    width, height = plan.cell
    tile = Image.new("RGB", (width, height), HATCH)
    pen = ImageDraw.Draw(tile)
    step = max(8, plan.font_size)
    for start in range(-height, width, step):
        pen.line((start, height, start + height, 0), fill=HATCH_LINE, width=max(1, step // 10))
    arm = min(width, height) // 8
    x, y = width // 2, height // 2 if not reason else max(arm, height // 4)
    for lean in (-1, 1):
        ends = (x - arm, y - arm * lean, x + arm, y + arm * lean)
        pen.line(ends, fill="#b3261e", width=max(2, arm // 4))
    if reason:
        _write_reason(pen, reason, y + arm, plan)
    canvas.paste(tile, at)


def _write_reason(pen: ImageDraw.ImageDraw, reason: str, top: int, plan: _Plan) -> None:
    font_size = max(SMALLEST_FONT, plan.font_size * 2 // 3)
    font = load_font(plan.layout.font, font_size)
    width, height = plan.cell
    line_height = round(font_size * 1.25)
    room = max(0, (height - top) // line_height - 1)
    lines = wrap(reason, font, width - font_size)[:room]
    for number, text in enumerate(lines):
        y = top + line_height * (number + 1)
        pen.text((width / 2, y), text, fill=INK, font=font, anchor="mm")
