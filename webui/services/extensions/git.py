"""Extensions in git repositories: fetched by the ``git`` program, read without it.

git runs without a shell, without hooks, without asking for passwords, with https alone.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from webui.services.extensions.commands import CommandError, InstallError, run

MOST_CHANGES: Final = 200
_NEWEST: Final = "refs/danqing/newest"
COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")
_BRANCH = re.compile(r"[\w][\w./-]{0,200}")
_SAFE: Final = (
    "-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false", "-c", "core.symlinks=false",
    "-c", "credential.helper=", "-c", "gc.auto=0", "-c", "core.autocrlf=false",
    "-c", "advice.detachedHead=false", "-c", "submodule.recurse=false",
    "-c", "safe.bareRepository=explicit",
)  # fmt: skip
_OF_OTHERS: Final = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_SHALLOW_FILE",
)  # fmt: skip
"""Names in the environment that would lead git to another repository: those of a git that the
program was started by."""


@dataclass(frozen=True)
class Change:
    """One commit; ``time`` is ISO 8601."""

    commit: str
    time: str
    title: str


@dataclass(frozen=True)
class Origin:
    """Where a folder came from, as its ``.git`` says.

    Attributes:
        url: Without a name and password. branch: Empty = none is checked out.
        commit: The whole hash; empty = unknown.
    """

    url: str
    branch: str
    commit: str


class Git:
    """The ``git`` program.

    Args:
        allows_files: Addresses of folders on this machine are taken, too.
        redirects: What the server may lead elsewhere: ``initial`` or ``false``.
    """

    def __init__(self, *, allows_files: bool = False, redirects: str = "initial") -> None:
        self._environ: dict[str, str | None] = {
            **dict.fromkeys(_OF_OTHERS),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "SSH_ASKPASS": "",
            "GIT_ALLOW_PROTOCOL": "https:file" if allows_files else "https",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_DEFAULT_REF_FORMAT": "files",  # which read_origin reads
            "LC_ALL": "C",
        }
        self._safe = (*_SAFE, "-c", f"http.followRedirects={redirects}")

    @staticmethod
    def is_there() -> bool:
        """True where the program is installed."""
        return shutil.which("git") is not None

    def clone(self, url: str, target: Path, branch: str, cancel: threading.Event) -> None:
        """Fetch a repository's newest state.

        Args:
            target: A folder that does not exist yet. branch: Or a tag; empty = the usual one.
        Raises:
            CommandError, JobCancelled: As ``run``. InstallError: No such branch can exist.
        """
        if branch and not _BRANCH.fullmatch(branch):
            raise InstallError(f"{branch[:80]!r} cannot be the name of a branch.")
        options = ["--depth", "1", "--no-tags", "--single-branch", "--template="]
        options += ["--branch", branch] if branch else []
        self._run(["clone", *options, "--", url, str(target)], target.parent, cancel, target)

    def commit(self, folder: Path, cancel: threading.Event) -> str:
        """The commit whose files lie there."""
        return self._run(["rev-parse", "--verify", "HEAD^{commit}"], folder, cancel).strip()

    def newest(self, folder: Path, url: str, branch: str, cancel: threading.Event) -> str:
        """The newest commit of a branch, asked of the server; '' when it has no such branch.

        Args:
            branch: Empty = the usual one.
        """
        wanted = f"refs/heads/{branch}" if branch else "HEAD"
        told = self._run(["ls-remote", "--quiet", "--", url, wanted], folder, cancel)
        return told.partition("\t")[0].strip()

    def has(self, folder: Path, commit: str, cancel: threading.Event) -> bool:
        """True when a commit need not be fetched."""
        try:
            self._run(["cat-file", "-e", f"{commit}^{{tree}}"], folder, cancel)
        except CommandError:
            return False
        return True

    def fetch(self, folder: Path, url: str, wanted: str, cancel: threading.Event) -> str:
        """Get what is new; no file in the folder changes.

        Args:
            wanted: A branch or a whole commit; empty = the usual branch.
        Returns:
            The newest commit of it.
        """
        options = ["--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"]
        kept = f"+{wanted or 'HEAD'}:{_NEWEST}"
        self._run(["fetch", *options, "--", url, kept], folder, cancel, folder)
        return self._run(["rev-parse", _NEWEST], folder, cancel).strip()

    def changes(
        self, folder: Path, old: str, new: str, cancel: threading.Event
    ) -> tuple[list[Change], int]:
        """The commits of ``new`` that ``old`` has not, the newest first, and how many they are;
        no more than ``MOST_CHANGES`` are told."""
        count = self._run(["rev-list", "--count", new, f"^{old}", "--"], folder, cancel)
        told = self._run(
            ["log", "-z", f"-{MOST_CHANGES}", "--format=%h%x1f%cI%x1f%s", new, f"^{old}", "--"],
            folder, cancel,
        )  # fmt: skip
        listed = [Change(*one.split("\x1f", 2)) for one in told.split("\0") if one.strip()]
        return listed, int(count)

    def seconds_of(self, folder: Path, commit: str, cancel: threading.Event) -> int:
        """When a commit was made, in seconds since 1970."""
        return int(self._run(["show", "-s", "--format=%ct", commit, "--"], folder, cancel))

    def edited(self, folder: Path, cancel: threading.Event) -> list[str]:
        """Files of the repository that somebody has changed by hand."""
        words = ["diff", "--no-ext-diff", "--no-textconv", "--name-only", "-z", "HEAD", "--"]
        return _names(self._run(words, folder, cancel))

    def not_tracked(self, folder: Path, cancel: threading.Event) -> list[str]:
        """Files that are not of the repository: models, settings … Folders that are repositories
        themselves are left out."""
        told = self._run(["ls-files", "-z", "--others"], folder, cancel)
        return [name for name in _names(told) if not name.endswith("/")]

    def go_to(self, folder: Path, commit: str, cancel: threading.Event) -> None:
        """Make the folder's files those of a commit; what is not of the repository stays."""
        self._run(["reset", "--hard", "--quiet", commit, "--"], folder, cancel, folder)

    def _run(
        self, words: list[str], folder: Path, cancel: threading.Event, grows: Path | None = None
    ) -> str:
        # Where a repository is broken, git looks for another one above it: the program's own.
        environ = {**self._environ, "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
        command = ["git", *self._safe, *words]
        return run(command, folder=folder, cancel=cancel, environ=environ, grows=grows)


def _names(told: str) -> list[str]:
    return [name for name in told.split("\0") if name]


def read_origin(folder: Path) -> Origin | None:
    """Where a folder came from; None when it is no repository. Runs nothing."""
    git = folder / ".git"
    try:
        head = (git / "HEAD").read_text("utf-8").strip()
        config = (git / "config").read_text("utf-8", "replace")
    except OSError:
        return None
    found = re.search(r'\[remote "origin"\][^\[]*?\n\s*url\s*=\s*(\S+)', config)
    url = re.sub(r"//[^/@]*@", "//", found[1]) if found else ""
    if not head.startswith("ref: "):
        return Origin(url, "", head if COMMIT.fullmatch(head) else "")
    reference = head.removeprefix("ref: ")
    return Origin(url, reference.removeprefix("refs/heads/"), _commit_of(git, reference))


def _commit_of(git: Path, reference: str) -> str:
    try:
        return (git / reference).read_text("utf-8").strip()
    except OSError:
        pass
    try:
        packed = (git / "packed-refs").read_text("utf-8")
    except OSError:
        return ""
    lines = (line.split(" ", 1) for line in packed.splitlines() if " " in line)
    return next((commit for commit, name in lines if name == reference), "")
