"""What A1111 folders of one process see of the program: the heart behind ``modules``."""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from webui.errors import ExtensionError
from webui.extensions.a1111.callbacks import NEVER_CALLED, Callbacks
from webui.extensions.a1111.fences import LOAD_SECONDS, Fence
from webui.extensions.a1111.folder import (
    A1111Folder,
    ScriptFile,
    missing_needs,
    scripts_in_order,
)
from webui.extensions.a1111.importing import Imports
from webui.extensions.a1111.options import OptionValues, ScriptOptions
from webui.extensions.a1111.postprocessing import ScriptPostprocessing
from webui.extensions.a1111.runner import ScriptRunner
from webui.extensions.a1111.script import Script, ScriptBuiltinUI, ScriptClass
from webui.extensions.a1111.state import State
from webui.extensions.fence import Fence as CoreFence

logger = logging.getLogger(__name__)
NOBODY = "base"
"""Who asks where no extension does, as names of callbacks call it."""
_OPEN: list[Host] = []
"""The open host, which ``modules`` asks; there is one in a process at most."""


class Painting(Protocol):
    """What the model process does for scripts."""

    def process_images(self, p: Any) -> Any:
        """Paint ``p`` and return its ``Processed``."""
        ...

    def upscale(self, image: Any, name: str, width: int, height: int) -> Any:
        """Enlarge a picture (PIL, RGB) with an upscaler of that name."""
        ...

    def switch_checkpoint(self, text: str) -> None:
        """Paint with another checkpoint, by any of its names, to the end of the job."""
        ...


@dataclass(frozen=True)
class Names:
    """What there is to choose from, asked anew each time.

    Attributes:
        checkpoints: Titles, file paths and hashes: dicts with ``title``, ``name``, ``filename``,
            ``hash``, ``sha256``.
        samplers, schedules: As ``webui.samplers.names`` lists them.
        styles: Prompt and negative prompt by name.
    """

    checkpoints: Callable[[], Sequence[Mapping[str, Any]]] = list
    vaes: Callable[[], Sequence[str]] = list
    samplers: Sequence[Any] = ()
    schedules: Sequence[Any] = ()
    upscalers: Callable[[], Sequence[str]] = list
    face_restorers: Callable[[], Sequence[str]] = list
    loras: Callable[[], Sequence[str]] = list
    styles: Callable[[], Mapping[str, tuple[str, str]]] = dict


@dataclass(frozen=True)
class Places:
    """Folders that scripts ask for.

    Attributes:
        program: Where the program lies. data: Where its data lie. models: Weights.
        extensions: Where the folders lie.
    """

    program: Path
    data: Path
    models: Path
    extensions: Path

    def in_flags(self, flags: Mapping[str, Any]) -> dict[str, Any]:
        """Flags; those that name folders are never empty: A1111's have these usual values."""
        models = {f"{name}_models_path": self.models / folder for name, folder in _KINDS.items()}
        usual = {
            **models,
            "data_dir": self.data,
            "models_dir": self.models,
            "embeddings_dir": self.data / "embeddings",
            "hypernetwork_dir": self.models / "hypernetworks",
            "lora_dir": self.models / "Lora",
            "localizations_dir": self.program / "localizations",
            "ui_settings_file": self.data / "config.json",
            "ui_config_file": self.data / "ui-config.json",
        }
        told = {name: value for name, value in flags.items() if value is not None}
        return {**flags, **{name: str(path) for name, path in usual.items()}, **told}


_KINDS = {
    "codeformer": "Codeformer", "gfpgan": "GFPGAN", "esrgan": "ESRGAN", "bsrgan": "BSRGAN",
    "realesrgan": "RealESRGAN", "dat": "DAT", "swinir": "SwinIR", "scunet": "ScuNET",
}  # fmt: skip


@dataclass
class LoadedFolder:
    """What became of a folder.

    Attributes:
        seconds: How long its scripts took to load.
        problem: Why it does nothing; empty = it works.
        notes: What else people should know.
    """

    folder: A1111Folder
    seconds: float = 0.0
    problem: str = ""
    notes: list[str] = field(default_factory=list[str])


class Host:
    """One process's A1111 folders, loaded.

    Args:
        side: ``web`` or ``worker``.
        options: Present values of our options.
        keep: Keeps a changed option; None where they cannot be kept.
        flags: Start-up flags, for ``shared.cmd_opts``.
        fence: Around all that scripts do.
    """

    def __init__(
        self,
        side: str,
        places: Places,
        fence: CoreFence,
        *,
        options: OptionValues,
        keep: Callable[[str, Any], None] | None = None,
        flags: Namespace | None = None,
        names: Names | None = None,
    ) -> None:
        self.side = side
        self.places = places
        self.flags = flags or Namespace()
        self.names = names or Names()
        self.fence = Fence(fence)
        self.options = ScriptOptions(options, keep, self._tell_of_change)
        self.state = State()
        self.imports = Imports()
        self.callbacks = Callbacks(self.fence, first=self._wanted_first)
        self.classes: list[ScriptClass] = []
        self.steps: list[ScriptClass] = []
        self.folders: dict[str, LoadedFolder] = {}
        self.modules: dict[str, ModuleType] = {}
        self.painting: Painting | None = None
        self.facts: dict[str, Any] = {}
        self.option_owners: dict[str, str] = {}
        self.extra_networks: dict[str, Any] = {}
        self.network_pages: list[Any] = []
        self.runners: dict[str, ScriptRunner] = {}

    def __enter__(self) -> Host:
        self.open()
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def open(self) -> None:
        """Make ``modules`` importable and this host the one that it asks.

        Raises:
            ExtensionError: Another host is open in this process.
        """
        if _OPEN:
            raise ExtensionError("A1111 folders are loaded already.", "Restart the program.")
        _OPEN.append(self)
        self.imports.open()

    def close(self) -> None:
        """Let scripts go and take ``modules`` back; does nothing where that is done."""
        if self not in _OPEN:
            return
        self.callbacks.call("script_unloaded")
        self.imports.close()
        _OPEN.remove(self)

    # Loading

    def load(self, folders: Iterable[A1111Folder]) -> None:
        """Load the scripts of folders, in the order that their metadata asks for.

        A script that cannot be loaded is reported under its folder's name and left out with all
        that the folder brought; the others are loaded.
        """
        fresh = self._taken_up(folders)
        for folder, missing in missing_needs([one.folder for one in self.folders.values()]):
            if folder in fresh:
                self.folders[folder.canonical_name].notes.append(
                    f"It says that it needs {missing}, which is not here."
                )
        for file in scripts_in_order(fresh):
            self._load_script(file)
        self._make_runners()

    def _taken_up(self, folders: Iterable[A1111Folder]) -> list[A1111Folder]:
        fresh: list[A1111Folder] = []
        for folder in folders:
            taken = self.folders.get(folder.canonical_name)
            if taken is not None and taken.folder.path != folder.path:
                taken.notes.append(
                    f"{folder.path} has the same name, capitals aside, and was left out."
                )
                continue
            if taken is not None:
                self.unload(folder.canonical_name)
            self.folders[folder.canonical_name] = LoadedFolder(folder)
            self.callbacks.folders[folder.canonical_name] = folder
            if folder.metadata.problem:
                self.folders[folder.canonical_name].notes.append(folder.metadata.problem)
            fresh.append(folder)
        return fresh

    def _load_script(self, file: ScriptFile) -> None:
        name, loaded = file.folder.canonical_name, self.folders[file.folder.canonical_name]
        if loaded.problem:
            return
        began = time.perf_counter()
        with self.imports.within(file.folder.path):
            done, module = self.fence.call(
                name, file.path.name, self.imports.module, file.path, file.folder.path,
                seconds=LOAD_SECONDS,
                is_fatal=True,
            )  # fmt: skip
        loaded.seconds += time.perf_counter() - began
        self.own_new_options(name)
        if not done:
            troubles = self.fence.core.troubles(name)
            loaded.problem = troubles[-1].message if troubles else self.fence.core.left_out(name)
            self._drop(name)
            return
        self.modules[file.canonical_name] = module
        for found in self._classes_in(module, file):
            kind = self.steps if issubclass(found.made, ScriptPostprocessing) else self.classes
            kind.append(found)

    def _classes_in(self, module: ModuleType, file: ScriptFile) -> list[ScriptClass]:
        """Scripts of a file, in the order in which they stand there: those that it defines, and
        those that it has from other files of its folder and derives nothing from."""
        bases = (Script, ScriptBuiltinUI, ScriptPostprocessing)
        taken = [one.made for one in (*self.classes, *self.steps)]
        kinds = list(dict.fromkeys(filter(_is_script, vars(module).values())))
        owner, base = file.folder.canonical_name, file.folder.path
        found: list[ScriptClass] = []
        for made in kinds:
            is_base = any(made in other.__mro__[1:] for other in kinds)
            is_own = made.__module__ == module.__name__ or (not is_base and _lies_in(made, base))
            if is_own and made not in bases and made not in taken:
                found.append(ScriptClass(made, file.path, owner, base))
        return found

    def own_new_options(self, name: str) -> None:
        """Settings that nobody has declared before are this extension's."""
        for key in self.options.data_labels:
            self.option_owners.setdefault(key, name)
        self.options.look()

    def _tell_of_change(self, deed: Callable[[], Any]) -> None:
        self.fence.call(self.owner_of(deed), "onchange", deed)

    def unload(self, name: str) -> None:
        """Let one extension go; its scripts are told."""
        for moment in ("before_reload", "script_unloaded"):
            for one in [o for o in self.callbacks.of(moment) if o.owner == name]:
                self.fence.call(name, f"on_{moment}", one.deed)
        self._drop(name)
        self.imports.forget(self.folders.pop(name).folder.path)
        self._make_runners()

    def _drop(self, name: str) -> None:
        """Let go of all that an extension's scripts brought."""
        self.callbacks.remove_of(name)
        self.options.let_go(lambda deed: self.owner_of(deed) == name)
        self.classes = [one for one in self.classes if one.owner != name]
        self.steps = [one for one in self.steps if one.owner != name]
        self.network_pages = [one for one in self.network_pages if one.owner != name]
        for table, owner_of in (
            (self.modules, lambda key: key.partition("/")[0]),
            (self.extra_networks, lambda key: self.extra_networks[key].owner),
            (self.options.data_labels, self.option_owners.get),
        ):
            for key in [key for key in table if owner_of(key) == name]:
                del table[key]
        self.option_owners = {k: o for k, o in self.option_owners.items() if o != name}

    def _make_runners(self) -> None:
        """Objects of the scripts, a set for each tab."""
        self.runners = {
            tab: ScriptRunner(self.fence, self.classes, is_img2img=tab == "img2img")
            for tab in ("txt2img", "img2img")
        }

    def extras_steps(self) -> list[ScriptPostprocessing]:
        """New objects of the steps of Extras."""
        made: list[ScriptPostprocessing] = []
        for found in self.steps:
            done, step = self.fence.call(found.owner, "__init__", found.made)
            if done:
                step.extension, step.filename = found.owner, str(found.file)
                step.name = step.name or type(step).__name__
                made.append(step)
        return made

    # What ``modules`` asks

    def basedir(self) -> Path:
        """The folder of the extension that asks: of the one being loaded, else of the caller."""
        present = self.imports.present
        if present is not None:
            return present
        owner = self.caller()[0]
        loaded = self.folders.get(owner)
        return loaded.folder.path if loaded else self.places.program

    def caller(self) -> tuple[str, str]:
        """Which extension's code is asking, and from which of its files."""
        for frame in inspect.stack(context=0)[1:]:
            if owner := self._owner_of_file(frame.filename):
                return owner, Path(frame.filename).name.lower()
        present = self.imports.present
        return (present.name.lower(), "") if present else (NOBODY, "")

    def owner_of(self, deed: Callable[..., Any]) -> str:
        """Whose function it is; ``NOBODY``'s where no file of an extension holds it."""
        while isinstance(deed, partial):
            deed = deed.func
        deed = inspect.unwrap(deed)
        code = getattr(deed, "__code__", None) or getattr(type(deed).__call__, "__code__", None)
        return self._owner_of_file(code.co_filename) or NOBODY if code else NOBODY

    def _owner_of_file(self, file: str) -> str:
        path = Path(file)
        owners = (n for n, one in self.folders.items() if path.is_relative_to(one.folder.path))
        return next(owners, "")

    def add_callback(self, category: str, deed: Callable[..., Any], name: str | None) -> None:
        """Register a function for whoever is asking."""
        owner, file = self.caller()
        self.callbacks.add(category, deed, owner, file, name)
        if category in NEVER_CALLED:
            self.note(f"It waits for on_{category}, which never comes here.")

    def note(self, text: str) -> None:
        """Something that people should know of whoever is asking; told once."""
        loaded = self.folders.get(self.caller()[0])
        if loaded is not None and text not in loaded.notes:
            loaded.notes.append(text)

    def _wanted_first(self, category: str) -> Sequence[str]:
        listed = self.options.data.get(f"prioritized_callbacks_{category}") or ()
        return [str(name) for name in listed]

    def paint(self, p: Any) -> Any:
        """``processing.process_images``.

        Raises:
            ExtensionError: Called where nothing is painted: in the web process, or outside a job.
        """
        return self._working().process_images(p)

    def upscale(self, image: Any, name: str, width: int, height: int) -> Any:
        """Enlarge a picture with an upscaler of the program.

        Raises:
            ExtensionError: As ``paint``.
        """
        return self._working().upscale(image, name, width, height)

    def switch_checkpoint(self, text: str) -> None:
        """What is painted from now on in this job is painted with another checkpoint.

        Raises:
            ExtensionError: As ``paint``.
        """
        self._working().switch_checkpoint(text)

    def use_checkpoint(self, name: str) -> None:
        """Tell scripts which checkpoint is in use from now on.

        Args:
            name: As the catalog has it; '' = none.
        """
        if name not in ("", self.facts.get("checkpoint")):
            self.facts["checkpoint"] = name
            model = importlib.import_module("modules.sd_models").model_data.get_sd_model()
            self.callbacks.call("model_loaded", model)

    def _working(self) -> Painting:
        if self.painting is None:
            raise ExtensionError(
                "A script wanted to paint outside a job.",
                "Pictures are painted in the model process, while a job runs: from run() or one of "
                "the methods of a script.",
            )
        return self.painting


def current() -> Host:
    """The open host.

    Raises:
        ExtensionError: There is none: ``modules`` is for A1111 folders alone.
    """
    if not _OPEN:
        raise ExtensionError("No A1111 folder is loaded, and something asked for its modules.")
    return _OPEN[-1]


def _lies_in(made: type[Any], folder: Path) -> bool:
    source = getattr(sys.modules.get(made.__module__), "__file__", None)
    return source is not None and Path(source).is_relative_to(folder)


def _is_script(one: Any) -> bool:
    return inspect.isclass(one) and issubclass(one, (Script, ScriptPostprocessing))
