"""``lr_scheduler_type``: torch's schedulers by their own names, as functions of the step alone.

Each is the formula that torch documents, so that nothing of a scheduler must be kept in a state. No
torch.

Source: lora-training.md, section 3.8; docs.pytorch.org, torch.optim.lr_scheduler.
"""

from __future__ import annotations

import bisect
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from webui.errors import ParamsError
from webui.params.training import TrainingOptions
from webui.training.network_args import nearest, read_literals

Factor = Callable[[int], float]


def _constant(rate: float, factor: float = 1 / 3, total_iters: int = 5) -> Factor:
    return lambda step: factor if step < total_iters else 1.0


def _cosine(rate: float, T_max: int, eta_min: float = 0.0) -> Factor:
    least = _share(eta_min, rate)
    return lambda step: least + (1 - least) * 0.5 * (1 + math.cos(math.pi * step / T_max))


def _warm_restarts(
    rate: float,
    T_0: int,
    T_mult: int = 1,
    eta_min: float = 0.0,
) -> Factor:
    if T_0 < 1 or T_mult < 1:
        raise ValueError("both are counts from 1")
    least = _share(eta_min, rate)

    def factor(step: int) -> float:
        length = T_0
        while step >= length:
            step -= length
            length *= T_mult
        return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * step / length))

    return factor


def _exponential(rate: float, gamma: float) -> Factor:
    return lambda step: gamma**step


def _linear(
    rate: float, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
) -> Factor:
    return lambda step: (
        start_factor + (end_factor - start_factor) * min(step, total_iters) / total_iters
    )


def _multi_step(rate: float, milestones: Sequence[int], gamma: float = 0.1) -> Factor:
    ends = sorted(milestones)
    return lambda step: gamma ** bisect.bisect_right(ends, step)


def _polynomial(rate: float, total_iters: int = 5, power: float = 1.0) -> Factor:
    return lambda step: (1 - min(step, total_iters) / total_iters) ** power


def _step(rate: float, step_size: int, gamma: float = 0.1) -> Factor:
    return lambda step: gamma ** (step // step_size)


TORCH_SCHEDULERS: Final[dict[str, Callable[..., Factor]]] = {
    "ConstantLR": _constant,
    "CosineAnnealingLR": _cosine,
    "CosineAnnealingWarmRestarts": _warm_restarts,
    "ExponentialLR": _exponential,
    "LinearLR": _linear,
    "MultiStepLR": _multi_step,
    "PolynomialLR": _polynomial,
    "StepLR": _step,
}


def _share(least: float, rate: float) -> float:
    return least / rate if rate else 0.0


def torch_factor(options: TrainingOptions, rate: float) -> Factor:
    """One of torch's schedulers.

    Args:
        options: ``lr_scheduler_type`` names it, ``lr_scheduler_args`` are its arguments.
        rate: The highest learning rate, for those that are told at which to end.
    Raises:
        ParamsError: Unknown, or it does not take an argument.
    """
    name = options.lr_scheduler_type.rpartition(".")[2]
    make = TORCH_SCHEDULERS.get(name)
    if make is None:
        raise ParamsError(
            f'lr_scheduler_type: "{options.lr_scheduler_type}" is unknown.'
            f"{nearest(name, TORCH_SCHEDULERS)}",
            f"Choose one of {', '.join(TORCH_SCHEDULERS)}, or leave it empty: lr_scheduler counts.",
            field="lr_scheduler_type",
        )
    arguments = read_literals(options.lr_scheduler_args, "lr_scheduler_args")
    arguments.pop("last_epoch", None)
    try:
        factor = make(rate, **arguments)
        factor(1)  # an argument of another kind shows when it is reckoned with
    except (TypeError, ValueError, ArithmeticError) as err:
        raise ParamsError(
            f"lr_scheduler_args: {name} cannot be made of {_told(arguments)}.",
            f"It takes {_takes(make)}.",
            field="lr_scheduler_args",
        ) from err
    return factor


def _told(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items()) or "nothing"


def _takes(make: Callable[..., Factor]) -> str:
    found = list(inspect.signature(make).parameters.values())[1:]
    return ", ".join(
        one.name if one.default is one.empty else f"{one.name} ({one.default:.3g} if not given)"
        for one in found
    )
