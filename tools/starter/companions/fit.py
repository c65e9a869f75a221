"""The training loop of every companion: they differ in what is learnt and how it is judged."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


def fit(
    optimizer: torch.optim.Optimizer, loss_of: Callable[[], Tensor], *, steps: int,
    warm_steps: int = 1, most_norm: float = math.inf, log_steps: int = 100,
) -> None:  # fmt: skip
    """Change the optimiser's parameters, in place, until the learning rate has fallen to zero.

    Args:
        optimizer: Its learning rates are the highest ones.
        loss_of: The loss of new pictures; called once a step.
        warm_steps: Over which the learning rate rises; from there on it falls in a line.
        most_norm: Gradients are scaled down to this norm, all parameters taken together.
        log_steps: Between two lines of the log.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    params = [param for group in optimizer.param_groups for param in group["params"]]
    for step in range(steps):
        loss = loss_of()
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1, (step + 1) / warm_steps) * (1 - step / steps)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, most_norm)
        optimizer.step()
        if step % log_steps == log_steps - 1:
            logger.info("step %d, loss %.4f", step + 1, loss.item())
