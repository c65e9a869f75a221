"""The extensions of this installation, as the web process has them: found, loaded, switched.

Nothing here costs anything while no extension is there.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from webui.errors import ExtensionError, ParamsError
from webui.extension_forms import checked_values
from webui.extensions.a1111.reading import read_a1111
from webui.extensions.fence import Fence, within_time
from webui.extensions.folders import Extension, find_extensions
from webui.extensions.loading import forget, import_part
from webui.extensions.note import Note, clear_note, label, read_note
from webui.extensions.plugins import Plugins
from webui.options import Options
from webui.services.extensions.declared import add_offers, take_declarations
from webui.services.extensions.known import Known, Refreshed
from webui.services.extensions.places import tidy
from webui.services.extensions.scripts import ScriptRoom

logger = logging.getLogger(__name__)
LOADING, LOADING_SECONDS = "loading", 10.0


class Shelf:
    """All extensions.

    Args:
        built_in: Folder of those that came with the program.
        folders: Where people drop theirs.
        options: Which are switched off; what was chosen in their settings.
        notes: Folder for the notes of who is at work.
        data, programs: What they are told when they are loaded, see ``hookspecs.loaded``.
        switched_off: By a start-up flag: ``all``, ``extra`` (all but built-in ones), or ''.

    Attributes:
        folders: Where people drop theirs.
        scripts: The A1111 folders among them.
        has_strangers_at_work: The model process has loaded some that did not come with the program.
        renew_page: Builds the page anew where it shows what these draw; None where there is none.
    """

    def __init__(
        self,
        *,
        built_in: Path | None,
        folders: tuple[Path, ...],
        options: Options,
        notes: Path,
        data: Path,
        programs: tuple[Path, ...] = (),
        switched_off: str = "",
    ) -> None:
        self._built_in = built_in
        self.folders = folders
        self._options = options
        self._switched_off = switched_off
        self._places = {"data": data, "programs": programs}
        self._lock = threading.RLock()
        self._loading_note = notes / "extension-loading.note"
        self._note: tuple[Note, int] | None = None
        self.fence = Fence(self._run_noted)
        self.plugins = Plugins("web", self.fence)
        self._known: dict[str, Known] = {}
        self._sent: dict[str, str] = {}
        self.has_strangers_at_work = False
        self.scripts: ScriptRoom | None = None
        self.renew_page: Callable[[], None] | None = None
        for folder in folders:
            tidy(folder)
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
            found = {e.name: e for e in find_extensions(self._built_in, self.folders, readers)}
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
            self.refresh_scripts()
            new = tuple(name for name in found if name not in before)
            in_use = any(n in self._sent for n in (*gone, *changed))
        self._show_scripts()
        return Refreshed(new, tuple(gone), tuple(changed), in_use)

    def refresh_scripts(self) -> None:
        """Look at the A1111 folders again."""
        if self.scripts is not None and self.scripts.has_folders:
            with self._noting():
                self.scripts.refresh()

    def _show_scripts(self) -> None:
        """Have the page built anew where A1111 folders are others than those that it shows."""
        if self.scripts is None or self.renew_page is None or not self.scripts.is_page_old:
            return
        try:
            self.renew_page()
        except ExtensionError as err:
            logger.exception("The page stays as it was")
            self.scripts.page_failed(str(err))

    def drawing_alone(self) -> AbstractContextManager[object]:
        """While it lasts, nobody else has scripts draw their fields."""
        return contextlib.nullcontext() if self.scripts is None else self.scripts.lock

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
        self._note = note, threading.get_ident()
        try:
            yield note
        finally:
            self._note = None
            note.close()
            clear_note(self._loading_note)

    def _run_noted(self, label: bytes, seconds: float, call: Callable[[], Any], /) -> Any:
        """Calls are waited for so long; those of who loads are noted, so that whoever ends the
        program is known at its next start."""
        note, thread = self._note or (None, 0)
        if note is None or thread != threading.get_ident():
            return within_time(label, seconds, call)
        note.begin(label)
        try:
            return within_time(label, seconds, call)
        finally:
            note.end()

    def _load(self, known: Known) -> None:
        began, extension = time.perf_counter(), known.extension

        def load() -> bool:
            self.plugins.add(extension.name, import_part(extension, "web"))
            return True

        has_web = extension.web is not None
        if not has_web or self.fence.call(extension.name, LOADING, LOADING_SECONDS, load):
            known.is_loaded = True
            self.plugins.tell("loaded", {extension.name: {}}, **self._places)
            take_declarations(known, self.plugins, self.all())
            add_offers(known, self.plugins)
        known.seconds = time.perf_counter() - began

    def _unload(self, name: str) -> None:
        known = self._known[name]
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
        self.enable_all({name: is_on})

    def enable_all(self, wanted: Mapping[str, bool]) -> None:
        """Switch several; raises as ``enable``, before any of them is switched."""
        with self._lock:
            for name in wanted:
                self._named(name)
            off = [
                name for name in self._options["disabled_extensions"] or () if name not in wanted
            ]
            off += [name for name, is_on in wanted.items() if not is_on]
            self._options.set("disabled_extensions", off)
            self._options.save()
            for name, is_on in wanted.items():
                if is_on:
                    self.fence.forget(name)
            self._load_wanted()
            self.refresh_scripts()
        self._show_scripts()

    # Their settings

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

    # What is there

    def _named(self, name: str) -> Known:
        known = self._known.get(name)
        if known is None:
            raise ParamsError(
                f"No extension is called {name!r}.",
                f"There are: {', '.join(self._known) or 'none'}.", field="extension",
            )  # fmt: skip
        return known

    def all(self) -> list[Known]:
        """Those that lie there, loaded or not."""
        return list(self._known.values())

    def loaded(self) -> list[Known]:
        """Those that can be asked now."""
        return [
            known for known in self.all()
            if known.is_loaded and not self.fence.left_out(known.name)
        ]  # fmt: skip

    def offered(self, kind: str) -> tuple[str, ...]:
        """Names that extensions add to one of the program's lists, see ``folders.OFFERS``."""
        offers = (known.extension.manifest.offers.get(kind, ()) for known in self.loaded())
        return tuple(name for names in offers for name in names)
