"""From latents to pictures, and back for passes that begin with a picture."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.errors import BrokenValuesError
from webui.pipelines.conditioning import Interrupted
from webui.pipelines.memory_ladder import (
    OTHERS_ASIDE,
    VAE_IN_TILES,
    Rung,
    available_bytes,
    climb,
)
from webui.pipelines.placement import clear_for, on_device
from webui.pipelines.tiled_vae import decode_in_tiles, encode_in_tiles

logger = logging.getLogger(__name__)
NAN_HINT = (
    "Choose another checkpoint or VAE: this one may be damaged. Very high CFG scales and very high "
    "weights in the prompt, those of LoRAs above all, can cause it too."
)
HALF_NAN_HINT = (
    "Paint it in float32 (--no-half makes that the rule), or choose another checkpoint or VAE: "
    "this one may be damaged. Very high CFG scales and very high weights in the prompt, those of "
    "LoRAs above all, can cause it too."
)
NAN_WARNING = (
    "The VAE produced broken values in half precision and was run again in float32. "
    "Start with --no-half-vae to make this the rule."
)


ROUGH_WARNING = (
    "Decoding was stopped; the picture is a rough one, decoded small and enlarged. "
    "Its seed paints it again."
)
ROUGH_SIDE: Final = 64
"""Latent cells on the longer side of a rough decoding; takes about as long as one step."""
MAPS_AT_ONCE: Final = 3.1
"""A residual block holds its input, that normalised, and that activated; and a little more.
Measured: 3.05 maps for the decoder."""
SHARE_OF_FREE: Final = 0.9


def _never() -> bool:
    return False


def _ignore_tile(done: int, total: int) -> None:
    return None


@dataclass(frozen=True)
class VaeWork:
    """How encoding and decoding go about it.

    Attributes:
        warn: Told what had to be done differently.
        is_tiled: Work in tiles from the start, not only when memory is short.
        should_stop: Asked after each tile.
        on_tile: Told (done, total) after each tile.
        may_clear_device: Other networks may be moved to main memory; not while one is at work.
    """

    warn: Callable[[str], None] = logger.warning
    is_tiled: bool = False
    should_stop: Callable[[], bool] = _never
    on_tile: Callable[[int, int], None] = _ignore_tile
    may_clear_device: bool = False

    def tile_done(self, done: int, total: int) -> None:
        """Pass the report on, and end the work if the person asked to stop."""
        self.on_tile(done, total)
        if done < total and self.should_stop():
            raise Interrupted(None)


@torch.inference_mode()
def decode(
    model: LoadedModel,
    latents: Tensor,
    warn: Callable[[str], None],
    work: VaeWork | None = None,
) -> list[Image.Image]:
    """Decode latents, one picture at a time so that memory stays that of one picture.

    When a decoding in tiles is stopped, that picture and the rest of the batch are decoded small
    and enlarged: what was painted is to be seen, at once.

    Args:
        model: Its VAE is used; broken values in half precision are retried in float32, and the
            VAE then stays in float32.
        latents: (B, 4, H/8, W/8), VAE-scaled.
        warn: Told when that happened.
        work: How to go about it; None = whole, or in tiles when memory is short.
    Returns:
        B RGB pictures of H×W pixels.
    Raises:
        BrokenValuesError: The latents, or the pixels even in float32, are no numbers.
        NothingHelped: Memory is too short even for tiles.
    """
    if not bool(torch.isfinite(latents).all()):
        raise BrokenValuesError(
            "The network produced broken values (NaN) instead of a picture.",
            NAN_HINT if model.dtype == torch.float32 else HALF_NAN_HINT,
        )
    work = work or VaeWork(warn)
    images: list[Image.Image] = []
    with on_device(model.vae, model.device):
        try:
            for one in latents.split(1):
                images.append(to_image(_decode_one(model, one, work)[0]))
        except Interrupted:
            work.warn(ROUGH_WARNING)
            images += [_rough(model, one, work) for one in latents[len(images) :].split(1)]
    return images


def _decode_one(model: LoadedModel, latents: Tensor, work: VaeWork) -> Tensor:
    scaled = latents / model.scaling_factor

    def decoded() -> Tensor:
        return _decoded(model, scaled.to(model.vae.dtype), work)

    return _finite(model, decoded, work).float()  # (1, 3, H, W), -1 … 1


def _finite(model: LoadedModel, run: Callable[[], Tensor], work: VaeWork) -> Tensor:
    """What the VAE makes of something, in float32 from now on when half precision breaks it.

    Args:
        run: Uses the VAE in the number format it has by then.
    Raises:
        BrokenValuesError: It is broken in float32, too.
    """
    vae: Any = model.vae  # diffusers' annotations are narrower than its code
    result = run()
    if vae.dtype != torch.float32 and not bool(torch.isfinite(result).all()):
        work.warn(NAN_WARNING)
        vae.to(dtype=torch.float32)
        result = run()
    if not bool(torch.isfinite(result).all()):
        raise BrokenValuesError("The VAE produced broken values (NaN), in float32 too.", NAN_HINT)
    return result


def _rough(model: LoadedModel, latents: Tensor, work: VaeWork) -> Image.Image:
    height, width = latents.shape[-2:]
    factor = min(1.0, ROUGH_SIDE / max(height, width))
    size = [max(1, round(side * factor)) for side in (height, width)]
    small = torch.nn.functional.interpolate(latents, size, mode="bilinear", antialias=True)
    image = to_image(_decode_one(model, small, VaeWork(work.warn))[0])
    return image.resize((width * 8, height * 8), Image.Resampling.LANCZOS)


def _decoded(model: LoadedModel, scaled: Tensor, work: VaeWork) -> Tensor:
    vae: Any = model.vae  # diffusers' annotations are narrower than its code

    def in_tiles(storage: torch.device | None) -> Tensor:
        return decode_in_tiles(vae, scaled, work.tile_done, storage=storage)

    cells = scaled.shape[-1] * scaled.shape[-2]
    return _climbed(
        model,
        "decoding",
        cells,
        vae.config["block_out_channels"][:2][-1] * cells * 64,
        lambda: vae.decode(scaled, return_dict=False)[0],
        in_tiles,
        work,
    )


def _climbed(
    model: LoadedModel,
    name: str,
    cells: int,
    numbers: int,
    whole: Callable[[], Tensor],
    in_tiles: Callable[[torch.device | None], Tensor],
    work: VaeWork,
) -> Tensor:
    """Do it whole, unless tiles are asked for or memory is short from the start.

    Args:
        numbers: Count of numbers in the widest map.
    """

    def alone() -> Tensor:
        clear_for(model, model.vae)
        return in_tiles(torch.device("cpu"))

    device = torch.device(model.device)
    needed = numbers * model.vae.dtype.itemsize * MAPS_AT_ONCE
    rungs = [Rung(VAE_IN_TILES, lambda: in_tiles(None))]
    if not work.is_tiled and needed <= available_bytes(device) * SHARE_OF_FREE:
        rungs.insert(0, Rung("", whole))
    if work.may_clear_device and device.type != "cpu":
        rungs.append(Rung(OTHERS_ASIDE, alone))
    return climb(model, name, cells, rungs, work.warn)


def to_image(pixels: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] to an 8-bit picture; fractions are cut off, not rounded, as A1111's."""
    values = ((pixels + 1) * 127.5).nan_to_num(0.0).clamp_(0, 255)
    array = values.permute(1, 2, 0).to(torch.uint8).cpu().numpy()  # (H, W, 3)
    return Image.fromarray(np.ascontiguousarray(array))


def encode(model: LoadedModel, images: list[Image.Image], work: VaeWork | None = None) -> Tensor:
    """Encode pictures to the middle of the VAE's distribution, one at a time; broken values in
    half precision are retried as in ``decode``.

    Args:
        images: RGB, all of one size, sides multiples of 8.
        work: How to go about it; None = whole, or in tiles when memory is short.
    Returns:
        (B, 4, H/8, W/8) float32, VAE-scaled.
    Raises:
        Interrupted: The person stopped between two tiles.
        BrokenValuesError: The latents are no numbers, even in float32.
        NothingHelped: Memory is too short even for tiles.
    """
    return torch.cat([encode_pixels(model, _pixels(image), work) for image in images])


def encode_pixels(model: LoadedModel, pixels: Tensor, work: VaeWork | None = None) -> Tensor:
    """As ``encode``, of one picture's pixels (1, 3, H, W) in [-1, 1]."""
    work = work or VaeWork()

    def encoded() -> Tensor:
        return _encoded(model, pixels.to(model.device, model.vae.dtype), work)

    with torch.inference_mode(), on_device(model.vae, model.device):
        return _finite(model, encoded, work).float() * model.scaling_factor


def _pixels(image: Image.Image) -> Tensor:
    """(1, 3, H, W) in [-1, 1]."""
    array = np.asarray(image.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(array / 127.5 - 1).permute(2, 0, 1)[None]


def _encoded(model: LoadedModel, pixels: Tensor, work: VaeWork) -> Tensor:
    vae: Any = model.vae

    def in_tiles(storage: torch.device | None) -> Tensor:
        return encode_in_tiles(vae, pixels, work.tile_done, storage=storage)

    count = pixels.shape[-1] * pixels.shape[-2]
    return _climbed(
        model,
        "encoding",
        count // 64,
        vae.config["block_out_channels"][0] * count,
        lambda: vae.encode(pixels, return_dict=False)[0].mean,
        in_tiles,
        work,
    )
