"""Weights stored in one byte each (float8_e4m3fn) and calculated with in the inputs' number format.

A quarter of float32 and half of float16; three binary places are left. Only matrices and
convolutions are stored so; biases and norms are small already.

The format loses places below 2⁻⁶, where most weights of these networks are. So each layer stores
its weight times a power of two of its own; and the layers that read and write latents, which are
tiny, stay as they are (measured on the starter's U-Net at high noise: error 0.9 % instead of 2.3).

What changes weights for a while begins from
``best_weight``, the float16 original where it is kept, and ``stored_as`` brings the result into
the layer's form; the stored weight itself is put back untouched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALL: Final = torch.float8_e4m3fn
LARGEST: Final = 448.0
"""Of float8_e4m3fn, which has no infinity: anything beyond would become NaN."""
FEWEST_CHANNELS: Final = 16
"""Layers with fewer inputs or outputs read or write latents."""
ROOM: Final = 4.0
"""A layer's largest weight may grow by this factor when something is added to it."""
_HALF, _SCALE = "_half_weight", "_weight_scale"


@dataclass(frozen=True)
class SmallWeights:
    """How weights are stored small.

    Attributes:
        keeps_half: The originals stay in main memory as float16, so that LoRAs are added before
            anything is rounded.
    """

    keeps_half: bool = False


class SmallLinear(nn.Linear):
    """A matrix product with a small weight."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, in) → (…, out), in the inputs' number format."""
        return functional.linear(inputs, wide_weight(self, inputs.dtype), _bias(self, inputs))


class SmallConv2d(nn.Conv2d):
    """A convolution with a small weight."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, in, h, w) → (B, out, h', w'), in the inputs' number format."""
        return self._conv_forward(inputs, wide_weight(self, inputs.dtype), _bias(self, inputs))


_SMALL_CLASSES: Final[dict[type, type]] = {nn.Linear: SmallLinear, nn.Conv2d: SmallConv2d}


def _bias(layer: nn.Linear | nn.Conv2d, inputs: Tensor) -> Tensor | None:
    return None if layer.bias is None else layer.bias.to(inputs.dtype)


def store_small(network: nn.Module) -> None:
    """Have a network's layers work with small weights; see ``first_stored`` for giving them."""
    for layer in network.modules():
        small_class = _SMALL_CLASSES.get(type(layer))
        if small_class is not None and _fewest_channels(layer) >= FEWEST_CHANNELS:
            layer.__class__ = small_class


def _fewest_channels(layer: nn.Module) -> int:
    weight = layer._parameters["weight"]
    assert weight is not None
    return min(weight.shape[:2])


def small_weights(network: nn.Module) -> dict[str, nn.Module]:
    """Name of each weight that is to be stored small → its layer."""
    kinds = tuple(_SMALL_CLASSES.values())
    named = network.named_modules()
    return {f"{path}.weight": layer for path, layer in named if isinstance(layer, kinds)}


def first_stored(layer: nn.Module, weight: Tensor, *, keeps_half: bool = False) -> Tensor:
    """A layer's own weight in the form it is stored in, a tensor of its own.

    Args:
        keeps_half: Keep the original too, in main memory as float16.
    """
    largest = float(weight.to(torch.float32).abs().nan_to_num(0.0).max())
    usable = LARGEST / ROOM / largest if largest else 1.0
    layer.__dict__[_SCALE] = 2.0 ** math.floor(math.log2(usable))
    if keeps_half:
        layer.__dict__[_HALF] = weight.to("cpu", torch.float16, copy=True)
    return to_small(weight.to(torch.float32) * layer.__dict__[_SCALE])


def to_small(weight: Tensor) -> Tensor:
    """The nearest numbers that one byte can hold."""
    return weight.clamp(-LARGEST, LARGEST).to(SMALL)


def wide_weight(layer: nn.Module, dtype: torch.dtype, stored: Tensor | None = None) -> Tensor:
    """The weight of a small layer in the number format to calculate in.

    Args:
        stored: In the layer's form; None = the one it has now.
    """
    weight = layer._parameters["weight"] if stored is None else stored
    assert weight is not None
    return widened(weight, dtype, 1 / layer.__dict__[_SCALE])


def widened(weight: Tensor, dtype: torch.dtype, factor: float = 1.0) -> Tensor:
    """One-byte numbers times a power of two in another format; a tensor of its own.

    torch's own conversion is slow on the CPU (measured: 8 times as long). There the bits are moved
    to their places in a float16, whose exponent counts from another number: hence the factor 2⁸.
    (NaN, which no weight should be, becomes 480.)
    """
    if weight.device.type != "cpu":
        return weight.to(dtype).mul_(factor)
    bits = weight.view(torch.int8).to(torch.int16) << 7  # the sign fills two places …
    half = bits.bitwise_and_(~(1 << 14)).view(torch.float16)  # … of which the first counts
    return half.mul_(256.0 * factor).to(dtype)


def half_bytes(network: nn.Module) -> int:
    """Bytes of the originals that are kept."""
    kept: list[Any] = [layer.__dict__.get(_HALF) for layer in network.modules()]
    return sum(half.numel() * half.element_size() for half in kept if half is not None)


def best_weight(layer: nn.Module, stored: Tensor) -> Tensor:
    """The most exact form of a layer's own weight, float32; ``stored`` itself if it is that.

    Args:
        stored: As the layer stores it, of any number format.
    """
    if stored.dtype != SMALL:
        return stored.to(torch.float32)
    half = layer.__dict__.get(_HALF)
    if half is not None:
        return half.to(stored.device, torch.float32)
    return wide_weight(layer, torch.float32, stored)


def stored_as(layer: nn.Module, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A calculated weight, float32, as a layer stores it in that number format."""
    return to_small(weight * layer.__dict__[_SCALE]) if dtype == SMALL else weight.to(dtype)
