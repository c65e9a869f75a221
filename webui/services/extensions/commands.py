"""Runs a program that fetches something: within a time, within a size, and ended when asked."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from webui.errors import ExtensionError, JobCancelled

POLL_SECONDS: Final = 0.05
LOOK_SECONDS: Final = 1.0
MOST_SECONDS: Final = 900.0
MOST_BYTES: Final = 2 * 2**30
"""What one extension may bring."""
TOLD: Final = 1500
"""Characters of a program's last words that are told."""


class InstallError(ExtensionError):
    """An extension cannot be fetched, put in or taken out."""

    http_status = 422


class CommandError(InstallError):
    """A program ended with a failure; ``said`` is the end of what it printed."""


def run(
    command: Sequence[str],
    *,
    folder: Path,
    cancel: threading.Event,
    environ: Mapping[str, str | None] | None = None,
    grows: Path | None = None,
    seconds: float = MOST_SECONDS,
    most_bytes: int = MOST_BYTES,
) -> str:
    """What a program printed.

    Args:
        folder: Its working folder. environ: Added to ours; None takes a name out.
        cancel: Ends it, and what it started, when set.
        grows: A folder that may not grow by more than ``most_bytes`` meanwhile.
    Raises:
        CommandError: It failed, took too long or brought too much. JobCancelled: ``cancel``.
    """
    both = {**os.environ, "PYTHONUTF8": "1", **(environ or {})}
    limit = None if grows is None else (grows, size_of(grows) + most_bytes)
    env = {name: value for name, value in both.items() if value is not None}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=said,
                start_new_session=os.name != "nt",
            )
        except OSError as err:
            raise CommandError(f"{command[0]} cannot be started: {err.strerror or err}.") from err
        try:
            _watch(process, cancel, seconds, limit)
        finally:
            _end(process)
        out.seek(0)
        said.seek(0)
        told = said.read().decode("utf-8", "replace").strip()[-TOLD:]
        if process.returncode:
            raise CommandError(f"{Path(command[0]).name} failed.", told, said=told)
        return out.read().decode("utf-8", "replace")


def _watch(
    process: subprocess.Popen[bytes],
    cancel: threading.Event,
    seconds: float,
    limit: tuple[Path, int] | None,
) -> None:
    began = looked = time.monotonic()
    while process.poll() is None:
        if cancel.wait(POLL_SECONDS):
            raise JobCancelled("It was stopped.")
        now = time.monotonic()
        if now - began > seconds:
            raise CommandError(f"It took longer than {seconds:g} seconds and was ended.", said="")
        if limit is not None and now - looked > LOOK_SECONDS:
            looked = now
            _check_size(*limit)
    if limit is not None:
        _check_size(*limit)


def _check_size(folder: Path, most_bytes: int) -> None:
    if size_of(folder) > most_bytes:
        raise CommandError(
            f"It is larger than {most_bytes / 2**20:.0f} MiB and was thrown away.",
            "Put it into the extensions folder by hand if you trust it.", said="",
        )  # fmt: skip


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; 0 when it is not there."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue  # it has gone meanwhile
    return total


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    _end_children(process)


if os.name == "nt":

    def _end_children(process: subprocess.Popen[bytes]) -> None:
        """They end when the pipes to their parent break."""

else:

    def _end_children(process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing of it is left
            os.killpg(process.pid, signal.SIGKILL)
