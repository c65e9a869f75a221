"""What an extension declares when it is loaded: forms, settings, tabs, kinds of jobs, offers.

A declaration that is wrong is left out and told; the rest of the extension works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from webui.extension_forms import FIELD_TYPES, Form, unique_fields
from webui.extensions.plugins import Plugins
from webui.hookspecs import MOMENTS, JobKind, Tab
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
_OF_WORKER: Final = frozenset(name for name, m in MOMENTS.items() if m.process == "worker")


def take_declarations(known: Known, plugins: Plugins) -> None:
    """Ask a loaded extension, and keep what it says in ``known``."""
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
    known.acts = _acts(known, plugins)


def _acts(known: Known, plugins: Plugins) -> bool:
    extension, name = known.extension, known.name
    if any(plugins.joins(moment, {name}) for moment in OF_JOBS):
        return True
    if extension.kind == "file":
        return plugins.knows(name, _OF_WORKER)
    return extension.model is not None and not extension.manifest.offers


def _declared(plugins: Plugins, name: str, moment: str, kind: Any) -> Iterator[Any]:
    for _, item in plugins.list(moment, {name: {}}):
        if isinstance(item, kind):
            yield item
        else:
            told = f"it answered with a list that holds a {type(item).__name__}"
            plugins.fence.record(name, moment, told)


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
