"""Taggers and captioners that lie in the model folders; no torch.

A tagger is a folder with ``model.onnx`` and ``selected_tags.csv`` (the WD taggers), a captioner a
folder of transformers whose ``config.json`` says ``blip``. Their files decide, not their names.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from webui.errors import CheckpointNotFoundError

DescriberKind = Literal["tagger", "captioner"]
FOLDERS: Final = (
    "taggers", "tagger", "wd14_tagger_model", "interrogators", "captioners", "captioner", "blip",
)  # fmt: skip
"""Below a models folder, in lower case: case is ignored. kohya's scripts and A1111 use some."""
NETWORK: Final = "model.onnx"
TAGS: Final = "selected_tags.csv"
CONFIG: Final = "config.json"
WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
MAX_DEPTH: Final = 4
MAX_CONFIG_BYTES: Final = 1_000_000
WANTED: Final[dict[DescriberKind, str]] = {
    "tagger": "wd-swinv2-tagger-v3",
    "captioner": "blip-image-captioning-base",
}
"""What is proposed where there is none."""
_WORD: Final = re.compile(r"[^\W\d_]{2}")
_PLACES: Final[dict[DescriberKind, str]] = {
    "tagger": f"Put {NETWORK} and {TAGS} of a WD tagger (SmilingWolf) into a folder of its own in "
    f"models/taggers, such as models/taggers/{WANTED['tagger']}.",
    "captioner": f"Put {CONFIG}, tokenizer.json and {WEIGHTS[0]} of BLIP (Salesforce) into a "
    f"folder of its own in models/BLIP, such as models/BLIP/{WANTED['captioner']}.",
}


@dataclass(frozen=True)
class Describer:
    """One tagger or captioner that is there.

    Attributes:
        name: Of its folder; unique.
    """

    name: str
    kind: DescriberKind
    folder: Path


def find_describers(models: Iterable[Path]) -> tuple[Describer, ...]:
    """All taggers, then all captioners, each by name.

    Args:
        models: Folders with A1111's or ComfyUI's sub-folders.
    """
    found: dict[str, Describer] = {}
    for top in _tops(models):
        for folder in _folders(top, MAX_DEPTH):
            kind = _kind_of(folder)
            if kind is not None:
                name = next(n for n in (folder.name, str(folder)) if n not in found)
                found[name] = Describer(name, kind, folder)
    order = {"tagger": 0, "captioner": 1}
    return tuple(sorted(found.values(), key=lambda one: (order[one.kind], one.name.casefold())))


def missing_describer(kind: DescriberKind) -> CheckpointNotFoundError:
    """Why no picture can be described, and which files are wanted where."""
    return CheckpointNotFoundError(
        f"No {kind} lies in the model folders.", _PLACES[kind], wanted=WANTED[kind]
    )


def is_face(tag: str) -> bool:
    """True for faces made of signs, such as ``^_^`` and ``o_o``, which taggers know: no blank
    stands for their _, and their signs weigh nothing."""
    return "_" in tag and not _WORD.search(tag)


def _tops(models: Iterable[Path]) -> Iterator[Path]:
    for root in dict.fromkeys(models):
        yield from (path for path in folders_in(root) if path.name.lower() in FOLDERS)


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if depth:
        for below in folders_in(folder):
            yield from _folders(below, depth - 1)


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder that are no hidden ones; none when it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if not e.name.startswith(".") and e.is_dir()]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def _kind_of(folder: Path) -> DescriberKind | None:
    if (folder / NETWORK).is_file() and (folder / TAGS).is_file():
        return "tagger"
    if any((folder / name).is_file() for name in WEIGHTS) and model_type_of(folder) == "blip":
        return "captioner"
    return None


def model_type_of(folder: Path) -> str:
    """What a folder of transformers says it is; '' for any other folder."""
    path = folder / CONFIG
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            return ""
        facts = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return ""
    return str(facts.get("model_type", "")) if isinstance(facts, dict) else ""
