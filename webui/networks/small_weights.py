"""Weights stored in one byte each (float8_e4m3fn) and calculated with in the inputs' number format.

A quarter of float32 and half of float16, at the price of three binary places: pictures stay close.
Only matrices and convolutions are stored so; biases and norms are small already.

Other layers' code need not know: ``layer.weight`` is the stored weight. What changes weights for a
while begins from ``best_weight``, the float16 original where it is kept, and stores the result in
one byte again; the stored weight itself is put back untouched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALL: Final = torch.float8_e4m3fn
LARGEST: Final = 448.0
"""Of float8_e4m3fn, which has no infinity: anything beyond would become NaN."""
_HALF: Final = "_half_weight"


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
        return functional.linear(inputs, widened(self.weight, inputs.dtype), _bias(self, inputs))


class SmallConv2d(nn.Conv2d):
    """A convolution with a small weight."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, in, h, w) → (B, out, h', w'), in the inputs' number format."""
        return self._conv_forward(inputs, widened(self.weight, inputs.dtype), _bias(self, inputs))


_SMALL_CLASSES: Final[dict[type, type]] = {nn.Linear: SmallLinear, nn.Conv2d: SmallConv2d}


def _bias(layer: nn.Linear | nn.Conv2d, inputs: Tensor) -> Tensor | None:
    return None if layer.bias is None else layer.bias.to(inputs.dtype)


def store_small(network: nn.Module) -> None:
    """Have a network store the weights small that it is given from now on; see ``to_small``."""
    for layer in network.modules():
        small_class = _SMALL_CLASSES.get(type(layer))
        if small_class is not None:
            layer.__class__ = small_class


def small_weights(network: nn.Module) -> dict[str, nn.Module]:
    """Name of each weight that is to be stored small → its layer."""
    kinds = tuple(_SMALL_CLASSES.values())
    named = network.named_modules()
    return {f"{path}.weight": layer for path, layer in named if isinstance(layer, kinds)}


def to_small(weight: Tensor) -> Tensor:
    """The nearest numbers that one byte can hold, in a tensor of its own."""
    if weight.dtype == SMALL:
        return weight.clone()
    return weight.to(torch.float32).clamp(-LARGEST, LARGEST).to(SMALL)


def widened(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A stored weight in the number format to calculate in, exactly.

    torch's own conversion is slow on the CPU (measured: 8 times as long). There the bits are moved
    to their places in a float16, whose exponent counts from another number: hence the factor 2⁸.
    (NaN, which no weight should be, becomes 480.)
    """
    if weight.dtype != SMALL or weight.device.type != "cpu":
        return weight.to(dtype)
    bits = weight.view(torch.int8).to(torch.int16) << 7  # the sign fills two places …
    half = bits.bitwise_and_(~(1 << 14)).view(torch.float16)  # … of which the first counts
    return half.mul_(256.0).to(dtype)


def keep_half(layer: nn.Module, weight: Tensor) -> None:
    """Keep a layer's original weight in main memory, as float16."""
    layer.__dict__[_HALF] = weight.to("cpu", torch.float16, copy=True)


def half_bytes(network: nn.Module) -> int:
    """Bytes of the originals that are kept."""
    kept: list[Any] = [layer.__dict__.get(_HALF) for layer in network.modules()]
    return sum(half.numel() * half.element_size() for half in kept if half is not None)


def best_weight(layer: nn.Module, stored: Tensor) -> Tensor:
    """The most exact form of a layer's own weight, where the stored one is."""
    half = layer.__dict__.get(_HALF)
    return stored if half is None else half.to(stored.device)


def stored_as(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A calculated weight in the number format of the one that it stands in for."""
    return to_small(weight) if dtype == SMALL else weight.to(dtype)
