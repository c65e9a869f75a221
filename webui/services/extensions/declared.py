"""What an extension declares when it is loaded: forms, settings, tabs, jobs, plans, offers.

A declaration that is wrong is left out and told; the rest of the extension works.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any, Final

from webui.extension_forms import FIELD_TYPES, Form, unique_fields
from webui.extensions.plugins import Plugins
from webui.hookspecs import MOMENTS, JobKind, Plan, Tab
from webui.samplers.names import (
    SamplerInfo,
    ScheduleInfo,
    add_sampler,
    add_schedule,
    remove_sampler,
    remove_schedule,
)
from webui.services.extensions.known import Known

OF_JOBS: Final = ("rewrite_prompt", "params_resolved", "before_save", "after_save", "job_ended")
"""Moments of the web process that belong to a job."""
MOST_TITLE: Final = 80
_PLAN_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,40}")
_OF_WORKER: Final = frozenset(name for name, m in MOMENTS.items() if m.process == "worker")


def take_declarations(known: Known, plugins: Plugins, others: Iterable[Known]) -> None:
    """Ask a loaded extension, and keep what it says in ``known``.

    Args:
        others: Whose names are taken.
    """
    name = known.name
    try:
        for form in _declared(plugins, name, "forms", Form):
            _take_form(known, form)
        known.settings = unique_fields(tuple(_declared(plugins, name, "settings", FIELD_TYPES)))
        if twice := set(known.settings) & set(known.fields):
            raise ValueError(f"{min(twice)!r} is a field of a form and a setting")
    except ValueError as err:
        plugins.fence.record(name, "forms", err)
    known.tabs = list(_declared(plugins, name, "tabs", Tab))
    known.job_kinds = {kind.name: kind for kind in _declared(plugins, name, "job_kinds", JobKind)}
    taken = {name for other in others if other is not known for name in _plan_names(other)}
    for plan in _declared(plugins, name, "plans", Plan):
        try:
            _take_plan(known, plan, taken)
        except ValueError as err:
            plugins.fence.record(name, "plans", err)
    known.acts = _acts(known, plugins)


def _plan_names(known: Known) -> set[str]:
    """What requests may call its plans."""
    plans = known.plans.values()
    return {plan.name for plan in plans} | {plan.title.en.lower() for plan in plans}


def _take_plan(known: Known, plan: Plan, taken: Collection[str]) -> None:
    if not _PLAN_NAME.fullmatch(plan.name) or not 0 < len(plan.title.en) <= MOST_TITLE:
        raise ValueError(f"the plan {plan.name[:80]!r} needs a plain name and an English title")
    if twice := {plan.name, plan.title.en.lower()} & {*taken, *_plan_names(known)}:
        raise ValueError(f"there is a plan called {min(twice)!r} already")
    unique_fields(plan.fields)
    unique_fields(plan.arguments)
    known.plans[plan.name] = plan


def _acts(known: Known, plugins: Plugins) -> bool:
    extension, name = known.extension, known.name
    if any(plugins.joins(moment, {name}) for moment in OF_JOBS):
        return True
    if extension.kind == "file":
        return plugins.knows(name, _OF_WORKER)
    return extension.model is not None and not extension.manifest.offers


def _declared(plugins: Plugins, name: str, moment: str, kind: Any) -> Iterator[Any]:
    return (item for _, item in plugins.list(moment, {name: {}}, kind))


def _take_form(known: Known, form: Form) -> None:
    for tab in form.tabs:
        if tab in known.forms:
            raise ValueError(f"two forms stand on {tab}; an extension has one for each tab")
        known.forms[tab] = form
    for one in form.fields:
        if known.fields.setdefault(one.name, one) != one:
            raise ValueError(f"{one.name!r} is another field on another tab; rename one")


def add_offers(known: Known, plugins: Plugins) -> None:
    """Put what its worker part adds into the program's lists, until ``known.undo`` is called."""
    offers = known.extension.manifest.offers
    add: Any
    for kind, add in (("samplers", _add_sampler), ("schedules", _add_schedule)):
        for offered in offers.get(kind, ()):
            try:
                known.undo.append(add(offered))
            except ValueError as err:
                plugins.fence.record(known.name, kind, err)


def _add_sampler(name: str) -> Callable[[], None]:
    add_sampler(SamplerInfo(name, ()))
    return partial(remove_sampler, name)


def _add_schedule(name: str) -> Callable[[], None]:
    add_schedule(ScheduleInfo(name.lower().replace(" ", "_"), name))
    return partial(remove_schedule, name)
