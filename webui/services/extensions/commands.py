"""Runs a program that fetches something: within a time, within a size, and ended when asked."""

from __future__ import annotations

import os
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
    environ: Mapping[str, str] | None = None,
    grows: Path | None = None,
    seconds: float = MOST_SECONDS,
    most_bytes: int = MOST_BYTES,
) -> str:
    """What a program printed.

    Args:
        folder: Its working folder. environ: Added to ours.
        cancel: Ends it when set.
        grows: A folder that may not outgrow ``most_bytes`` meanwhile.
    Raises:
        CommandError: It failed, took too long or brought too much. JobCancelled: ``cancel``.
    """
    env = {**os.environ, "PYTHONUTF8": "1", **(environ or {})}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=said,
            )
        except OSError as err:
            raise CommandError(f"{command[0]} cannot be started: {err.strerror or err}.") from err
        try:
            _watch(process, cancel, grows, seconds, most_bytes)
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
    grows: Path | None,
    seconds: float,
    most_bytes: int,
) -> None:
    began = looked = time.monotonic()
    while process.poll() is None:
        if cancel.wait(POLL_SECONDS):
            raise JobCancelled("It was stopped.")
        now = time.monotonic()
        if now - began > seconds:
            raise CommandError(f"It took longer than {seconds:g} seconds and was ended.", said="")
        if grows is not None and now - looked > LOOK_SECONDS:
            looked = now
            check_size(grows, most_bytes)
    if grows is not None:
        check_size(grows, most_bytes)


def check_size(folder: Path, most_bytes: int = MOST_BYTES) -> None:
    """Refuse a folder that has become too large.

    Raises:
        CommandError: It holds more than ``most_bytes``.
    """
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue  # it has gone meanwhile
    if total > most_bytes:
        raise CommandError(
            f"It is larger than {most_bytes / 2**20:.0f} MiB and was thrown away.",
            "Put it into the extensions folder by hand if you trust it.", said="",
        )  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
