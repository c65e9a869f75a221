"""One entry of the catalog, and the names it goes by; no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from webui.checkpoints.filefacts import FileFacts
from webui.checkpoints.hashes import LORA_SHORT_DIGITS, SHORT_DIGITS
from webui.checkpoints.scan import KIND_ENDINGS, FoundFile
from webui.checkpoints.sidecars import user_metadata

BASIC: Final = "basic support"
"""Stands in what such a model is in words."""
LONG_HASH_KINDS: Final = ("lora", "embedding")
"""Kinds whose short hash has 12 digits instead of 10."""


@dataclass(frozen=True)
class Record:
    """One file (or diffusers folder) as it was at the last scan.

    Attributes:
        kind: By the folder it lies in: ``checkpoint``, ``vae``, ``lora`` …
        name: Path below its folder with "/" and ending; unique within its kind.
        size: Bytes.
        mtime_ns: Modification time in nanoseconds.
        problem: Why it cannot be used; '' = none known.
        is_inspected: It was looked into; family, contents and alias are known.
        family: ``sd1``, ``sdxl`` …, '' where unknown or not applicable.
        contents: What it is in words: "an SD 1.x checkpoint".
        alias: A LoRA's own name for itself (``ss_output_name``).
        sha256: 64 hex digits by the rule for its kind, None until calculated.
        old_hash: 8 digits, None until calculated.
        is_labelled: What it says of itself was read; alias and family are known.
        root: The topmost of the model folders it lies in.
        created_ns: When it was made, in nanoseconds.
    """

    kind: str
    name: str
    path: Path
    size: int
    mtime_ns: int
    problem: str = ""
    is_inspected: bool = False
    family: str = ""
    contents: str = ""
    alias: str = ""
    sha256: str | None = None
    old_hash: str | None = None
    is_labelled: bool = False
    root: str = ""
    created_ns: int = 0

    @property
    def stem(self) -> str:
        """File name without folders and ending (for a diffusers folder, its name)."""
        base = self.name.rpartition("/")[2]
        return base[: len(base) - len(self.ending)]

    @property
    def ending(self) -> str:
        """The file's ending with its dot; '' for a diffusers folder."""
        ending = os.path.splitext(self.name)[1]
        return ending if ending.lower() in KIND_ENDINGS[self.kind] else ""

    @property
    def name_without_ending(self) -> str:
        """``name`` with its folders, without its ending."""
        return self.name[: len(self.name) - len(self.ending)]

    @property
    def has_basic_support(self) -> bool:
        """True for a model of another family, which a pipeline of diffusers paints."""
        return BASIC in self.contents

    @property
    def edits_pictures(self) -> bool:
        """True for an InstructPix2Pix checkpoint, which paints after a picture it is shown."""
        return "InstructPix2Pix" in self.contents

    @property
    def hash10(self) -> str | None:
        """AutoV2: first 10 digits of the SHA-256."""
        return self.sha256[:SHORT_DIGITS] if self.sha256 else None

    @property
    def short_hash(self) -> str | None:
        """First 10 digits; 12 for LoRAs and embeddings."""
        digits = LORA_SHORT_DIGITS if self.kind in LONG_HASH_KINDS else SHORT_DIGITS
        return self.sha256[:digits] if self.sha256 else None

    @property
    def title(self) -> str:
        """``name [hash10]``, or ``name`` while the hash is unknown."""
        return f"{self.name} [{self.hash10}]" if self.sha256 else self.name

    @property
    def short_title(self) -> str:
        """``stem [hash10]``, or ``stem`` while the hash is unknown."""
        return f"{self.stem} [{self.hash10}]" if self.sha256 else self.stem

    @property
    def model_name(self) -> str:
        """The API's name: "/" and "\\" become "_", the ending is cut."""
        folder, slash, _ = self.name.rpartition("/")
        return f"{folder}{slash}{self.stem}".replace("/", "_").replace("\\", "_")

    @property
    def mtime(self) -> float:
        """Modification time in seconds since 1970."""
        return self.mtime_ns / 1e9


def make_record(found: FoundFile, facts: FileFacts) -> Record:
    """Join what the scan saw with what is remembered."""
    return Record(
        kind=found.kind,
        name=found.name,
        path=Path(found.path),
        size=found.size,
        mtime_ns=found.mtime_ns,
        problem=found.problem or facts.problem,
        is_inspected=facts.is_inspected,
        family=facts.family,
        contents=facts.title,
        alias=facts.alias,
        sha256=facts.sha256,
        old_hash=facts.old_hash,
        is_labelled=facts.is_labelled,
        root=found.root,
        created_ns=found.created_ns,
    )


def exact_names(record: Record) -> tuple[str | None, ...]:
    """Names only this record has."""
    return (record.title, record.name, record.sha256, str(record.path))


def loose_names(record: Record) -> tuple[str | None, ...]:
    """Names that another record may have too."""
    return (
        record.stem,
        record.model_name,
        record.name.rpartition("/")[2],
        record.short_title,
        record.hash10,
    )


def old_names(record: Record) -> tuple[str, ...]:
    """Names with the 8-digit hash, in lower case."""
    old = record.old_hash
    return (f"{old}", f"{record.name.lower()} [{old}]", f"{record.stem.lower()} [{old}]")


@dataclass(frozen=True)
class Repertoire:
    """What a checkpoint can draw, as far as somebody wrote it down.

    Attributes:
        prompt_ideas: Prompts that it is good at. words: Its subjects, where that is a short list.
        chinese_ideas: Prompts in Chinese.
    """

    prompt_ideas: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    chinese_ideas: tuple[str, ...] = ()


def repertoire(record: Record) -> Repertoire:
    """From "prompt ideas": […], "prompt ideas zh": […] and "words": {"subjects": […]} in
    ``<stem>.json`` beside it."""
    notes = user_metadata(record)
    words = notes.get("words")
    subjects = words.get("subjects") if isinstance(words, dict) else None
    ideas, chinese = (_texts(notes.get(name)) for name in ("prompt ideas", "prompt ideas zh"))
    return Repertoire(ideas, _texts(subjects), chinese)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(t for t in value if isinstance(t, str)) if isinstance(value, list) else ()
