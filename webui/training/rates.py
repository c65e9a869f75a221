"""How the learning rate moves: a factor for every step, as functions of the step alone.

Source: lora-training.md, section 3.8; the names and formulas of transformers' and diffusers'
schedulers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from webui.errors import ParamsError
from webui.params.training import TrainingOptions
from webui.training.network_args import nearest, read_literals
from webui.training.torch_rates import torch_factor

Factor = Callable[[int], float]
"""Steps done → what the learning rate is multiplied by in the next one."""

SCHEDULERS: Final = (
    "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial",
    "inverse_sqrt", "cosine_with_min_lr", "warmup_stable_decay", "piecewise_constant", "adafactor",
)  # fmt: skip
POLYNOMIAL_END: Final = 1e-7
"""lr_end of transformers' polynomial schedule."""


def amount(value: float, total: int) -> int:
    """Steps; below 1 a share of all of them."""
    return int(value * total) if 0 < value < 1 else int(value)


def rate_factor(options: TrainingOptions, total: int, rate: float) -> Factor:
    """The schedule of a training.

    Args:
        total: Optimiser steps of the whole training.
        rate: The highest learning rate (only schedules that end at a rate ask).
    Raises:
        ParamsError: Unknown, or it does not go with the warm-up.
    """
    if options.lr_scheduler_type:
        return torch_factor(options, rate)
    name = options.lr_scheduler
    if name not in SCHEDULERS:
        raise ParamsError(
            f'lr_scheduler: "{name}" is unknown.{nearest(name, SCHEDULERS)}',
            f"Choose one of {', '.join(SCHEDULERS)}.",
            field="lr_scheduler",
        )
    warm = amount(options.lr_warmup_steps, total)
    if name == "constant" and warm:
        raise ParamsError(
            'lr_scheduler "constant" has no warm-up: set lr_warmup_steps to 0 or choose '
            "constant_with_warmup.",
            field="lr_warmup_steps",
        )
    if warm >= total:
        raise ParamsError(
            f"lr_warmup_steps ({warm}) is not less than the {total} steps of this training.",
            "Choose fewer.",
            field="lr_warmup_steps",
        )
    after = _after_warm_up(name, options, warm, total, rate)
    return lambda step: step / warm if step < warm else after(step)


def _after_warm_up(
    name: str, options: TrainingOptions, warm: int, total: int, rate: float
) -> Factor:
    cycles = options.lr_scheduler_num_cycles
    least = options.lr_scheduler_min_lr_ratio

    def share(step: int) -> float:
        return (step - warm) / max(1, total - warm)

    def restarts(step: int) -> float:
        p = share(step)
        return 0.0 if p >= 1 else 0.5 * (1 + math.cos(math.pi * (cycles * p % 1)))

    def polynomial(step: int) -> float:
        rest = (rate - POLYNOMIAL_END) * max(0.0, 1 - share(step)) ** options.lr_scheduler_power
        return (rest + POLYNOMIAL_END) / rate if rate else 0.0

    def inverse_root(step: int) -> float:
        scale = options.lr_scheduler_timescale or warm or 10_000
        return 1 / math.sqrt((step + scale - warm) / scale)

    def stable(step: int) -> float:
        decay = amount(options.lr_decay_steps, total)
        p = (step - (total - decay)) / max(1, decay)
        return 1.0 if p <= 0 else least + (1 - least) * 0.5 * (1 + math.cos(math.pi * min(1, p)))

    def half_cosine(step: int) -> float:
        return max(0.0, 0.5 * (1 + math.cos(math.pi * share(step))))

    def above_least(step: int) -> float:
        return least + (1 - least) * 0.5 * (1 + math.cos(math.pi * cycles * share(step)))

    table: dict[str, Factor] = {
        "constant": lambda step: 1.0,
        "constant_with_warmup": lambda step: 1.0,
        "adafactor": lambda step: 1.0,
        "linear": lambda step: max(0.0, 1 - share(step)),
        "cosine": half_cosine,
        "cosine_with_restarts": restarts,
        "polynomial": polynomial,
        "inverse_sqrt": inverse_root,
        "cosine_with_min_lr": above_least,
        "warmup_stable_decay": stable,
    }
    return table[name] if name in table else _pieces(options)


def _pieces(options: TrainingOptions) -> Factor:
    """``step_rules`` such as ``1:10,0.1:20,0.01``: factor until step, …, factor of the rest."""
    rules = read_literals(options.lr_scheduler_args, "lr_scheduler_args").get("step_rules", "")
    *pieces, last = str(rules).split(",")
    try:
        known = sorted((int(p.split(":")[1]), float(p.split(":")[0])) for p in pieces)
        rest = float(last)
    except (ValueError, IndexError) as err:
        raise ParamsError(
            f'lr_scheduler_args: step_rules "{rules}" cannot be read.',
            "For example: [\"step_rules='1:100,0.1:200,0.01'\"].",
            field="lr_scheduler_args",
        ) from err
    return lambda step: next((factor for end, factor in known if step < end), rest)
