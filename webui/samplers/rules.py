"""The table of samplers: which function paints under which name, and which knobs it takes.

To add a sampler: write its function, name it in ``names.SAMPLERS`` and here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor

from webui.samplers.ddim import ddim, ddim_cfgpp, plms
from webui.samplers.dpm2 import dpm2, dpm2_ancestral
from webui.samplers.dpm_solver import dpm_adaptive, dpm_fast
from webui.samplers.dpmpp import dpmpp_2m, dpmpp_2s_ancestral
from webui.samplers.dpmpp_sde import dpmpp_2m_sde, dpmpp_3m_sde, dpmpp_sde
from webui.samplers.euler import euler, euler_ancestral, heun
from webui.samplers.lcm import lcm
from webui.samplers.lms import lms
from webui.samplers.restart import restart
from webui.samplers.unipc import unipc


@dataclass(frozen=True)
class Rule:
    """A stepping rule.

    Attributes:
        step: The function; all share their leading arguments (see ``protocol``).
        knobs: Keyword arguments it takes from the options of the run.
        fixed: Keyword arguments that make this name out of a shared function.
    """

    step: Callable[..., Tensor]
    knobs: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict[str, Any])


CHURN = ("s_churn", "s_tmin", "s_tmax", "s_noise")
FRESH_NOISE = ("eta", "s_noise")
UNIPC = ("variant", "order", "lower_order_final")

_RULES: dict[str, Rule] = {
    "DPM++ 2M": Rule(dpmpp_2m),
    "DPM++ SDE": Rule(dpmpp_sde, FRESH_NOISE),
    "DPM++ 2M SDE": Rule(dpmpp_2m_sde, FRESH_NOISE),
    "DPM++ 2M SDE Heun": Rule(dpmpp_2m_sde, FRESH_NOISE, {"solver_type": "heun"}),
    "DPM++ 2S a": Rule(dpmpp_2s_ancestral, FRESH_NOISE),
    "DPM++ 3M SDE": Rule(dpmpp_3m_sde, FRESH_NOISE),
    "Euler a": Rule(euler_ancestral, ("eta",)),  # A1111 never gave it s_noise
    "Euler": Rule(euler, CHURN),
    "LMS": Rule(lms),
    "Heun": Rule(heun, CHURN),
    "DPM2": Rule(dpm2, CHURN),
    "DPM2 a": Rule(dpm2_ancestral, FRESH_NOISE),
    "DPM fast": Rule(dpm_fast, FRESH_NOISE),
    "DPM adaptive": Rule(dpm_adaptive, ("eta",)),
    "Restart": Rule(restart),
    "DDIM": Rule(ddim, ("eta",)),
    "DDIM CFG++": Rule(ddim_cfgpp, ("eta",)),
    "PLMS": Rule(plms),
    "UniPC": Rule(unipc, UNIPC),
    "LCM": Rule(lcm),
}
RULES: Mapping[str, Rule] = MappingProxyType(_RULES)


def add_rule(name: str, rule: Rule) -> None:
    """Add an extension's stepping rule; its name goes into ``names`` apart.

    Raises:
        ValueError: There is one of that name.
    """
    if name in _RULES:
        raise ValueError(f"There is a sampler called {name!r} already.")
    _RULES[name] = rule


def remove_rule(name: str) -> None:
    """Take an extension's stepping rule out again."""
    del _RULES[name]
