"""A plan as a stranger writes one: seeds across, another setting down."""

from __future__ import annotations

import time
from typing import Any

from webui.hookspecs import (
    Axis,
    AxisChoice,
    Names,
    ParamsError,
    Plan,
    Sheet,
    Switch,
    Values,
    Whole,
    Words,
    hook,
)

CHOICES = (
    AxisChoice(name="Nothing"),
    AxisChoice(name="Steps", words=Words(en="Steps", zh="步数"), is_numbers=True),
    AxisChoice(name="Sampler", names="sampler"),
)


@hook
def plans() -> list[Plan]:
    fields = (
        Whole(name="pictures", default=3, minimum=1, maximum=9, infotext="Walk length"),
        Switch(name="backwards"),
        Axis(name="down", choices=CHOICES, infotext="Down"),
    )
    return [Plan("seed_walk", Words(en="Seed walk", zh="种子漫步"), walk, fields)]


def walk(request: Any, values: Values, names: Names) -> Sheet:
    if request.prompt == "refuse":
        raise ParamsError("There is nowhere to walk.", "Write another prompt.")
    if request.prompt == "fail":
        raise RuntimeError("stumbled")
    while request.prompt == "sleep":
        time.sleep(0.01)
    seed, steps = names.seed(request.seed), range(values["pictures"])
    seeds = [seed + (-n if values["backwards"] else n) for n in steps]
    axis = values["down"]["axis"]
    down = [text.strip() for text in values["down"]["values"].split(",") if text.strip()]
    rows: list[dict[str, Any]] = [{}]
    if axis == "Steps":
        rows = [{"steps": int(text)} for text in down]
    elif axis == "Sampler":
        rows = [{"sampler": names.find("sampler", text)} for text in down]
    return Sheet(
        cells=[{**row, "seed": seed} for row in rows for seed in seeds],
        columns=[f"Seed: {seed}" for seed in seeds],
        rows=[f"{axis}: {text}" for text in down],
        pairs=[("Walk begins", str(seed))],
    )
