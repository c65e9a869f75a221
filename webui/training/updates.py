"""From gradients to a changed LoRA: rates, clipping, loss scaling, the running mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from webui.params.training import TrainingOptions
from webui.training.network import TEXT, LoraNetwork
from webui.training.optimizers import Chosen
from webui.training.processes import Processes
from webui.training.rates import Factor
from webui.training.running_mean import RunningMean


class Updates:
    """The optimiser of one training, and all that stands around its step.

    Args:
        network: Its adapters' parameters are changed; those that the optimiser does not hold
            get no gradient.
        factor: The learning rate's schedule.
        processes: That train together; their gradients are averaged. None = this one.

    Attributes:
        bad_in_a_row: Steps whose loss or gradients were no numbers, since the last good one.
    """

    def __init__(
        self,
        options: TrainingOptions,
        network: LoraNetwork,
        chosen: Chosen,
        factor: Factor,
        device: torch.device,
        processes: Processes | None = None,
    ) -> None:
        self._options, self._network = options, network
        self.chosen, self._factor, self._processes = chosen, factor, processes
        groups = chosen.optimizer.param_groups
        self._starts = [group["lr"] for group in groups]
        self._parameters: list[Tensor] = [p for group in groups for p in group["params"]]
        network.requires_grad_(False)
        for parameter in self._parameters:
            parameter.requires_grad_(True)
        self._mean = RunningMean(network, options.ema_decay)
        is_fp16 = options.mixed_precision == "fp16" and device.type == "cuda"
        self._scaler = torch.GradScaler(device.type, enabled=is_fp16)
        self._is_text_stopped = False
        self.bad_in_a_row = 0

    def begin(self, step: int) -> None:
        """Set what depends on the number of steps that are done."""
        if self.chosen.sees_schedule:
            factor = self._factor(step)
            groups = self.chosen.optimizer.param_groups
            for group, start in zip(groups, self._starts, strict=True):
                group["lr"] = start * factor
        last = self._options.stop_text_encoder_training
        if last is not None and step >= last and not self._is_text_stopped:
            self._stop_text()

    def _stop_text(self) -> None:
        self._is_text_stopped = True
        for name, adapter in self._network.named_adapters():
            if self._network.wanted[name].part == TEXT:
                adapter.requires_grad_(False)

    def take_in(self, loss: Tensor) -> None:
        """Add the gradient of one of the batches that make a step."""
        self._scaler.scale(loss / self._options.gradient_accumulation_steps).backward()

    def apply(self, loss: float) -> None:
        """Change the LoRA, unless the gradients are no numbers.

        Args:
            loss: Of the step, for ``bad_in_a_row``.
        """
        is_changed = self._apply()
        is_good = is_changed and torch.isfinite(torch.tensor(loss)).item()
        is_scale = self._scaler.is_enabled() and loss == loss  # fp16 overflowed: it tries a lower
        self.bad_in_a_row = 0 if is_good or is_scale else self.bad_in_a_row + 1

    def _apply(self) -> bool:
        optimizer = self.chosen.optimizer
        if self._processes is not None:
            self._processes.average_gradients(self._parameters)
        self._scaler.unscale_(optimizer)
        limit = self._options.max_grad_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, limit)
        is_good = bool(torch.isfinite(norm))
        if is_good:
            self._scaler.step(optimizer)
        self._scaler.update()
        self.forget()
        if is_good:
            if self._options.scale_weight_norms is not None:
                self._network.limit_norms(self._options.scale_weight_norms)
            self._mean.follow()
        return is_good

    def forget(self) -> None:
        """Let go of the gradients."""
        self.chosen.optimizer.zero_grad(set_to_none=True)

    def rates(self) -> dict[str, float]:
        """Group → its learning rate now, as it is told."""
        rates = {}
        for group in self.chosen.optimizer.param_groups:
            rate = group["lr"] if group["lr"] is not None else 0.0
            rates[group["name"]] = float(rate) * float(group.get("d", 1.0))
        return rates

    @contextmanager
    def as_saved(self) -> Iterator[None]:
        """Meanwhile the network is what a file holds: no dropout, the running mean if there is
        one, and of schedule-free optimisers the weights for use.
        """
        self.chosen.eval()
        self._network.eval()
        try:
            with self._mean.shown():
                yield
        finally:
            self._network.train()
            self.chosen.train()

    def stored(self) -> tuple[dict[str, Any], dict[str, Tensor] | None]:
        """The optimiser and the running mean, for a state."""
        return self.chosen.optimizer.state_dict(), self._mean.stored()

    def take_up(self, optimizer: dict[str, Any], mean: Mapping[str, Tensor] | None) -> None:
        """Go on from a state; the network has its weights already.

        Args:
            mean: None = there was none: it begins here.
        """
        self.chosen.optimizer.load_state_dict(optimizer)
        if mean is None:
            self._mean.restart()
        else:
            self._mean.load(mean)
