"""Runs jobs of kind plot: lays finished pictures out on sheets. Needs no device and no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from webui.errors import JobError, LibraryError
from webui.model_process.label_fonts import font_file, is_chinese
from webui.model_process.sheets import Drawn, Hole, Layout, draw_sheets
from webui.params import Plot
from webui.pictures import encode, load_upright
from webui.wire import Sender


@dataclass(frozen=True)
class PlotRun:
    """One plot.

    Attributes:
        message: The ``run`` message; its ``plot`` holds ``cells``, one for each place, with
            ``paths`` of pictures, their ``sizes`` and the ``reason`` why there are none, further
            the ``infotexts`` of the sheets and the ``facts`` of the first picture.
    """

    params: Plot
    message: dict[str, Any]
    sender: Sender

    def run(self) -> dict[str, Any]:
        """Draw and send the sheets.

        Returns:
            ``cells`` and ``holes``: how many there are of each.
        Raises:
            JobError: No cell has a picture.
        """
        cells: list[dict[str, Any]] = self.message["plot"]["cells"]
        holes = [cell for cell in cells if not cell["paths"]]
        if len(holes) == len(cells):
            raise _nothing_to_show(holes)
        if holes:
            self._warn(_told(holes, len(cells)))
        if self.params.has_sheet:
            self._send_sheets(cells)
        return {"cells": len(cells), "holes": len(holes)}

    def _send_sheets(self, cells: Sequence[dict[str, Any]]) -> None:
        params = self.params
        lines = (*params.columns, *params.rows, *params.sheets)
        texts = [line.text for block in lines for line in block]
        texts += [cell["reason"] for cell in cells]
        font = font_file(texts, self.message["plot"].get("font", ""))
        if is_chinese(texts) and not font:
            self._warn(
                "This computer has no font with Chinese characters, so labels cannot show them. "
                "Install one (Noto Sans CJK), or name its file in the option «font»."
            )
        layout = Layout(
            params.columns, params.rows, params.sheets, params.has_legend, params.margin, font
        )
        sizes = [cell_size(cell["sizes"]) for cell in cells if cell["paths"]]
        largest = max(w for w, _ in sizes), max(h for _, h in sizes)
        drawn = draw_sheets(layout, largest, lambda place: _open(cells[place]))
        for index in range(params.image_count):
            self._send_sheet(index, drawn)

    def _send_sheet(self, index: int, drawn: Drawn) -> None:
        image = drawn.image if index == 0 else drawn.image.crop(drawn.sheets[index - 1])
        output, infotext = self.params.output, self.message["plot"]["infotexts"][index]
        data = encode(
            image,
            format=output.format,
            infotext=infotext if output.embed_infotext else None,
            quality=output.quality,
            lossless=output.lossless,
        )
        self._send(
            {
                "type": "image", "index": index, "batch": index, "image": data,
                "format": output.format, "infotext": infotext, "width": image.width,
                "height": image.height, "facts": self.message["plot"]["facts"],
            }
        )  # fmt: skip

    def _warn(self, text: str) -> None:
        self._send({"type": "warning", "message": text})

    def _send(self, message: dict[str, Any]) -> None:
        self.sender.send({**message, "job": self.message["job"]})


def _open(cell: dict[str, Any]) -> Image.Image | Hole:
    """What lies in a cell: its picture, several of them in one, or a hole."""
    if not cell["paths"]:
        return Hole(cell["reason"])
    try:
        images = [load_upright(path) for path in cell["paths"]]
    except (LibraryError, OSError) as err:
        return Hole(str(err))
    return images[0] if len(images) == 1 else _together(images, cell_size(cell["sizes"]))


def _together(images: Sequence[Image.Image], size: tuple[int, int]) -> Image.Image:
    """A batch as one picture, as square as can be, in cells as large as its largest picture."""
    across = _across(len(images))
    down = -(-len(images) // across)
    width, height = size[0] // across, size[1] // down
    sheet = Image.new("RGBA", size, "#ffffff00")
    for number, image in enumerate(images):
        row, column = divmod(number, across)
        sheet.paste(image, (column * width, row * height))
    return sheet


def _across(count: int) -> int:
    return next(n for n in range(1, count + 1) if n * n >= count)


def cell_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Width and height of a cell that holds pictures of these sizes, as ``_together`` lays them."""
    across = _across(len(sizes))
    down = -(-len(sizes) // across)
    return across * max(w for w, _ in sizes), down * max(h for _, h in sizes)


def _told(holes: Sequence[dict[str, Any]], count: int) -> str:
    reason = next((hole["reason"] for hole in holes if hole["reason"]), "")
    told = f"{len(holes)} of {count} cells have no picture."
    return f"{told} The first reason: {reason}" if reason else told


def _nothing_to_show(holes: Sequence[dict[str, Any]]) -> JobError:
    reason = next((hole["reason"] for hole in holes if hole["reason"]), "")
    return JobError(
        f"None of the {len(holes)} cells has a picture. {reason}".strip(),
        "Look at the settings that all cells have in common, and ask again.",
    )
