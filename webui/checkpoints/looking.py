"""What looking into a model file finds out about it: facts and label; no torch.

Nothing is remembered here but by ``OncePerState``; the catalog does the rest.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from webui.checkpoints.basic_support import describe_checkpoint, needs_folder
from webui.checkpoints.control_specs import read_controlnet
from webui.checkpoints.embeddings import (
    FAMILY_CODES,
    EmbeddingFacts,
    is_picture,
    read_embedding_facts,
)
from webui.checkpoints.hashes import stated_hash
from webui.checkpoints.headers import Header, read_header, read_metadata
from webui.checkpoints.identify import identify_file, misplaced
from webui.checkpoints.labels import Label, read_label, stated_family
from webui.checkpoints.records import Record
from webui.checkpoints.rules import describe
from webui.errors import CheckpointError, UnknownArchitectureError

logger = logging.getLogger(__name__)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Found:
    """What was found in a file.

    Attributes:
        facts: Fields of ``FileFacts``.
        label: What it says of itself.
    """

    facts: dict[str, object]
    label: Label


def look_into(record: Record) -> Found:
    """Read a file's whole description. Never fails; a fault becomes its ``problem``."""
    try:
        facts, label = _facts_and_label(record)
    except CheckpointError as err:
        facts, label = {"problem": err.message}, Label()
    return Found({"is_inspected": True, "is_labelled": True, **facts}, label)


def _facts_and_label(record: Record) -> tuple[dict[str, object], Label]:
    if record.path.is_dir():
        return _basic_facts(record), Label()
    if record.kind == "embedding":
        return _embedding_facts(record), read_label(metadata_of(record))
    header = read_header(record.path)
    if record.kind == "controlnet":
        return _control_facts(header), read_label(header.metadata)
    finding = describe(header)
    problem = misplaced(record.kind, header)
    facts: dict[str, object] = {
        "kind": finding.kind,
        "family": finding.family,
        "title": finding.title,
        "alias": header.metadata.get("ss_output_name", ""),
        "problem": problem,
    }
    if problem and needs_folder(finding.family, record.path):
        try:
            facts |= _basic_facts(record)
        except CheckpointError as err:  # its family stays known: the folder may come later
            facts["problem"] = err.message
    return facts, read_label(header.metadata)


def quick_look(record: Record) -> Found | None:
    """Facts and label of a LoRA from its metadata alone; None when that is not enough."""
    if record.kind != "lora":
        return None
    try:
        metadata = read_metadata(record.path)
    except CheckpointError:
        return None
    family = stated_family(metadata)
    if not family:
        return None
    facts: dict[str, object] = {
        "is_labelled": True, "family": family, "alias": metadata.get("ss_output_name", ""),
    }  # fmt: skip
    if stated := stated_hash(metadata):
        facts["sha256"] = stated
    return Found(facts, read_label(metadata))


def is_open_question(record: Record) -> bool:
    """Nobody has looked into it yet, or what was found may have changed with its folder."""
    if needs_folder(record.family, record.path):
        return True
    return not record.is_inspected and not record.problem


def metadata_of(record: Record) -> dict[str, str]:
    """The metadata stored in a safetensors file, read now; empty for other files and for those
    that cannot be read."""
    try:
        is_file = not is_picture(record.path) and record.path.is_file()
        return read_metadata(record.path) if is_file else {}
    except CheckpointError:
        return {}


def usable_embedding(record: Record) -> EmbeddingFacts | None:
    """What an embedding file says of itself; None when it cannot be used."""
    try:
        return None if record.problem else read_embedding_facts(record.path)
    except CheckpointError as err:
        if not is_picture(record.path):
            logger.warning("%s", err)
        return None


def text_width(record: Record) -> int | None:
    """Width of the vectors a checkpoint's text encoders read, of all together; None when it
    cannot be told."""
    try:
        spec = identify_file(record.path)
    except CheckpointError:
        return None
    return sum(text.width for text in spec.texts) or None


class OncePerState(Generic[Value]):
    """An answer about files, asked for once for each state that a file is in. Thread-safe."""

    def __init__(self, ask: Callable[[Record], Value]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[tuple[int, int], Value]] = {}

    def __call__(self, record: Record) -> Value:
        state = (record.size, record.mtime_ns)
        with self._lock:
            known = self._answers.get(str(record.path))
        if known is not None and known[0] == state:
            return known[1]
        answer = self._ask(record)
        with self._lock:
            self._answers[str(record.path)] = (state, answer)
        return answer


def _control_facts(header: Header) -> dict[str, object]:
    try:
        spec = read_controlnet(header)
    except UnknownArchitectureError as err:
        found = describe(header)
        return {"kind": found.kind, "title": found.title, "problem": str(err)}
    return {"kind": "controlnet", "family": spec.family, "title": spec.title, "problem": ""}


def _embedding_facts(record: Record) -> dict[str, object]:
    facts = read_embedding_facts(record.path)
    count = f"{facts.vectors} vectors" if facts.vectors > 1 else "one vector"
    title = f"an embedding of {count} for {facts.family}"
    family = FAMILY_CODES.get(facts.width, "")
    return {"kind": "embedding", "family": family, "title": title, "problem": ""}


def _basic_facts(record: Record) -> dict[str, object]:
    family, title = describe_checkpoint(record.path)
    return {"kind": "checkpoint", "family": family, "title": title, "problem": ""}
