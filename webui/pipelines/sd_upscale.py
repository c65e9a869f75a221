"""Enlarge a picture, then repaint it tile by tile (A1111's "SD upscale").

Source:
    A1111's ``scripts/sd_upscale.py`` and ``split_grid``, ``combine_grid`` in ``modules/images.py``:
    where tiles lie, how overlaps are blended, how seeds rise.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image
from torch import Tensor

from webui.errors import ParamsError
from webui.networks.tiles import Tile, grid, spans
from webui.params import ImageToImage
from webui.pipelines.conditioning import Interrupted
from webui.pipelines.image_to_image import ImageToImageRun
from webui.pipelines.painting import PIXELS_PER_CELL, PaintingRun
from webui.pipelines.resize import flatten
from webui.pipelines.supplied import WithPictures
from webui.pipelines.supplies import Listener, Picture, Supplies

NO_UPSCALER = "None"
NOT_SEAMLESS = (
    "Tiling (edges that meet) does not go together with SD upscale, whose tiles are painted one "
    "after another; it was left off."
)


class SdUpscaleRun(PaintingRun[ImageToImage]):
    """One img2img request with ``sd_upscale``: each of ``batch_count`` pictures is the enlarged
    input, repainted in tiles of width × height, ``batch_size`` of them at once.

    In memory at a time are, beside what a group of tiles needs, the enlarged picture and the
    result.
    """

    def __init__(self, params: ImageToImage, supplies: Supplies, listener: Listener) -> None:
        assert params.sd_upscale is not None
        self._wish = params.sd_upscale
        if self._wish.overlap >= min(params.width, params.height):
            raise ParamsError(
                f"Tiles of {params.width}x{params.height} cannot overlap by {self._wish.overlap}.",
                "Choose a smaller overlap or larger tiles (width and height).",
                field="sd_upscale.overlap",
            )
        self._tiles_at_once = params.batch_size
        if params.tiling:
            listener.warn(NOT_SEAMLESS)
        super().__init__(
            params.model_copy(update={"batch_size": 1, "tiling": False}), supplies, listener
        )
        self._large: Image.Image | None = None

    def images(self, batch: int, indices: list[int]) -> list[Image.Image]:
        """See ``PaintingRun``; one picture. Stopped, it shows the tiles finished so far, pasted
        over the enlarged input."""
        try:
            large = self._enlarged(batch)
        except Interrupted:
            return []
        return [self._repainted(batch, self.seeds[index], large) for index in indices]

    def _enlarged(self, batch: int) -> Image.Image:
        """The input at its final size; made once."""
        if self._large is None:
            self.say(batch, 0, 0, "upscaling")
            image = flatten(self.supplies.input(self.params.init_images[0]), self.params.background)
            if self._wish.upscaler != NO_UPSCALER:
                upscaler = self.supplies.upscaler(self._wish.upscaler)
                width, height = (
                    max(int(side * self._wish.scale // 8 * 8), PIXELS_PER_CELL)
                    for side in image.size
                )
                image = upscaler.enlarge(
                    image, width, height, should_stop=self.listener.should_stop
                )
            self._large = image
        return self._large

    def _repainted(self, batch: int, seed: int, large: Image.Image) -> Image.Image:
        params, at_once = self.params, self._tiles_at_once
        canvas = Canvas(large, params.width, params.height, self._wish.overlap)
        groups = [canvas.tiles[i : i + at_once] for i in range(0, len(canvas.tiles), at_once)]
        for number, group in enumerate(groups):
            if self.listener.should_stop():
                break
            told = _TileListener(self.listener, batch, params.batch_count, number, len(groups))
            painted = self._paint_tiles([canvas.cut(tile) for tile in group], seed + number, told)
            if self.listener.should_stop():  # what came back may be half painted
                break
            for tile, image in zip(group, painted, strict=True):
                canvas.put(tile, image)
        return canvas.finished()

    def _paint_tiles(
        self, tiles: list[Image.Image], seed: int, listener: Listener
    ) -> list[Image.Image]:
        """img2img over tiles, all of width × height."""
        pictures: Mapping[str, Image.Image] = {f"{i:064x}": tile for i, tile in enumerate(tiles)}
        params = self.params.model_copy(
            update={
                "init_images": tuple(pictures),
                "batch_size": len(tiles),
                "batch_count": 1,
                "seed": seed % 2**64,
                "resize_mode": "Just resize",
                "upscaler": None,
                "sd_upscale": None,
            }
        )
        run = ImageToImageRun(params, WithPictures(self.supplies, pictures), listener)
        return [picture.image for picture in run.batch(0, list(range(len(tiles))))]


class Canvas:
    """A picture that is replaced tile by tile, in reading order.

    Args:
        image: RGB; tiles are cut from it and it is left as it is.
        width, height: Of a tile. A tile that would be larger than the picture is filled up with
            repeated edge pixels, which are cut off again.
        overlap: Pixels over which a tile fades in over its neighbours.
    """

    def __init__(self, image: Image.Image, width: int, height: int, overlap: int) -> None:
        self._image = image
        self._tile_size = (width, height)
        rows, columns = spans(image.height, height, overlap), spans(image.width, width, overlap)
        self.tiles: list[Tile] = grid(rows, columns)
        self._overlap = overlap
        self._result = image.copy()
        self._row: Image.Image | None = None
        self._row_end = 0
        self._row_top = 0

    def cut(self, tile: Tile) -> Image.Image:
        """What lies under a tile, width × height pixels."""
        part = self._image.crop(tile.box)
        missing = [(0, want - have) for want, have in zip(self._tile_size, part.size, strict=True)]
        if not any(after for _, after in missing):
            return part
        across, down = missing
        return Image.fromarray(np.pad(np.asarray(part), (down, across, (0, 0)), mode="edge"))

    def put(self, tile: Tile, image: Image.Image) -> None:
        """Put a repainted tile in its place; tiles come in the order of ``tiles``."""
        left, top, right, bottom = tile.box
        image = image.crop((0, 0, right - left, bottom - top))
        if self._row is None or top != self._row_top:
            self._end_row()
            self._row = self._image.crop((0, top, self._image.width, bottom))
            self._row_top = top
        _fade_in(self._row, image, left, is_first=left == 0, overlap=self._overlap, axis=0)
        self._row_end = right

    def finished(self) -> Image.Image:
        """The picture with all tiles that were put."""
        self._end_row()
        return self._result

    def _end_row(self) -> None:
        if self._row is None:
            return
        row = self._row.crop((0, 0, self._row_end, self._row.height))
        is_first = self._row_top == 0
        _fade_in(self._result, row, self._row_top, is_first=is_first, overlap=self._overlap, axis=1)
        self._row = None


def _fade_in(
    target: Image.Image,
    image: Image.Image,
    place: int,
    *,
    is_first: bool,
    overlap: int,
    axis: int,
) -> None:
    """Paste along an axis (0 = x, 1 = y); the first ``overlap`` pixels fade in."""
    corner = (place, 0) if axis == 0 else (0, place)
    if is_first or overlap == 0:
        target.paste(image, corner)
        return
    ramp = np.full(image.size[axis], 255, dtype=np.uint8)
    ramp[:overlap] = np.arange(overlap) * 255 // overlap
    shares = np.broadcast_to(ramp if axis == 0 else ramp[:, None], (image.height, image.width))
    target.paste(image, corner, Image.fromarray(np.ascontiguousarray(shares)))


class _TileListener:
    """Tells how far all tiles are, while one group is painted; see ``supplies.Listener``."""

    def __init__(
        self, listener: Listener, batch: int, batches: int, number: int, groups: int
    ) -> None:
        self._listener = listener
        self._batch = batch
        self._batches = batches
        self._number = number
        self._groups = groups

    def progress(self, batch: int, batches: int, step: int, steps: int, stage: str) -> None:
        done, total = self._number * steps + step, self._groups * steps
        self._listener.progress(self._batch, self._batches, done, total, stage)

    def preview(self, latents: Tensor) -> None:
        self._listener.preview(latents)

    def finished(self, picture: Picture) -> None:
        raise AssertionError("a tile is no finished picture")

    def warn(self, message: str) -> None:
        self._listener.warn(message)

    def should_stop(self) -> bool:
        return self._listener.should_stop()

    def takes_next_batch(self) -> bool:
        return self._listener.takes_next_batch()
