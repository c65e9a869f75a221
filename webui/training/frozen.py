"""Frozen layers on the CPU, quicker and with less kept for the way back.

A frozen layer needs no gradient of its weight, so nothing but the weight is kept of it (torch's
convolution keeps its input all the same). Matrix products go to oneDNN straight from the ordinary
weight, forwards and backwards: on processors that MKL does not know that takes half the time, and
unlike packed weights there is no second copy for the way back. Convolutions over few pixels (the
inner levels of a U-Net) become matrix products, since oneDNN would rearrange their large weights
at every call.

Measured on one thread of an AMD EPYC: 1280 → 10240 over 16 rows 9.6 and 4.8 ms; 3×3 from 1280 to
1280 channels over 8×8 pixels 101 and 21 ms forwards, 101 and 31 ms backwards.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.networks.packing import can_pack

MOST_PIXELS: Final = 128
"""Up to so many output pixels of a whole batch a convolution is a matrix product."""


def frozen_output(layer: nn.Linear | nn.Conv2d, inputs: Tensor) -> Tensor:
    """What a frozen layer answers; its gradient reaches the inputs alone.

    Args:
        layer: Its weight and bias do not require a gradient.
        inputs: As the layer takes them.
    """
    if not _is_ours(layer, inputs):
        kind: Any = type(layer)
        return kind.forward(layer, inputs)
    if isinstance(layer, nn.Linear):
        rows: Any = _Linear.apply(inputs.reshape(-1, layer.in_features), layer.weight, layer.bias)
        return rows.view(*inputs.shape[:-1], layer.out_features)
    return _Convolution.apply(inputs, layer)  # type: ignore[return-value]


def _is_ours(layer: nn.Linear | nn.Conv2d, inputs: Tensor) -> bool:
    weight = layer.weight
    is_plain = inputs.dtype == weight.dtype == torch.float32 and inputs.device.type == "cpu"
    if not is_plain or weight.requires_grad or torch.is_autocast_enabled("cpu"):
        return False
    if isinstance(layer, nn.Conv2d) and (
        layer.groups != 1 or isinstance(layer.padding, str) or layer.padding_mode != "zeros"
    ):
        return False
    return _has_products()


@lru_cache(maxsize=1)
def _has_products() -> bool:
    """Whether oneDNN multiplies with ordinary weights here, transposed ones too."""
    if not can_pack():
        return False
    rows, weight = torch.arange(6.0).view(2, 3), torch.arange(12.0).view(4, 3)
    try:
        found = _product(_product(rows, weight, None), weight.t(), None)
    except RuntimeError:
        return False
    return torch.allclose(found, rows @ weight.t() @ weight)


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(…, i) and (o, i) → (…, o)."""
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return _product(inputs.contiguous(), weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _product(gradient.contiguous(), ctx.weight.t(), None), None, None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, layer: nn.Conv2d) -> Tensor:
        ctx.layer, ctx.shape = layer, inputs.shape
        sides = _sides(layer, inputs.shape)
        ctx.is_product = inputs.shape[0] * sides[0] * sides[1] <= MOST_PIXELS
        if not ctx.is_product:
            return layer._conv_forward(inputs, layer.weight, layer.bias)
        weight = layer.weight.flatten(1)  # (o, i·k·k)
        columns = functional.unfold(inputs, **_kernel(layer)).transpose(1, 2)  # (B, h·w, i·k·k)
        found = _product(columns.contiguous(), weight, layer.bias)  # (B, h·w, o)
        return found.transpose(1, 2).reshape(inputs.shape[0], -1, *sides)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        layer: nn.Conv2d = ctx.layer
        if ctx.is_product:
            rows = gradient.flatten(2).transpose(1, 2).contiguous()  # (B, h·w, o)
            columns = _product(rows, layer.weight.flatten(1).t(), None).transpose(1, 2)
            return functional.fold(columns, ctx.shape[2:], **_kernel(layer)), None
        inputs = gradient.new_empty(1).expand(ctx.shape)  # only its shape is looked at
        found = torch.ops.aten.convolution_backward(
            gradient, inputs, layer.weight, None, layer.stride, layer.padding, layer.dilation,
            False, [0, 0], 1, [True, False, False],
        )  # fmt: skip
        return found[0], None


def _kernel(layer: nn.Conv2d) -> dict[str, Any]:
    return {
        "kernel_size": layer.kernel_size, "dilation": layer.dilation, "padding": layer.padding,
        "stride": layer.stride,
    }  # fmt: skip


def _sides(layer: nn.Conv2d, shape: torch.Size) -> tuple[int, int]:
    """Height and width of a convolution's output."""

    def side(at: int) -> int:
        reach = layer.dilation[at] * (layer.kernel_size[at] - 1) + 1
        return (shape[2 + at] + 2 * int(layer.padding[at]) - reach) // layer.stride[at] + 1

    return side(0), side(1)


class FrozenLayers:
    """The frozen layers of a network, whether they carry an adapter or not.

    Args:
        network: Its linear layers and convolutions answer through ``frozen_output`` between
            ``put_on`` and ``take_off``; layers whose forward was replaced already are left.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._changed: list[nn.Module] = []

    def put_on(self) -> None:
        """From now on."""
        for layer in self._network.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)) and "forward" not in layer.__dict__:
                layer.forward = _answer(layer)  # type: ignore[method-assign]
                self._changed.append(layer)

    def take_off(self) -> None:
        """Give the layers their own forward again."""
        for layer in self._changed:
            layer.__dict__.pop("forward", None)
        self._changed.clear()


def _answer(layer: nn.Linear | nn.Conv2d) -> Any:
    return lambda inputs: frozen_output(layer, inputs)
