"""The processes that train one LoRA together, one for each device; most often it is one.

Every process holds the same LoRA, takes its share of the batches and gives its gradients to the
others. The first alone writes, paints samples and tells how far it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from accelerate.utils import reduce as reduce_over_processes
from torch import Tensor

PATIENCE: Final = timedelta(days=1)
"""So long a process waits for the others: the first paints samples meanwhile, or encodes."""


class Processes:
    """This process among those it trains with, as ``accelerate`` or our own launcher set it up.

    Args:
        device: What this program computes on; of several cards each process takes its own.
    """

    def __init__(self, device: torch.device) -> None:
        self._state = PartialState(cpu=device.type == "cpu", timeout=PATIENCE)
        self.count: int = self._state.num_processes
        self.index: int = self._state.process_index
        own = self._state.device
        self.device: torch.device = own if self.count > 1 and own is not None else device

    @property
    def is_first(self) -> bool:
        """Whether it writes files and tells the person."""
        return self.index == 0

    def mean(self, values: Sequence[float]) -> list[float]:
        """Each number's mean over all processes; every process must ask."""
        if self.count == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64).to(self.device, torch.float32)
        averaged: Any = reduce_over_processes(told, "mean")
        return averaged.tolist()

    def any(self, values: Sequence[bool]) -> list[bool]:
        """Which of these are so in at least one process; every process must ask."""
        return [share > 0 for share in self.mean([float(value) for value in values])]

    def of_first(self, value: Any) -> Any:
        """What the first process has here."""
        return broadcast_object_list([value])[0] if self.count > 1 else value

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give each parameter the mean of its gradients; where a process has none it counts as 0.

        Args:
            parameters: The same in every process, in the same order.
        """
        learning = [one for one in parameters if one.requires_grad]
        if self.count == 1 or not learning:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learning]
        together: Any = torch.cat([gradient.reshape(-1) for gradient in gradients])
        together = reduce_over_processes(together, "mean")
        sizes = [one.numel() for one in learning]
        for parameter, share in zip(learning, together.split(sizes), strict=True):
            parameter.grad = share.view_as(parameter)

    @contextmanager
    def first_alone(self, is_needed: bool = True) -> Iterator[None]:
        """The first does this before the others do: what it leaves on disk they find."""
        if self.count == 1 or not is_needed:
            yield
        else:
            with self._state.main_process_first():
                yield
