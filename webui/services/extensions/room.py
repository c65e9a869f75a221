"""What requests, jobs and recipes ask of the extensions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from webui.errors import ParamsError
from webui.extension_forms import (
    ModelFile,
    checked_values,
    unique_fields,
    values_from_recipe,
    values_in_recipe,
)
from webui.extensions.fence import Trouble
from webui.extensions.folders import Extension, content_of
from webui.extensions.note import clear_note, read_note
from webui.hookspecs import MOST_DRAWN_CHARACTERS, Drawable, Offer, SavedPicture
from webui.options import Options
from webui.params import (
    MAX_PROMPT_CHARACTERS,
    AnyParams,
    ExtensionJob,
    ExtensionValues,
    Painting,
    build,
)
from webui.services.extensions.known import Known
from webui.services.extensions.scripts import A1111
from webui.services.extensions.shelf import Shelf
from webui.services.forms.drawn_texts import Draw


class ExtensionRoom(Shelf):
    """All extensions, and what they say to requests and jobs.

    Args:
        notes: As ``Shelf`` has it, as everything else.
        models: Folders that hold models, for fields that name a file.

    Attributes:
        worker_note: Where the worker notes which extension is at work.
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
        data: Path,
        programs: tuple[Path, ...] = (),
        switched_off: str = "",
    ) -> None:
        self._models = models
        self.worker_note = notes / "extension-worker.note"
        self.on_use: Callable[[], None] = lambda: None
        super().__init__(
            built_in=built_in, folders=folders, options=options, notes=notes, data=data,
            programs=programs, switched_off=switched_off,
        )  # fmt: skip

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
        if self.scripts is None:
            return found
        return found | self.scripts.acting(tab, wished.get(A1111, {}))

    def _missing(self, name: str) -> str:
        why = self.fence.left_out(name) or "it is not here, or switched off"
        return f"The extension {name} was left out: {why}."

    def rewrite(self, values: ExtensionValues, text: str, which: str) -> str:
        """A prompt as extensions want it; see ``hookspecs.rewrite_prompt``."""
        return self.plugins.change("rewrite_prompt", text, _own(values), which=which)

    def drawing(self, values: ExtensionValues, warn: Callable[[str], None]) -> Draw:
        """How the prompts of a request are drawn; see ``hookspecs.draw_prompts``.

        Args:
            values: Of the extensions that act on it. warn: Told each thing once.
        """
        own = _own({**self._without_form(), **values})
        told: set[str] = set()

        def warn_once(text: str) -> None:
            if text not in told:
                told.add(text)
                warn(text)

        def draw(
            texts: Sequence[str], which: str, seeds: Sequence[int], combinations: int
        ) -> Sequence[str]:
            return self.plugins.change(
                "draw_prompts", texts, own, partial(_fits_texts, combinations), which=which,
                seeds=tuple(seeds), combinations=combinations, warn=warn_once,
            )  # fmt: skip

        return draw

    def drawn_once(self, text: str, which: str) -> str:
        """The text that a prompt becomes in a picture with seed 0.

        Raises:
            ParamsError: Who draws refuses it.
        """
        return self.drawing({}, lambda told: None)((text,), which, (0,), 0)[0]

    def counted_text(self, text: str, steps: int, styles: Sequence[str], is_positive: bool) -> str:
        """The text whose tokens are counted where a person has written ``text``."""
        if self.scripts is None:
            return text
        return self.scripts.counted_text(text, steps, styles, is_positive)

    def choices(self, text: str) -> list[Drawable]:
        """What would be made of a prompt, as the options are now; empty where nobody draws it."""
        if not text or not self._options["dynamic_prompts"]:
            return []
        own = _own(self._without_form())
        return [one for _, one in self.plugins.list("prompt_choices", own, Drawable, text=text)]

    def offers(self, typed: str) -> list[Offer]:
        """How a prompt may go on; see ``hookspecs.prompt_offers``."""
        own = _own(self._without_form())
        return [one for _, one in self.plugins.list("prompt_offers", own, Offer, typed=typed)]

    @property
    def has_drawing(self) -> bool:
        """Somebody draws prompts, of every request or of some."""
        return self.plugins.joins("draw_prompts", {known.name for known in self.loaded()})

    def _without_form(self) -> ExtensionValues:
        """Extensions that nobody has to switch on for a request, with their settings."""
        return {known.name: self.settings_of(known) for known in self.loaded() if not known.forms}

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
        if acts or any(not known.extension.is_built_in for known in wanted):
            self.has_strangers_at_work = True
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

    def contents(self, acting: Iterable[str] | None = None) -> dict[str, str]:
        """What is in the extensions that are at work, as short hashes by name; see ``content_of``.

        Args:
            acting: Those of a request alone, as it names them: the scripts of all A1111 folders
                act under one name. None = all.
        """
        wanted = None if acting is None else set(acting)

        def is_wanted(one: Extension) -> bool:
            return wanted is None or one.name in wanted or (one.kind == A1111 and A1111 in wanted)

        found = (known.extension for known in self.loaded())
        return {one.name: content_of(one.path, one.prints) for one in found if is_wanted(one)}

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
        is_theirs = A1111 in values or not isinstance(params, Painting)
        if self.scripts is not None and is_theirs:
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
        self.has_strangers_at_work = False

    def blame(self, why: str = "the model process ended in it") -> str:
        """Who was at work when the worker died, in a sentence; '' when nobody was. That extension
        is left out from now on."""
        call = read_note(self.worker_note)
        if call is None:
            return ""
        self.fence.record(call.plugin, call.moment, why, is_fatal=True)
        clear_note(self.worker_note)
        return (
            f"The extension {call.plugin} was at work, in {call.moment}; it is left out from now "
            "on."
        )


def _own(values: ExtensionValues) -> dict[str, dict[str, Any]]:
    return {name: {"values": own} for name, own in values.items()}


def _fits_texts(combinations: int, before: Sequence[str], answer: Any) -> str:
    wanted = f"1 to {combinations} texts are" if combinations else f"{len(before)} texts are"
    if not isinstance(answer, (list, tuple)) or not all(isinstance(one, str) for one in answer):
        return f"it answered with {type(answer).__name__}; a list of texts is needed"
    if not (1 <= len(answer) <= combinations if combinations else len(answer) == len(before)):
        return f"it answered with {len(answer)} texts; {wanted} needed"
    if sum(map(len, answer)) > MOST_DRAWN_CHARACTERS:
        return f"it answered with more than {MOST_DRAWN_CHARACTERS:,} characters"
    longest = max(map(len, answer))
    if longest > MAX_PROMPT_CHARACTERS:
        told = f"it answered with a text of {longest:,} characters"
        return f"{told}; {MAX_PROMPT_CHARACTERS:,} are the most"
    return ""


def _facts(extension: Extension) -> dict[str, Any]:
    return {
        "name": extension.name,
        "path": str(extension.path),
        "kind": extension.kind,
        "model": str(extension.model),
        "is_built_in": extension.is_built_in,
        "prints": extension.prints,
    }


def _fits_params(before: Painting, answer: Any) -> str:
    if not isinstance(answer, type(before)):
        return f"it answered with {type(answer).__name__}; {type(before).__name__} is needed"
    try:
        build(before.kind, answer.model_dump(exclude={"kind"}))  # type: ignore[attr-defined]
    except ParamsError as err:
        return str(err)
    return ""
