"""Face restorers that extensions bring."""

from __future__ import annotations

from typing import Any


class FaceRestoration:
    """Makes faces clear."""

    def name(self) -> str:
        return "None"

    def restore(self, np_image: Any) -> Any:
        """A picture (H, W, 3) uint8 with clear faces."""
        return np_image


def restore_faces(np_image: Any) -> Any:
    """The picture as it is: the program restores faces itself where a job asks for it."""
    return np_image
