"""A running mean of the LoRA's weights, which often is better than any of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from webui.training.network import LoraNetwork


class RunningMean:
    """Follows a network; without a decay it *is* the network.

    Args:
        decay: Share of the old mean that is kept at each step, 0–1; None = no mean.
    Source:
        Polyak and Juditsky 1992; the rising decay at the start is that of TensorFlow's
        ExponentialMovingAverage.
    """

    def __init__(self, network: LoraNetwork, decay: float | None) -> None:
        self._network, self._decay = network, decay
        self.restart()

    def restart(self) -> None:
        """Begin with what the network holds now."""
        own = self._network.named_parameters() if self._decay is not None else ()
        self._count = 0
        self._mean = {name: parameter.detach().clone() for name, parameter in own}

    @torch.no_grad()
    def follow(self) -> None:
        """A step was done."""
        if self._decay is None:
            return
        self._count += 1
        decay = min(self._decay, (1 + self._count) / (10 + self._count))
        for name, parameter in self._network.named_parameters():
            self._mean[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Meanwhile the network holds the mean."""
        if self._decay is None:
            yield
            return
        own = self._network.named_parameters()
        kept = {name: parameter.detach().clone() for name, parameter in own}
        try:
            self._put(self._mean)
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._network.named_parameters():
            parameter.copy_(values[name])

    def stored(self) -> dict[str, Tensor] | None:
        """For a state; None without a mean."""
        if self._decay is None:
            return None
        return {**self._mean, "count": torch.tensor(self._count)}

    def load(self, stored: Mapping[str, Tensor]) -> None:
        """Take up a state."""
        if self._decay is not None:
            self._count = int(stored["count"])
            self._mean = {name: stored[name].to(mean) for name, mean in self._mean.items()}
