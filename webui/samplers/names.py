"""What samplers and schedules are called, and what is known about them without any maths.

Importable without torch: the page, the API and infotext live on this file alone.

Source:
    Names, aliases, order and defaults: AUTOMATIC1111 stable-diffusion-webui 1.10.1, as people
    know them from its menus, its API and the text stored in millions of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, Literal, TypeVar

AUTOMATIC = "Automatic"
BUILT_IN_UNIFORM = "(built-in uniform)"

SamplerKind = Literal["sigma", "range", "timestep"]


@dataclass(frozen=True)
class SamplerInfo:
    """One entry of the sampler menu.

    Attributes:
        name: The exact label people see and infotext stores.
        aliases: Older internal names; never accepted by the A1111 API, but met in the wild.
        default_schedule: Schedule label that "Automatic" stands for; None = built-in uniform.
        second_order: The network runs twice per step (but once where a step ends at sigma 0).
        brownian: Step noise comes from a Brownian path, one per image.
        uses_ensd: "ENSD" (eta noise seed delta) changes its pictures, so infotext names it.
        discards_penultimate: The last sigma before 0 is always left out of its schedule.
        kind: ``sigma`` walks a schedule; ``range`` chooses its own sigmas between two limits;
            ``timestep`` walks whole training steps and ignores the schedule.
        options: What the A1111 ``/samplers`` route reports, JSON values only.
    """

    name: str
    aliases: tuple[str, ...]
    default_schedule: str | None = None
    second_order: bool = False
    brownian: bool = False
    uses_ensd: bool = False
    discards_penultimate: bool = False
    kind: SamplerKind = "sigma"
    solver_type: Literal["midpoint", "heun"] | None = None

    @property
    def options(self) -> dict[str, str | bool]:
        """The flags that are set, under the names of the A1111 API."""
        flags: dict[str, str | bool] = {}
        if self.default_schedule is not None:
            flags["scheduler"] = SCHEDULES_BY_LABEL[self.default_schedule].name
        if self.second_order:
            flags["second_order"] = True
        if self.brownian:
            flags["brownian_noise"] = True
        if self.discards_penultimate:
            flags["discard_next_to_last_sigma"] = True
        if self.uses_ensd:
            flags["uses_ensd"] = True
        if self.solver_type is not None:
            flags["solver_type"] = self.solver_type
        return flags


@dataclass(frozen=True)
class ScheduleInfo:
    """One entry of the schedule menu.

    Attributes:
        name: Internal name, as the API and old settings write it.
        label: What people see and infotext stores.
        aliases: Further spellings accepted behind a sampler name.
        default_rho: Exponent used when none is asked for; -1 = the schedule has none.
        need_inner_model: The sigmas are read from the model's own noise table.
    """

    name: str
    label: str
    aliases: tuple[str, ...] = ()
    default_rho: float = -1.0
    need_inner_model: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every text that means this schedule behind a sampler name."""
        return (self.label, self.name, *self.aliases)


_Entry = TypeVar("_Entry", SamplerInfo, ScheduleInfo)


class _Menu(Generic[_Entry]):
    """Entries in the order in which they are shown, each by a name of its own.

    Attributes:
        entries, by_name: What there is now; extensions add to it.
    """

    def __init__(
        self, what: str, name_of: Callable[[_Entry], str], entries: Sequence[_Entry]
    ) -> None:
        self._what = what
        self._name_of = name_of
        self._entries = list(entries)
        self._by_name = {name_of(entry): entry for entry in entries}
        self.entries: Sequence[_Entry] = self._entries
        self.by_name: Mapping[str, _Entry] = MappingProxyType(self._by_name)

    def add(self, entry: _Entry) -> None:
        """Add an extension's entry to all menus and lists.

        Raises:
            ValueError: There is one of that name.
        """
        name = self._name_of(entry)
        if name in self._by_name:
            raise ValueError(f"There is a {self._what} called {name!r} already.")
        self._entries.append(entry)
        self._by_name[name] = entry

    def remove(self, name: str) -> None:
        """Take an extension's entry out again."""
        self._entries.remove(self._by_name.pop(name))


_SCHEDULES = [
    ScheduleInfo("automatic", AUTOMATIC),
    ScheduleInfo("uniform", "Uniform", need_inner_model=True),
    ScheduleInfo("karras", "Karras", default_rho=7.0),
    ScheduleInfo("exponential", "Exponential"),
    ScheduleInfo("polyexponential", "Polyexponential", default_rho=1.0),
    ScheduleInfo("sgm_uniform", "SGM Uniform", aliases=("SGMUniform",), need_inner_model=True),
    ScheduleInfo("kl_optimal", "KL Optimal"),
    ScheduleInfo("align_your_steps", "Align Your Steps"),
    ScheduleInfo("simple", "Simple", need_inner_model=True),
    ScheduleInfo("normal", "Normal", need_inner_model=True),
    ScheduleInfo("ddim", "DDIM", need_inner_model=True),
    ScheduleInfo("beta", "Beta", need_inner_model=True),
]
_SCHEDULE_MENU = _Menu("schedule", lambda info: info.label, _SCHEDULES)
SCHEDULES = _SCHEDULE_MENU.entries
SCHEDULES_BY_LABEL = _SCHEDULE_MENU.by_name
add_schedule, remove_schedule = _SCHEDULE_MENU.add, _SCHEDULE_MENU.remove

_SAMPLERS = [
    SamplerInfo("DPM++ 2M", ("k_dpmpp_2m",), "Karras"),
    SamplerInfo("DPM++ SDE", ("k_dpmpp_sde",), "Karras", second_order=True, brownian=True),
    SamplerInfo("DPM++ 2M SDE", ("k_dpmpp_2m_sde",), "Exponential", brownian=True),
    SamplerInfo(
        "DPM++ 2M SDE Heun",
        ("k_dpmpp_2m_sde_heun",),
        "Exponential",
        brownian=True,
        solver_type="heun",
    ),
    SamplerInfo("DPM++ 2S a", ("k_dpmpp_2s_a",), "Karras", second_order=True, uses_ensd=True),
    SamplerInfo(
        "DPM++ 3M SDE",
        ("k_dpmpp_3m_sde",),
        "Exponential",
        brownian=True,
        discards_penultimate=True,
    ),
    SamplerInfo("Euler a", ("k_euler_a", "k_euler_ancestral"), uses_ensd=True),
    SamplerInfo("Euler", ("k_euler",)),
    SamplerInfo("LMS", ("k_lms",)),
    SamplerInfo("Heun", ("k_heun",), second_order=True),
    SamplerInfo("DPM2", ("k_dpm_2",), "Karras", second_order=True, discards_penultimate=True),
    SamplerInfo(
        "DPM2 a",
        ("k_dpm_2_a",),
        "Karras",
        second_order=True,
        uses_ensd=True,
        discards_penultimate=True,
    ),
    SamplerInfo("DPM fast", ("k_dpm_fast",), uses_ensd=True, kind="range"),
    SamplerInfo("DPM adaptive", ("k_dpm_ad",), uses_ensd=True, kind="range"),
    SamplerInfo("Restart", ("restart",), "Karras", second_order=True),
    SamplerInfo("DDIM", ("ddim",), kind="timestep"),
    SamplerInfo("DDIM CFG++", ("ddim_cfgpp",), kind="timestep"),
    SamplerInfo("PLMS", ("plms",), kind="timestep"),
    SamplerInfo("UniPC", ("unipc",), kind="timestep"),
    SamplerInfo("LCM", ("k_lcm",)),
]
_SAMPLER_MENU = _Menu("sampler", lambda info: info.name, _SAMPLERS)
SAMPLERS = _SAMPLER_MENU.entries
SAMPLERS_BY_NAME = _SAMPLER_MENU.by_name
add_sampler, remove_sampler = _SAMPLER_MENU.add, _SAMPLER_MENU.remove

DEFAULT_SAMPLER = SAMPLERS[0]
"""What an unknown name silently becomes, as in A1111 1.9.4 and later."""

API_DEFAULT_SAMPLER = "Euler"
"""What the API uses when a request names no sampler at all (the default of ``sampler_index``)."""


@dataclass(frozen=True)
class Resolved:
    """A sampler and schedule that exist, found for names that may not have been exact."""

    sampler: str
    schedule_label: str


def resolve_sampler(
    sampler_name: str | None,
    scheduler: str | None = None,
    sampler_index: str | None = None,
) -> Resolved:
    """Choose sampler and schedule the way the A1111 1.10 API does.

    A name may carry its schedule behind it ("DPM++ 2M Karras"). A suffix that only repeats the
    sampler's own default becomes "Automatic"; a schedule asked for by itself wins over the suffix
    and is kept as asked.

    Args:
        sampler_name: Label, perhaps with a schedule suffix. Case-sensitive.
        scheduler: Schedule label or internal name; empty or None = none asked for. Unknown
            names become "Automatic".
        sampler_index: Older field, used when ``sampler_name`` is empty.

    Returns:
        Names that exist. Unknown samplers become "DPM++ 2M"; no name at all means "Euler".
    """
    bare_name, suffix = _split_schedule(sampler_name or sampler_index or API_DEFAULT_SAMPLER)
    sampler = SAMPLERS_BY_NAME.get(bare_name, DEFAULT_SAMPLER)
    if scheduler:
        asked = find_schedule(scheduler)
        return Resolved(sampler.name, asked.label if asked else AUTOMATIC)
    if suffix is None or suffix.label == sampler.default_schedule:
        return Resolved(sampler.name, AUTOMATIC)
    return Resolved(sampler.name, suffix.label)


def _split_schedule(name: str) -> tuple[str, ScheduleInfo | None]:
    for schedule in SCHEDULES:
        for spelling in schedule.spellings:
            if name.endswith(" " + spelling):
                return name[: -len(spelling) - 1], schedule
    return name, None


def find_schedule(text: str) -> ScheduleInfo | None:
    """The schedule with exactly this label or internal name, or None."""
    for schedule in SCHEDULES:
        if text in (schedule.label, schedule.name):
            return schedule
    return None


def find_sampler(text: str) -> SamplerInfo | None:
    """The sampler with this label or alias in any case, or None.

    For places that read names written by people and other programs (infotext, scripts); the API
    is stricter, see ``resolve_sampler``.
    """
    wanted = text.strip().lower()
    for sampler in SAMPLERS:
        if wanted in (sampler.name.lower(), *sampler.aliases):
            return sampler
    return None


def effective_schedule(sampler: str, schedule_label: str) -> str:
    """The schedule that will really be walked.

    Args:
        sampler: Exact sampler label.
        schedule_label: Exact schedule label, "Automatic" included.

    Returns:
        A schedule label, or ``(built-in uniform)`` for "Automatic" of a sampler without a default.
    """
    if schedule_label != AUTOMATIC:
        return schedule_label
    return SAMPLERS_BY_NAME[sampler].default_schedule or BUILT_IN_UNIFORM


def model_calls_per_step(sampler: str) -> int:
    """How often one step runs the network (2 for second-order samplers), for progress and cost."""
    return 2 if SAMPLERS_BY_NAME[sampler].second_order else 1
