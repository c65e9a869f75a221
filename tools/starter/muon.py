"""Muon: steepest descent in the spectral norm for matrices and convolutions, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from typing import Any, Final

import torch

NEWTON_SCHULZ: Final = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""Coefficients of five steps of X ← aX + (bXXᵀ + c(XXᵀ)²)X towards the nearest orthogonal matrix.

Source: Jordan et al. 2024 (Muon); these five, tuned step by step, by Su 2024.
"""

SMALLEST_SIDE: Final = 16
"""Thinner matrices gain nothing from Muon and go to AdamW."""


class Muon(torch.optim.Optimizer):
    """One learning rate for both rules: an update has root mean square 0.2 as with Adam.

    Args:
        params: Tensors or groups. A group may hold ``muon=False`` (AdamW for all of it) and
            ``multiplier``, its share of the learning rate.
        lr: Learning rate > 0. momentum: Of Muon. betas: Of AdamW.
        weight_decay: Taken off Muon's matrices only, times ``lr``.
    Source:
        Jordan et al. 2024; the factor 0.2·√max(sides) from Liu et al. 2025, arXiv 2502.16982.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 1e-2,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "betas": betas,
            "weight_decay": weight_decay, "muon": True, "multiplier": 1.0,
        }  # fmt: skip
        super().__init__(list(params), defaults)

    def step(self, closure: Any = None, *, executor: Executor | None = None) -> None:
        """Change every parameter that has a gradient, in place.

        Args:
            closure: Not used; torch's interface has it.
            executor: Threads that share the work. Parameters do not depend on each other, so the
                result is the same with and without.
        """
        work = [(p, group) for group in self.param_groups for p in group["params"]]
        work = sorted((w for w in work if w[0].grad is not None), key=lambda w: -w[0].numel())
        list(executor.map(self._change, work) if executor else map(self._change, work))

    @torch.no_grad()
    def _change(self, work: tuple[torch.Tensor, dict[str, Any]]) -> None:
        param, group = work
        if group["muon"] and _is_wide(param):
            self._muon(param, group)
        else:
            self._adam(param, group)

    def _muon(self, param: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        gradient = param.grad
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(param)
        mean = state["momentum"].mul_(group["momentum"]).add_(gradient)
        nesterov = gradient + group["momentum"] * mean
        update = orthogonal(nesterov.reshape(param.shape[0], -1))
        rate = group["lr"] * group["multiplier"]
        param.mul_(1 - rate * group["weight_decay"])
        param.add_(update.reshape(param.shape), alpha=-rate * 0.2 * max(update.shape) ** 0.5)

    def _adam(self, param: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if "first" not in state:
            state["first"], state["second"] = torch.zeros_like(param), torch.zeros_like(param)
            state["count"] = 0
        state["count"] += 1
        one, two = group["betas"]
        state["first"].lerp_(param.grad, 1 - one)
        state["second"].lerp_(param.grad.square(), 1 - two)
        scale = (state["second"] / (1 - two ** state["count"])).sqrt_().add_(1e-8)
        rate = group["lr"] * group["multiplier"]
        param.addcdiv_(state["first"] / (1 - one ** state["count"]), scale, value=-rate)


def _is_wide(param: torch.Tensor) -> bool:
    return param.ndim > 1 and min(param.shape[0], param[0].numel()) >= SMALLEST_SIDE


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """About the nearest matrix with all singular values 1.

    Args:
        matrix: (rows, columns) float; unchanged.
    Returns:
        Same shape and dtype; singular values between about 0.7 and 1.2. Computed in bfloat16, which
        the rule forgives and which took a third of the time where it was measured.
    """
    x = (matrix / (matrix.norm() + 1e-7)).bfloat16()
    is_tall = x.shape[0] > x.shape[1]
    if is_tall:
        x = x.T
    for a, b, c in NEWTON_SCHULZ:
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if is_tall else x).to(matrix.dtype)
