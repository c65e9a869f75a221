"""Zip files with a whole training set inside: opened without trusting anything they say.

No name in an archive ever becomes a path: files get names of ours in a folder of ours. What is said
of sizes is checked while bytes come out.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from webui.errors import DatasetError
from webui.training.dataset_folders import parse_folder_name

ENDING: Final = ".zip"
MOST_FILES: Final = 10_000
MOST_BYTES: Final = 16 * 2**30
"""Of all files of an archive, unpacked."""
MOST_OF_A_FILE: Final = 512 * 2**20
MOST_RATIO: Final = 200
"""Unpacked to packed size of an archive. Pictures are packed already; plain BMP files reach 100."""
FREE_RATIO_BYTES: Final = 64 * 2**20
"""So much may come out at any ratio."""
SPARE_BYTES: Final = 256 * 2**20
"""Left free on the disk."""
CHUNK: Final = 1 << 20
JUNK: Final = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})
REGULARISATION: Final = frozenset({"reg", "regularisation", "regularization", "正则化"})
_IS_UTF8, _IS_ENCRYPTED = 0x800, 0x1
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError,
    ValueError,
)  # fmt: skip


@dataclass
class Group:
    """The files of one folder of an archive.

    Attributes:
        repeats, words: Of a folder such as ``5_xiaoming girl``; 0 and '' for others.
    """

    repeats: int = 0
    words: str = ""
    files: list[Path] = field(default_factory=list[Path])


@dataclass
class Unpacked:
    """What was in an archive; ``bad`` are sentences about what could not be used."""

    groups: list[Group]
    bad: list[str]


@contextmanager
def unpacked(archive: Path, room: Path) -> Iterator[Unpacked]:
    """The files of an archive, in a folder that is removed in the end.

    Args:
        room: Where that folder is made; on the disk where the files shall stay.
    Raises:
        DatasetError: It is no zip file, protected by a password, too large, or a bomb.
    """
    with tempfile.TemporaryDirectory(dir=room, prefix=".zip-") as folder, _opened(archive) as zip_:
        members = [(one, _path_in(one)) for one in zip_.infolist() if not one.is_dir()]
        members = [(one, path) for one, path in members if not _is_junk(path)]
        _check(archive, [one for one, _ in members], Path(folder))
        yield _unpack(archive, zip_, members, Path(folder))


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        opened = zipfile.ZipFile(archive)
    except _UNREADABLE as err:
        raise DatasetError(
            f'"{archive.name}" is no zip file that can be read.',
            "Pack the pictures again, or drop them as they are.",
            file=str(archive),
        ) from err
    with opened:
        yield opened


def _check(archive: Path, members: list[zipfile.ZipInfo], folder: Path) -> None:
    """Raise DatasetError for what is refused before anything is unpacked."""
    if any(one.flag_bits & _IS_ENCRYPTED for one in members):
        raise _refused(archive, "is protected by a password", "Unpack it and drop what is in it.")
    if len(members) > MOST_FILES:
        raise _refused(
            archive, f"holds {len(members)} files; {MOST_FILES} are taken at most",
            "Divide it into several.",
        )  # fmt: skip
    total = sum(one.file_size for one in members)
    if total > MOST_BYTES:
        raise _refused(
            archive,
            f"would unpack to {total / 2**30:.0f} GiB; {MOST_BYTES >> 30} are taken at most",
            "Divide it into several.",
        )
    free = shutil.disk_usage(folder).free
    if total + SPARE_BYTES > free:
        raise _refused(
            archive, f"needs {total / 2**20:.0f} MiB, and {free / 2**20:.0f} are free on this disk",
            "Make room.",
        )  # fmt: skip


def _unpack(
    archive: Path,
    opened: zipfile.ZipFile,
    members: list[tuple[zipfile.ZipInfo, PurePosixPath]],
    folder: Path,
) -> Unpacked:
    groups: dict[PurePosixPath, Group] = {}
    bad: list[str] = []
    left_out = 0
    budget = _Budget(archive)
    for one, path in members:
        if any(part.lower() in REGULARISATION for part in path.parts[:-1]):
            left_out += 1
            continue
        group = groups.setdefault(path.parent, _group_of(path.parent))
        place = folder / str(list(groups).index(path.parent)) / path.name
        place.parent.mkdir(exist_ok=True)
        try:
            _write(opened, one, place, budget)
            group.files.append(place)
        except _UNREADABLE as err:
            place.unlink(missing_ok=True)
            bad.append(f'"{path.name}" in "{archive.name}" is damaged ({err}).')
    if left_out:
        bad.append(
            f'{left_out} regularisation pictures in "{archive.name}" were left out: make a set of '
            "their own of them, and name it as reg_data_dir."
        )
    return Unpacked([group for group in groups.values() if group.files], bad)


class _Budget:
    """What may still come out of an archive, whatever it says itself."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        packed = archive.stat().st_size
        self._left = min(MOST_BYTES, max(FREE_RATIO_BYTES, MOST_RATIO * packed))

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise _refused(
                self._archive, "unpacks to far more than pictures do: it may be made to fill disks",
                "Drop the pictures themselves.",
            )  # fmt: skip


def _write(opened: zipfile.ZipFile, one: zipfile.ZipInfo, place: Path, budget: _Budget) -> None:
    done = 0
    with opened.open(one) as source, place.open("wb") as goal:
        while data := source.read(CHUNK):
            done += len(data)
            budget.take(len(data))
            if done > MOST_OF_A_FILE:
                raise ValueError(f"larger than {MOST_OF_A_FILE >> 20} MiB")
            goal.write(data)


def _group_of(folder: PurePosixPath) -> Group:
    parsed = parse_folder_name(folder.name)
    return Group(*parsed) if parsed else Group()


def _path_in(one: zipfile.ZipInfo) -> PurePosixPath:
    """Where a file lies in its archive, read as its writer meant it."""
    parts = PurePosixPath(_name_of(one).replace("\\", "/")).parts
    plain = [part.replace("\x00", "").strip() for part in parts if part not in ("/", "..", ".")]
    return PurePosixPath(*plain) if plain else PurePosixPath("picture")


def _name_of(one: zipfile.ZipInfo) -> str:
    """A file's name; Chinese Windows writes GBK and macOS UTF-8 without saying so."""
    if one.flag_bits & _IS_UTF8:
        return one.filename
    try:
        raw = one.filename.encode("cp437")
    except UnicodeEncodeError:  # Python read it out of a field that tells
        return one.filename
    for coding in ("utf-8", "gb18030"):
        try:
            return raw.decode(coding)
        except UnicodeDecodeError:
            continue
    return one.filename


def _is_junk(path: PurePosixPath) -> bool:
    return path.name.startswith(".") or any(part.lower() in JUNK for part in path.parts)


def _refused(archive: Path, why: str, hint: str) -> DatasetError:
    return DatasetError(f'"{archive.name}" {why}.', hint, file=str(archive))
