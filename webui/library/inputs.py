"""Pictures that requests begin with, kept under the sha256 of their file.

A job's row names its inputs by key alone, so a job that waits, is repeated or is painted again
after a crash finds them unchanged, and a replaced input is never lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

from webui.errors import LibraryError, PictureNotFoundError
from webui.library.files import explain, remove, write_whole
from webui.pictures import load_upright

UNUSED_DAYS = 7
"""So long a picture is kept that nothing names any more: a drawing of today can be undone and
redone, and an upload waits for its request."""
MOST_DECODED_AT_ONCE = 2
"""A small file may unpack to 700 MB of pixels, and many may be sent at the same time."""
_KEY_ANYWHERE = re.compile(r"(?=([0-9a-f]{64}))")


def keys_in(texts: Iterable[str]) -> set[str]:
    """Whatever could be a key in JSON or other texts: rather one too many than one too few."""
    return {key for text in texts for key in _KEY_ANYWHERE.findall(text)}


class Inputs:
    """The folder of input pictures. Nothing in it is ever changed or overwritten; what nobody
    names any more is removed after a while. One process at a time uses a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._decoding = threading.BoundedSemaphore(MOST_DECODED_AT_ONCE)

    def keep(self, data: bytes) -> str:
        """Keep a picture file.

        Args:
            data: A whole picture file, decoded here once so that a damaged one is refused now
                and not when its job runs.
        Returns:
            Its key; the same file gets the same key.
        Raises:
            PictureError: No picture, a damaged one, or too large.
            LibraryError: It cannot be written.
        """
        with self._decoding:
            load_upright(data)
        key = hashlib.sha256(data).hexdigest()
        path = self._place(key)
        try:
            with self._lock:
                if not self._is_kept_anew(path, len(data)):
                    write_whole(path, data)
        except OSError as err:
            what, hint = explain(err)
            raise LibraryError(
                f"The input picture could not be kept in {self._folder}: {what}.",
                f"{hint} and try again.",
                path=str(path),
            ) from err
        return key

    def keep_video(self, source: Path) -> str:
        """Keep a video file, however large; whether it is one is for ffmpeg to say.

        Args:
            source: Unchanged.
        Returns:
            Its key; the same file gets the same key.
        Raises:
            LibraryError: It cannot be read, or cannot be written.
        """
        copy = self._folder / f".{uuid.uuid4().hex}.tmp"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            key = _copied(source, copy)
            path = self._place(key)
            with self._lock:
                if not self._is_kept_anew(path, source.stat().st_size):
                    path.parent.mkdir(exist_ok=True)
                    os.replace(copy, path)
        except OSError as err:
            what, hint = explain(err)
            raise LibraryError(
                f"The video could not be kept in {self._folder}: {what}.",
                f"{hint} and try again.",
                path=str(source),
            ) from err
        finally:
            remove(copy)
        return key

    def _is_kept_anew(self, path: Path, size: int) -> bool:
        """True when the whole file is there; it then counts as new, so that it outlives the time
        until a draft or a job names it."""
        if not path.is_file() or path.stat().st_size != size:
            return False
        with contextlib.suppress(OSError):  # a folder that is only read keeps all it has
            os.utime(path)
        return True

    def keep_image(self, image: Image.Image) -> str:
        """Keep a picture that has no file yet, as PNG. Raises as ``keep``."""
        data = io.BytesIO()
        image.save(data, "PNG", compress_level=1)
        return self.keep(data.getvalue())

    def has(self, key: str) -> bool:
        """True when the picture is there."""
        return self._place(key).is_file()

    def path(self, key: str) -> Path:
        """Where the picture lies.

        Raises:
            PictureNotFoundError: It is not there (any more).
        """
        path = self._place(key)
        if not path.is_file():
            raise PictureNotFoundError(
                f"The input picture {key[:10]} is not in {self._folder} any more.",
                "Choose the picture again.",
                path=str(path),
            )
        return path

    def image(self, key: str) -> Image.Image:
        """The picture, upright, 8-bit RGB or RGBA. Raises as ``path``."""
        with self._decoding:
            return load_upright(self.path(key))

    def remove_unused(
        self, named: Callable[[], set[str]], should_stop: Callable[[], bool] = lambda: False
    ) -> int:
        """Remove pictures that nothing names and that are older than ``UNUSED_DAYS``.

        A crash in between leaves the rest for the next time: each file is there or not.

        Args:
            named: Every key that is still needed; asked after the old files were listed, so that
                a key named meanwhile counts. should_stop: Asked before each file.
        Returns:
            How many were removed.
        Raises:
            OSError: The folder cannot be read.
        """
        before = time.time() - UNUSED_DAYS * 86400
        old = [path for path in self._folder.glob("??/*") if _is_older(path, before)]
        if not old:
            return 0
        needed = named()
        removed = 0
        for path in old:
            if should_stop():
                break
            if path.name not in needed:
                removed += self._remove_when_old(path, before)
        return removed

    def _remove_when_old(self, path: Path, before: float) -> bool:
        with self._lock:  # not between a ``keep`` that finds the file and its answer
            if not _is_older(path, before):
                return False
            with contextlib.suppress(OSError):  # open in another program: next time
                path.unlink()
                return True
            return False

    def _place(self, key: str) -> Path:
        if len(key) != 64 or not all(c in "0123456789abcdef" for c in key):
            raise PictureNotFoundError(
                "That is not the key of an input picture.", "Choose the picture."
            )
        return self._folder / key[:2] / key


def _copied(source: Path, copy: Path) -> str:
    """Copy a file piece by piece, flushed to the disk; returns its sha256."""
    sha256 = hashlib.sha256()
    with open(source, "rb") as file, open(copy, "wb") as goal:
        while piece := file.read(1 << 20):
            sha256.update(piece)
            goal.write(piece)
        goal.flush()
        os.fsync(goal.fileno())
    return sha256.hexdigest()


def _is_older(path: Path, before: float) -> bool:
    """True for a file last kept before that time (seconds since 1970)."""
    try:
        return path.is_file() and path.stat().st_mtime < before
    except OSError:
        return False
