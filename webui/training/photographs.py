"""Picture files of a training set: found, measured, read upright. No torch."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, features

from webui.errors import DatasetError, LibraryError
from webui.pictures import eight_bit, load_upright, open_image
from webui.training.buckets import Size

ALWAYS_READ = ("png", "jpg", "jpeg", "webp", "bmp")
_TURNED = (5, 6, 7, 8)
_EXIF_ORIENTATION = 0x0112


def readable_suffixes() -> tuple[str, ...]:
    """Endings of picture files without their dot; some only where a decoder is installed."""
    Image.init()
    known = Image.registered_extensions()
    return (*ALWAYS_READ, *(name for name in ("avif", "jxl") if _can_read(name, known)))


def _can_read(name: str, known: dict[str, str]) -> bool:
    kind = known.get(f".{name}")
    return kind in Image.OPEN and (name != "avif" or bool(features.check("avif")))


@dataclass(frozen=True)
class Photograph:
    """What the head of a picture file tells.

    Attributes:
        size: As people see it: turned as the file says.
        has_alpha: Something in it may be transparent.
    """

    path: Path
    size: Size
    has_alpha: bool = False


def pictures_in(folder: Path) -> list[Path]:
    """Picture files of a folder by path, not of its sub-folders.

    Raises:
        DatasetError: The folder cannot be read.
    """
    suffixes = {f".{name}" for name in readable_suffixes()}
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
        )
    except OSError as err:
        raise DatasetError(
            f'The folder "{folder}" cannot be read: {err.strerror or err}.', file=str(folder)
        ) from err


def measure(path: Path) -> Photograph:
    """Size and kind of a picture, its pixels left undecoded.

    Raises:
        DatasetError: It is no picture that can be read (``file``, ``reason``).
    """
    try:
        with open_image(path) as image:
            turned = image.getexif().get(_EXIF_ORIENTATION) in _TURNED
            size = (image.height, image.width) if turned else image.size
            return Photograph(path, size, image.has_transparency_data)
    except (LibraryError, OSError, ValueError, SyntaxError) as err:
        raise unreadable(path, err) from err


def measure_whole(path: Path) -> Photograph:
    """As ``measure``, and sees to it that the pixels can be read, too.

    Raises:
        DatasetError: As there, or the file is damaged further on.
    """
    small(path, 8)
    return measure(path)


def unreadable(path: Path, err: Exception) -> DatasetError:
    """The error about a picture file that cannot be used."""
    reason = _reason(path, err)
    return DatasetError(
        f'"{path.name}" cannot be read as an image ({reason}).',
        'Remove it, or tick "skip broken images".',
        file=str(path),
        reason=reason,
    )


def _reason(path: Path, err: Exception) -> str:
    try:
        if not path.stat().st_size:
            return "the file is empty"
    except OSError as gone:
        return gone.strerror or str(gone)
    cause = err.__cause__ or err
    if isinstance(cause, Image.UnidentifiedImageError):
        return "its content is no picture"
    if isinstance(cause, (struct.error, EOFError)) or "truncated" in str(cause):
        return "the file is cut off"
    return str(cause).strip().rstrip(".") or type(cause).__name__


def read(path: Path) -> Image.Image:
    """A picture as people see it, 8-bit RGB, or RGBA when something in it is transparent.

    Raises:
        DatasetError: It is damaged, or no picture (``file``, ``reason``).
    """
    try:
        return load_upright(path)
    except (LibraryError, OSError) as err:
        raise unreadable(path, err) from err


def measured(paths: Iterable[Path]) -> Iterator[Photograph | DatasetError]:
    """Each picture's size, or what is wrong with it."""
    for path in paths:
        try:
            yield measure(path)
        except DatasetError as err:
            yield err


def small(path: Path, side: int) -> Image.Image:
    """A small RGB copy, quickly: JPEG files are decoded at a fraction of their size.

    Raises:
        DatasetError: It is damaged, or no picture.
    """
    try:
        with open_image(path) as image:
            image.draft("RGB", (side, side))
            image.thumbnail((side * 2, side * 2), Image.Resampling.BOX)
            turned = eight_bit(ImageOps.exif_transpose(image)).convert("RGB")
    except (LibraryError, OSError, ValueError, SyntaxError) as err:
        raise unreadable(path, err) from err
    turned.thumbnail((side, side), Image.Resampling.LANCZOS)
    return turned
