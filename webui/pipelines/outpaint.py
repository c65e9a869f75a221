"""Continue a picture beyond its edges: grow the canvas, fill it, repaint the new part, join."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image

from webui.errors import ParamsError
from webui.params import ImageToImage, Inpaint, MaskedContent, Outpaint
from webui.pipelines.image_to_image import ImageToImageRun
from webui.pipelines.outward import Pixels, continue_outwards, matched_noise
from webui.pipelines.painting import PIXELS_PER_CELL, PaintingRun
from webui.pipelines.resize import flatten
from webui.pipelines.supplied import WithPictures
from webui.pipelines.supplies import Listener, Supplies

MAX_SIDE = 8192
CANVAS_KEY, MASK_KEY = "canvas", "mask"


@dataclass(frozen=True)
class Canvas:
    """Where things lie on the canvas that is painted on.

    The canvas is made of whole latent cells, and the old picture begins at one, so that what is
    kept is kept cell by cell. What lies outside ``result`` is cut off in the end.

    Attributes:
        size: Width and height in pixels, multiples of 8.
        old: Left, upper, right and lower edge of the old picture.
        result: The same of the picture that is handed out.
    """

    size: tuple[int, int]
    old: tuple[int, int, int, int]
    result: tuple[int, int, int, int]


def canvas_for(size: tuple[int, int], outpaint: Outpaint) -> Canvas:
    """Lay a picture of this size and its growth out.

    Raises:
        ParamsError: The result would be larger than 8192 pixels on a side.
    """
    width = size[0] + outpaint.left + outpaint.right
    height = size[1] + outpaint.up + outpaint.down
    if max(width, height) > MAX_SIDE:
        raise ParamsError(
            f"The grown picture would have {width}x{height} pixels; a side may have {MAX_SIDE}.",
            "Grow it by less, or start with a smaller picture.",
            field="outpaint",
        )
    left, up = _whole_cells(outpaint.left), _whole_cells(outpaint.up)
    old = (left, up, left + size[0], up + size[1])
    begin = left - outpaint.left, up - outpaint.up
    result = (*begin, begin[0] + width, begin[1] + height)
    return Canvas((_whole_cells(result[2]), _whole_cells(result[3])), old, result)


def _whole_cells(pixels: int) -> int:
    return -(-pixels // PIXELS_PER_CELL) * PIXELS_PER_CELL


def newness(canvas: Canvas, outpaint: Outpaint) -> Pixels:
    """(H, W) 0 … 1: how much of each pixel is new.

    1 outside the old picture; inside it falls smoothly to 0 over ``blur`` pixels from each side
    that grows, and is exactly 0 from there on.
    """
    left, up, right, down = canvas.old
    x = np.arange(canvas.size[0], dtype=np.float32)[None, :]
    y = np.arange(canvas.size[1], dtype=np.float32)[:, None]
    inward = np.full((canvas.size[1], canvas.size[0]), np.inf, np.float32)
    for grows, distance in (
        (outpaint.left, x - left),
        (outpaint.right, right - 1 - x),
        (outpaint.up, y - up),
        (outpaint.down, down - 1 - y),
    ):
        if grows:
            inward = np.minimum(inward, distance)
    far = np.clip((inward + 0.5) / max(outpaint.blur, 1e-6), 0, 1)
    new = (1 - far * far * (3 - 2 * far)).astype(np.float32)
    is_old = (x >= left) & (x < right) & (y >= up) & (y < down)
    return np.where(is_old, new, np.float32(1))


def cell_mask(new: Pixels) -> Image.Image:
    """Mask of all latent cells in which anything is new, (H, W) pixels, white = repaint."""
    height, width = new.shape
    cells = new.reshape(
        height // PIXELS_PER_CELL, PIXELS_PER_CELL, width // PIXELS_PER_CELL, PIXELS_PER_CELL
    ).max(axis=(1, 3))
    white = np.where(cells > 0, 255, 0).astype(np.uint8)
    white = white.repeat(PIXELS_PER_CELL, axis=0).repeat(PIXELS_PER_CELL, axis=1)
    return Image.fromarray(white).convert("RGB")


def join(old: Image.Image, painted: Image.Image, canvas: Canvas, new: Pixels) -> Image.Image:
    """The painted canvas with the old picture back in its place, cut to the result.

    Where ``new`` is 0 the old pixels are there bit for bit.
    """
    left, up, right, down = canvas.old
    pixels = np.array(painted.convert("RGB"))
    before = np.asarray(old, np.float32)
    share = new[up:down, left:right, None]
    mixed = before + share * (pixels[up:down, left:right].astype(np.float32) - before)
    pixels[up:down, left:right] = np.rint(mixed).astype(np.uint8)
    return Image.fromarray(pixels).crop(canvas.result)


class OutpaintRun(PaintingRun[ImageToImage]):
    """One img2img request with ``outpaint``: inpainting of a grown canvas."""

    def __init__(self, params: ImageToImage, supplies: Supplies, listener: Listener) -> None:
        super().__init__(params, supplies, listener)
        self._grown: dict[str, GrownInput] = {}

    def images(self, batch: int, indices: list[int]) -> list[Image.Image]:
        """See ``PaintingRun``; pictures that begin with the same input are painted together."""
        images: list[Image.Image] = []
        for key, group in itertools.groupby(indices, self._input_key):
            images += self._input(key).paint(batch, list(group))
            if self.listener.should_stop():
                break
        return images

    def _input_key(self, index: int) -> str:
        inputs = self.params.init_images
        return inputs[index % len(inputs)]

    def _input(self, key: str) -> GrownInput:
        if key not in self._grown:
            old = flatten(self.supplies.input(key), self.params.background)
            self._grown[key] = GrownInput(old, self.params, self.supplies, self.listener)
        return self._grown[key]


class GrownInput:
    """One input picture on its canvas, and the inpainting that paints the rest of the canvas.

    Args:
        old: RGB.
        params: The request.
    Raises:
        ParamsError: As ``canvas_for``.
    """

    def __init__(
        self, old: Image.Image, params: ImageToImage, supplies: Supplies, listener: Listener
    ) -> None:
        assert params.outpaint is not None
        self._old = old
        self._canvas = canvas_for(old.size, params.outpaint)
        self._new = newness(self._canvas, params.outpaint)
        begin = first_content(old, self._canvas, self._new, params.outpaint)
        pictures = {CANVAS_KEY: begin, MASK_KEY: cell_mask(self._new)}
        changes = {
            "init_images": (CANVAS_KEY,),
            "width": self._canvas.size[0],
            "height": self._canvas.size[1],
            "resize_mode": "Just resize",
            "outpaint": None,
            "inpaint": Inpaint.model_construct(
                mask=MASK_KEY,
                blur_x=0,
                blur_y=0,
                content=masked_content(params.outpaint),
                keep_rest=False,
            ),
        }
        self._run = ImageToImageRun(
            params.model_copy(update=changes), WithPictures(supplies, pictures), listener
        )

    def paint(self, batch: int, indices: list[int]) -> list[Image.Image]:
        """Paint some pictures of a batch; fewer, or none, when the person stopped."""
        return [
            join(self._old, picture.image, self._canvas, self._new)
            for picture in self._run.batch(batch, indices)
        ]


def first_content(old: Image.Image, canvas: Canvas, new: Pixels, outpaint: Outpaint) -> Image.Image:
    """The canvas before anything is painted."""
    at = canvas.old[:2]
    if outpaint.content == "continue":
        return continue_outwards(old, canvas.size, at)
    if outpaint.content == "matched noise":
        return matched_noise(
            old,
            canvas.size,
            at,
            new,
            falloff=outpaint.noise_q,
            color_variation=outpaint.color_variation,
        )
    sheet = Image.new("RGB", canvas.size)  # black, as A1111 has it
    sheet.paste(old, at)
    return sheet


def masked_content(outpaint: Outpaint) -> MaskedContent:
    """What the masked part of the inpainting begins with."""
    if outpaint.content in ("continue", "matched noise"):
        return "original"
    return cast(MaskedContent, outpaint.content)
