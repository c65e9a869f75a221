"""One server per data folder, kept by a lock of the operating system."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from webui.errors import SettingsError
from webui.file_lock import try_lock, unlock

logger = logging.getLogger(__name__)

LOCK_NAME = "server.lock"


@contextmanager
def lock_data_folder(folder: Path) -> Generator[None, None, None]:
    """Hold the data folder for this process until the block ends.

    The operating system lets go of the lock whenever the process ends, however it ends, so no
    stale lock can be left behind; the file itself stays and means nothing.

    Args:
        folder: Made when missing. The lock is the file ``server.lock`` in it.
    Raises:
        SettingsError: Another process holds it, or the folder cannot be written.
    """
    path = folder / LOCK_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b")  # noqa: SIM115 - closed by the block below
    except OSError as err:
        raise SettingsError(
            f"The data folder {folder} cannot be written: {err.strerror or err}.",
            "Make it writable, or choose another with --data-dir.",
        ) from err
    with file:
        if not try_lock(file):
            raise _already_running(path, folder)
        _write_pid(file)
        try:
            yield
        finally:
            unlock(file)


def _already_running(path: Path, folder: Path) -> SettingsError:
    try:
        pid = path.read_bytes().decode("ascii", "replace").strip()
    except OSError:
        pid = ""
    return SettingsError(
        f"The data folder {folder} is in use by another server"
        + (f" (process {pid})." if pid else "."),
        "Open that server's page, or stop it first; to run two servers, start the second "
        "with --data-dir and another folder.",
        pid=int(pid) if pid.isdigit() else None,
    )


def _write_pid(file: BinaryIO) -> None:
    try:
        file.truncate(0)
        file.write(str(os.getpid()).encode("ascii"))
        file.flush()
    except OSError as err:
        logger.warning("The process id could not be written to %s: %s", file.name, err)
