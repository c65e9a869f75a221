"""Networks that draw: lines of photographs, and of anime pictures.

Each takes a picture (N, 3, H, W), RGB of 0–1, and gives a drawing (N, 1, H, W), dark lines (0) on
light ground (1). Their tensors have the names of the published files.

Source:
    Chan et al. 2022, arXiv 2203.12691 ("informative drawings"): layers and names of
    ``sk_model.pth`` and ``sk_model2.pth``. Isola et al. 2017, arXiv 1611.07004 (pix2pix's U-Net):
    layers and names of ``netG.pth``. What they are shown: lllyasviel's ControlNet 1.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor, nn

DRAWING_BLOCKS: Final = 3
FIRST: Final = 64
ANIME_WIDTHS: Final = (64, 128, 256, 512, 512, 512, 512, 512)
"""After each halving, from the outermost on."""


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv_block(features)


class DrawingNetwork(nn.Module):
    """``sk_model.pth``, and ``sk_model2.pth`` for coarser lines; sides are multiples of 4."""

    def __init__(self) -> None:
        super().__init__()
        inner = FIRST * 4
        self.model0 = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, FIRST, 7), nn.InstanceNorm2d(FIRST), nn.ReLU()
        )
        self.model1 = nn.Sequential(*_smaller(FIRST), *_smaller(FIRST * 2))
        self.model2 = nn.Sequential(*(_Residual(inner) for _ in range(DRAWING_BLOCKS)))
        self.model3 = nn.Sequential(*_larger(inner), *_larger(inner // 2))
        self.model4 = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(FIRST, 1, 7), nn.Sigmoid())

    def forward(self, picture: Tensor) -> Tensor:
        features = self.model2(self.model1(self.model0(picture)))
        return self.model4(self.model3(features))


def _smaller(width: int) -> Iterator[nn.Module]:
    yield nn.Conv2d(width, width * 2, 3, stride=2, padding=1)
    yield nn.InstanceNorm2d(width * 2)
    yield nn.ReLU()


def _larger(width: int) -> Iterator[nn.Module]:
    yield nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
    yield nn.InstanceNorm2d(width // 2)
    yield nn.ReLU()


class _Level(nn.Module):
    """One halving and all that lies within it; the outermost gives the drawing, each other one
    what it was given, too."""

    def __init__(self, level: int) -> None:
        super().__init__()
        width = ANIME_WIDTHS[level]
        self._is_outermost = level == 0
        is_innermost = level == len(ANIME_WIDTHS) - 1
        before = 3 if self._is_outermost else ANIME_WIDTHS[level - 1]
        down = nn.Conv2d(before, width, 4, stride=2, padding=1)
        up = nn.ConvTranspose2d(
            width if is_innermost else width * 2, 1 if self._is_outermost else before,
            4, stride=2, padding=1,
        )  # fmt: skip
        within = () if is_innermost else (_Level(level + 1),)
        if self._is_outermost:
            layers = [down, *within, nn.ReLU(), up, nn.Tanh()]
        else:
            norm = () if is_innermost else (nn.InstanceNorm2d(width),)
            layers = [nn.LeakyReLU(0.2), down, *norm, *within, nn.ReLU(), up,
                      nn.InstanceNorm2d(before)]  # fmt: skip
        self.model = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        found = self.model(features)
        return found if self._is_outermost else torch.cat([features, found], dim=1)


class AnimeNetwork(nn.Module):
    """``netG.pth``; sides are multiples of 256."""

    def __init__(self) -> None:
        super().__init__()
        self.model = _Level(0)

    def forward(self, picture: Tensor) -> Tensor:
        return self.model(picture * 2 - 1) / 2 + 0.5
