"""The low-rank change beside one frozen layer, as it is trained.

Base weights never take part in the gradient, so autograd keeps of a frozen layer only the weight
itself. The change is added into the frozen layer's output in place: no second tensor of that size
is made or kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.training.frozen import frozen_output


@dataclass(frozen=True)
class Dropouts:
    """What is left out while training; all 0–1, 0 = nothing.

    Attributes:
        values: Single numbers between down and up. ranks: Whole ranks, for each picture.
        module: The whole change, for a call.
    """

    values: float = 0.0
    ranks: float = 0.0
    module: float = 0.0


NO_DROPOUT: Final = Dropouts()


class Adapter(nn.Module):
    """A matrix or convolution of low rank, added to a frozen layer's output.

    Args:
        layer: Linear or Conv2d; not owned, its ``forward`` is replaced by ``put_on``.
        rank: ≥ 1. alpha: The change counts alpha / rank.

    Attributes:
        multiplier: Weight of the change; 0 leaves the layer's output as it is.

    Source:
        Hu et al. 2021, arXiv 2106.09685; initial values as kohya's (lora-training.md, 3.11).
    """

    def __init__(
        self,
        layer: nn.Linear | nn.Conv2d,
        rank: int,
        alpha: float,
        dropouts: Dropouts = NO_DROPOUT,
    ) -> None:
        super().__init__()
        self._layer = [layer]  # in a list, so that it is no child of ours
        self.rank, self.alpha, self.dropouts = rank, alpha, dropouts
        self.multiplier = 1.0
        shape = layer.weight.shape
        down = torch.empty(rank, *shape[1:], dtype=torch.float32)
        up = torch.zeros(shape[0], rank, *(1 for _ in shape[2:]), dtype=torch.float32)
        if not layer.weight.is_meta:
            bound = 1 / math.sqrt(max(1, math.prod(shape[1:])))
            nn.init.uniform_(down, -bound, bound)
        self.lora_down = nn.Parameter(down)
        self.lora_up = nn.Parameter(up)

    @property
    def layer(self) -> nn.Linear | nn.Conv2d:
        """The frozen layer."""
        return self._layer[0]

    @property
    def scale(self) -> float:
        """What the product is multiplied by at weight 1."""
        return self.alpha / self.rank

    def put_on(self) -> None:
        """From now on the layer's output has the change in it."""
        self.layer.forward = self.forward  # type: ignore[method-assign]

    def take_off(self) -> None:
        """Give the layer its own forward again."""
        self.layer.__dict__.pop("forward", None)

    def file_tensors(self) -> dict[str, Tensor]:
        """What a file holds of it, by the ends of kohya's names; the values, not copies."""
        return {
            "alpha": torch.tensor(float(self.alpha)),
            "lora_down.weight": self.lora_down.detach(),
            "lora_up.weight": self.lora_up.detach(),
        }

    def load(self, stored: Mapping[str, Tensor]) -> bool:
        """Take values by the ends of kohya's names; False when they are not all there.

        Raises:
            ValueError: One has another size.
        """
        pairs = (("lora_down.weight", self.lora_down), ("lora_up.weight", self.lora_up))
        if any(end not in stored for end, _ in pairs):
            return False
        with torch.no_grad():
            for end, own in pairs:
                if own.numel() != stored[end].numel():
                    raise ValueError(end)
                own.copy_(stored[end].reshape(own.shape))
        return True

    def limit_norm(self, most: float) -> tuple[float, bool]:
        """Scale the change down to a norm; the norm it has then, and whether it was larger."""
        with torch.no_grad():
            norm = float(self.delta().norm())
            if norm <= most:
                return norm, False
            for parameter in (self.lora_up, self.lora_down):
                parameter.mul_((most / norm) ** 0.5)
            return most, True

    def delta(self) -> Tensor:
        """The change of the weight at weight 1, in its shape."""
        product = self.lora_up.flatten(1) @ self.lora_down.flatten(1)
        return (product * self.scale).reshape(self.layer.weight.shape)

    def forward(self, inputs: Tensor) -> Tensor:
        """The frozen layer's output with the change."""
        layer = self.layer
        base = frozen_output(layer, inputs)
        if self.multiplier == 0 or self._is_left_out():
            return base
        scale = self.scale * self.multiplier
        if isinstance(layer, nn.Linear):
            return self._add_linear(base, inputs, scale)
        middle = functional.conv2d(
            inputs, self._like(self.lora_down, inputs), None, layer.stride, layer.padding,
            layer.dilation,
        )  # fmt: skip
        middle, scale = self._dropped(middle, scale)
        return base + functional.conv2d(middle, self._like(self.lora_up, middle)) * scale

    def _add_linear(self, base: Tensor, inputs: Tensor, scale: float) -> Tensor:
        middle = functional.linear(inputs, self._like(self.lora_down, inputs))  # (…, r)
        middle, scale = self._dropped(middle, scale)
        up = self._like(self.lora_up, middle)
        if base.dtype != middle.dtype:
            return base + functional.linear(middle, up) * scale
        flat = base.view(-1, base.shape[-1])
        return flat.addmm_(middle.reshape(-1, self.rank), up.t(), alpha=scale).view_as(base)

    def _like(self, weight: Tensor, values: Tensor) -> Tensor:
        """Our float32 weight in the format of what it meets; autocast sees to its own."""
        return weight if weight.dtype == values.dtype else weight.to(values.dtype)

    def _is_left_out(self) -> bool:
        chance = self.dropouts.module
        return self.training and chance > 0 and float(torch.rand(())) < chance

    def _dropped(self, middle: Tensor, scale: float) -> tuple[Tensor, float]:
        if not self.training:
            return middle, scale
        if self.dropouts.values:
            middle = functional.dropout(middle, self.dropouts.values)
        if self.dropouts.ranks:
            is_matrix = isinstance(self.layer, nn.Linear)
            keep = torch.rand(middle.shape[0], self.rank) >= self.dropouts.ranks
            gaps = middle.ndim - 2
            shape = (-1, *([1] * gaps), self.rank) if is_matrix else (-1, self.rank, *([1] * gaps))
            middle = middle * keep.to(middle).view(shape)
            scale = scale / (1 - self.dropouts.ranks)
        return middle, scale
