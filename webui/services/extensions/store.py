"""Installs, updates, takes back and removes extensions: always what a person was shown before.

Everything is fetched beside the folder's extensions (``.incoming``), looked at, and comes to its
place in one rename. What it replaces is kept (``.before``), what is removed lies in ``.trash``.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from webui.checkpoints.download.client import public_addresses, read_address
from webui.checkpoints.download.fetch import Network, on_own_loop
from webui.extensions.a1111.installing import Installed
from webui.extensions.a1111.reading import read_a1111
from webui.extensions.folders import Extension, read_extension
from webui.services.extensions import packages
from webui.services.extensions.archives import unpack
from webui.services.extensions.commands import CommandError, InstallError
from webui.services.extensions.git import Change, Git, read_origin
from webui.services.extensions.index import (
    fetch_bytes,
    fetch_index,
    plain_address,
    zip_address,
)
from webui.services.extensions.prepared import (
    BEFORE,
    INCOMING,
    TRASH,
    AccessOffError,
    BusyError,
    Prepared,
    copy_beside,
    move,
    swap,
)
from webui.services.extensions.room import ExtensionRoom

MOST_ZIP_BYTES: Final = 512 * 2**20
MOST_PREPARED: Final = 8
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


@dataclass
class _Work:
    """What is under way: one thing at a time."""

    title: str = ""
    cancel: threading.Event = field(default_factory=threading.Event)


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
        self.is_allowed = is_allowed
        self._public_only = public_only
        self._refresh = refresh
        self._git = git or Git(redirects="false" if public_only else "initial")
        self._pip_environ = pip_environ
        self._lock = threading.Lock()
        self._work: _Work | None = None
        self._prepared: dict[str, Prepared] = {}

    # What there is

    def index(self, url: str) -> dict[str, Any]:
        """The list at an address; each entry with ``is_installed``.

        Raises:
            AccessOffError; DownloadError, InstallError: See ``fetch_index``.
        """
        self._check_allowed()
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

    def facts(self, name: str) -> dict[str, Any]:
        """Where an extension came from, and what can be done with it here."""
        extension = self._named(name)
        origin = read_origin(extension.path)
        before = extension.path.parent / BEFORE / extension.path.name
        is_ours = not extension.is_built_in
        return {
            "origin": asdict(origin) if origin else None,
            "can_update": is_ours and origin is not None and bool(origin.url),
            "can_roll_back": is_ours and before.exists(),
            "can_remove": is_ours,
        }

    @property
    def busy(self) -> str:
        """What is under way; '' = nothing."""
        work = self._work
        return work.title if work else ""

    def cancel(self) -> None:
        """Stop what is under way."""
        if self._work is not None:
            self._work.cancel.set()

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
        name = name.strip() or re.sub(r"\.(git|zip)$", "", url.rstrip("/").rpartition("/")[2])
        with self._working(url) as cancel:
            self._check_new(name, url)
            with self._incoming(name) as folder:
                self._fetch(url, branch.strip(), folder, cancel)
                return self._look(folder, cancel)

    def prepare_zip(self, archive: Path, name: str) -> Prepared:
        """Unpack a zip that was sent, and look at it; raises as ``prepare_url``."""
        name = re.sub(r"\.zip$", "", name, flags=re.IGNORECASE)
        with self._working(name) as cancel:
            self._check_new(name, "")
            with self._incoming(name) as folder:
                self._unpack(archive, folder)
                return self._look(folder, cancel)

    def prepare_update(self, name: str) -> Prepared | None:
        """Fetch the newest version of an extension beside it; None when there is nothing newer.

        Raises:
            As ``prepare_url``; also when its files were changed by hand.
        """
        extension = self._own(name)
        origin = read_origin(extension.path)
        if origin is None or not origin.url:
            raise InstallError(
                f"{name} came from no git repository, so nothing tells of newer versions.",
                "Remove it and install it anew.", plugin=name,
            )  # fmt: skip
        with self._working(name) as cancel:
            if edited := self._git.edited(extension.path, cancel):
                raise InstallError(
                    f"Files of {name} were changed by hand: {', '.join(edited[:5])}.",
                    "An update would lose these changes. Undo them with git, then update.",
                    plugin=name,
                )
            self._check_address(origin.url)
            with self._incoming(extension.path.name) as folder:
                copy_beside(extension.path, folder)
                newest = self._git.fetch(folder, origin.url, origin.branch, cancel)
                changes = self._git.changes(folder, origin.commit, newest, cancel)
                if newest == origin.commit:
                    shutil.rmtree(folder.parent, ignore_errors=True)
                    return None
                self._git.go_to(folder, newest, cancel)
                return self._look(folder, cancel, goal=extension.path, changes=changes)

    def _fetch(self, url: str, branch: str, folder: Path, cancel: threading.Event) -> None:
        is_file = url.lower().partition("?")[0].endswith(".zip")
        if not is_file and self._git.is_there():
            self._clone(url, branch, folder, cancel)
            return
        address = zip_address(url)
        if not address:
            raise InstallError(
                "The program git is not installed, and this site's zip files are not known.",
                "Install git (git-scm.com), or download the extension as a zip and upload that.",
            )
        archive = folder.with_name("archive.zip")
        archive.write_bytes(fetch_bytes(address, self._network(), MOST_ZIP_BYTES))
        self._unpack(archive, folder)

    def _clone(self, url: str, branch: str, folder: Path, cancel: threading.Event) -> None:
        is_web = url.startswith(("http://", "https://"))
        addresses = (
            [one.url for one in self._network().mirrors.candidates(url)] if is_web else [url]
        )
        failed: CommandError | None = None
        for address in addresses:
            try:
                if address == url:
                    self._check_address(address)
                self._git.clone(address, folder, branch, cancel)
                return
            except CommandError as err:
                failed = err
                shutil.rmtree(folder, ignore_errors=True)
        assert failed is not None
        raise InstallError(
            f"The repository {url[:300]} could not be fetched.",
            f"Check the address and the branch. git said: {failed.hint or failed.message}",
        ) from failed

    def _check_address(self, url: str) -> None:
        """Where people elsewhere may ask: only addresses that everybody can reach."""
        if self._public_only:
            address: httpx.URL = read_address(url)
            on_own_loop(public_addresses(address))

    def _unpack(self, archive: Path, folder: Path) -> None:
        inner = unpack(archive, folder.with_name("unpacked"))
        inner.rename(folder)

    def _look(
        self,
        folder: Path,
        cancel: threading.Event,
        *,
        goal: Path | None = None,
        changes: Sequence[Change] = (),
    ) -> Prepared:
        extension = read_extension(folder, (read_a1111,))
        if extension is None:
            raise InstallError(
                f"{folder.name} is no extension: it has neither an extension.toml nor what "
                "A1111's extensions have (scripts, javascript, style.css …).",
                "Check the address.",
            )
        others = [k.extension for k in self._room.all() if goal is None or k.extension.path != goal]
        if clash := next((one for one in others if one.name == extension.name), None):
            raise InstallError(
                f"An extension called {extension.name!r} is there already: {clash.path}.",
                "Remove that one first.",
            )
        plan = packages.plan(
            packages.wishes_of(extension), folder.parent, cancel, environ=self._pip_environ
        )
        made = Prepared(
            uuid.uuid4().hex, folder, goal or self._folder / folder.name, extension, plan,
            read_origin(folder), changes, replaces=goal is not None,
        )  # fmt: skip
        self._keep(made)
        return made

    def _keep(self, made: Prepared) -> None:
        self._prepared[made.token] = made
        while len(self._prepared) > MOST_PREPARED:
            self.discard(next(iter(self._prepared)))

    # Putting it in

    def apply(self, token: str, *, with_packages: bool) -> str:
        """Put in what was prepared; returns the extension's name.

        Args:
            with_packages: Those that were shown, too, into the extension's own folder.
        Raises:
            AccessOffError, BusyError, InstallError, JobCancelled.
        """
        with self._working(token) as cancel:
            made = self._prepared.get(token)
            if made is None:
                raise InstallError("This was put in or thrown away already.", "Begin again.")
            if with_packages:
                packages.install(
                    made.plan, made.folder, made.folder.parent, cancel, environ=self._pip_environ
                )
            if made.replaces:
                swap(made.folder, made.goal)
            elif os.path.lexists(made.goal):
                raise InstallError(f"{made.goal} is there already.", "Choose another name.")
            else:
                move(made.folder, made.goal)
            self.discard(token)
        self._refresh()
        return made.extension.name

    def discard(self, token: str) -> None:
        """Throw away what was prepared."""
        made = self._prepared.pop(token, None)
        if made is not None:
            shutil.rmtree(made.folder.parent, ignore_errors=True)

    def roll_back(self, name: str) -> None:
        """Put the version before into its place; the present one is then the one before.

        Raises:
            AccessOffError, BusyError; InstallError: There is none.
        """
        with self._working(name):
            path = self._own(name).path
            before = path.parent / BEFORE / path.name
            if not before.exists():
                raise InstallError(f"No version of {name} before this one is kept.", plugin=name)
            aside = before.with_name(f"{before.name}.{uuid.uuid4().hex[:8]}")
            move(before, aside)
            swap(aside, path)
        self._refresh()

    def remove(self, name: str) -> Path:
        """Take an extension out; returns where it lies from now on.

        Raises:
            AccessOffError, BusyError; InstallError: It came with the program, or cannot be moved.
        """
        with self._working(name):
            path = self._own(name).path
            stamp = time.strftime("%Y-%m-%d-%H-%M-%S")
            goal = path.parent / TRASH / f"{stamp}-{uuid.uuid4().hex[:4]}-{path.name}"
            move(path, goal)
        self._refresh()
        return goal

    # install.py of A1111 folders

    def install_text(self, name: str) -> str:
        """What an A1111 folder's ``install.py`` would do, to be read before it is run.

        Raises:
            InstallError: It has none.
        """
        try:
            return (self._named(name).path / "install.py").read_text("utf-8", "replace")
        except OSError as err:
            raise InstallError(f"{name} has no install.py that can be read.", plugin=name) from err

    def run_install(self, name: str) -> Installed:
        """Run it: a person has read it and said so; raises as ``ScriptRoom.install``."""
        with self._working(name):
            if self._room.scripts is None:
                raise InstallError(f"{name} is no folder for A1111.", plugin=name)
            done = self._room.scripts.install(name)
        self._refresh()
        return done

    # Parts

    def _check_allowed(self) -> None:
        if not self.is_allowed:
            raise AccessOffError(
                "Extensions cannot be installed, updated or removed here: other machines reach "
                "this server.",
                "Do it on the machine itself, without --listen and --share; or start the program "
                "with --enable-insecure-extension-access.",
            )

    def _check_new(self, name: str, url: str) -> None:
        if not _FOLDER.fullmatch(name):
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

    def _named(self, name: str) -> Extension:
        found = next((k.extension for k in self._room.all() if k.name == name), None)
        if found is None:
            raise InstallError(f"No extension is called {name[:80]!r}.", "Press Refresh.")
        return found

    def _own(self, name: str) -> Extension:
        self._check_allowed()
        found = self._named(name)
        if found.is_built_in:
            raise InstallError(
                f"{name} came with the program.", "Switch it off instead.", plugin=name
            )
        return found

    @contextmanager
    def _working(self, title: str) -> Iterator[threading.Event]:
        self._check_allowed()
        if not self._lock.acquire(blocking=False):
            raise BusyError(
                f"Something else is under way: {self.busy}.", "Wait for it, or stop it."
            )
        self._work = _Work(title)
        try:
            yield self._work.cancel
        finally:
            self._work = None
            self._lock.release()

    @contextmanager
    def _incoming(self, name: str) -> Iterator[Path]:
        """A place for what comes; thrown away with it when something goes wrong."""
        box = self._folder / INCOMING / uuid.uuid4().hex
        try:
            box.mkdir(parents=True)
        except OSError as err:
            raise InstallError(
                f"{self._folder} cannot be written to: {err.strerror or err}."
            ) from err
        try:
            yield box / name
        except BaseException:
            shutil.rmtree(box, ignore_errors=True)
            raise

    def close(self) -> None:
        """Stop what is under way; throw away what waits."""
        self.cancel()
        for token in list(self._prepared):
            self.discard(token)
