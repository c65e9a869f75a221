"""Small networks that turn latents into pictures, for looking at unfinished ones.

Two layouts of weights: TAESD's (Ollin Boer Bohan: a clamp, then blocks of three convolutions with
three doublings between them; keys are places in a sequence) and A1111's «Approx NN» (eight
convolutions over latents enlarged twice; keys ``conv1`` … ``conv8``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor, nn

TAESD: Final = "TAESD"
APPROX_NN: Final = "Approx NN"
TAESD_BLOCKS: Final = (3, 4, 5, 8, 9, 10, 13, 14, 15, 18)
"""Places of the blocks in TAESD's decoder."""
TAESD_LAST: Final = 19
LATENT_LIMIT: Final = 3.0
"""Beyond this TAESD's clamp bends latents: tanh(x / 3) · 3."""
APPROX_KERNELS: Final = (7, 5, 3, 3, 3, 3, 3, 3)
APPROX_MARGIN: Final = 11
"""Zeros around the latents, as many as those kernels take away at each side."""
DIFFUSERS_PREFIX: Final = "decoder.layers."


class TaesdBlock(nn.Module):
    """Three convolutions beside a straight way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, H, W) to the same shape."""
        return torch.relu(self.conv(features) + features)


class TaesdDecoder(nn.Module):
    """VAE-scaled latents (B, C, h, w) to pixels (B, 3, 8h, 8w), about [-1, 1].

    Args:
        channels: Of the latents.
        width: Of all layers; 64 in the published files.
    """

    def __init__(self, channels: int = 4, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"1": nn.Conv2d(channels, width, 3, padding=1)})
        for place in TAESD_BLOCKS:
            self.layers[str(place)] = TaesdBlock(width)
        for place in (7, 12, 17):
            self.layers[str(place)] = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.layers[str(TAESD_LAST)] = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """See the class."""
        features = torch.tanh(latents / LATENT_LIMIT) * LATENT_LIMIT
        features = torch.relu(self.layers["1"](features))
        for place in range(3, TAESD_LAST):
            if place in (6, 11, 16):
                features = nn.functional.interpolate(features, scale_factor=2.0)
            else:
                features = self.layers[str(place)](features)
        return self.layers[str(TAESD_LAST)](features) * 2 - 1  # its own range is 0 … 1


class ApproxDecoder(nn.Module):
    """VAE-scaled latents (B, 4, h, w) to pixels (B, 3, 2h, 2w), about [-1, 1].

    Args:
        channels: Of the latents, then of each convolution's result.
    """

    def __init__(self, channels: tuple[int, ...] = (4, 8, 16, 32, 64, 32, 16, 8, 3)) -> None:
        super().__init__()
        for index, kernel in enumerate(APPROX_KERNELS):
            layer = nn.Conv2d(channels[index], channels[index + 1], kernel)
            setattr(self, f"conv{index + 1}", layer)

    def forward(self, latents: Tensor) -> Tensor:
        """See the class."""
        size = (latents.shape[-2] * 2, latents.shape[-1] * 2)
        features = nn.functional.interpolate(latents, size=size)
        features = nn.functional.pad(features, (APPROX_MARGIN,) * 4)
        for index in range(len(APPROX_KERNELS)):
            layer = getattr(self, f"conv{index + 1}")
            features = nn.functional.leaky_relu(layer(features), 0.1)
        return features


def decoder_layout(names: Iterable[str]) -> str:
    """Which kind of preview decoder has tensors of these names: TAESD, APPROX_NN, or '' for
    neither."""
    plain = {decoder_name(name) for name in names}
    if {"1.weight", "3.conv.0.weight", f"{TAESD_LAST}.weight"} <= plain:
        return TAESD
    if {"conv1.weight", f"conv{len(APPROX_KERNELS)}.weight"} <= plain:
        return APPROX_NN
    return ""


def decoder_name(name: str) -> str:
    """A tensor's name in the original layout; diffusers leaves out the clamp and so counts one
    less."""
    if not name.startswith(DIFFUSERS_PREFIX):
        return name
    place, dot, rest = name.removeprefix(DIFFUSERS_PREFIX).partition(".")
    return f"{int(place) + 1}{dot}{rest}" if place.isdecimal() else name


def build_decoder(weights: Mapping[str, Tensor]) -> nn.Module:
    """The network that these weights are, with them in it; widths follow from their shapes.

    Args:
        weights: By original or diffusers names; kept, not copied. Others are ignored.
    Raises:
        ValueError: They are no preview decoder, or not a whole one; says what does not fit.
    """
    layout = decoder_layout(weights)
    plain = {decoder_name(name): tensor for name, tensor in weights.items()}
    if layout == TAESD:
        width, channels = plain["1.weight"].shape[:2]
        network: nn.Module = TaesdDecoder(channels, width)
        plain = {f"layers.{name}": tensor for name, tensor in plain.items()}
    elif layout == APPROX_NN:
        shapes = [plain[f"conv{i + 1}.weight"].shape for i in range(len(APPROX_KERNELS))]
        network = ApproxDecoder((shapes[0][1], *(shape[0] for shape in shapes)))
    else:
        raise ValueError("its tensors are those of no preview decoder")
    wanted = network.state_dict()
    wrong = [n for n, t in wanted.items() if n not in plain or plain[n].shape != t.shape]
    if wrong:
        raise ValueError(f"{len(wrong)} tensors are missing or of another shape ({wrong[0]})")
    network.load_state_dict({name: plain[name] for name in wanted}, assign=True)
    return network.eval().requires_grad_(False)
