"""Optimisers by kohya's names; those of other packages are extras.

Source: lora-training.md, section 3.9.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor

from webui.errors import ParamsError, TrainingError
from webui.params.training import OptimizerOptions
from webui.training.network_args import nearest
from webui.training.rates import read_literals


@dataclass(frozen=True)
class Kind:
    """An optimiser.

    Attributes:
        module, name: Where its class is. package: What pip calls it; "" = always there.
        defaults: Arguments unless told otherwise.
        finds_rate: It finds the learning rate itself; the given one is a factor, about 1.
        sees_schedule: Whether the learning rate's schedule reaches it.
        fallback: What is used in its place when the package is not there.
    """

    module: str
    name: str
    package: str = ""
    defaults: dict[str, Any] = field(default_factory=dict[str, Any])
    finds_rate: bool = False
    sees_schedule: bool = True
    fallback: str = ""


def _kinds() -> dict[str, Kind]:
    found = {
        "AdamW": Kind("torch.optim", "AdamW"),
        "Lion": Kind(__name__, "Lion"),
        "SGDNesterov": Kind("torch.optim", "SGD", "", {"momentum": 0.9, "nesterov": True}),
        "Adafactor": Kind("transformers.optimization", "Adafactor", "", {"relative_step": True}),
        "Prodigy": Kind("prodigyopt", "Prodigy", "prodigyopt", finds_rate=True),
    }
    for name in ("AdamW8bit", "PagedAdamW", "PagedAdamW8bit", "PagedAdamW32bit"):
        found[name] = Kind("bitsandbytes.optim", name, "bitsandbytes", fallback="AdamW")
    for name in ("Lion8bit", "PagedLion8bit"):
        found[name] = Kind("bitsandbytes.optim", name, "bitsandbytes", fallback="Lion")
    found["SGDNesterov8bit"] = Kind(
        "bitsandbytes.optim", "SGD8bit", "bitsandbytes", {"momentum": 0.9, "nesterov": True},
        fallback="SGDNesterov",
    )  # fmt: skip
    adapting = {
        name: name
        for name in ("DAdaptAdam", "DAdaptAdaGrad", "DAdaptAdan", "DAdaptLion", "DAdaptSGD")
    }
    experimental = "dadaptation.experimental"
    for name, own in adapting.items():
        found[name] = Kind("dadaptation", own, "dadaptation", finds_rate=True)
    for name in ("DAdaptation", "DAdaptAdamPreprint"):
        found[name] = Kind(experimental, "DAdaptAdamPreprint", "dadaptation", finds_rate=True)
    found["DAdaptAdanIP"] = Kind(experimental, "DAdaptAdanIP", "dadaptation", finds_rate=True)
    for name in ("AdamWScheduleFree", "RAdamScheduleFree", "SGDScheduleFree"):
        found[name] = Kind("schedulefree", name, "schedulefree", sees_schedule=False)
    return found


KINDS: Final = _kinds()
_BY_LOWER: Final = {name.lower(): name for name in KINDS}


def optimizer_name(options: OptimizerOptions) -> str:
    """Which optimiser is asked for, as listed in ``KINDS``.

    Raises:
        ParamsError: Unknown, or the old switches contradict it.
    """
    asked = [options.optimizer_type] if options.optimizer_type else []
    asked += ["AdamW8bit"] if options.use_8bit_adam else []
    asked += ["Lion"] if options.use_lion_optimizer else []
    if len(asked) > 1:
        raise ParamsError(
            f"optimizer_type: {' and '.join(asked)} were asked for together.",
            "Choose one; use_8bit_adam and use_lion_optimizer are old ways to say it.",
            field="optimizer_type",
        )
    wanted = asked[0] if asked else "AdamW"
    found = _BY_LOWER.get(wanted.lower())
    if found is None:
        raise ParamsError(
            f'optimizer_type: "{wanted}" is unknown.{nearest(wanted, KINDS)}',
            f"Choose one of {', '.join(KINDS)}.",
            field="optimizer_type",
        )
    return found


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
        groups: Parameters with their rates.
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
            f"optimizer_type {name} needs the package {kind.package}, which is not installed.",
            f"pip install {kind.package}, or choose AdamW.",
        )
    given = read_literals(options.optimizer_args, "optimizer_args")
    arguments = {**kind.defaults, **given}
    if arguments.get("warmup_init"):
        arguments["relative_step"] = True
    is_relative = name == "Adafactor" and bool(arguments.get("relative_step"))
    if is_relative:
        groups = [{**group, "lr": None} for group in groups]
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
    return Chosen(
        optimizer,
        name,
        title,
        sees_schedule=kind.sees_schedule and not is_relative,
        finds_rate=kind.finds_rate or is_relative,
    )


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
