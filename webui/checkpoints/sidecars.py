"""What lies beside a model file for people: notes, a description, a preview picture; no torch.

Names and keys are A1111's (formats.md, section 2), so that both programs read and write the same:
``<stem>.json``, ``<stem>.txt`` or ``<stem>.description.txt``, ``<stem>.preview.png`` or
``<stem>.png`` and its kin. ``<stem>.civitai.info`` is what download helpers leave; it is only read.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from webui.checkpoints.foreign_text import parse_json
from webui.checkpoints.labels import BADGES
from webui.checkpoints.scan import EMBEDDING_PICTURES
from webui.errors import CheckpointError

if TYPE_CHECKING:
    from webui.checkpoints.records import Record

PICTURES: Final = ("png", "jpg", "jpeg", "webp", "gif")
PREVIEWS: Final = (*(f".preview.{e}" for e in PICTURES), *(f".{e}" for e in PICTURES))
"""Endings of preview pictures, the first that is there wins. Ours is the first."""
NOTES: Final = ".json"
DESCRIPTIONS: Final = (".txt", ".description.txt")
HELPER: Final = ".civitai.info"
ENDINGS: Final = (*PREVIEWS, NOTES, *DESCRIPTIONS, HELPER)
MAX_TEXT_BYTES: Final = 1 << 20
DEFAULT_WEIGHT: Final = 0.0

KEYS: Final = {
    "description": "description", "sd_version": "sd version", "activation": "activation text",
    "weight": "preferred weight", "negative": "negative text", "notes": "notes", "vae": "vae",
}  # fmt: skip
"""Our names and A1111's keys in ``<stem>.json``."""

_HELPER_FAMILIES: Final = (
    ("SD 1", "sd1"), ("SD 2", "sd2"), ("SDXL", "sdxl"), ("Pony", "sdxl"), ("Illustrious", "sdxl"),
    ("NoobAI", "sdxl"), ("SD 3", "sd3"), ("Flux", "flux"),
)  # fmt: skip


@dataclass(frozen=True)
class Notes:
    """What people noted about a model.

    Attributes:
        family: As noted, '' = not.
        activation: What a prompt must say. negative: What the negative prompt should say.
        weight: To begin with; 0 = none noted.
    """

    description: str = ""
    family: str = ""
    activation: str = ""
    negative: str = ""
    notes: str = ""
    weight: float = DEFAULT_WEIGHT

    @property
    def sd_version(self) -> str:
        """The family in A1111's words; '' for none."""
        return BADGES.get(self.family, "")


def beside(record: Record, ending: str) -> str:
    """The path of a file beside a model, whether it is there or not."""
    path = str(record.path)
    return path[: len(path) - len(record.ending)] + ending


class Beside:
    """Which files lie beside models, each folder listed once."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, dict[str, int]]] = {}

    def times(self, record: Record) -> Mapping[str, int]:
        """Ending → modification time in nanoseconds of each of a model's files for people."""
        folder, stem = os.path.split(beside(record, ""))
        if folder not in self._folders:
            self._folders[folder] = _listing(folder)
        return self._folders[folder].get(stem, {})

    def preview(self, record: Record) -> str:
        """The path of a model's preview picture, '' when there is none. An embedding that is a
        picture shows itself."""
        ending = self._shown(record)
        is_picture = record.kind == "embedding" and record.ending.lower() in EMBEDDING_PICTURES
        return beside(record, ending) if ending else str(record.path) if is_picture else ""

    def pictured_ns(self, record: Record) -> int:
        """When its preview was changed; without one, the model itself."""
        return self.times(record).get(self._shown(record), record.mtime_ns)

    def _shown(self, record: Record) -> str:
        times = self.times(record)
        return next((ending for ending in PREVIEWS if ending in times), "")


def _listing(folder: str) -> dict[str, dict[str, int]]:
    """Stem → ending → modification time of the files for people in a folder."""
    found: dict[str, dict[str, int]] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                endings = [end for end in ENDINGS if entry.name.endswith(end)]
                if endings and entry.is_file():
                    for end in endings:  # a.preview.png is for a, or the .png for a.preview
                        stem = entry.name[: -len(end)]
                        found.setdefault(stem, {})[end] = entry.stat().st_mtime_ns
    except OSError:
        return {}
    return found


def user_metadata(record: Record) -> dict[str, Any]:
    """What a person noted about a model in ``<stem>.json`` beside it; {} when nothing."""
    return _json(beside(record, NOTES))


def read_notes(record: Record, there: Beside) -> Notes:
    """Everything that is noted beside a model. Parts that are missing or odd stay empty."""
    times = there.times(record)
    noted = user_metadata(record) if NOTES in times else {}
    text = next((beside(record, ending) for ending in DESCRIPTIONS if ending in times), "")
    helper = _json(beside(record, HELPER)) if HELPER in times else {}
    words = helper.get("trainedWords")
    trained = ", ".join(str(w).strip(" ,") for w in words) if isinstance(words, list) else ""
    return Notes(
        description=_text(noted, "description") or (_read(text).strip() if text else ""),
        family=_family(_text(noted, "sd_version")) or helper_family(helper),
        activation=_text(noted, "activation") or trained,
        negative=_text(noted, "negative"),
        notes=_text(noted, "notes"),
        weight=_weight(noted.get(KEYS["weight"])),
    )


def write_notes(record: Record, changes: Mapping[str, str | float]) -> None:
    """Change what is noted in ``<stem>.json``; keys of others stay as they are.

    Args:
        changes: By our names (``KEYS``).
    Raises:
        CheckpointError: There is another JSON file of that name, or it cannot be written.
    """
    path = Path(beside(record, NOTES))
    noted: object = {}
    if path.exists():
        try:
            noted = json.loads(path.read_text("utf-8-sig"))
        except (OSError, ValueError) as err:
            raise _no_notes(path, f"it cannot be read ({err})") from err
    if not isinstance(noted, dict):
        raise _no_notes(path, "it holds something else than notes")
    kept: dict[str, Any] = {**noted, **{KEYS[name]: value for name, value in changes.items()}}
    _write(path, json.dumps(kept, indent=4, ensure_ascii=False).encode("utf-8", "replace"))


def write_preview(record: Record, png: bytes) -> None:
    """Save a PNG file as the preview picture of a model.

    Raises:
        CheckpointError: It cannot be written.
    """
    _write(Path(beside(record, PREVIEWS[0])), png)


def _write(path: Path, data: bytes) -> None:
    """Write a whole file or nothing."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as err:
        raise CheckpointError(
            f"{path} cannot be written: {err.strerror or err}.",
            "Check the folder's permissions and the room on the disk.",
            path=str(path),
        ) from err


def _no_notes(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"Notes belong into {path}, but {why}.", "Rename or remove that file.", path=str(path)
    )


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            return file.read(min(size, MAX_TEXT_BYTES)).decode("utf-8-sig", "replace")
    except OSError:
        return ""


def _json(path: str) -> dict[str, Any]:
    value = parse_json(_read(path))
    return value if isinstance(value, dict) else {}


def _text(noted: Mapping[str, Any], name: str) -> str:
    value = noted.get(KEYS[name])
    return value.strip() if isinstance(value, str) else ""


def _weight(value: object) -> float:
    try:
        weight = float(value) if isinstance(value, (int, float, str)) else DEFAULT_WEIGHT
    except ValueError:
        return DEFAULT_WEIGHT
    return weight if -100 <= weight <= 100 else DEFAULT_WEIGHT


def _family(sd_version: str) -> str:
    wanted = sd_version.casefold()
    return next((code for code, word in BADGES.items() if wanted == word.casefold()), "")


def helper_family(helper: Mapping[str, Any]) -> str:
    """The family that a download helper's words for the base model mean; '' when unknown."""
    base = helper.get("baseModel")
    stated = base if isinstance(base, str) else ""
    return next((family for start, family in _HELPER_FAMILIES if stated.startswith(start)), "")
