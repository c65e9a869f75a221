"""Small copies of pictures, made when first looked at and kept under the mark of their content."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from pathlib import Path

from PIL import Image

from webui.errors import LibraryError
from webui.library.files import remove, write_whole
from webui.pictures import load_upright

SIDE = 384
"""Of the square they fit into, in pixels: sharp in cells of 190 on screens of double density."""
MADE_AT_ONCE = 2


class Thumbs:
    """A folder of small WebP files. A moved picture keeps its own.

    Args:
        folder: Made when needed; whatever is in it can be deleted at any time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._making = threading.BoundedSemaphore(MADE_AT_ONCE)
        self._writing = threading.Lock()

    def of(self, mark: str, path: Path) -> bytes:
        """The small copy, made now if need be.

        Args:
            mark: Of the picture's content. path: Where it lies.
        Raises:
            LibraryError: The picture is gone or damaged.
        """
        kept = self._place(mark)
        try:
            data = kept.read_bytes()
        except OSError:
            pass  # not made yet, or a cache that cannot be read
        else:
            with contextlib.suppress(OSError):
                os.utime(kept)  # for ``trim``: file systems often do not note who reads
            return data
        with self._making:
            made = small(path)
        with self._writing, contextlib.suppress(OSError):  # a full disk: it is made anew each time
            write_whole(kept, made)
        return made

    def forget(self, mark: str) -> None:
        """Delete one."""
        remove(self._place(mark))

    def trim(self, most_bytes: int) -> int:
        """Delete those that were not looked at for longest, until the others fit.

        Returns:
            How many went.
        """
        found = []
        for path in self._folder.glob("*/*.webp"):
            with contextlib.suppress(FileNotFoundError):  # forgotten meanwhile
                found.append((path, path.stat()))
        total, gone = sum(facts.st_size for _, facts in found), 0
        for path, facts in sorted(found, key=lambda one: one[1].st_mtime):
            if total <= most_bytes:
                break
            remove(path)
            total, gone = total - facts.st_size, gone + 1
        return gone

    def _place(self, mark: str) -> Path:
        return self._folder / mark[:2] / f"{mark}.webp"


def small(path: Path, side: int = SIDE) -> bytes:
    """A picture as a WebP file that fits into a square of ``side`` pixels.

    Raises:
        LibraryError: It is gone, no picture, damaged or much too large.
    """
    try:
        image = load_upright(path)
    except OSError as err:
        raise LibraryError(f"The picture {path} cannot be read: {err.strerror or err}.") from err
    image.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    packed = io.BytesIO()
    image.save(packed, "WEBP", quality=80, method=3)
    return packed.getvalue()
