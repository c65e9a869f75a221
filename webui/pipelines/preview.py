"""A rough picture of unfinished latents, cheap enough to make at every step."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.pipelines.placement import on_device

FIT_SIDE = 96  # pixels of the fitting picture: (96/8)² = 144 samples for 15 unknowns
LONGEST_SIDE = 512


class CheapPreview:
    """Latents to RGB by one small matrix, fitted by least squares to the loaded VAE.

    The VAE encodes a picture of smooth colours once; the matrix that best explains the
    colours by the latents serves from then on. Any VAE gets its own colours this way.

    Args:
        model: Its VAE is fitted; one encoding of 96×96 pixels.
    """

    def __init__(self, model: LoadedModel) -> None:
        pixels = _colour_picture()
        vae = model.vae
        with torch.inference_mode(), on_device(vae, model.device):
            (posterior,) = vae.encode(pixels.to(model.device, vae.dtype), return_dict=False)
        latents = (posterior.mean.float() * model.scaling_factor)[0].flatten(1).T.cpu()  # (n, 4)
        colours = torch.nn.functional.avg_pool2d(pixels, 8)[0].flatten(1).T  # (n, 3)
        ones = torch.ones(len(latents), 1)
        self._matrix = torch.linalg.lstsq(
            torch.cat([latents, ones], dim=1).double(), colours.double()
        ).solution.float()  # (5, 3)

    def draw(self, latents: Tensor) -> list[Image.Image]:
        """(B, 4, h, w) latents to B pictures of 8h×8w pixels, at most 512 on the longer side."""
        small = latents.detach().float().cpu()
        rgb = torch.einsum("bchw,cd->bhwd", small, self._matrix[:4]) + self._matrix[4]
        values = ((rgb + 1) * 127.5).nan_to_num(0.0).clamp(0, 255).to(torch.uint8).numpy()
        return [_enlarge(Image.fromarray(array)) for array in values]


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
