"""Networks that find edges: HED as it was trained for ControlNets, and PiDiNet.

Each takes a picture (N, 3, H, W), RGB of 0–1, and gives how much every place is an edge
(N, 1, H, W), 0–1. Their tensors have the names of the published files.

Source:
    Xie and Tu 2015, arXiv 1504.06375 (HED); layers, names and numbers of ``ControlNetHED.pth``:
    lllyasviel's ControlNet 1.1. Su et al. 2021, arXiv 2108.07009 (pixel differences, fig. 2–5);
    layers and names of ``table5_pidinet.pth``, and that it is shown BGR: ControlNet 1.1.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, max_pool2d, relu

HED_BLOCKS: Final = ((3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3))
"""Channels in and out, and convolutions."""
PIDINET_WIDTHS: Final = (60, 120, 240, 240)
DILATED: Final = 24
DILATIONS: Final = (5, 7, 9, 11)
ATTENTION: Final = 4
AROUND: Final = (3, 0, 1, 6, 4, 2, 7, 8, 5)
"""The places of a 3 × 3 kernel, each moved on by one along the ring."""
RING: Final = (0, 1, 2, 3, 5, 6, 7, 8)
"""All of a 3 × 3 kernel but its middle."""
OUTER: Final = (0, 2, 4, 10, 14, 20, 22, 24)
INNER: Final = (6, 7, 8, 11, 13, 16, 17, 18)
"""Where a radial difference reads in a 5 × 5 kernel: what is added, and what is taken away."""


def _fitted(maps: Tensor, like: Tensor) -> Tensor:
    size = (like.shape[2], like.shape[3])
    return interpolate(maps, size, mode="bilinear", align_corners=False)


class _HedBlock(nn.Module):
    def __init__(self, before: int, after: int, count: int) -> None:
        super().__init__()
        widths = [before, *[after] * count]
        self.convs = nn.Sequential(
            *(nn.Conv2d(widths[i], after, 3, padding=1) for i in range(count))
        )
        self.projection = nn.Conv2d(after, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        for conv in self.convs:
            features = relu(conv(features))
        return features


class HedNetwork(nn.Module):
    """``ControlNetHED.pth``."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.zeros(1, 3, 1, 1))
        for number, shape in enumerate(HED_BLOCKS, 1):
            self.add_module(f"block{number}", _HedBlock(*shape))

    def forward(self, picture: Tensor) -> Tensor:
        features, found = picture * 255 - self.norm, []
        for number in range(len(HED_BLOCKS)):
            block = self.get_submodule(f"block{number + 1}")
            features = block(max_pool2d(features, 2) if number else features)
            found.append(_fitted(block.get_submodule("projection")(features), picture))
        return torch.sigmoid(torch.stack(found).mean(dim=0))


class _Difference(nn.Module):
    """A convolution over differences of pixels.

    Args:
        kind: Of each pixel to its middle (``central``), to the next one around it
            (``angular``), to the one behind it (``radial``), or of none (``plain``).
    """

    def __init__(self, kind: str, before: int, after: int, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(after, before // groups, 3, 3))
        self._kind, self._groups = kind, groups

    def forward(self, features: Tensor) -> Tensor:
        kernel = self.kernel()
        return conv2d(features, kernel, padding=kernel.shape[-1] // 2, groups=self._groups)

    def kernel(self) -> Tensor:
        """An ordinary kernel that calculates the same."""
        weight = self.weight
        flat = weight.flatten(2)
        if self._kind == "angular":
            return (flat - flat[..., list(AROUND)]).view_as(weight)
        if self._kind == "radial":
            wide = weight.new_zeros(*flat.shape[:2], 25)
            wide[..., list(OUTER)] = flat[..., 1:]
            wide[..., list(INNER)] = -flat[..., 1:]
            return wide.view(*flat.shape[:2], 5, 5)
        if self._kind == "central":
            middle = torch.zeros_like(flat)
            middle[..., 4] = flat.sum(dim=-1)
            return (flat - middle).view_as(weight)
        return weight


class _PidiBlock(nn.Module):
    def __init__(self, kind: str, before: int, after: int, *, halves: bool) -> None:
        super().__init__()
        self._halves = halves
        if halves:
            self.shortcut = nn.Conv2d(before, after, 1)
        self.conv1 = _Difference(kind, before, before, groups=before)
        self.conv2 = nn.Conv2d(before, after, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        if self._halves:
            features = max_pool2d(features, 2)
        more = self.conv2(relu(self.conv1(features)))
        return more + (self.shortcut(features) if self._halves else features)


class _Dilated(nn.Module):
    def __init__(self, before: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, DILATED, 1)
        for number, reach in enumerate(DILATIONS, 1):
            conv = nn.Conv2d(DILATED, DILATED, 3, padding=reach, dilation=reach, bias=False)
            self.add_module(f"conv2_{number}", conv)

    def forward(self, features: Tensor) -> Tensor:
        features = self.conv1(relu(features))
        parts = [self.get_submodule(f"conv2_{n + 1}")(features) for n in range(len(DILATIONS))]
        return torch.stack(parts).sum(dim=0)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(DILATED, ATTENTION, 1)
        self.conv2 = nn.Conv2d(ATTENTION, 1, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return features * torch.sigmoid(self.conv2(self.conv1(relu(features))))


class _Reduce(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(DILATED, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(features)


_KINDS: Final = ("central", "angular", "radial", "plain")


class PidiNetwork(nn.Module):
    """``table5_pidinet.pth``: kinds in turns, 60 channels at first."""

    def __init__(self) -> None:
        super().__init__()
        first = PIDINET_WIDTHS[0]
        self.init_block = _Difference(_KINDS[0], 3, first)
        self._blocks: list[list[str]] = []
        before = first
        for level, width in enumerate(PIDINET_WIDTHS):
            names = []
            for number in range(1 if level == 0 else 0, 4):
                name = f"block{level + 1}_{number if level == 0 else number + 1}"
                halves = level > 0 and number == 0
                self.add_module(name, _PidiBlock(_KINDS[number], before, width, halves=halves))
                names.append(name)
                before = width
            self._blocks.append(names)
        self.dilations = nn.ModuleList(_Dilated(width) for width in PIDINET_WIDTHS)
        self.attentions = nn.ModuleList(_Attention() for _ in PIDINET_WIDTHS)
        self.conv_reduces = nn.ModuleList(_Reduce() for _ in PIDINET_WIDTHS)
        self.classifier = nn.Conv2d(len(PIDINET_WIDTHS), 1, 1)

    def forward(self, picture: Tensor) -> Tensor:
        features, found = self.init_block(picture.flip(1)), []
        for level, names in enumerate(self._blocks):
            for name in names:
                features = self.get_submodule(name)(features)
            seen = self.attentions[level](self.dilations[level](features))
            found.append(_fitted(self.conv_reduces[level](seen), picture))
        return torch.sigmoid(self.classifier(torch.cat(found, dim=1)))
