"""Enlarging by a network: in overlapping tiles, in bounded memory, to any size.

The picture is worked on in rows of tiles. Only one row of results is kept in float32; what is
finished goes into the 8- or 16-bit picture at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from webui.errors import CheckpointError, DeviceMemoryError, ParamsError
from webui.networks.tiles import Span, feathered, shares, spans
from webui.progress import Interrupted
from webui.restoration.networks import (
    CONVOLUTIONAL,
    Shelf,
    load_network,
    mixed_tensors,
    read_tensors,
)
from webui.restoration.pixels import Pixels, from_image, highest, resized, to_image

logger = logging.getLogger(__name__)
DEFAULT_TILE: Final = 192
DEFAULT_OVERLAP: Final = 32
SMALLEST_TILE: Final = 64
SMALLEST_SIDE: Final = 32
"""Networks fold and shift windows of up to this size; smaller pictures are padded to it."""
MAX_PASSES: Final = 3
MAX_RESULT_PIXELS: Final = 1 << 30
"""A picture of 32,768 × 32,768: more than any file format here holds safely."""


@dataclass(frozen=True)
class Tiling:
    """How large pictures are cut.

    Attributes:
        tile: Side of a tile in pixels of the small picture; 0 = never cut.
        overlap: Pixels that neighbours share.
    """

    tile: int = DEFAULT_TILE
    overlap: int = DEFAULT_OVERLAP


class NetworkUpscaler:
    """One network that enlarges; follows ``pipelines.upscaling.Upscaler``.

    Args:
        name: As people choose it.
        network: spandrel's descriptor of a picture-to-picture network, float32, on its device.
        tiling: How large pictures are cut.
        has_half: Run in half precision if the network is known to stand it: in float16 on a GPU;
            on a CPU 8-bit pictures in bfloat16, which is off by less than half an 8-bit value
            on average and takes a third of the time where the CPU has instructions for it.
    """

    def __init__(
        self, name: str, network: Any, *, tiling: Tiling | None = None, has_half: bool = False
    ) -> None:
        self._name = name
        self._network = network
        self._tiling = tiling or Tiling()
        self._dtype = torch.float32
        self._is_quick_in_8_bit = False
        if has_half and network.device.type == "cpu":
            self._is_quick_in_8_bit = (
                network.supports_bfloat16 and network.architecture.id in CONVOLUTIONAL
            )
        elif has_half and network.supports_half:
            self._dtype = torch.float16
            network.half()

    @property
    def name(self) -> str:
        """See ``Upscaler``."""
        return self._name

    @property
    def scale(self) -> int:
        """The network's own factor; 1 for one that only cleans."""
        return int(self._network.scale)

    def enlarge(
        self,
        image: Image.Image,
        width: int,
        height: int,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_tile: Callable[[int, int], None] = lambda done, total: None,
    ) -> Image.Image:
        """See ``Upscaler``; an alpha channel is kept."""
        pixels = from_image(image)
        return to_image(
            self.enlarge_pixels(pixels, width, height, should_stop=should_stop, on_tile=on_tile)
        )

    def enlarge_pixels(
        self,
        pixels: Pixels,
        width: int,
        height: int,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_tile: Callable[[int, int], None] = lambda done, total: None,
    ) -> Pixels:
        """Enlarge to exactly width × height, at the depth of the input.

        The network is applied until the picture is large enough (three times at most), then
        Lanczos goes to the exact size; a picture that is to become smaller is only resized.

        Args:
            pixels: Left unchanged.
            should_stop: Asked before each tile. on_tile: Told (done, total) after each.
        Raises:
            Interrupted: ``should_stop`` said so.
            ParamsError: The result would be too large.
            DeviceMemoryError: Not even a small tile fits.
        """
        check_size(width, height)
        tiles = _Counter(on_tile)
        sides = list(self._passes(pixels.shape[1], pixels.shape[0], width, height))
        has_alpha = pixels.shape[2] == 4 and bool((pixels[..., 3] != highest(pixels)).any())
        for wide, high in sides:
            tiles.total += self._tile_count(wide, high) * (1 + has_alpha)
        for _ in sides:
            colour = self._whole(pixels[..., :3], tiles, should_stop)
            if pixels.shape[2] == 4:
                pixels = np.dstack([colour, self._alpha(pixels, has_alpha, tiles, should_stop)])
            else:
                pixels = colour
        return resized(pixels, width, height)

    def _passes(
        self, width: int, height: int, wanted_width: int, wanted_height: int
    ) -> Iterator[tuple[int, int]]:
        """Sizes of the picture before each pass of the network."""
        if wanted_width < width and wanted_height < height:
            return
        for number in range(MAX_PASSES):
            if number and (self.scale == 1 or (width >= wanted_width and height >= wanted_height)):
                return
            check_size(width * self.scale, height * self.scale)
            yield width, height
            width, height = width * self.scale, height * self.scale

    def _alpha(
        self, pixels: Pixels, varies: bool, tiles: _Counter, should_stop: Callable[[], bool]
    ) -> Pixels:
        """(H·scale, W·scale, 1): enlarged like a grey picture, or simply opaque."""
        if varies:
            grey = np.repeat(pixels[..., 3:], 3, axis=2)
            return self._whole(grey, tiles, should_stop)[..., :1]
        size = (pixels.shape[0] * self.scale, pixels.shape[1] * self.scale, 1)
        return np.full(size, highest(pixels), pixels.dtype)

    def _whole(self, pixels: Pixels, tiles: _Counter, should_stop: Callable[[], bool]) -> Pixels:
        """One pass over the whole picture; smaller tiles when memory runs out."""
        tile = self._tiling.tile
        while True:
            try:
                return self._in_rows(pixels, tile, tiles, should_stop)
            except torch.OutOfMemoryError as err:
                tile = (tile or max(pixels.shape[:2])) // 2
                if tile < SMALLEST_TILE:
                    raise DeviceMemoryError(
                        f"{self._name} needs more memory than {self._network.device} has left, "
                        f"even for tiles of {SMALLEST_TILE} pixels.",
                        "Close other programs on the GPU, unload the checkpoint, or use the CPU.",
                    ) from err
            torch.cuda.empty_cache()
            logger.warning("%s: out of memory, going on with tiles of %s.", self._name, tile)

    def _in_rows(
        self, pixels: Pixels, tile: int, tiles: _Counter, should_stop: Callable[[], bool]
    ) -> Pixels:
        height, width = pixels.shape[:2]
        factor, white = self.scale, highest(pixels)
        rows, columns = self._cut(height, tile), self._cut(width, tile)
        down = self._shares(rows, height, tile)
        across = self._shares(columns, width, tile)
        result = np.empty((height * factor, width * factor, 3), pixels.dtype)
        band = torch.zeros(3, rows[0].length * factor, width * factor)
        for number, row in enumerate(rows):
            for column in columns:
                if should_stop():
                    raise Interrupted
                part = self._run(pixels[row.start : row.stop, column.start : column.stop])
                share = down[row][:, None] * across[column][None, :]
                band[:, :, column.start * factor : column.stop * factor] += part * share
                tiles.step()
            end = rows[number + 1].start if number + 1 < len(rows) else height
            done = (end - row.start) * factor
            finished = band[:, :done].mul(white).round_().clamp_(0, white)
            result[row.start * factor : end * factor] = finished.permute(1, 2, 0).numpy()
            rest = band[:, done:].clone()
            band.zero_()
            band[:, : rest.shape[1]] = rest
        return result

    def _cut(self, length: int, tile: int) -> list[Span]:
        return spans(length, tile, self._overlap(tile)) if tile else [Span(0, length)]

    def _overlap(self, tile: int) -> int:
        return min(self._tiling.overlap, tile // 2)

    def _shares(self, parts: list[Span], length: int, tile: int) -> dict[Span, Tensor]:
        """What each part counts along the enlarged side, by the part of the small one."""
        factor = self.scale
        large = [Span(part.start * factor, part.stop * factor) for part in parts]
        weights = feathered(self._overlap(tile) * factor)
        found = shares(large, length * factor, weights)
        return dict(zip(parts, (share for _, share in found), strict=True))

    def _tile_count(self, width: int, height: int) -> int:
        tile = self._tiling.tile
        return len(self._cut(width, tile)) * len(self._cut(height, tile))

    def _run(self, tile: Pixels) -> Tensor:
        """(h, w, 3) pixels to (3, h·scale, w·scale) float32 in [0, 1] on the CPU."""
        height, width = tile.shape[:2]
        missing = [max(0, SMALLEST_SIDE - side) for side in (height, width)]
        if any(missing):
            tile = np.pad(tile, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
        values = torch.from_numpy(np.ascontiguousarray(tile).astype(np.float32) / highest(tile))
        is_quick = self._is_quick_in_8_bit and tile.dtype == np.uint8
        dtype = torch.bfloat16 if is_quick else self._dtype
        values = values.permute(2, 0, 1)[None].to(self._network.device, dtype)  # (1,3,h,w)
        if self._network.architecture.id in CONVOLUTIONAL:
            values = values.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=is_quick):  # weights stay float32
            answer = self._apply(values)[0].float().cpu()
        if not bool(torch.isfinite(answer).all()):
            raise CheckpointError(
                f"{self._name} calculated values that are no numbers.",
                "Start with --no-half; if that does not help, the file may be damaged.",
            )
        return answer[:, : height * self.scale, : width * self.scale]

    def _apply(self, values: Tensor) -> Tensor:
        """The network on RGB; one that works on grey gets the channels one by one."""
        if self._network.input_channels == 1:
            return torch.cat([self._network(values[:, i : i + 1]) for i in range(3)], 1)
        return self._network(values)


class _Counter:
    """Tiles done, over all passes."""

    def __init__(self, on_tile: Callable[[int, int], None]) -> None:
        self._on_tile = on_tile
        self.total = 0
        self._done = 0

    def step(self) -> None:
        self._done += 1
        self._on_tile(self._done, max(self.total, self._done))


def check_size(width: int, height: int) -> None:
    """Refuse results that could not be kept or written.

    Raises:
        ParamsError: Too many pixels, or none.
    """
    if width < 1 or height < 1 or width * height > MAX_RESULT_PIXELS:
        raise ParamsError(
            f"An enlarged picture of at most {MAX_RESULT_PIXELS / 1e6:,.0f} megapixels was "
            f"wanted; this would become {width}x{height}.",
            "Choose a smaller factor or size.",
            field="upscaling_resize",
        )


def load_upscaler(
    name: str,
    path: Path,
    shelf: Shelf,
    *,
    tiling: Tiling | None = None,
    second: Path | None = None,
    share: float = 1.0,
) -> NetworkUpscaler:
    """An upscaler from its weights.

    Args:
        shelf: Keeps the loaded network for the next time.
        second: Other weights of the same network to mix in (denoising strength of
            R-ESRGAN General), counting 1 − ``share``.
    Raises:
        CheckpointError: The file cannot be used, or holds no upscaler.
    """

    def make() -> Any:
        mixes = second is not None and share < 1
        tensors = mixed_tensors(path, second, share) if mixes and second else read_tensors(path)
        network = load_network(path, tensors, shelf.device)
        if network.purpose not in ("SR", "Restoration"):
            raise CheckpointError(
                f"An upscaler was wanted; {path.name} holds {network.architecture.name} "
                f"({network.purpose}).",
                "Choose another file; face restorers belong into models/GFPGAN.",
                path=str(path),
            )
        return network

    changed = path.stat().st_mtime_ns if path.exists() else 0
    network = shelf.get(("upscaler", str(path), changed, str(second), share), make)
    return NetworkUpscaler(name, network, tiling=tiling, has_half=shelf.has_half)
