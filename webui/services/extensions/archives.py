"""Extensions in zip files: unpacked with suspicion."""

from __future__ import annotations

import shutil
import stat
import zipfile
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
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as err:
        raise InstallError(f"This is no zip file that can be read: {err}.") from err
    except OSError as err:
        raise InstallError(f"The zip cannot be unpacked: {err.strerror or err}.") from err
    return _root(target)


_BY_HAND = "Unpack it into the extensions folder by hand if you trust it."


def _checked(entry: zipfile.ZipInfo) -> tuple[str, ...]:
    """The parts of an entry's name."""
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        raise InstallError(f"The zip holds a link or a device: {entry.filename[:120]!r}.")
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    if path.is_absolute() or not path.parts or any(not _is_fine(part) for part in path.parts):
        raise InstallError(
            f"The zip holds a file that would lie elsewhere: {entry.filename[:120]!r}."
        )
    return path.parts


def _is_fine(part: str) -> bool:
    is_reserved = part.partition(".")[0].lower() in _RESERVED
    return part != ".." and not (set(part) & set(':*?"<>|\0')) and not is_reserved


def _write(zipped: zipfile.ZipFile, entry: zipfile.ZipInfo, file: Path) -> None:
    """An entry never brings more than it announced: zipfile stops there and checks its sum."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipped.open(entry) as source, file.open("xb") as goal:
        shutil.copyfileobj(source, goal)


def _root(target: Path) -> Path:
    entries = list(target.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else target
