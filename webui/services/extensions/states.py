"""Saved states of all extensions: which are switched on, and at which commit each stands.

The files are A1111's ``config_states/*.json``: theirs are read, ours can be read by it.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from webui import PROGRAM_VERSION
from webui.services.extensions.commands import InstallError
from webui.services.extensions.git import COMMIT, read_origin
from webui.services.extensions.shelf import Shelf
from webui.services.extensions.turn import Turn

FOLDER: Final = "config_states"
MOST_BYTES: Final = 4 * 2**20
_FILE: Final = re.compile(r"(\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d)_(.*)\.json")


@dataclass(frozen=True)
class Entry:
    """One extension in a state.

    Attributes:
        folder: Its folder's name. remote: Where it came from. commit: Empty = unknown.
    """

    folder: str
    is_enabled: bool
    remote: str = ""
    commit: str = ""


@dataclass(frozen=True)
class State:
    """One file.

    Attributes:
        id: The file's name. time: Seconds since 1970.
    """

    id: str
    name: str
    time: float
    entries: tuple[Entry, ...]


class States:
    """The saved states of an installation.

    Args:
        room: The extensions that are there. folder: Of the files.
        turn: Whether states may be saved, restored and deleted here.
    """

    def __init__(self, room: Shelf, folder: Path, turn: Turn) -> None:
        self._room, self._folder, self._turn = room, folder, turn

    def save(self, name: str) -> State:
        """Keep how it is now.

        Raises:
            AccessOffError; InstallError: It cannot be written.
        """
        self._turn.check()
        now = time.time()
        stamp = time.strftime("%Y_%m_%d-%H_%M_%S", time.localtime(now))
        title = re.sub(r"[^\w -]", "", name)[:60].strip() or "Config"
        file = self._folder / f"{stamp}_{title}.json"
        table = {
            "created_at": now, "name": name[:200] or title, "webui": {"version": PROGRAM_VERSION},
            "extensions": {one.folder: _written(one) for one in self.present()},
        }  # fmt: skip
        part = file.with_suffix(".part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(table, indent=4, ensure_ascii=False), "utf-8")
            os.replace(part, file)
        except OSError as err:
            raise InstallError(
                f"{file} cannot be written: {err.strerror or err}.",
                "Free some disk space, or make the folder writable.",
            ) from err
        return self.read(file.name)

    def present(self) -> list[Entry]:
        """How it is now."""
        found: list[Entry] = []
        for known in self._room.all():
            path, origin = known.extension.path, read_origin(known.extension.path)
            facts = (origin.url, origin.commit) if origin else ("", "")
            found.append(Entry(path.name, self._room.is_enabled(known.extension), *facts))
        return found

    def all(self) -> list[State]:
        """The latest first; files that are none are left out."""
        found: list[State] = []
        try:
            names = sorted((path.name for path in self._folder.iterdir()), reverse=True)
        except OSError:
            return []
        for name in names:
            try:
                found.append(self.read(name))
            except InstallError:
                continue
        return found

    def read(self, state_id: str) -> State:
        """One of them.

        Raises:
            InstallError: There is none, or it cannot be read.
        """
        read = _FILE.fullmatch(state_id)
        try:
            if read is None or Path(state_id).name != state_id:
                raise ValueError("no name of such a file")
            file = self._folder / state_id
            if file.stat().st_size > MOST_BYTES:
                raise ValueError("it is too large")
            table: Any = json.loads(file.read_text("utf-8"))
            entries = tuple(_entry(str(name), one) for name, one in table["extensions"].items())
            made = float(table.get("created_at") or 0)
            return State(state_id, str(table.get("name") or read[2]), made, entries)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
            raise InstallError(
                f"The saved state {state_id[:120]!r} cannot be read: {err}.", "Choose another one."
            ) from err

    def delete(self, state_id: str) -> None:
        """Delete one.

        Raises:
            AccessOffError; InstallError: There is none, or it cannot be deleted.
        """
        self._turn.check()
        file = self._folder / self.read(state_id).id
        try:
            file.unlink(missing_ok=True)
        except OSError as err:
            raise InstallError(f"{file} cannot be deleted: {err.strerror or err}.") from err

    def compare(self, state: State) -> list[dict[str, Any]]:
        """Extensions that are otherwise now: ``folder``, ``name`` of one that is here (else empty),
        ``remote``, ``is_enabled`` and ``commit`` as they were, ``commit_now``; what does not differ
        is None."""
        names = {known.extension.path.name: known.name for known in self._room.all()}
        now = {one.folder: one for one in self.present()}
        found: list[dict[str, Any]] = []
        for one in state.entries:
            here = now.get(one.folder)
            moves = here is not None and one.commit and here.commit not in ("", one.commit)
            flips = here is not None and here.is_enabled != one.is_enabled
            if here is None or moves or flips:
                found.append({
                    "folder": one.folder, "name": names.get(one.folder, ""), "remote": one.remote,
                    "is_enabled": one.is_enabled if flips else None,
                    "commit": one.commit if moves else None,
                    "commit_now": here.commit if here and moves else None,
                })  # fmt: skip
        return found

    def switch(self, state: State) -> None:
        """Switch extensions on and off as they were; those of which it says nothing stay.

        Raises:
            AccessOffError; SettingsError: It cannot be kept.
        """
        self._turn.check()
        names = {known.extension.path.name: known.name for known in self._room.all()}
        wanted = {names[e.folder]: e.is_enabled for e in state.entries if e.folder in names}
        self._room.enable_all(wanted)


def _written(one: Entry) -> dict[str, Any]:
    has_origin = bool(one.remote and one.commit)
    return {
        "name": one.folder, "enabled": one.is_enabled, "remote": one.remote or None,
        "commit_hash": one.commit or None, "have_info_from_repo": has_origin,
    }  # fmt: skip


def _entry(folder: str, one: Mapping[str, Any]) -> Entry:
    commit = str(one.get("commit_hash") or "")
    return Entry(
        folder, bool(one.get("enabled", True)), str(one.get("remote") or ""),
        commit if COMMIT.fullmatch(commit) else "",
    )  # fmt: skip
