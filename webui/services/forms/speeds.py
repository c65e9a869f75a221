"""Quality, speed or draft: steps, sampler and guidance that fit what paints.

Source:
    Luo et al. 2023, arXiv 2311.05556 (LCM-LoRA); Lin, Wang and Yang 2024, arXiv 2402.13929
    (SDXL-Lightning: Euler, guidance off, as many steps as it was distilled for); Ren et al. 2024,
    arXiv 2404.13686 (Hyper-SD); Sauer et al. 2023, arXiv 2311.17042 (Turbo: 1 to 4 steps). For
    other models: DPM++ 2M (Lu et al. 2022, arXiv 2211.01095) has converged for the eye by about
    20 to 30 steps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webui.samplers.names import AUTOMATIC, SAMPLERS_BY_NAME

SPEEDS = ("quality", "speed", "draft")


@dataclass(frozen=True)
class Way:
    """How a kind of model is painted with quickly or well.

    Attributes:
        pattern: Found in the names of checkpoints and LoRAs of that kind.
        steps: For quality, speed and draft.
    """

    name: str
    pattern: re.Pattern[str]
    sampler: str
    schedule: str
    cfg_scale: float
    steps: tuple[int, int, int]


def _in_names(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_HYPER = _in_names("hyper[-_ ]?sd|(?<![a-z])hyper(?![a-z])(?![-_ ]?real)")
DISTILLED = (
    Way("Lightning", _in_names("lightning"), "Euler", "SGM Uniform", 1.0, (8, 6, 4)),
    Way("Hyper", _HYPER, "Euler", "SGM Uniform", 1.0, (8, 6, 4)),
    Way("LCM", _in_names("(?<![a-z])lcm(?![a-z])"), "LCM", "SGM Uniform", 1.5, (8, 6, 4)),
    Way("Turbo", _in_names("turbo"), "Euler a", "SGM Uniform", 1.0, (6, 4, 2)),
)
USUAL_STEPS = (32, 20, 10)
_STEPS = re.compile(r"(?<![\d.])(\d{1,2})[-_ ]?steps?(?![a-z])", re.IGNORECASE)


def values_for(speed: str, checkpoint: str, loras: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Values of the form by field name, and what was recognised ('' for a usual model).

    A model distilled for a number of steps that its name tells (``…_8step``) is painted with
    exactly that number: with others it paints worse.

    Args:
        speed: One of ``SPEEDS``; anything else counts as the middle one.
        checkpoint: Its file name. loras: Names in the prompt.
    """
    place = SPEEDS.index(speed) if speed in SPEEDS else 1
    for name in (*loras, checkpoint):
        for way in DISTILLED:
            if way.pattern.search(name):
                told = _STEPS.search(name)
                steps = int(told[1]) if told and int(told[1]) else way.steps[place]
                values = {
                    "steps": steps, "sampler": way.sampler, "schedule": way.schedule,
                    "cfg_scale": way.cfg_scale,
                }  # fmt: skip
                return values, way.name
    return {"steps": USUAL_STEPS[place], "sampler": "DPM++ 2M", "schedule": "Karras"}, ""


def speeds_of(form: Mapping[str, Any], checkpoint: str, loras: Sequence[str]) -> tuple[str, ...]:
    """Which of ``SPEEDS`` a form's values are: none for values of its own, several where a model
    is painted with the same number of steps at every speed.

    Args:
        form: Values by field name. checkpoint, loras: As ``values_for``.
    """
    sampler = SAMPLERS_BY_NAME.get(form["sampler"])
    shown = dict(form)
    if sampler is not None and form["schedule"] == AUTOMATIC:
        shown["schedule"] = sampler.default_schedule
    wanted = {speed: values_for(speed, checkpoint, loras)[0] for speed in SPEEDS}
    return tuple(
        speed for speed, values in wanted.items() if values.items() <= _only(shown, values).items()
    )


def _only(form: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    return {name: form[name] for name in names}
