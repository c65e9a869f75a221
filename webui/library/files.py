"""Files written whole or not at all, under names that were free."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Generator, Iterator
from pathlib import Path

from webui.errors import LibraryError

EXTENSIONS = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "avif": ".avif", "gif": ".gif"}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PICTURE_SUFFIXES = frozenset({*EXTENSIONS.values(), ".jpeg"})


def reserve(folder: Path, stems: Iterator[str], extension: str) -> Path:
    """Take the first free name by making an empty file of it; safe against other processes.

    Raises:
        OSError: The folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        path = folder / f"{stem}{extension}"
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            continue
        return path
    raise OSError(errno.EEXIST, "no free file name is left", str(folder))


def write_whole(path: Path, data: bytes) -> None:
    """Write beside it as ``.tmp``, flush to the disk, rename: never half a file under ``path``.
    One at a time may write a path.

    Raises:
        OSError: It could not be written; whatever was there is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.stem}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        remove(temporary)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Put a rename on the disk too, where the system lets folders be opened."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):  # some network file systems refuse; the file is flushed
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove(path: Path) -> None:
    """Delete a file if it can be deleted."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def is_inside(path: Path, root: Path) -> bool:
    """True when the file, links followed, lies below the folder, links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def read_inside(path: Path, root: Path, name: str) -> bytes:
    """The bytes of a picture file.

    Args:
        root: The folder it was written to or found in. name: How messages call it.
    Raises:
        LibraryError: It was moved or deleted, cannot be read, is no picture by its name, or lies,
            links followed, outside of ``root``.
    """
    if path.suffix.lower() not in PICTURE_SUFFIXES or not is_inside(path, root):
        raise LibraryError(
            f"{name} leads to {path}, outside of {root}.",
            "It is not opened. Put the file itself into the output folder.",
            path=str(path),
        )
    try:
        return path.read_bytes()
    except FileNotFoundError as err:
        raise LibraryError(
            f"{name} is no longer at {path}: moved or deleted.",
            "Put it back there, or paint it again from its recipe.",
            path=str(path),
        ) from err
    except OSError as err:
        raise LibraryError(
            f"{name} at {path} cannot be read: {err.strerror or err}.",
            "Check that the folder is there and readable.",
            path=str(path),
        ) from err


def sniff_format(data: bytes) -> str:
    """What picture format the bytes are: a key of EXTENSIONS.

    Raises:
        LibraryError: None of them.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis", b"mif1"):
        return "avif"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    raise LibraryError(
        f"{len(data)} bytes that are no PNG, JPEG, WebP, AVIF or GIF picture were to be saved.",
        "Paint it again; if it stays so, look at the log of the model process.",
    )


def explain(err: OSError) -> tuple[str, str]:
    """Say why a file could not be written, and what helps."""
    if err.errno in FULL:
        return "the disk is full", "Free some disk space"
    if err.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "it is not writable", "Make that folder writable"
    return (err.strerror or str(err)), "Check that folder"


@contextlib.contextmanager
def removed_on_failure(path: Path) -> Generator[None, None, None]:
    """Leave no half or empty file behind."""
    try:
        yield
    except BaseException:
        remove(path)
        raise
