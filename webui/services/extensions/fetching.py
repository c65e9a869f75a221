"""Gets an extension's files: a repository, a zip file, another version of what is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx

from webui.checkpoints.download.client import public_addresses, read_address
from webui.checkpoints.download.fetch import Network, on_own_loop
from webui.extensions.folders import Extension
from webui.services.extensions.archives import unpack
from webui.services.extensions.commands import CommandError, InstallError
from webui.services.extensions.git import COMMIT, Git, Origin, read_origin
from webui.services.extensions.index import fetch_file, zip_address
from webui.services.extensions.places import move, remove_tree
from webui.services.extensions.prepared import Box, Changes

MOST_ZIP_BYTES: Final = 512 * 2**20


class Fetcher:
    """How files come.

    Args:
        git: The program. network: How files are asked for; read anew for each question.
        public_only: Addresses may lead to the open internet alone.
    """

    def __init__(self, git: Git, network: Callable[[], Network], *, public_only: bool) -> None:
        self.git = git
        self._network = network
        self._public_only = public_only

    def get(self, url: str, branch: str, box: Box, cancel: threading.Event) -> None:
        """Fetch an extension into its box.

        Raises:
            InstallError, DownloadError: It cannot be had. JobCancelled: ``cancel`` was set.
        """
        is_file = url.lower().partition("?")[0].endswith(".zip")
        if not is_file and self.git.is_there():
            self._clone(url, branch, box.folder, cancel)
            return
        address = zip_address(url)
        if not address:
            raise InstallError(
                "The program git is not installed, and this site's zip files are not known.",
                "Install git (git-scm.com), or download the extension as a zip and upload that.",
            )
        archive = box.papers / "archive.zip"
        fetch_file(address, self._network(), archive, MOST_ZIP_BYTES, cancel)
        unpack_into(archive, box)

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
                self.git.clone(address, folder, branch, cancel)
                return
            except CommandError as err:
                failed = err
                remove_tree(folder)
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

    # What is there already

    def newest(self, path: Path, origin: Origin, cancel: threading.Event) -> str:
        """The newest commit of an extension's branch; nothing is fetched.

        Raises:
            InstallError: Its server has no such branch. DownloadError, CommandError: As ``get``.
        """
        self._check_address(origin.url)
        commit = self.git.newest(path, origin.url, origin.branch, cancel)
        if not commit:
            raise InstallError(
                f"{origin.url[:300]} has no branch {origin.branch!r} any more.",
                "Remove the extension and install it anew.",
            )
        return commit

    def go_to(
        self, folder: Path, origin: Origin, wanted: str, cancel: threading.Event
    ) -> Changes | None:
        """Make a copy of an extension another version of it.

        Args:
            wanted: A commit; empty = the newest.
        Returns:
            What it brings or takes back; None when it is the same version, or when none was
            wanted and there is no newer one.
        Raises:
            InstallError, DownloadError: It cannot be had. JobCancelled: ``cancel`` was set.
        """
        if wanted and not COMMIT.fullmatch(wanted):
            raise InstallError(f"{wanted[:80]!r} is no commit.", "Choose another state.")
        git = self.git
        base = git.commit(folder, cancel)
        commit = wanted
        if not wanted or not git.has(folder, wanted, cancel):
            self._check_address(origin.url)
            commit = git.fetch(folder, origin.url, wanted or origin.branch, cancel)
        told, count = git.changes(folder, base, commit, cancel)
        is_back = bool(wanted) and not count
        if is_back:
            told, count = git.changes(folder, commit, base, cancel)
        if not count:
            return None
        git.go_to(folder, commit, cancel)
        return Changes(base, told, count, is_back=is_back)


def unpack_into(archive: Path, box: Box) -> None:
    """Unpack a zip to where it shall lie; raises as ``unpack``."""
    move(unpack(archive, box.papers / "unpacked"), box.folder)


def origin_of(extension: Extension) -> Origin:
    """The repository that an extension came from.

    Raises:
        InstallError: It came from none.
    """
    origin = read_origin(extension.path)
    if origin is None or not origin.url:
        raise InstallError(
            f"{extension.name} came from no git repository, so nothing tells of newer versions.",
            "Remove it and install it anew.", plugin=extension.name,
        )  # fmt: skip
    return origin
