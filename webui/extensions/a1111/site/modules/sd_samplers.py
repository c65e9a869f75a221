"""The samplers, by name. Who paints with one sets ``p.sampler_name``."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from webui.errors import ExtensionError
from webui.extensions.a1111.host import current
from webui.extensions.a1111.importing import guard

SamplerData = namedtuple("SamplerData", ["name", "constructor", "aliases", "options"])


def create_sampler(name: str, model: Any) -> Any:
    """Raises: samplers here are other things than A1111's."""
    raise ExtensionError(
        f"A script wanted to make the sampler {name} by itself.",
        "Painting goes through processing.process_images(p), with p.sampler_name.",
    )


all_samplers = [
    SamplerData(one.name, lambda model, one=one: create_sampler(one.name, model),
                list(one.aliases), {})
    for one in current().names.samplers
]  # fmt: skip
all_samplers_map = {one.name: one for one in all_samplers}
samplers = list(all_samplers)
samplers_for_img2img = list(all_samplers)
samplers_map = {word.lower(): one.name for one in all_samplers for word in (one.name, *one.aliases)}
samplers_hidden: set[str] = set()


def find_sampler_config(name: str | None) -> Any:
    """A sampler by its name; the first one for None."""
    return all_samplers_map.get(name) if name else next(iter(all_samplers), None)


def visible_sampler_names() -> list[str]:
    return [one.name for one in samplers]


def visible_samplers() -> list[Any]:
    return list(samplers)


def set_samplers() -> None:
    """The list stays what it is."""


def get_sampler_and_scheduler(sampler_name: str, scheduler_name: str) -> tuple[str, str]:
    """A name that ends in that of a schedule, as both."""
    from . import sd_schedulers

    for schedule in sd_schedulers.schedulers:
        if sampler_name.endswith(f" {schedule.label}"):
            return sampler_name.removesuffix(f" {schedule.label}"), schedule.label
    return sampler_name, scheduler_name or "Automatic"


guard(__name__)
