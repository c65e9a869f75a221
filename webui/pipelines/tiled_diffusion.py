"""Pictures larger than a model was trained for: every network call is made in overlapping tiles.

The tiles' predictions are blended into one for the whole picture before the sampler sees them,
so samplers, guidance and masks work unchanged. Blending what the network predicts is the same as
blending clean estimates, which are linear in it at one noise level.

Source:
    Bar-Tal et al. 2023, "MultiDiffusion", arXiv 2302.08113 (even weights; here with soft edges);
    Jiménez 2023, "Mixture of Diffusers", arXiv 2302.02412 (Gaussian weights).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.networks.tiles import Mosaic, Tile, gaussian, ring_spans, soft_edged, spans
from webui.networks.tiling import wrapping_suspended
from webui.params import TiledDiffusion
from webui.pipelines.encoding import Encoding
from webui.pipelines.network_call import NetworkCall

PIXELS_PER_CELL = 8
_WEIGHTS = {"MultiDiffusion": soft_edged, "Mixture of Diffusers": gaussian}


class TiledCall:
    """A network call made in tiles; a picture no larger than one tile is called as it is.

    Args:
        wish: Sizes of tiles and how they are blended.
        call: What evaluates a group of tiles.
        is_seamless: The picture's edges meet: tiles then go around them, in both directions.
    """

    def __init__(
        self, wish: TiledDiffusion, call: NetworkCall, *, is_seamless: bool = False
    ) -> None:
        self._wish = wish
        self._call = call
        self._is_seamless = is_seamless

    def __call__(
        self,
        model: LoadedModel,
        inputs: Tensor,
        timesteps: Tensor,
        context: Encoding,
        stop_if_asked: Callable[[], None],
    ) -> Tensor:
        """See ``NetworkCall``."""
        mosaic = self._mosaic(*inputs.shape[-2:])
        if mosaic is None:
            return self._call(model, inputs, timesteps, context, stop_if_asked)

        def painted() -> Iterator[tuple[Tile, Tensor]]:
            for group in _groups(mosaic.tiles, self._wish.batch_size):
                stop_if_asked()
                outputs = self._call(
                    model,
                    torch.cat([mosaic.cut(inputs, tile) for tile in group]),
                    timesteps.repeat(len(group)),
                    context.repeated(len(group)),
                    stop_if_asked,
                )  # (tiles·N, 4, h, w)
                yield from zip(group, outputs.chunk(len(group)), strict=True)

        with wrapping_suspended(model.unet):  # a tile's own edges do not meet
            return mosaic.blend(painted())

    def _mosaic(self, height: int, width: int) -> Mosaic | None:
        """Tiles for latents of that size, or None when one tile holds them."""
        wish = self._wish
        tile_height, tile_width, overlap = (
            side // PIXELS_PER_CELL for side in (wish.tile_height, wish.tile_width, wish.overlap)
        )
        if height <= tile_height and width <= tile_width:
            return None
        cut = ring_spans if self._is_seamless else spans
        rows, columns = cut(height, tile_height, overlap), cut(width, tile_width, overlap)
        return Mosaic(height, width, rows, columns, _WEIGHTS[wish.method])


def _groups(tiles: list[Tile], size: int) -> Iterator[list[Tile]]:
    """All tiles of a mosaic have one shape, so any of them can share a call."""
    for start in range(0, len(tiles), size):
        yield tiles[start : start + size]
