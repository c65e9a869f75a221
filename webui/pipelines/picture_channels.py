"""What inpainting and InstructPix2Pix checkpoints are shown beside the noise.

Inpainting checkpoints take five more channels: the mask and the encoded picture without what is
masked. InstructPix2Pix checkpoints take four: the encoded picture, unscaled.

Source:
    Rombach et al. 2022, arXiv 2112.10752, sec. 4.5; Brooks et al. 2023, arXiv 2211.09800,
    sec. 3.2; what is shown without a mask or a picture: AUTOMATIC1111 1.10.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from webui.checkpoints.load import LoadedModel

GREY = (128, 128, 128)
"""The middle of the pixels' range, which stands for "not shown" (0 of -1 … 1)."""

Encode = Callable[[list[Image.Image]], Tensor]
"""Pictures of one size to scaled latents, with the VAE in use."""


@dataclass
class ShownPicture:
    """One input picture as such checkpoints are shown it; each encoding is made once.

    Attributes:
        image: RGB; None = there is none (txt2img).
        mask: Grey, of the same size; None = all is repainted.
        latents: The picture's own latents (1, 4, h, w), scaled, if they are known.
        weight: How much of what is masked is hidden, 0–1.
        round_mask: Show it black and white.
    """

    image: Image.Image | None = None
    mask: Image.Image | None = None
    latents: Tensor | None = None
    weight: float = 1.0
    round_mask: bool = True
    _made: dict[tuple[str, int, int], Tensor] = field(default_factory=dict)

    def channels(self, model: LoadedModel, rows: int, columns: int, encode: Encode) -> Tensor:
        """(1, 5 or 4, rows, columns) for an inpainting or InstructPix2Pix checkpoint."""
        purpose = model.spec.purpose
        key = purpose, rows, columns
        if key not in self._made:
            make = self._for_edit if purpose == "edit" else self._for_inpaint
            self._made[key] = make(model, rows, columns, encode).to(model.device)
        return self._made[key]

    def _for_edit(self, model: LoadedModel, rows: int, columns: int, encode: Encode) -> Tensor:
        if self.image is None:
            return torch.zeros(1, 4, rows, columns)
        latents = encode([self.image]) if self.latents is None else self.latents
        return _sized(latents, rows, columns) / model.scaling_factor

    def _for_inpaint(self, model: LoadedModel, rows: int, columns: int, encode: Encode) -> Tensor:
        size = (columns * 8, rows * 8)
        image = Image.new("RGB", size, GREY) if self.image is None else self.image
        mask = Image.new("L", image.size, 255) if self.mask is None else self.mask
        if self.round_mask:
            mask = mask.point([255 if value > 127 else 0 for value in range(256)])
        hidden = Image.composite(Image.new("RGB", image.size, GREY), image, mask)
        latents = _sized(encode([Image.blend(image, hidden, self.weight)]), rows, columns)
        values = torch.from_numpy(np.asarray(mask, dtype=np.float32).copy()) / 255
        cells = interpolate(values[None, None], size=(rows, columns), mode="nearest")
        return torch.cat([cells.to(latents), latents], dim=1)


def _sized(latents: Tensor, rows: int, columns: int) -> Tensor:
    if latents.shape[-2:] == (rows, columns):
        return latents
    return interpolate(latents, size=(rows, columns), mode="bilinear")


class PictureChannels:
    """The extra channels of a batch.

    Args:
        pictures: One for each picture of the batch; empty = the same for all, no input.
        encode: Used at most once for each picture and kind of checkpoint.
    """

    def __init__(self, encode: Encode, pictures: Sequence[ShownPicture] = ()) -> None:
        self._encode = encode
        self._pictures = pictures
        self._none = ShownPicture()

    def of(self, model: LoadedModel, latents: Tensor) -> Tensor | None:
        """What to show the model beside ``latents`` (B, 4, h, w).

        Returns:
            (B, 5 or 4, h, w) like ``latents``; None for checkpoints that take no more.
        """
        if model.spec.purpose == "paint":
            return None
        count, _, rows, columns = latents.shape
        pictures = self._pictures or [self._none] * count
        parts = [p.channels(model, rows, columns, self._encode) for p in pictures]
        return torch.cat(parts).to(latents)
