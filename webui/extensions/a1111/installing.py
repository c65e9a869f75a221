"""``install.py`` of A1111 folders: run when a person said so, and never at a start unasked.

What a person agreed to is the folder's files as they were then; when ``install.py`` or what it
reads changes, they are asked again.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from webui.errors import ExtensionError, JobCancelled
from webui.extensions.a1111.folder import A1111Folder
from webui.extensions.a1111.importing import SITE

INSTALL_SECONDS = 1800.0
POLL_SECONDS = 0.1
READ_BY_INSTALL = ("install.py", "requirements.txt", "requirements-optional.txt", "setup.py")
TOLD_LINES = 60


@dataclass(frozen=True)
class Installed:
    """How an installation went; ``output`` is the end of what it printed."""

    is_done: bool
    output: str


class Consents:
    """Which folders' ``install.py`` people have agreed to.

    Args:
        path: A JSON file: folder's name to the fingerprint of what was agreed to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def wants(self, folder: A1111Folder) -> bool:
        """True when it has an ``install.py`` that nobody has agreed to as it is now."""
        if not folder.install.is_file():
            return False
        return self._read().get(folder.canonical_name) != fingerprint(folder)

    def agree(self, folder: A1111Folder, prints: str = "") -> None:
        """Keep that a person agreed to what the folder's files said.

        Args:
            prints: Their ``fingerprint`` then; '' = as they are now.
        Raises:
            ExtensionError: It cannot be kept.
        """
        table = {**self._read(), folder.canonical_name: prints or fingerprint(folder)}
        part = self._path.with_suffix(".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(table, indent=1), encoding="utf-8")
            os.replace(part, self._path)
        except OSError as err:
            raise ExtensionError(
                f"It could not be kept in {self._path} that {folder.name} may be installed: "
                f"{err.strerror or err}.",
                "Make the folder writable and press Install again.",
                plugin=folder.canonical_name,
            ) from err

    def _read(self) -> dict[str, str]:
        try:
            table = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return table if isinstance(table, dict) else {}


def fingerprint(folder: A1111Folder) -> str:
    """A hash of everything that decides what would be installed."""
    digest = hashlib.sha256()
    for name in READ_BY_INSTALL:
        file = folder.path / name
        if file.is_file():
            digest.update(name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def install(
    folder: A1111Folder,
    consents: Consents,
    program: Path,
    constraints: Path | None = None,
    seconds: float = INSTALL_SECONDS,
    cancel: threading.Event | None = None,
) -> Installed:
    """Run a folder's ``install.py`` in a process of its own. Where it comes to its end, it is kept
    that a person wanted it; where it does not, it can be run again.

    Args:
        program: Working folder of the process.
        constraints: Versions that pip must keep, however it is called.
        cancel: Ends it, and what it has started, when set.
    Raises:
        ExtensionError: It has none, or the consent cannot be kept. JobCancelled: ``cancel``.
    """
    if not folder.install.is_file():
        raise ExtensionError(f"{folder.name} has no install.py.", plugin=folder.canonical_name)
    agreed = fingerprint(folder)
    paths = os.pathsep.join([str(SITE), str(program)])
    environ = {**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}
    if constraints is not None:
        environ["PIP_CONSTRAINT"] = constraints.resolve().as_uri()  # a path may hold spaces
    process = subprocess.Popen(
        [sys.executable, str(folder.install)], cwd=program, env=environ, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        errors="replace", start_new_session=True,
    )  # fmt: skip
    output = _output(process, seconds, cancel or threading.Event())
    if output is None:
        return Installed(False, f"It was ended after {seconds:g} seconds.")
    is_done = process.returncode == 0
    if is_done:
        consents.agree(folder, agreed)
    return Installed(is_done, "\n".join(output.splitlines()[-TOLD_LINES:]))


def _output(process: subprocess.Popen[str], seconds: float, cancel: threading.Event) -> str | None:
    """What it has printed when it has ended; None when it was ended for its time.

    Raises:
        JobCancelled: ``cancel`` was set; it has ended.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return process.communicate(timeout=POLL_SECONDS)[0]
        except subprocess.TimeoutExpired:
            if cancel.is_set():
                _end(process)
                raise JobCancelled("install.py was stopped.") from None
            if time.monotonic() > deadline:
                _end(process)
                return None


def _end(process: subprocess.Popen[str]) -> None:
    """End it, and what it has started where the system knows of that."""
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
