"""Pictures packed into one file to be downloaded, and kept for an hour."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from webui.errors import LibraryError
from webui.library import files
from webui.library.names import stems

ZIP_MAX_AGE_SECONDS = 3600.0
Read = Callable[[], tuple[str, bytes]]
"""Gives a file's name and its bytes."""


class Zips:
    """A folder of zip files.

    Args:
        folder: Made with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self._zips = folder

    def pack(self, reads: Sequence[Read]) -> Path:
        """Pack files into one, which is kept for an hour.

        Args:
            reads: Each gives a name and the bytes. Those that fail with a LibraryError are named
                in ``missing.txt`` inside.
        Raises:
            LibraryError: None of them could be read, or the zip could not be written.
        """
        self._clear_old_zips()
        stem = time.strftime("pictures-%Y%m%d-%H%M%S")
        try:
            path = files.reserve(self._zips, stems(None, stem), ".zip")
            with files.removed_on_failure(path):
                self._pack(path, reads)
            return path
        except OSError as err:
            reason, hint = files.explain(err)
            raise LibraryError(
                f"A zip was to be written to {self._zips}, but {reason}.",
                f"{hint}, or download the pictures one by one.",
                path=str(self._zips),
            ) from err

    def _pack(self, path: Path, reads: Iterable[Read]) -> None:
        packed: set[str] = set()
        missing: list[str] = []
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for read in reads:
                try:
                    name, data = read()
                except LibraryError as err:
                    missing.append(err.message)
                    continue
                archive.writestr(_free_name(name, packed), data)
            if missing and packed:
                archive.writestr("missing.txt", "\n".join(missing))
        if not packed:
            raise LibraryError(
                f"{len(missing)} pictures were to be packed, none could be read.",
                missing[0] if missing else "Choose at least one picture.",
            )

    def _clear_old_zips(self) -> None:
        oldest = time.time() - ZIP_MAX_AGE_SECONDS
        for path in self._zips.glob("*.zip"):
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
            except OSError:
                continue


def _free_name(name: str, taken: set[str]) -> str:
    """A name that no file in the zip has yet, in any case of letters; it is taken then."""
    stem, dot, extension = name.rpartition(".")
    candidate, number = name, 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{stem} ({number}){dot}{extension}"
    taken.add(candidate.lower())
    return candidate
