"""Optimisers by kohya's names, and where their classes are; no torch.

Source: lora-training.md, section 3.9.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from webui.errors import ParamsError
from webui.params.training import OptimizerOptions
from webui.training.network_args import nearest


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
        "Lion": Kind("webui.training.optimizers", "Lion"),
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
PACKAGE_MISSING: Final = (
    "optimizer_type {name} needs the package {package}, which is not installed."
)
PACKAGE_HINT: Final = "pip install {package}, or choose AdamW."
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
