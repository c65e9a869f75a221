"""The extensions of this installation, as the web process has them: found, loaded, asked.

Nothing here costs anything while no extension is there.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from webui.errors import ParamsError
from webui.extension_forms import (
    FIELD_TYPES,
    AnyField,
    Form,
    ModelFile,
    checked_values,
    unique_fields,
    values_from_recipe,
    values_in_recipe,
)
from webui.extensions.a1111.reading import read_a1111
from webui.extensions.fence import Fence, Trouble, within_time
from webui.extensions.folders import Extension, find_extensions
from webui.extensions.loading import forget, import_part
from webui.extensions.note import Note, clear_note, label, read_note
from webui.extensions.plugins import Plugins
from webui.hookspecs import MOMENTS, JobKind, SavedPicture, Tab
from webui.options import Options
from webui.params import AnyParams, ExtensionJob, ExtensionValues, Painting, build
from webui.samplers.names import (
    SamplerInfo,
    ScheduleInfo,
    add_sampler,
    add_schedule,
    remove_sampler,
    remove_schedule,
)
from webui.services.extensions.scripts import A1111, ScriptRoom

logger = logging.getLogger(__name__)
LOADING, LOADING_SECONDS = "loading", 10.0
OF_JOBS = ("rewrite_prompt", "params_resolved", "before_save", "after_save", "job_ended")
"""Moments of the web process that belong to a job."""


@dataclass
class Known:
    """What is known of one extension beside its folder.

    Attributes:
        is_loaded: Its web part is, or it has none and its worker part may be.
        seconds: How long loading took here.
        forms: By tab. settings, fields: By name; ``fields`` are those of all its forms.
        acts: It joins moments of jobs.
    """

    extension: Extension
    is_loaded: bool = False
    seconds: float = 0.0
    forms: dict[str, Form] = field(default_factory=dict)
    settings: dict[str, AnyField] = field(default_factory=dict)
    fields: dict[str, AnyField] = field(default_factory=dict)
    tabs: list[Tab] = field(default_factory=list)
    job_kinds: dict[str, JobKind] = field(default_factory=dict)
    acts: bool = False
    undo: list[Callable[[], None]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.extension.name

    @property
    def all_fields(self) -> dict[str, AnyField]:
        """Those of forms and settings."""
        return {**self.fields, **self.settings}


@dataclass(frozen=True)
class Refreshed:
    """What a look into the folders brought.

    Attributes:
        restarts_worker: A worker part that is in use has changed.
    """

    new: tuple[str, ...]
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    restarts_worker: bool


class ExtensionRoom:
    """All extensions.

    Args:
        built_in: Folder of those that came with the program.
        folders: Where people drop theirs.
        options: Which are switched off; what was chosen in their settings.
        notes: Folder for the notes of who is at work.
        models: Folders that hold models, for fields that name a file.
        switched_off: By a start-up flag: ``all``, ``extra`` (all but built-in ones), or ''.

    Attributes:
        on_use: Told when the worker gets a job with extensions.
    """

    def __init__(
        self,
        *,
        built_in: Path | None,
        folders: tuple[Path, ...],
        options: Options,
        notes: Path,
        models: tuple[Path, ...],
        switched_off: str = "",
    ) -> None:
        self._built_in = built_in
        self._folders = folders
        self._options = options
        self._models = models
        self._switched_off = switched_off
        self._lock = threading.RLock()
        self._loading_note = notes / "extension-loading.note"
        self.worker_note = notes / "extension-worker.note"
        self.fence = Fence(within_time)
        self.plugins = Plugins("web", self.fence)
        self._known: dict[str, Known] = {}
        self._sent: dict[str, str] = {}
        self.scripts: ScriptRoom | None = None
        self.on_use: Callable[[], None] = lambda: None
        self._blame_last_run()
        self.refresh()

    # Finding and loading

    def _blame_last_run(self) -> None:
        """The extension that was being loaded when the program last ended did end it."""
        call = read_note(self._loading_note)
        if call is not None:
            told = "the program ended while it was loaded; press Refresh to try it again"
            self.fence.record(call.plugin, LOADING, told, is_fatal=True)
            clear_note(self._loading_note)

    def refresh(self, *, tries_again: bool = False) -> Refreshed:
        """Look into the folders again; load what is new or has changed.

        Args:
            tries_again: Those that were left out are given another chance.
        """
        with self._lock:
            readers = (read_a1111,)
            found = {e.name: e for e in find_extensions(self._built_in, self._folders, readers)}
            before = dict(self._known)
            gone = [name for name in before if name not in found]
            changed = [
                name for name, extension in found.items()
                if name in before and extension != before[name].extension
            ]  # fmt: skip
            for name in (*gone, *changed):
                self._unload(name)
            for name in found if tries_again else changed:
                self.fence.forget(name)
            kept = {n: known for n, known in self._known.items() if n not in changed}
            self._known = {n: kept.get(n) or Known(e) for n, e in found.items()}
            self._load_wanted()
            self._refresh_scripts()
            new = tuple(name for name in found if name not in before)
            in_use = (n for n in (*gone, *changed) if n in self._sent)
            return Refreshed(new, tuple(gone), tuple(changed), any(in_use))

    def _refresh_scripts(self) -> None:
        if self.scripts is not None:
            self.scripts.refresh()

    def _load_wanted(self) -> None:
        wanted: list[Known] = []
        for known in self.all():
            is_off = not self.is_enabled(known.extension) or self.fence.left_out(known.name)
            if is_off and known.is_loaded:
                self._unload(known.name)
            elif not is_off and not known.is_loaded and not known.extension.problem:
                wanted.append(known)
        if not wanted:
            return
        with self._noting() as note:
            for known in wanted:
                note.begin(label(known.name, LOADING, LOADING_SECONDS))
                self._load(known)
                note.end()

    @contextlib.contextmanager
    def _noting(self) -> Iterator[Note]:
        note = Note(self._loading_note)
        try:
            yield note
        finally:
            note.close()
            clear_note(self._loading_note)

    def _load(self, known: Known) -> None:
        began, extension = time.perf_counter(), known.extension

        def load() -> bool:
            self.plugins.add(extension.name, import_part(extension, "web"))
            return True

        has_web = extension.web is not None
        if not has_web or self.fence.call(extension.name, LOADING, LOADING_SECONDS, load):
            known.is_loaded = True
            self._ask(known)
            self._add_offers(known)
        known.seconds = time.perf_counter() - began

    def _ask(self, known: Known) -> None:
        """What an extension declares; a declaration that is wrong is left out and told."""
        name = known.name
        try:
            for form in self._declared(name, "forms", Form):
                self._take_form(known, form)
            known.settings = unique_fields(tuple(self._declared(name, "settings", FIELD_TYPES)))
            if twice := set(known.settings) & set(known.fields):
                raise ValueError(f"{min(twice)!r} is a field of a form and a setting")
        except ValueError as err:
            self.fence.record(name, "forms", err)
        known.tabs = list(self._declared(name, "tabs", Tab))
        known.job_kinds = {kind.name: kind for kind in self._declared(name, "job_kinds", JobKind)}
        extension = known.extension
        joins = any(self.plugins.joins(moment, {name}) for moment in OF_JOBS)
        if extension.kind == "file":
            known.acts = joins or self.plugins.knows(name, _WORKER_MOMENTS)
        else:
            known.acts = joins or (extension.model is not None and not extension.manifest.offers)

    def _declared(self, name: str, moment: str, kind: Any) -> Iterator[Any]:
        for _, item in self.plugins.list(moment, {name: {}}):
            if isinstance(item, kind):
                yield item
            else:
                told = f"it answered with a list that holds a {type(item).__name__}"
                self.fence.record(name, moment, told)

    def _take_form(self, known: Known, form: Form) -> None:
        for tab in form.tabs:
            if tab in known.forms:
                raise ValueError(f"two forms stand on {tab}; an extension has one for each tab")
            known.forms[tab] = form
        for one in form.fields:
            if known.fields.setdefault(one.name, one) != one:
                raise ValueError(f"{one.name!r} is another field on another tab; rename one")

    def _add_offers(self, known: Known) -> None:
        offers = known.extension.manifest.offers
        add: Any
        for kind, add in (("samplers", _add_sampler), ("schedules", _add_schedule)):
            for offered in offers.get(kind, ()):
                try:
                    known.undo.append(add(offered))
                except ValueError as err:
                    self.fence.record(known.name, kind, err)

    def _unload(self, name: str) -> None:
        known = self._known.pop(name, None)
        if known is None:
            return
        for undo in reversed(known.undo):
            undo()
        self.plugins.remove(name)
        forget(name)
        self._known[name] = Known(known.extension)

    def close(self) -> None:
        """Let go of all extensions, and of the names they added to lists of the program."""
        with self._lock:
            for name in list(self._known):
                self._unload(name)

    # Switching on and off

    def is_enabled(self, extension: Extension) -> bool:
        """Whether it is wanted: by flags, by options, by a person."""
        off = self._switched_off or self._options["disable_all_extensions"]
        if off == "all" or (off == "extra" and not extension.is_built_in):
            return False
        return extension.name not in (self._options["disabled_extensions"] or ())

    def enable(self, name: str, is_on: bool) -> None:
        """Switch an extension on or off, now and for the next start.

        Raises:
            ParamsError: There is none of that name. SettingsError: It cannot be kept.
        """
        with self._lock:
            self._named(name)
            off = [other for other in self._options["disabled_extensions"] or () if other != name]
            self._options.set("disabled_extensions", off if is_on else [*off, name])
            self._options.save()
            if is_on:
                self.fence.forget(name)
            self._load_wanted()
            self._refresh_scripts()

    def set_settings(self, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Keep what was chosen in an extension's settings; answers with all of them.

        Raises:
            ParamsError: No such extension or field, or a value that does not fit.
            SettingsError: They cannot be kept.
        """
        with self._lock:
            known = self._named(name)
            chosen = checked_values(name, known.settings, {**self.settings_of(known), **values})
            kept = {**(self._options["extension_settings"] or {}), name: chosen}
            self._options.set("extension_settings", kept)
            self._options.save()
            return chosen

    def settings_of(self, known: Known) -> dict[str, Any]:
        """What is chosen in an extension's settings; what does not fit any more is as usual."""
        kept = (self._options["extension_settings"] or {}).get(known.name, {})
        found: dict[str, Any] = {}
        for name, one in known.settings.items():
            try:
                found[name] = one.checked(kept[name]) if name in kept else one.usual
            except ValueError:
                found[name] = one.usual
        return found

    def _named(self, name: str) -> Known:
        known = self._known.get(name)
        if known is None:
            raise ParamsError(
                f"No extension is called {name!r}.",
                f"There are: {', '.join(self._known) or 'none'}.", field="extension",
            )  # fmt: skip
        return known

    def loaded(self) -> list[Known]:
        """Those that can be asked now."""
        return [
            known for known in self._known.values()
            if known.is_loaded and not self.fence.left_out(known.name)
        ]  # fmt: skip

    def all(self) -> list[Known]:
        """Those that lie there, loaded or not."""
        return list(self._known.values())

    def offered(self, kind: str) -> tuple[str, ...]:
        """Names that extensions add to one of the program's lists, see ``folders.OFFERS``."""
        offers = (known.extension.manifest.offers.get(kind, ()) for known in self.loaded())
        return tuple(name for names in offers for name in names)

    # Jobs

    def acting(
        self, tab: str, wished: Mapping[str, Any], warn: Callable[[str], None]
    ) -> ExtensionValues:
        """The extensions that act on a request, with all their values.

        Args:
            tab: ``txt2img``, ``img2img`` or ``extras``.
            wished: Extension → field → value, of those whose forms are switched on.
            warn: Told of those that are not here.
        Raises:
            ParamsError: A field that does not exist, or a value that does not fit.
        """
        loaded = self.loaded()
        for name in set(wished) - {known.name for known in loaded} - {A1111}:
            warn(self._missing(name))
        found: ExtensionValues = {}
        for known in loaded:
            form = known.forms.get(tab)
            is_asked = known.name in wished
            acts_always = (known.acts and not known.forms) if form is None else not form.has_switch
            if acts_always or (form is not None and is_asked):
                fields = unique_fields(form.fields) if form else {}
                given = {
                    name: value for name, value in wished.get(known.name, {}).items()
                    if name not in known.settings
                }  # fmt: skip
                values = checked_values(known.name, fields, given)
                found[known.name] = {**values, **self.settings_of(known)}
        return found | (self.scripts.acting(tab, wished.get(A1111, {})) if self.scripts else {})

    def _missing(self, name: str) -> str:
        why = self.fence.left_out(name) or "it is not here, or switched off"
        return f"The extension {name} was left out: {why}."

    def rewrite(self, values: ExtensionValues, text: str, which: str) -> str:
        """A prompt as extensions want it; see ``hookspecs.rewrite_prompt``."""
        return self.plugins.change("rewrite_prompt", text, _own(values), which=which)

    def resolved(self, params: AnyParams) -> AnyParams:
        """A complete request as extensions want it; one that is out of range is not taken."""
        if not isinstance(params, Painting) or not params.extensions:
            return params
        return self.plugins.change("params_resolved", params, _own(params.extensions), _fits_params)

    def own_job(
        self, name: str, task: str, given: Mapping[str, Any], user: str = ""
    ) -> ExtensionJob:
        """The request for a job of an extension's own.

        Raises:
            ParamsError: No such extension or kind, or a value that does not fit.
        """
        known = self._named(name)
        kind = known.job_kinds.get(task)
        if kind is None:
            raise ParamsError(
                f"The extension {name} has no kind of job called {task!r}.",
                f"It has: {', '.join(known.job_kinds) or 'none'}.", field="task",
            )  # fmt: skip
        values = checked_values(name, unique_fields(kind.fields), given)
        both = {**values, **self.settings_of(known)}
        return ExtensionJob(extension=name, task=task, extensions={name: both}, user=user)

    def message_for(self, params: AnyParams, warn: Callable[[str], None]) -> dict[str, Any]:
        """What the worker is told of the extensions of a job; empty when there are none.

        Args:
            warn: Told of those that are not here any more.
        """
        acting: ExtensionValues = getattr(params, "extensions", {})
        loaded = {known.name: known for known in self.loaded()}
        for name in acting:
            if name not in loaded and name != A1111:
                warn(self._missing(name))
        wanted = [
            known for known in loaded.values()
            if known.extension.model is not None
            and (known.name in acting or known.extension.manifest.offers)
        ]  # fmt: skip
        if not wanted and not acting:
            return {}
        self.on_use()
        self._sent |= {known.name: known.extension.prints for known in wanted}
        pairs: dict[str, Any] = {}
        for name, values in acting.items():
            if name in loaded:
                form = loaded[name].forms.get(params.kind)
                has_switch = form is not None and form.has_switch
                fields = loaded[name].all_fields
                pairs |= values_in_recipe(fields, values, with_usual=has_switch)
        files = {n: self._files(loaded[n], v) for n, v in acting.items() if n in loaded}
        told = {"wanted": [_facts(k.extension) for k in wanted], "infotext": pairs, "files": files}
        scripts = self.scripts
        acts = scripts is not None and (A1111 in acting or scripts.has_steps(acting))
        more = scripts.message(params) if scripts and acts else {}
        return {"extensions": told, **more}

    def _files(self, known: Known, values: Mapping[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, one in known.all_fields.items():
            if isinstance(one, ModelFile):
                chosen = values.get(name)
                names = (str(chosen),) if chosen else one.otherwise
                paths = (models / one.folder / file for file in names for models in self._models)
                path = next((path for path in paths if path.is_file()), None)
                if path is not None:
                    found[name] = str(path)
        return found

    def files_for(self, one: ModelFile) -> list[str]:
        """What a field that names a file offers."""
        names: set[str] = set()
        for folder in (models / one.folder for models in self._models):
            names |= {
                path.relative_to(folder).as_posix()
                for path in folder.rglob("*") if path.suffix.lower() in one.endings
            }  # fmt: skip
        return sorted(names, key=str.lower)

    # Recipes and requests

    def read_scripts(
        self, scripts: Mapping[str, Any], warn: Callable[[str], None]
    ) -> dict[str, Any]:
        """``alwayson_scripts`` as extensions want them; see ``hookspecs.scripts_read``."""
        return self.plugins.change("scripts_read", dict(scripts), warn=warn)

    def read_recipe(self, pairs: Mapping[str, str]) -> tuple[dict[str, str], ExtensionValues]:
        """A recipe's pairs as extensions want them, and the values that stand in them."""
        changed = self.plugins.change("infotext_read", dict(pairs))
        if self.scripts is not None:
            changed = self.scripts.recipe_read(changed)
        found: ExtensionValues = {}
        for known in self.loaded():
            if values := values_from_recipe(known.fields, changed):
                found[known.name] = values
        return changed, found

    def recipe_keys(self) -> set[str]:
        """Keys that fields of extensions have in recipes."""
        return {
            one.infotext for known in self.loaded() for one in known.all_fields.values()
            if one.infotext
        }  # fmt: skip

    # Results

    def before_save(self, params: AnyParams, picture: SavedPicture) -> SavedPicture:
        """A picture as extensions want it written."""
        values: ExtensionValues = getattr(params, "extensions", {})
        if not values:
            return picture
        changed = self.plugins.change("before_save", picture, _own(values))
        return replace(picture, data=changed.data, infotext=changed.infotext)

    def after_save(self, params: AnyParams, picture: SavedPicture) -> None:
        """Tell that a picture is kept."""
        values: ExtensionValues = getattr(params, "extensions", {})
        if values:
            self.plugins.tell("after_save", _own(values), picture=picture)
        if self.scripts is not None and A1111 in values:
            self.scripts.image_saved(params, picture)

    def job_ended(self, params: AnyParams, job_id: int, state: str) -> None:
        """Tell that a job's row is final."""
        values: ExtensionValues = getattr(params, "extensions", {})
        if values:
            self.plugins.tell("job_ended", _own(values), job_id=job_id, state=state)

    # What the worker says

    def take(self, trouble: Mapping[str, Any]) -> None:
        """Something went wrong in a worker part."""
        self.fence.take(Trouble(**trouble))

    def worker_began(self) -> None:
        """A fresh worker has no extension loaded."""
        self._sent.clear()

    def blame(self, why: str = "the model process ended in it") -> str:
        """Who was at work when the worker died, in a sentence; '' when nobody was. That extension
        is left out from now on."""
        call = read_note(self.worker_note)
        if call is None:
            return ""
        clear_note(self.worker_note)
        self.fence.record(call.plugin, call.moment, why, is_fatal=True)
        return (
            f"The extension {call.plugin} was at work, in {call.moment}; it is left out from now "
            "on."
        )


_WORKER_MOMENTS = frozenset(name for name, m in MOMENTS.items() if m.process == "worker")


def _own(values: ExtensionValues) -> dict[str, dict[str, Any]]:
    return {name: {"values": own} for name, own in values.items()}


def _facts(extension: Extension) -> dict[str, Any]:
    return {
        "name": extension.name,
        "path": str(extension.path),
        "kind": extension.kind,
        "model": str(extension.model),
        "is_built_in": extension.is_built_in,
        "prints": extension.prints,
    }


def _add_sampler(name: str) -> Callable[[], None]:
    add_sampler(SamplerInfo(name, ()))
    return partial(remove_sampler, name)


def _add_schedule(name: str) -> Callable[[], None]:
    add_schedule(ScheduleInfo(name.lower().replace(" ", "_"), name))
    return partial(remove_schedule, name)


def _fits_params(before: Painting, answer: Any) -> str:
    if not isinstance(answer, type(before)):
        return f"it answered with {type(answer).__name__}; {type(before).__name__} is needed"
    try:
        build(before.kind, answer.model_dump(exclude={"kind"}))  # type: ignore[attr-defined]
    except ParamsError as err:
        return str(err)
    return ""
