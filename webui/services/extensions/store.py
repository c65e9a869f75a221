"""Installs, updates, takes back and removes extensions: always what a person was shown before.

Everything is fetched beside the folder's extensions, looked at, and comes to its place in one
rename; see ``places``.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from webui.checkpoints.download.fetch import Network
from webui.errors import DownloadError, WebUIError
from webui.extensions.a1111.folder import A1111Folder
from webui.extensions.a1111.installing import Installed, fingerprint
from webui.extensions.a1111.reading import read_a1111
from webui.extensions.folders import Extension, missing_packages, read_extension
from webui.services.extensions import packages, places
from webui.services.extensions.archives import is_fine_name
from webui.services.extensions.commands import InstallError
from webui.services.extensions.fetching import Fetcher, origin_of, unpack_into
from webui.services.extensions.git import Git, read_origin
from webui.services.extensions.index import fetch_index, plain_address
from webui.services.extensions.places import before_of, move, swap
from webui.services.extensions.prepared import (
    Box,
    Changes,
    Prepared,
    bring_along,
    copy_beside,
)
from webui.services.extensions.room import ExtensionRoom
from webui.services.extensions.trash import Trash
from webui.services.extensions.turn import Turn

MOST_PREPARED: Final = 32
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


class Store:
    """Installs, updates and removes extensions.

    Args:
        room: The extensions that are there.
        folder: Where new ones come.
        network: How files are asked for; read anew for each question.
        is_allowed: Whether any of this may be done here.
        public_only: Addresses may lead to the open internet alone.
        refresh: Called after something came or went.
        git: None = with https alone.
        pip_environ: Added to pip's environment.

    Attributes:
        turn: One thing at a time. trash: What was removed.
    """

    def __init__(
        self,
        room: ExtensionRoom,
        folder: Path,
        network: Callable[[], Network],
        *,
        is_allowed: bool,
        public_only: bool = False,
        refresh: Callable[[], object] = lambda: None,
        git: Git | None = None,
        pip_environ: Mapping[str, str] | None = None,
    ) -> None:
        self._room, self._folder, self._network = room, folder, network
        self._refresh = refresh
        self._git = git or Git(redirects="false" if public_only else "initial")
        self._fetcher = Fetcher(self._git, network, public_only=public_only)
        self._pip_environ = pip_environ
        self._prepared: dict[str, Prepared] = {}
        self.turn = Turn(is_allowed)
        self.trash = Trash(room, self.turn, refresh)

    # What there is

    def index(self, url: str) -> dict[str, Any]:
        """The list at an address; each entry with ``is_installed``.

        Raises:
            AccessOffError; DownloadError, InstallError: See ``fetch_index``.
        """
        self.turn.check()
        told = fetch_index(url, self._network())
        addresses, names = self._installed()
        for one in told["extensions"]:
            address = plain_address(one["url"])
            name = address.rpartition("/")[2]
            one["is_installed"] = address in addresses or name in names
        return told

    def _installed(self) -> tuple[set[str], set[str]]:
        paths = [known.extension.path for known in self._room.all()]
        origins = (read_origin(path) for path in paths)
        addresses = {plain_address(one.url) for one in origins if one and one.url}
        return addresses, {path.name.lower() for path in paths}

    @staticmethod
    def facts(extension: Extension) -> dict[str, Any]:
        """Where an extension came from, and what can be done with it here."""
        origin = read_origin(extension.path)
        is_ours = not extension.is_built_in
        return {
            "origin": asdict(origin) if origin else None,
            "can_update": is_ours and origin is not None and bool(origin.url),
            "can_roll_back": is_ours and before_of(extension.path).exists(),
            "can_remove": is_ours,
            "lacks_packages": is_ours
            and bool(missing_packages(extension.manifest.requires, extension.path)),
        }

    def waiting(self) -> list[Prepared]:
        """What was prepared and neither put in nor thrown away, the latest last."""
        return list(self._prepared.values())

    def check(self) -> dict[str, str | WebUIError]:
        """Ask for every extension whether there is a newer version; nothing is fetched.

        Returns:
            By name ``newer``, ``newest`` or the error why it cannot be told; those without
            a repository are left out.
        Raises:
            AccessOffError, BusyError, JobCancelled.
        """
        told: dict[str, str | WebUIError] = {}
        with self.turn.taken("git ls-remote") as cancel:
            for known in self._room.all():
                extension, origin = known.extension, read_origin(known.extension.path)
                if extension.is_built_in or origin is None or not origin.url:
                    continue
                try:
                    newest = self._fetcher.newest(extension.path, origin, cancel)
                    told[known.name] = "newest" if newest == origin.commit else "newer"
                except (InstallError, DownloadError) as err:
                    told[known.name] = err
        return told

    # Fetching, and looking at it

    def prepare_url(self, url: str, branch: str = "", name: str = "") -> Prepared:
        """Fetch an extension from a git repository or a zip file, and look at it.

        Args:
            name: Of its folder; empty = as the address ends.
        Raises:
            AccessOffError, BusyError, InstallError, DownloadError: It cannot be had.
            JobCancelled: It was stopped.
        """
        url = url.strip()
        name = name.strip() or _name_in(url)
        with self.turn.taken(url) as cancel:
            self._check_new(name, url)
            with self._incoming(self._folder, name) as box:
                self._fetcher.get(url, branch.strip(), box, cancel)
                return self._look(box, self._folder / name, cancel)

    def prepare_zip(self, archive: Path, name: str) -> Prepared:
        """Unpack a zip that was sent, and look at it; raises as ``prepare_url``."""
        name = re.sub(r"\.zip$", "", name, flags=re.IGNORECASE)
        with self.turn.taken(name) as cancel:
            self._check_new(name, "")
            with self._incoming(self._folder, name) as box:
                unpack_into(archive, box)
                return self._look(box, self._folder / name, cancel)

    def prepare_update(self, name: str) -> Prepared | None:
        """Fetch the newest version of an extension beside it; None when there is nothing newer.

        Raises:
            As ``prepare_url``; also when its files were changed by hand.
        """
        with self.turn.taken(name) as cancel:
            extension = self._own(name)
            newest = self._fetcher.newest(extension.path, origin_of(extension), cancel)
            self._check_unedited(extension, cancel)
            if newest == self._git.commit(extension.path, cancel):
                return None
            return self._version(extension, "", cancel)

    def prepare_version(self, name: str, commit: str) -> Prepared | None:
        """The same for one commit, newer or older; None when it is the present one."""
        with self.turn.taken(name) as cancel:
            extension = self._own(name)
            self._check_unedited(extension, cancel)
            return self._version(extension, commit, cancel)

    def prepare_packages(self, name: str) -> Prepared:
        """Look for the packages that an extension lacks; raises as ``prepare_url``."""
        with self.turn.taken(name) as cancel:
            path = self._own(name).path
            with self._incoming(path.parent, path.name) as box:
                return self._look(box, path, cancel, is_here=True)

    def _version(
        self, extension: Extension, wanted: str, cancel: threading.Event
    ) -> Prepared | None:
        with self._incoming(extension.path.parent, extension.path.name) as box:
            copy_beside(extension.path, box.folder)
            changes = self._fetcher.go_to(box.folder, origin_of(extension), wanted, cancel)
            if changes is None:
                places.discard(box.root)
                return None
            return self._look(box, extension.path, cancel, changes)

    def _look(
        self,
        box: Box,
        goal: Path,
        cancel: threading.Event,
        changes: Changes | None = None,
        *,
        is_here: bool = False,
    ) -> Prepared:
        folder = goal if is_here else box.folder
        extension = read_extension(folder, (read_a1111,))
        if extension is None:
            raise InstallError(
                f"{box.name} is no extension: it has neither an extension.toml nor what "
                "A1111's extensions have (scripts, javascript, style.css …).",
                "Check the address.",
            )
        others = [k.extension for k in self._room.all() if k.extension.path != goal]
        if clash := next((one for one in others if one.name == extension.name), None):
            raise InstallError(
                f"An extension called {extension.name!r} is there already: {clash.path}.",
                "Remove that one first.",
            )
        wishes = packages.wishes_of(extension)
        plan = packages.plan(wishes, box.papers, cancel, environ=self._pip_environ)
        origin = read_origin(folder)
        made = Prepared(uuid.uuid4().hex, box, goal, extension, plan, origin, changes, is_here)
        self._prepared[made.token] = made
        while len(self._prepared) > MOST_PREPARED:
            self.discard(next(iter(self._prepared)))
        return made

    # Putting it in

    def apply(self, token: str, *, with_packages: bool) -> str:
        """Put in what was prepared; returns the extension's name.

        Args:
            with_packages: Those that were shown, too, into the extension's own folder. Without
                them it keeps those that its present version has.
        Raises:
            AccessOffError, BusyError, InstallError, JobCancelled: Nothing has changed; it can be
                tried again.
        """
        with self.turn.taken(token) as cancel:
            made = self._prepared.pop(token, None)  # nobody throws it away meanwhile
            if made is None:
                raise InstallError("This was put in or thrown away already.", "Begin again.")
            try:
                self._put_in(made, with_packages, cancel)
            except BaseException as err:
                self._prepared[token] = made
                if isinstance(err, OSError):
                    raise _disk_error(made.goal.parent, err) from err
                raise
            places.discard(made.box.root)
        self._refresh()
        return made.extension.name

    def _put_in(self, made: Prepared, with_packages: bool, cancel: threading.Event) -> None:
        if made.is_here and not made.goal.is_dir():
            raise InstallError(f"{made.goal.name} is not there any more.", "Install it anew.")
        if with_packages:
            packages.install(
                made.plan, made.folder, made.box.papers, cancel, environ=self._pip_environ
            )
        if made.is_here:
            return
        if made.changes is not None:
            self._check_present(made, cancel)
            bring_along(made.goal, made.folder, self._git, cancel)
            swap(made.folder, made.goal)
        elif os.path.lexists(made.goal):
            raise InstallError(f"{made.goal} is there already.", "Choose another name.")
        else:
            move(made.folder, made.goal)

    def _check_present(self, made: Prepared, cancel: threading.Event) -> None:
        """What an update would replace must be what it was compared with."""
        base = made.changes.base if made.changes else ""
        if not made.goal.is_dir() or self._git.commit(made.goal, cancel) != base:
            raise InstallError(
                f"{made.goal.name} has changed since this update was looked at.",
                "Throw it away, and look for an update again.",
            )
        self._check_unedited(made.extension, cancel, made.goal)

    def discard(self, token: str) -> None:
        """Throw away what was prepared."""
        made = self._prepared.pop(token, None)
        if made is not None:
            places.discard(made.box.root)

    def roll_back(self, name: str) -> None:
        """Put the version before into its place; the present one is then the one before.

        Raises:
            AccessOffError, BusyError; InstallError: There is none.
        """
        with self.turn.taken(name):
            path = self._own(name).path
            if not before_of(path).exists():
                raise InstallError(f"No version of {name} before this one is kept.", plugin=name)
            swap(before_of(path), path)
        self._refresh()

    def remove(self, name: str) -> Path:
        """Take an extension out; returns where it lies from now on.

        Raises:
            AccessOffError, BusyError; InstallError: It came with the program, or cannot be moved.
        """
        with self.turn.taken(name):
            goal = places.throw_away(self._own(name).path)
        self._refresh()
        return goal

    # install.py of A1111 folders

    def install_text(self, name: str) -> tuple[str, str]:
        """What an A1111 folder's ``install.py`` would do, to be read before it is run, and a
        print of it.

        Raises:
            InstallError: It has none.
        """
        path = self._named(name).path
        try:
            text = (path / "install.py").read_text("utf-8", "replace")
            return text, fingerprint(A1111Folder(path))
        except OSError as err:
            raise InstallError(f"{name} has no install.py that can be read.", plugin=name) from err

    def run_install(self, name: str, prints: str) -> Installed:
        """Run it: a person has read it and said so.

        Args:
            prints: Of what they have read.
        Raises:
            InstallError: It is another one by now. Else as ``ScriptRoom.install``.
        """
        with self.turn.taken(f"install.py ({name})") as cancel:
            if self._room.scripts is None:
                raise InstallError(f"{name} is no folder for A1111.", plugin=name)
            if self.install_text(name)[1] != prints:
                raise InstallError(
                    f"install.py of {name} is another one than was read.", "Read it again.",
                    plugin=name,
                )  # fmt: skip
            done = self._room.scripts.install(name, cancel)
        self._refresh()
        return done

    # Parts

    def _check_new(self, name: str, url: str) -> None:
        if not _FOLDER.fullmatch(name) or not is_fine_name(name):
            raise InstallError(
                f"{name[:80]!r} cannot be the name of a folder.",
                "Give it one of letters, digits, -, _ and dots.",
            )
        addresses, names = self._installed()
        if name.lower() in names or os.path.lexists(self._folder / name):
            raise InstallError(
                f"A folder called {name!r} is there already.", "Choose another name, or remove it."
            )
        if url and plain_address(url) in addresses:
            raise InstallError(f"{url[:200]} is installed already.", "Update it instead.")

    def _check_unedited(
        self, extension: Extension, cancel: threading.Event, path: Path | None = None
    ) -> None:
        if edited := self._git.edited(path or extension.path, cancel):
            raise InstallError(
                f"Files of {extension.name} were changed by hand: {', '.join(edited[:5])}.",
                "An update would lose these changes. Undo them with git, then update.",
                plugin=extension.name,
            )

    def _named(self, name: str) -> Extension:
        found = next((k.extension for k in self._room.all() if k.name == name), None)
        if found is None:
            raise InstallError(f"No extension is called {name[:80]!r}.", "Press Refresh.")
        return found

    def _own(self, name: str) -> Extension:
        found = self._named(name)
        if found.is_built_in:
            raise InstallError(
                f"{name} came with the program.", "Switch it off instead.", plugin=name
            )
        return found

    @contextmanager
    def _incoming(self, place: Path, name: str) -> Iterator[Box]:
        """A place for what comes; thrown away with it when something goes wrong.

        Args:
            place: The extension folder that it is for: on its disk, so that a rename can do.
        """
        box = Box(place / places.INCOMING / uuid.uuid4().hex, name)
        try:
            box.make()
            yield box
        except BaseException as err:
            places.discard(box.root)
            if isinstance(err, OSError):
                raise _disk_error(place, err) from err
            raise

    def close(self) -> None:
        """Stop what is under way; throw away what waits."""
        self.turn.cancel()
        for token in list(self._prepared):
            self.discard(token)


def _name_in(url: str) -> str:
    """What the folder of an extension is called that comes from an address."""
    path = re.split(r"[?#]", url)[0].rstrip("/")
    return re.sub(r"/?\.git$|\.zip$", "", path, flags=re.IGNORECASE).rpartition("/")[2]


def _disk_error(place: Path, err: OSError) -> InstallError:
    why = str(err.args[0][0][2]) if isinstance(err, shutil.Error) else err.strerror or str(err)
    return InstallError(
        f"{place} cannot be written to: {why}.",
        "Free some disk space, or make the folder writable.",
    )
