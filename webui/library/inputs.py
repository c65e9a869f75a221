"""Pictures that requests begin with, kept under the sha256 of their file.

A job's row names its inputs by key alone, so a job that waits, is repeated or is painted again
after a crash finds them unchanged, and a replaced input is never lost.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image

from webui.errors import LibraryError
from webui.library.files import explain, write_whole
from webui.pictures import load_upright


class Inputs:
    """The folder of input pictures. Nothing in it is ever changed or overwritten."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, data: bytes) -> str:
        """Keep a picture file.

        Args:
            data: A whole picture file, decoded here once so that a damaged one is refused now
                and not when its job runs.
        Returns:
            Its key; the same file gets the same key.
        Raises:
            LibraryError: No picture, a damaged one, too large, or it cannot be written.
        """
        load_upright(data)
        key = hashlib.sha256(data).hexdigest()
        path = self._place(key)
        if path.is_file() and path.stat().st_size == len(data):
            return key
        try:
            write_whole(path, data)
        except OSError as err:
            what, hint = explain(err)
            raise LibraryError(
                f"The input picture could not be kept in {self._folder}: {what}.",
                f"{hint} and try again.",
                path=str(path),
            ) from err
        return key

    def keep_image(self, image: Image.Image) -> str:
        """Keep a picture that has no file yet, as PNG. Raises as ``keep``."""
        data = io.BytesIO()
        image.save(data, "PNG", compress_level=1)
        return self.keep(data.getvalue())

    def path(self, key: str) -> Path:
        """Where the picture lies.

        Raises:
            LibraryError: It is not there (any more).
        """
        path = self._place(key)
        if not path.is_file():
            raise LibraryError(
                f"The input picture {key[:10]} is not in {self._folder} any more.",
                "Choose the picture again.",
                path=str(path),
            )
        return path

    def image(self, key: str) -> Image.Image:
        """The picture, upright, 8-bit RGB or RGBA. Raises as ``path``."""
        return load_upright(self.path(key))

    def _place(self, key: str) -> Path:
        if len(key) != 64 or not all(c in "0123456789abcdef" for c in key):
            raise LibraryError("That is not the key of an input picture.", "Choose the picture.")
        return self._folder / key[:2] / key
