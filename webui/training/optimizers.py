"""Makes optimisers; those of other packages are extras.

Source: lora-training.md, section 3.9.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from webui.errors import ParamsError, TrainingError
from webui.params.training import OptimizerOptions
from webui.training.network_args import read_literals
from webui.training.optimizer_names import (
    KINDS,
    PACKAGE_HINT,
    PACKAGE_MISSING,
    Kind,
    optimizer_name,
)


@dataclass(frozen=True)
class Chosen:
    """A made optimiser.

    Attributes:
        title: ``module.Class(args)``, as files tell it.
        sees_schedule, finds_rate: See ``Kind``; Adafactor finds its rate with relative_step.
    """

    optimizer: torch.optim.Optimizer
    name: str
    title: str
    sees_schedule: bool
    finds_rate: bool

    def train(self) -> None:
        """Schedule-free optimisers hold other weights while training than for use."""
        self._switch("train")

    def eval(self) -> None:
        """See ``train``."""
        self._switch("eval")

    def _switch(self, mode: str) -> None:
        deed: Callable[[], Any] | None = getattr(self.optimizer, mode, None)
        if deed is not None:
            deed()


def make_optimizer(
    options: OptimizerOptions,
    groups: list[dict[str, Any]],
    notify: Callable[[str], None],
    *,
    has_cuda: bool,
) -> Chosen:
    """Make the optimiser that is asked for.

    Args:
        groups: Parameters with their rates; one that finds its rate takes the first for all.
        notify: Told when another one takes its place.
    Raises:
        ParamsError: Unknown, or it does not take an argument.
        TrainingError: Its package is not installed.
    """
    name = optimizer_name(options)
    kind = KINDS[name]
    made = _load(kind) if has_cuda or kind.package != "bitsandbytes" else None
    if made is None and kind.fallback:
        notify(
            f"optimizer_type {name} needs the package {kind.package} and an NVIDIA card, which "
            f"is not available here. {kind.fallback} is used instead."
        )
        name, kind = kind.fallback, KINDS[kind.fallback]
        made = _load(kind)
    if made is None:
        raise TrainingError(
            PACKAGE_MISSING.format(name=name, package=kind.package),
            PACKAGE_HINT.format(package=kind.package),
        )
    given = read_literals(options.optimizer_args, "optimizer_args")
    arguments = {**kind.defaults, **given}
    if arguments.get("warmup_init"):
        arguments["relative_step"] = True
    is_relative = name == "Adafactor" and bool(arguments.get("relative_step"))
    if is_relative:
        groups = [{**group, "lr": None} for group in groups]
    if kind.finds_rate:  # these packages refuse groups of different rates
        groups = [{**group, "lr": groups[0]["lr"]} for group in groups]
    try:
        optimizer = made(groups, **arguments)
    except (TypeError, ValueError) as err:
        raise ParamsError(
            f"optimizer_args: {name} cannot be made so: {err}",
            "Look at its package for the arguments it takes.",
            field="optimizer_args",
        ) from err
    told = ",".join(f"{key}={value}" for key, value in given.items())
    title = f"{made.__module__}.{made.__qualname__}" + (f"({told})" if told else "")
    chosen = Chosen(
        optimizer,
        name,
        title,
        sees_schedule=kind.sees_schedule and not is_relative,
        finds_rate=kind.finds_rate or is_relative,
    )
    chosen.train()
    return chosen


def _load(kind: Kind) -> Any:
    try:
        return getattr(importlib.import_module(kind.module), kind.name)
    except (ImportError, AttributeError, RuntimeError, OSError):
        if not kind.package:
            raise
        return None


class Lion(torch.optim.Optimizer):
    """Signs of a running mean instead of Adam's quotient: half its memory.

    Source:
        Chen et al. 2023, arXiv 2302.06675, algorithm 2.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change every parameter that has a gradient."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._change(parameter, parameter.grad, group)
        return loss

    def _change(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        rate, (first, second) = group["lr"], group["betas"]
        state = self.state[parameter]
        mean = state.setdefault("mean", torch.zeros_like(parameter))
        parameter.mul_(1 - rate * group["weight_decay"])
        parameter.add_(mean.mul(first).add(gradient, alpha=1 - first).sign_(), alpha=-rate)
        mean.mul_(second).add_(gradient, alpha=1 - second)
