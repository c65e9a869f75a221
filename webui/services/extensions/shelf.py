"""The extensions of this installation, as the web process has them: found, loaded, switched.

Nothing here costs anything while no extension is there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from webui.errors import ParamsError
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

LOADING, LOADING_SECONDS = "loading", 10.0


class Shelf:
    """All extensions.

    Args:
        built_in: Folder of those that came with the program.
        folders: Where people drop theirs.
        options: Which are switched off; what was chosen in their settings.
        notes: Folder for the notes of who is at work.
        switched_off: By a start-up flag: ``all``, ``extra`` (all but built-in ones), or ''.

    Attributes:
        folders: Where people drop theirs.
        scripts: The A1111 folders among them.
    """

    def __init__(
        self,
        *,
        built_in: Path | None,
        folders: tuple[Path, ...],
        options: Options,
        notes: Path,
        switched_off: str = "",
    ) -> None:
        self._built_in = built_in
        self.folders = folders
        self._options = options
        self._switched_off = switched_off
        self._lock = threading.RLock()
        self._loading_note = notes / "extension-loading.note"
        self.fence = Fence(within_time)
        self.plugins = Plugins("web", self.fence)
        self._known: dict[str, Known] = {}
        self._sent: dict[str, str] = {}
        self.scripts: ScriptRoom | None = None
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
            take_declarations(known, self.plugins)
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
            self._refresh_scripts()

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
