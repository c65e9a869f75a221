"""Extensions in zip files: unpacked with suspicion."""

from __future__ import annotations

import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

from webui.services.extensions.commands import MOST_BYTES, InstallError

MOST_FILES: Final = 20_000
_RESERVED: Final = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)))
)


def unpack(
    archive: Path, target: Path, *, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES
) -> Path:
    """Unpack an archive into a folder that does not exist yet.

    Files of a ``.git`` folder are left out: such a folder can hold commands.

    Returns:
        The folder that holds the files: the target, or the only folder in it.
    Raises:
        InstallError: No zip; too much in it; a link, or a name that leads out of the folder.
    """
    try:
        _check_list(archive, most_files)
        with zipfile.ZipFile(archive) as zipped:
            entries = [one for one in zipped.infolist() if not one.is_dir()]
            if len(entries) > most_files:
                raise InstallError(f"The zip holds more than {most_files} files.", _BY_HAND)
            if sum(one.file_size for one in entries) > most_bytes:
                told = f"The zip holds more than {most_bytes / 2**20:.0f} MiB."
                raise InstallError(told, _BY_HAND)
            target.mkdir(parents=True)
            for entry in entries:
                parts = _checked(entry)
                if ".git" not in (part.lower() for part in parts):
                    _write(zipped, entry, target.joinpath(*parts))
    except (*_BROKEN, NotImplementedError, RuntimeError, EOFError) as err:
        raise InstallError(f"This is no zip file that can be read: {err}.") from err
    except OSError as err:
        raise InstallError(f"The zip cannot be unpacked: {err.strerror or err}.") from err
    return _root(target)


_BROKEN: Final = (zipfile.BadZipFile, zlib.error, ValueError)
_BY_HAND = "Unpack it into the extensions folder by hand if you trust it."
_END: Final = struct.Struct("<4s4H2IH")
_LIST_BYTES_OF_ONE: Final = 400
"""What an entry takes in a zip's list, with room for long names."""


def _check_list(archive: Path, most_files: int) -> None:
    """Refuse a list of contents that would fill the memory before its entries can be counted."""
    with archive.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END.size - 0xFFFF))
        tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise zipfile.BadZipFile("File is not a zip file")
    list_bytes = _END.unpack_from(tail, at)[5]
    is_zip64 = tail[max(0, at - 20) : at].startswith(b"PK\6\7")  # which tells another length
    if is_zip64 or list_bytes > most_files * _LIST_BYTES_OF_ONE:
        raise InstallError(f"The zip holds more than {most_files} files.", _BY_HAND)


def _checked(entry: zipfile.ZipInfo) -> tuple[str, ...]:
    """The parts of an entry's name."""
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        raise InstallError(f"The zip holds a link or a device: {entry.filename[:120]!r}.")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile("it is packed in an unusual way")
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or not path.parts or any(not is_fine_name(part) for part in path.parts):
        raise InstallError(
            f"The zip holds a file that would lie elsewhere: {entry.filename[:120]!r}."
        )
    return path.parts


def is_fine_name(part: str) -> bool:
    """True for what can be the name of a file or folder everywhere, Windows included."""
    is_reserved = part.partition(".")[0].rstrip().lower() in _RESERVED
    has_sign = any(sign in ':*?"<>|' or sign < " " for sign in part)
    return part == part.rstrip(" .") and not has_sign and not is_reserved


def _write(zipped: zipfile.ZipFile, entry: zipfile.ZipInfo, file: Path) -> None:
    """An entry never brings more than it announced: zipfile stops there and checks its sum."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipped.open(entry) as source, file.open("xb") as goal:
        shutil.copyfileobj(source, goal)


def _root(target: Path) -> Path:
    entries = list(target.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else target
