"""Holding on to the part of a picture that is not repainted, while the network works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Blend(Protocol):
    """Says at every step what of the original stays."""

    def shown(self, latents: Tensor, sigma: Tensor) -> Tensor:
        """Noisy latents (B, 4, h, w) as the network shall see them; input unchanged."""
        ...

    def estimated(self, denoised: Tensor, sigma: Tensor) -> Tensor:
        """The clean estimate (B, 4, h, w) as the sampler shall see it; input unchanged."""
        ...

    def finished(self, latents: Tensor) -> Tensor:
        """The clean latents at the end of the walk; input unchanged."""
        ...


@dataclass(frozen=True)
class HardBlend:
    """Cells are repainted or kept, according to the mask.

    Attributes:
        original: (B, 4, h, w) clean latents the walk began with.
        mask: (B, 1, h, w), 1 = repaint.
        noise: (B, 4, h, w) unit noise the walk began with, for samplers that blend before the
            network (the ones that walk training steps); None = blend its estimate.
    """

    original: Tensor
    mask: Tensor
    noise: Tensor | None = None

    def shown(self, latents: Tensor, sigma: Tensor) -> Tensor:
        """See ``Blend``."""
        if self.noise is None:
            return latents
        noisy = self.original + self.noise * sigma.view(-1, 1, 1, 1)
        return torch.lerp(noisy, latents, self.mask)

    def estimated(self, denoised: Tensor, sigma: Tensor) -> Tensor:
        """See ``Blend``."""
        if self.noise is not None:
            return denoised
        return torch.lerp(self.original, denoised, self.mask)

    def finished(self, latents: Tensor) -> Tensor:
        """See ``Blend``."""
        return torch.lerp(self.original, latents, self.mask)
