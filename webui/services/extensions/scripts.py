"""A1111 folders in the web process: loaded, described, and what jobs carry for their scripts."""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import shlex
import threading
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from webui.checkpoints.catalog import Catalog
from webui.errors import ParamsError
from webui.extension_forms import AnyField, Form, Words
from webui.extensions.a1111.folder import A1111Folder
from webui.extensions.a1111.host import Host, LoadedFolder, Names, Places
from webui.extensions.a1111.installing import Consents, Installed, install
from webui.extensions.a1111.mapping import job_of
from webui.extensions.a1111.pieces import extra_flags, page_files, translations
from webui.extensions.a1111.reading import (
    field_of,
    field_value,
    option_value,
    setting_field,
    setting_name,
)
from webui.extensions.a1111.runner import A1111, ScriptRunner
from webui.extensions.fence import Fence
from webui.extensions.folders import Extension
from webui.hookspecs import WEB_SECONDS, SavedPicture
from webui.infotext import write_infotext
from webui.options import OPTION_BY_KEY, Options
from webui.params import AnyParams, ExtensionValues, Painting
from webui.pictures import load_upright
from webui.prompts.styles import Style
from webui.samplers.names import SAMPLERS, SCHEDULES
from webui.services.named_weights import NamedWeights

if TYPE_CHECKING:
    from webui.services.extensions.known import Known
    from webui.services.extensions.shelf import Shelf

logger = logging.getLogger(__name__)
TABS: tuple[Literal["txt2img", "img2img"], ...] = ("txt2img", "img2img")
EXTRAS: Literal["extras"] = "extras"
IN_PAINTING, NOT_IN_EXTRAS = "postprocessing_enable_in_main_ui", "postprocessing_disable_in_extras"
"""Options that name steps: those that painted pictures go through, those that Extras has not."""


@dataclass(frozen=True)
class _Step:
    """A step of Extras, and its fields as we draw them.

    Attributes:
        fields: By name. arguments: Which of its arguments each of them is.
        usual: Values of arguments that no field of ours can show.
        numbered: Choices of arguments that are the number of a choice.
    """

    name: str
    fields: dict[str, AnyField]
    arguments: dict[str, str]
    usual: dict[str, Any]
    numbered: dict[str, list[str]]

    def to_json(self) -> dict[str, Any]:
        """What the worker is told of it."""
        return {"fields": self.arguments, "usual": self.usual, "numbered": self.numbered}


class _Values:
    """Our options, and the settings of A1111 folders, as scripts read them."""

    def __init__(self, options: Options, own: Callable[[], dict[str, Any]]) -> None:
        self._options, self._own = options, own

    def __getitem__(self, key: str) -> Any:
        own = self._own()
        return own[key] if key in own else self._options[key]

    def as_dict(self) -> dict[str, Any]:
        return {**self._options.as_dict(), **self._own()}


class ScriptRoom:
    """The A1111 folders that are switched on.

    Args:
        room: All extensions: which lie there, which are wanted, what is chosen in their settings.
        places: Folders. names: What there is to choose from.
        words: The command line, for flags of extensions.
    """

    def __init__(
        self,
        room: Shelf,
        options: Options,
        places: Places,
        names: Names,
        flags: Mapping[str, Any],
        words: list[str],
        facts: Mapping[str, Any],
    ) -> None:
        self._room = room
        self._options = options
        self._places = places
        self._names = names
        self._flags = places.in_flags(flags)
        self._words = words
        self._facts = dict(facts)
        self._prints: dict[str, str] = {}
        self._extra: dict[str, Any] = {}
        self._consents = Consents(places.data / "data" / "a1111-installs.json")
        self._steps: dict[str, list[_Step]] = {}
        self.lock = threading.RLock()
        self._drawn: dict[str, ScriptRunner | None] = {}
        self._shown: dict[str, str] = {}
        self._shown_before: dict[str, str] = {}
        self._page_problem = ""
        self.host: Host | None = None
        options.listen(self._option_changed)

    @property
    def fence(self) -> Fence:
        return self._room.fence

    # Loading

    def refresh(self) -> None:
        """Load what is new or has changed among the folders that are switched on, and let go of
        what is not."""
        with self.lock:
            wanted = {known.name: known.extension for known in self._wanted()}
            host = self.host or self._open()
            for name in [n for n, p in self._prints.items() if not _is_same(wanted.get(n), p)]:
                host.unload(name)
                del self._prints[name]
                self._steps.pop(name, None)
            new = [e for name, e in wanted.items() if name not in self._prints]
            if not new:
                return
            self._prints |= {one.name: one.prints for one in new}
            folders = [A1111Folder(one.path) for one in new]
            self._flags |= extra_flags(folders, self._words, host.imports, host.fence)
            vars(host.flags).update(self._flags)
            host.load(folders)
            self._take_in({one.name for one in new})

    @property
    def has_folders(self) -> bool:
        """True when there is a folder, or was one."""
        return self.host is not None or bool(self._wanted())

    def _wanted(self) -> list[Any]:
        return [known for known in self._room.loaded() if known.extension.kind == A1111]

    def _open(self) -> Host:
        self.host = Host(
            "web", self._places, self.fence,
            options=_Values(self._options, self._settings), keep=self._keep,
            flags=Namespace(**self._flags), names=self._names,
        )  # fmt: skip
        self.host.facts |= self._facts
        self.host.open()
        return self.host

    def _take_in(self, names: set[str]) -> None:
        """Settings, how long loading took, and what people should know."""
        assert self.host is not None
        for callback, _ in self.host.callbacks.called("ui_settings"):
            self.host.own_new_options(callback.owner)
        for known in self._wanted():
            loaded = self.host.folders.get(known.name)
            if known.name not in names or loaded is None:
                continue
            known.seconds += loaded.seconds
            call, made = self.host.fence.call, dict[str, AnyField]()
            for key, info in self.host.options.data_labels.items():
                if self.host.option_owners.get(key) == known.name:
                    field = call(known.name, "on_ui_settings", setting_field, key, info)[1]
                    made |= {field.name: field} if field is not None else {}
            known.settings = made
            call(known.name, "ui", self._add_steps, known)

    def _add_steps(self, known: Known) -> None:
        """Blocks of fields for an extension that brings steps of Extras."""
        assert self.host is not None
        steps = [one for one in self.host.extras_steps() if one.extension == known.name]
        if not steps:
            return
        drawn = self.drawing().draw_steps(self.host, steps)
        listed: list[_Step] = []
        for step, components in drawn.items():
            made = _Step(step, {}, {}, {}, {})
            for argument, component in components.items():
                self._add_field(made, argument, component, sum(len(o.fields) for o in listed))
            listed.append(made)
        self._steps[known.name] = listed
        self._offer_steps(known)

    def _add_field(self, step: _Step, argument: str, component: Any, number: int) -> None:
        """One of a step's arguments, as a field where there is one for it.

        Args:
            number: How many fields the steps before it have.
        """
        facts = self.drawing().step_facts(component)
        if facts is None:
            step.usual[argument] = self.drawing().value_of(component)
            return
        short = re.sub("[^a-z0-9_]", "_", argument.lower())[:30]
        name = f"f{number + len(step.fields)}_{short}"
        made = field_of(name, facts["label"] or argument, facts["value"], facts)
        assert made is not None, "it holds one plain value"
        step.fields[name], step.arguments[name] = made, argument
        if facts["numbered"]:
            step.numbered[argument] = [str(choice) for choice in facts["choices"] or ()]

    def _offer_steps(self, known: Known) -> None:
        """Their fields, on the tabs where people want the steps."""
        forms: dict[str, Form] = {}
        for tab in (*TABS, EXTRAS):
            steps = self._steps_on(tab, known.name)
            fields = tuple(one for step in steps for one in step.fields.values())
            title = Words(en=", ".join(step.name for step in steps))
            form = Form(tabs=(tab,), title=title, fields=fields, has_switch=tab == EXTRAS)
            forms |= {tab: form} if steps else {}
        known.forms = forms
        known.fields = {n: f for step in self._steps[known.name] for n, f in step.fields.items()}

    def _steps_on(self, tab: str, name: str) -> list[_Step]:
        """The steps of an extension that work over the pictures of a tab."""
        named = self._options[NOT_IN_EXTRAS if tab == EXTRAS else IN_PAINTING] or ()
        return [s for s in self._steps.get(name, ()) if (s.name in named) is (tab != EXTRAS)]

    def _steps_of(self, params: Any, name: str) -> list[_Step]:
        """The steps of an extension that a job goes through: those whose fields it has, whatever
        was chosen since; of steps without fields those that are wanted now."""
        has = getattr(params, "extensions", {}).get(name, {}).keys()
        now = self._steps_on(params.kind, name)
        return [s for s in self._steps[name] if (s.fields.keys() <= has if s.fields else s in now)]

    def has_steps(self, names: Iterable[str]) -> bool:
        """True when one of these extensions brings steps of Extras."""
        return any(name in self._steps for name in names)

    def _settings(self) -> dict[str, Any]:
        """What is chosen in the settings of all folders, by A1111's keys."""
        labels = self.host.options.data_labels if self.host else {}
        keys = {setting_name(key): key for key in labels}
        found = dict(self._extra)
        for known in self._wanted():
            for name, value in self._room.settings_of(known).items():
                if name in keys:
                    found[keys[name]] = option_value(labels[keys[name]], value)
        return found

    def has_setting(self, key: str) -> bool:
        """True for a setting of a folder that one job may have otherwise."""
        info = self.host.options.data_labels.get(key) if self.host else None
        is_free = info is not None and not info.do_not_save and not info.restrict_api
        return is_free and key not in OPTION_BY_KEY

    def _keep(self, key: str, value: Any) -> None:
        name = setting_name(key)
        for known in self._wanted():
            if name in known.settings:
                self._room.set_settings(known.name, {name: field_value(value)})
                return
        if key in OPTION_BY_KEY:
            logger.warning("A script wanted to change the setting %s, which it may not.", key)
        else:
            self._extra[key] = value

    def _option_changed(self, key: str) -> None:
        """A setting of ours, or of extensions, is another one: who waits for that is told."""
        if self.host is None:
            return
        if key in (IN_PAINTING, NOT_IN_EXTRAS):
            for known in [one for one in self._wanted() if one.name in self._steps]:
                self._offer_steps(known)
        self.host.options.look()

    def notes(self, name: str) -> list[str]:
        """What people should know of a folder beside its troubles."""
        loaded = self.host.folders.get(name) if self.host else None
        if loaded is None:
            return []
        is_old = self._page_problem and self._shown.get(name) != self._prints.get(name)
        return [*loaded.notes, *([self._page_problem] if is_old else [])]

    # install.py

    def wants_install(self, name: str) -> bool:
        """True for a folder with an ``install.py`` that nobody has agreed to as it is now."""
        folder = self._folder(name)
        return folder is not None and self._consents.wants(folder)

    def install(self, name: str, cancel: threading.Event | None = None) -> Installed:
        """Run a folder's ``install.py``: a person has just said so.

        Args:
            cancel: Ends it when set.
        Raises:
            ParamsError: No A1111 folder of that name is there. ExtensionError, JobCancelled: See
                ``install``.
        """
        folder = self._folder(name)
        if folder is None:
            raise ParamsError(f"No folder for A1111 is called {name[:80]!r}.", field="extension")
        constraints = self._places.program / "requirements" / "constraints.txt"
        program = self._places.program
        return install(folder, self._consents, program, constraints, cancel=cancel)

    def _folder(self, name: str) -> A1111Folder | None:
        named = (k.extension for k in self._room.all() if k.name == name)
        found = next((one for one in named if one.kind == A1111), None)
        return None if found is None else A1111Folder(found.path)

    # The page

    def runner(self, tab: str) -> ScriptRunner | None:
        """A tab's scripts; None where no script is loaded."""
        found = self.host.runners.get(tab) if self.host else None
        return found if found and found.scripts else None

    def drew(self, tab: str) -> None:
        """A tab's fields stand on the page."""
        self._drawn[tab] = self.runner(tab)

    def page_begins(self) -> None:
        """A page is being built: it shows the folders as they are now."""
        self._shown_before, self._shown = self._shown, self._on_page()
        self._page_problem = ""

    def page_failed(self, told: str) -> None:
        """It could not be built; people are told beside each folder that it does not show."""
        self._shown, self._page_problem = self._shown_before, told

    @property
    def is_page_old(self) -> bool:
        """True when the page was built with other folders, or others' files."""
        return self._shown != self._on_page()

    def _on_page(self) -> dict[str, str]:
        return {one.folder.canonical_name: self._prints[one.folder.canonical_name]
                for one in self._fine()}  # fmt: skip

    def recipe_keys(self) -> set[str]:
        """Keys of recipes that scripts bring into their fields."""
        runners = self.host.runners.values() if self.host else ()
        return {key for runner in runners for key in runner.recipe_keys}

    def drawing(self) -> Any:
        """What draws fields of scripts (``modules.drawing``); it needs Gradio."""
        return importlib.import_module("modules.drawing")

    def files(self) -> dict[str, Path]:
        """JavaScript and styles for the page, by name."""
        return page_files(loaded.folder for loaded in self._fine())

    def translations(self) -> dict[str, dict[str, str]]:
        """Tables of texts by language."""
        return translations(loaded.folder for loaded in self._fine())

    def _fine(self) -> list[LoadedFolder]:
        loaded = self.host.folders.values() if self.host else ()
        return [one for one in loaded if not one.problem]

    # Jobs

    def acting(self, tab: str, wished: Mapping[str, Any]) -> ExtensionValues:
        """What a job carries for scripts: the selected one, and the arguments of all.

        Args:
            wished: ``selected``, ``arguments`` and ``settings`` (JSON) of a request; what it leaves
                out is as on a fresh page.
        """
        if tab not in TABS or not any(loaded.folder.scripts for loaded in self._fine()):
            return {}
        runner = self.runner(tab)
        selected = str(wished.get("selected") or "")
        given = _arguments(wished.get("arguments"))
        if selected and runner is not None:
            runner.find(selected, is_alwayson=False)
        usual = self.usual(tab)
        named = {s.name for s in runner.alwayson_scripts} if runner else set()
        listed = {
            name: _filled(given.get(name, []), values)
            for name, values in usual.items()
            if name in named or name == selected.lower()
        }
        pictures = {key: value for key, value in wished.items() if key.startswith("picture_")}
        own = {"selected": selected, "arguments": json.dumps(listed, ensure_ascii=False)}
        if settings := wished.get("settings"):
            own["settings"] = str(settings)
        return {A1111: {**own, **pictures}}

    def usual(self, tab: str) -> dict[str, list[Any]]:
        """What stands in scripts' fields on a fresh page, by script."""
        runner = self.runner(tab)
        if runner is None or self.host is None:
            return {}
        with self.lock:
            if self._drawn.get(tab) is not runner:
                self.drawing().draw_headless(self.host, runner)
                self._drawn[tab] = runner
        return self.drawing().usual_values(runner)

    def infos(self) -> list[dict[str, Any]]:
        """All scripts as ``/sdapi/v1/script-info`` tells them."""
        found: list[dict[str, Any]] = []
        for tab in TABS:
            runner = self.runner(tab)
            if runner is None:
                continue
            self.usual(tab)
            found += [
                {
                    "name": script.name,
                    "is_alwayson": script.alwayson,
                    "is_img2img": tab == "img2img",
                    "args": [self.drawing().argument_facts(c) for c in script.controls or ()],
                }
                for script in runner.all_in_order
            ]
        return found

    def message(self, params: Any) -> dict[str, Any]:
        """What the worker is told beside a job's arguments."""
        folder = params.output.folder or self._options[f"outdir_{params.kind}_samples"]
        return {
            A1111: {
                "folders": [[str(one.folder.path), self._prints[name]] for name, one in (
                    self.host.folders.items() if self.host else ()) if not one.problem],
                "options": _Values(self._options, self._settings).as_dict(),
                "flags": {k: v for k, v in self._flags.items() if _is_plain(v)},
                "steps": {
                    name: {step.name: step.to_json() for step in self._steps_of(params, name)}
                    for name in self._steps
                },
                "output": str(self._places.data / folder),
                "places": {k: str(v) for k, v in vars(self._places).items()},
                "names": {
                    "checkpoints": [dict(one) for one in self._names.checkpoints()],
                    "vaes": list(self._names.vaes()),
                    "upscalers": list(self._names.upscalers()),
                    "face_restorers": list(self._names.face_restorers()),
                    "loras": list(self._names.loras()),
                    "styles": {k: list(v) for k, v in self._names.styles().items()},
                },
            }
        }  # fmt: skip

    def counted_text(self, text: str, steps: int, styles: Sequence[str], is_positive: bool) -> str:
        """A prompt as ``on_before_token_counter`` wants it."""
        if self.host is None or not self.host.callbacks.has("before_token_counter"):
            return text
        classes = importlib.import_module("modules.script_callbacks")
        told = classes.BeforeTokenCounterParams(text, steps, list(styles), is_positive)
        self.host.callbacks.call("before_token_counter", told, seconds=WEB_SECONDS)
        return told.prompt if isinstance(told.prompt, str) else text

    # What becomes of them

    def recipe_read(self, pairs: dict[str, str]) -> dict[str, str]:
        """A recipe's pairs as ``on_infotext_pasted`` wants them."""
        if self.host is None or not self.host.callbacks.has("infotext_pasted"):
            return pairs
        changed: dict[str, Any] = dict(pairs)
        self.host.callbacks.call("infotext_pasted", write_infotext("", "", pairs), changed)
        return {str(key): str(value) for key, value in changed.items() if value is not None}

    def image_saved(self, params: AnyParams, picture: SavedPicture) -> None:
        """A picture is in the library: ``on_image_saved``."""
        host = self.host
        if host is None or picture.path is None or not host.callbacks.has("image_saved"):
            return
        classes = importlib.import_module("modules.script_callbacks")
        image = load_upright(picture.path)
        p = job_of(params, lambda key: None) if isinstance(params, Painting) else None
        told = {"parameters": picture.infotext}
        host.callbacks.call(
            "image_saved", classes.ImageSaveParams(image, p, str(picture.path), told)
        )

    def close(self) -> None:
        """Let the folders go."""
        if self.host is not None:
            self.host.close()
            self.host = None


def _is_same(extension: Extension | None, prints: str) -> bool:
    return extension is not None and extension.prints == prints


def _filled(given: list[Any], usual: list[Any]) -> list[Any]:
    """Arguments that were given, then those of a fresh page."""
    return [*given[: len(usual)], *usual[len(given) :]]


def _arguments(text: Any) -> dict[str, list[Any]]:
    """What a request says to scripts.

    Raises:
        ParamsError: It is no such table.
    """
    try:
        table = json.loads(str(text or "{}"))
        return {str(name): list(values) for name, values in table.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as err:
        raise ParamsError(
            "The arguments of scripts cannot be read.",
            "Reload the page and fill them in again.", field="extensions",
        ) from err  # fmt: skip


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def script_names(
    catalog: Catalog, weights: NamedWeights, styles: Callable[[], Mapping[str, Style]]
) -> Names:
    """What scripts are told there is to choose from."""

    def checkpoints() -> list[dict[str, Any]]:
        return [
            {
                "title": one.title, "name": one.name, "filename": str(one.path),
                "sha256": one.sha256, "family": one.family,
            }
            for one in catalog.checkpoints()
            if not one.problem
        ]  # fmt: skip

    def prompts() -> dict[str, tuple[str, str]]:
        return {name: (one.prompt, one.negative_prompt) for name, one in styles().items()}

    return Names(
        checkpoints=checkpoints,
        vaes=lambda: [one.path.name for one in catalog.vaes()],
        samplers=SAMPLERS,
        schedules=SCHEDULES,
        upscalers=weights.upscaler_names,
        face_restorers=lambda: [one.name for one in weights.face_restorers()],
        loras=lambda: [one.path.stem for one in catalog.loras()],
        styles=prompts,
    )


def script_words() -> list[str]:
    """Flags for extensions' ``preload.py``: ours are read before anything of them is loaded."""
    return shlex.split(os.environ.get("DANQING_A1111_ARGS", ""))
