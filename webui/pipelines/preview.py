"""A rough picture of unfinished latents, cheap enough to make at every step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from webui.checkpoints.load import LoadedModel
from webui.errors import CheckpointError
from webui.networks.preview_decoders import APPROX_NN, TAESD
from webui.pipelines.decode import encode_pixels

logger = logging.getLogger(__name__)
FIT_SIDE = 96  # pixels of the fitting picture: (96/8)² = 144 samples for 15 unknowns
LONGEST_SIDE = 512
LONGEST_LATENTS: Final = 128
"""Cells on the longer side that a network still decodes one by one: 1024 pixels."""
GOOD_FIT: Final = 0.5
"""Share of a colour picture's variance that a decoder must explain. Measured with the starter:
0.93 for its own decoder, less than 0 for networks of random numbers."""
FILE_NAMES: Final = {TAESD: "taesd_decoder", APPROX_NN: "model.pt"}


class PreviewMaker(Protocol):
    """Draws unfinished latents."""

    def draw(self, latents: Tensor) -> list[Image.Image]:
        """(B, C, h, w) latents to B pictures."""
        ...


class Decoders(Protocol):
    """The preview networks there are; equal ones are the same for all purposes."""

    def names(self, layout: str) -> Sequence[str]:
        """Those of a layout, TAESD or APPROX_NN."""
        ...

    def load(self, name: str, device: torch.device | str, dtype: torch.dtype) -> nn.Module:
        """VAE-scaled latents to pixels about [-1, 1].

        Raises:
            CheckpointError: It cannot be read.
        """
        ...


class CheapPreview:
    """Latents to RGB by one small matrix, fitted by least squares to the loaded VAE.

    The VAE encodes a picture of smooth colours once; the matrix that best explains the
    colours by the latents serves from then on. Any VAE gets its own colours this way.

    Args:
        model: Its VAE is fitted; one encoding of 96×96 pixels.
    """

    def __init__(self, model: LoadedModel) -> None:
        pixels, encoded = _colours(model)
        latents = encoded[0].flatten(1).T  # (n, 4)
        colours = torch.nn.functional.avg_pool2d(pixels, 8)[0].flatten(1).T  # (n, 3)
        ones = torch.ones(len(latents), 1)
        self._matrix = torch.linalg.lstsq(
            torch.cat([latents, ones], dim=1).double(), colours.double()
        ).solution.float()  # (5, 3)

    def draw(self, latents: Tensor) -> list[Image.Image]:
        """(B, 4, h, w) latents to B pictures of 8h×8w pixels, at most 512 on the longer side."""
        small = latents.detach().float().cpu()
        rgb = torch.einsum("bchw,cd->bhwd", small, self._matrix[:4]) + self._matrix[4]
        return [_enlarge(image) for image in _images(rgb)]


class NetworkPreview:
    """Latents to RGB by a small network made for the VAE's latents (TAESD, Approx NN).

    Args:
        network: Latents (B, C, h, w) to pixels about [-1, 1].
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._weight = next(network.parameters())

    def pixels(self, latents: Tensor) -> Tensor:
        """(B, 3, H, W) float32 on the CPU, about [-1, 1]; H and W multiples of the latents'."""
        small = latents.detach().to(self._weight.device, self._weight.dtype)
        with torch.inference_mode():
            return self._network(small).float().cpu()

    def draw(self, latents: Tensor) -> list[Image.Image]:
        """(B, C, h, w) latents to B pictures of 8h×8w pixels, of larger latents smaller ones."""
        height, width = latents.shape[-2:]
        factor = min(1.0, LONGEST_LATENTS / max(height, width))
        if factor < 1:
            size = (round(height * factor), round(width * factor))
            latents = nn.functional.interpolate(latents.float(), size=size, mode="area")
        size = (8 * latents.shape[-1], 8 * latents.shape[-2])
        images = _images(self.pixels(latents).permute(0, 2, 3, 1))
        return [image.resize(size, Image.Resampling.BILINEAR) for image in images]


def fitting_network(model: LoadedModel, layout: str, decoders: Decoders) -> NetworkPreview | None:
    """The preview network of a layout that suits a model's VAE best; None when none does.

    Which VAE a network was made for does not show in its weights, and people give the files any
    name: each candidate decodes a known picture that the VAE encoded.

    Args:
        layout: TAESD or APPROX_NN.
        decoders: Candidates of all layouts.
    """
    found = decoders.names(layout)
    if not found:
        return None
    pixels, latents = _colours(model)
    dtype = torch.float32 if torch.device(model.device).type == "cpu" else model.dtype
    best: tuple[float, NetworkPreview | None] = (GOOD_FIT, None)
    for name in found:
        try:
            maker = NetworkPreview(decoders.load(name, model.device, dtype))
            fit = _explained(maker, latents, pixels)
        except (CheckpointError, RuntimeError) as err:  # the latter: latents of other channels
            logger.warning("%s cannot show previews: %s", name, err)
            continue
        logger.info("Preview decoder %s explains %.3f of the colours.", name, fit)
        best = max(best, (fit, maker), key=lambda pair: pair[0])
    return best[1]


def preview_maker(
    model: LoadedModel, method: str, decoders: Decoders, tell: Callable[[str], None]
) -> PreviewMaker:
    """What draws previews of a model in the way that is wished; the cheap way where it cannot.

    Kept with the model until there are other networks to choose from.

    Args:
        method: TAESD or APPROX_NN; anything else is the cheap way.
        decoders: Networks for it, of any layout.
        tell: Told why it is the cheap way instead.
    """
    if method in FILE_NAMES:
        found = _network_or_reason(model, method, decoders)
        if isinstance(found, NetworkPreview):
            return found
        tell(found)
    if "cheap_preview" not in model.extras:
        model.extras["cheap_preview"] = CheapPreview(model)
    return model.extras["cheap_preview"]


def forget_previews(model: LoadedModel) -> None:
    """The model has got another VAE: what drew its previews was made for the old one."""
    for name in ("cheap_preview", "previews"):
        model.extras.pop(name, None)


def _network_or_reason(model: LoadedModel, method: str, decoders: Decoders) -> NetworkPreview | str:
    """The fitting network, or why there is none; looked for once for each set of networks."""
    known: dict[object, NetworkPreview | str] = model.extras.setdefault("previews", {})
    key = (method, decoders)
    if key not in known:
        network = fitting_network(model, method, decoders)
        known[key] = network or absent(method, has_some=bool(decoders.names(method)))
    return known[key]


def absent(layout: str, *, has_some: bool) -> str:
    """Why previews of a layout are drawn the cheap way instead, for people."""
    there = "none of those there fits this checkpoint's VAE" if has_some else "there is none"
    return (
        f"Live previews by {layout} were asked for, but {there}; they are drawn the cheap way. "
        f"Put {FILE_NAMES[layout]} into models/VAE-approx and press Refresh, or choose another "
        "live preview method."
    )


def _explained(maker: NetworkPreview, latents: Tensor, pixels: Tensor) -> float:
    """Share of a picture's variance that a decoder explains, 1 = all; -inf for broken values."""
    drawn = maker.pixels(latents)
    wanted = nn.functional.interpolate(pixels, size=drawn.shape[-2:], mode="area")
    missing = (drawn - wanted).square().mean() / wanted.var()
    return float((1 - missing).nan_to_num(nan=-torch.inf))


def _colours(model: LoadedModel) -> tuple[Tensor, Tensor]:
    """The colour picture (1, 3, 96, 96), and its VAE-scaled latents (1, C, 12, 12); on the CPU."""
    pixels = _colour_picture()
    return pixels, encode_pixels(model, pixels).cpu()


def _images(rgb: Tensor) -> list[Image.Image]:
    """(B, H, W, 3) about [-1, 1] to pictures."""
    values = ((rgb + 1) * 127.5).nan_to_num(0.0).clamp(0, 255).to(torch.uint8).numpy()
    return [Image.fromarray(array) for array in values]


def _enlarge(image: Image.Image) -> Image.Image:
    factor = min(8.0, LONGEST_SIDE / max(image.size))
    size = (round(image.width * factor), round(image.height * factor))
    return image.resize(size, Image.Resampling.BILINEAR)


def _colour_picture() -> Tensor:
    """(1, 3, 96, 96) in [-1, 1]: smooth random colours, the same every time."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 6, 6, generator=generator) * 2.4 - 1.2
    smooth = torch.nn.functional.interpolate(coarse, size=FIT_SIDE, mode="bicubic")
    return smooth.clamp(-1, 1)


def side_by_side(images: list[Image.Image]) -> Image.Image:
    """A batch as one picture, in a near-square grid."""
    if len(images) == 1:
        return images[0]
    columns = round(len(images) ** 0.5 + 0.49)
    rows = -(-len(images) // columns)
    width, height = images[0].size
    sheet = Image.new("RGB", (columns * width, rows * height))
    for index, image in enumerate(images):
        sheet.paste(image, (index % columns * width, index // columns * height))
    return sheet
