"""Extensions that were removed: told, put back, deleted for good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from webui.services.extensions.commands import InstallError
from webui.services.extensions.places import Removed, delete, put_back, removed_in
from webui.services.extensions.shelf import Shelf
from webui.services.extensions.turn import Turn


class Trash:
    """The trashes of all extension folders.

    Args:
        turn: One thing at a time.
        refresh: Called after something came back.
    """

    def __init__(self, room: Shelf, turn: Turn, refresh: Callable[[], object]) -> None:
        self._room, self._turn, self._refresh = room, turn, refresh

    def all(self) -> list[Removed]:
        """What lies there, the latest first."""
        return sorted(removed_in(self._room.folders), key=lambda one: one.id, reverse=True)

    def restore(self, removed_id: str) -> Path:
        """Put an extension back to where it was.

        Raises:
            AccessOffError, BusyError; InstallError: It is not there, or its place is taken.
        """
        with self._turn.taken(removed_id):
            path = put_back(self._find(removed_id))
        self._refresh()
        return path

    def delete(self, removed_id: str) -> None:
        """Delete one for good; raises as ``restore``."""
        with self._turn.taken(removed_id):
            delete(self._find(removed_id))

    def _find(self, removed_id: str) -> Removed:
        found = next((one for one in self.all() if one.id == removed_id), None)
        if found is None:
            raise InstallError("This does not lie in the trash any more.", "Press Refresh.")
        return found
