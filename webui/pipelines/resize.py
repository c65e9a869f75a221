"""Bringing an input picture to the size that is painted: A1111's resize modes.

Source:
    Sizes, rounding and where bands go: AUTOMATIC1111 1.10.1.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from webui.params import ResizeMode
from webui.pipelines.upscaling import Upscaler

LANCZOS = Image.Resampling.LANCZOS
LATENT_MODE: ResizeMode = "Just resize (latent upscale)"
CELL = 8
"""Pixels of a latent cell."""
Box = tuple[float, float, float, float]


def resize(
    image: Image.Image,
    mode: ResizeMode,
    width: int,
    height: int,
    upscaler: Upscaler | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Image.Image:
    """Bring a picture to exactly width × height pixels.

    Args:
        image: RGB, RGBA or L; left unchanged.
        mode: ``Just resize`` stretches (so does the latent mode, whose own stretching happens
            elsewhere), ``Crop and resize`` covers and cuts off, ``Resize and fill`` fits inside
            and continues the outermost rows or columns.
        upscaler: Enlarges RGB pictures; None, and whatever becomes smaller: Lanczos.
        should_stop: Handed to the upscaler.
    Raises:
        Interrupted: From the upscaler.
    """
    if image.size == (width, height):
        return image
    if mode == "Crop and resize":
        return _cover(image, width, height, upscaler, should_stop)
    if mode == "Resize and fill":
        return _fill(image, width, height, upscaler, should_stop)
    return _scale(image, width, height, upscaler, should_stop)


def _scale(
    image: Image.Image,
    width: int,
    height: int,
    upscaler: Upscaler | None,
    should_stop: Callable[[], bool],
) -> Image.Image:
    grows = max(width / image.width, height / image.height) > 1
    if upscaler is None or not grows or image.mode != "RGB":
        return image.resize((width, height), LANCZOS)
    return upscaler.enlarge(image, width, height, should_stop=should_stop)


def covering_size(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """(width, height) of a picture of this size once it covers the wanted rectangle."""
    if width / height > size[0] / size[1]:
        return width, size[1] * width // size[0]
    return size[0] * height // size[1], height


def fitting_size(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """(width, height) of a picture of this size once it fits inside; at least 1 pixel."""
    if width / height < size[0] / size[1]:
        return width, max(size[1] * width // size[0], 1)
    return max(size[0] * height // size[1], 1), height


def _cover(
    image: Image.Image,
    width: int,
    height: int,
    upscaler: Upscaler | None,
    should_stop: Callable[[], bool],
) -> Image.Image:
    """Only what stays visible is computed: a very long picture would grow beyond all memory."""
    large = covering_size(image.size, width, height)
    left, top = large[0] // 2 - width // 2, large[1] // 2 - height // 2
    across, down = image.width / large[0], image.height / large[1]  # input pixels per new one
    box = (left * across, top * down, (left + width) * across, (top + height) * down)
    if upscaler is None or image.mode != "RGB" or across >= 1:
        return image.resize((width, height), LANCZOS, box=_within(box, image))
    seen = (
        int(box[0]),
        int(box[1]),
        min(int(box[2]) + 1, image.width),
        min(int(box[3]) + 1, image.height),
    )
    part = image.crop(seen)
    wanted = max(round(part.width / across), 1), max(round(part.height / down), 1)
    enlarged = _scale(part, *wanted, upscaler, should_stop)
    x, y = round((box[0] - seen[0]) / across), round((box[1] - seen[1]) / down)
    x, y = max(min(x, enlarged.width - width), 0), max(min(y, enlarged.height - height), 0)
    return enlarged.crop((x, y, x + width, y + height))


def _within(box: Box, image: Image.Image) -> Box:
    """The box without what rounding puts outside."""
    return max(box[0], 0), max(box[1], 0), min(box[2], image.width), min(box[3], image.height)


def _fill(
    image: Image.Image,
    width: int,
    height: int,
    upscaler: Upscaler | None,
    should_stop: Callable[[], bool],
) -> Image.Image:
    inner = _scale(image, *fitting_size(image.size, width, height), upscaler, should_stop)
    left, top = width // 2 - inner.width // 2, height // 2 - inner.height // 2
    canvas = Image.new(image.mode, (width, height))
    canvas.paste(inner, (left, top))
    right, bottom = left + inner.width, top + inner.height
    if left > 0:
        canvas.paste(_stretched(inner, (0, 0, 1, inner.height), (left, height)), (0, 0))
    if right < width:
        edge = (inner.width - 1, 0, inner.width, inner.height)
        canvas.paste(_stretched(inner, edge, (width - right, height)), (right, 0))
    if top > 0:
        canvas.paste(_stretched(inner, (0, 0, inner.width, 1), (width, top)), (0, 0))
    if bottom < height:
        edge = (0, inner.height - 1, inner.width, inner.height)
        canvas.paste(_stretched(inner, edge, (width, height - bottom)), (0, bottom))
    return canvas


def _stretched(
    image: Image.Image, row: tuple[int, int, int, int], size: tuple[int, int]
) -> Image.Image:
    """One outermost row or column, repeated until it fills a band."""
    return image.crop(row).resize(size, Image.Resampling.NEAREST)


def flatten(image: Image.Image, background: str) -> Image.Image:
    """An RGB picture with ``background`` (``#rrggbb``) behind what is transparent."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    sheet = Image.new("RGBA", image.size, background)
    sheet.alpha_composite(image)
    return sheet.convert("RGB")


def whole_cells(image: Image.Image) -> Image.Image:
    """The picture with sides that are multiples of 8, which the VAE wants; at least 8."""
    width, height = (max(side // CELL, 1) * CELL for side in image.size)
    return image if image.size == (width, height) else image.resize((width, height), LANCZOS)
