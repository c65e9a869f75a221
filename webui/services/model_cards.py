"""Models as cards: found, sorted, shown with what is known of them, and noted upon.

A card goes by an id, never by a path: whoever asks over the network can name only files that the
catalog lists.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

from webui.checkpoints.catalog import Catalog, Record
from webui.checkpoints.foreign_text import plain
from webui.checkpoints.labels import Label, badge, pretty_text, thumbnail
from webui.checkpoints.scan import KIND_FOLDERS, printable
from webui.checkpoints.sidecars import (
    Beside,
    Notes,
    read_notes,
    write_notes,
    write_preview,
)
from webui.errors import CheckpointNotFoundError, LibraryError
from webui.pictures import load_upright
from webui.prompts.networks import writable

KINDS: Final = ("embedding", "hypernetwork", "checkpoint", "lora")
"""Kinds that have cards, in the order of A1111's tabs."""
THUMB_SIZE: Final = (320, 480)
MADE_AT_ONCE: Final = 2
"""So many small pictures are made at a time: a large one takes hundreds of megabytes meanwhile."""
ID_DIGITS: Final = 20
LONGEST_NOTE: Final = 300
PREFER_FILE_NAME: Final = "Filename"
LONGEST_SEARCHED: Final = 4000
"""Characters of one text that a search looks through."""


@dataclass(frozen=True)
class Card:
    """One model file with everything people look for it by.

    Attributes:
        id: Stands for kind and path.
        folder: Where it lies below its folder; begins with that folder's name where a kind has
            several. '' = at the top.
        preview: Path of its picture, '' when there is none beside it.
        note: What it is in words, as noted, else as the file states; the beginning, on one line.
        stamp: Changes whenever the picture may have changed.
        beside: When each of the files beside it that count was changed.
        text: What a search looks through, in lower case.
    """

    id: str
    record: Record
    label: Label
    notes: Notes
    folder: str
    preview: str
    note: str
    stamp: str
    beside: Mapping[str, int]
    text: str

    @property
    def family(self) -> str:
        """What it was made for, as noted, else as its file says; '' when unknown."""
        return self.notes.family or self.record.family

    @property
    def badge(self) -> str:
        return badge(self.family)

    @property
    def trigger(self) -> str:
        """What a prompt must say: as noted, else as the file states."""
        return self.notes.activation or self.label.trigger


SORTS: Final[dict[str, Callable[[Card], Any]]] = {
    "name": lambda card: (card.record.stem.casefold(), card.record.name),
    "path": lambda card: (card.folder.casefold(), card.record.name.casefold()),
    "created": lambda card: card.record.created_ns,
    "modified": lambda card: card.record.mtime_ns,
}
"""Orders of cards, A1111's."""


@dataclass(frozen=True)
class Wanted:
    """Which cards, in which order.

    Attributes:
        search: Words that must all occur; '' = all cards.
        folder: Only cards in or below it; '' = everywhere.
        sort: One of ``SORTS``.
    """

    search: str = ""
    folder: str = ""
    sort: str = "name"
    is_reversed: bool = False


@dataclass(frozen=True)
class Fit:
    """Whether a file goes with the chosen checkpoint; where not, whose it is and what that is."""

    is_fitting: bool
    made_for: str = ""
    chosen: str = ""


class ModelCards:
    """The cards of a catalog. Thread-safe; nothing is read before somebody asks.

    Args:
        catalog: Lists the files.
        cache: Folder for small copies of pictures; made when needed.
    """

    def __init__(self, catalog: Catalog, cache: Path) -> None:
        self._catalog = catalog
        self._cache = cache
        self._lock = threading.Lock()
        self._noting = threading.Lock()
        self._making = threading.BoundedSemaphore(MADE_AT_ONCE)
        self._cards: dict[str, dict[str, Card]] = {}
        self._states: dict[str, tuple[int, int]] = {}
        self._kinds_of_ids: dict[str, str] = {}
        self._unreadable: dict[str, str] = {}

    def find(self, kind: str, wanted: Wanted) -> tuple[Card, ...]:
        """Cards of a kind.

        Raises:
            KeyError: No such kind or order.
        """
        words = wanted.search.casefold().split()
        below = f"{wanted.folder}/"
        found = [
            card
            for card in self._of(kind).values()
            if all(word in card.text for word in words)
            and (not wanted.folder or f"{card.folder}/".startswith(below))
        ]
        return tuple(sorted(found, key=SORTS[wanted.sort], reverse=wanted.is_reversed))

    def folders(self, kind: str) -> list[tuple[str, int]]:
        """All folders that hold cards, parents before their children, with how many lie in or
        below each."""
        counts: Counter[str] = Counter()
        for card in self._of(kind).values():
            parts = card.folder.split("/") if card.folder else []
            counts.update("/".join(parts[: n + 1]) for n in range(len(parts)))
        return sorted(counts.items(), key=lambda item: item[0].casefold().split("/"))

    def unread(self, kind: str) -> int:
        """How many files have not been looked into yet; their words and families are missing."""
        records = self._catalog.records(kind)
        return sum(not r.is_labelled and not r.problem for r in records)

    def get(self, card_id: str) -> Card:
        """The card of an id, as it is now.

        Raises:
            CheckpointNotFoundError: No file has it (any more).
        """
        for kind in (self._kinds_of_ids.get(card_id, KINDS[0]), *KINDS):
            card = self._of(kind).get(card_id)
            if card is not None:
                return card
        raise CheckpointNotFoundError("This model file is not there (any more).", "Press Refresh.")

    # What a card does

    def words(self, card: Card, preferred_name: str = "") -> list[str]:
        """What a prompt may say to use a file, the best word first: a LoRA's or hypernetwork's
        name in its tag, an embedding's word; none for a checkpoint.

        Args:
            preferred_name: A1111's option lora_preferred_name.
        """
        record = card.record
        if record.kind == "lora":
            is_alias_first = preferred_name != PREFER_FILE_NAME
            return self._catalog.lora_names().of(record, is_alias_first=is_alias_first)
        if record.kind == "embedding":
            facts = self._catalog.embedding_facts(record)
            return [facts.name if facts else record.stem]
        return [writable(record.stem)] if record.kind == "hypernetwork" else []

    def fit(self, card: Card, checkpoint: Record | None) -> Fit:
        """Whether a file goes with a checkpoint; yes when that cannot be told."""
        if checkpoint is None or card.record.kind == "checkpoint":
            return Fit(True)
        if card.record.kind == "embedding":
            facts = self._catalog.embedding_facts(card.record)
            width = self._catalog.text_width(checkpoint)
            if facts is None or width in (None, facts.width):
                return Fit(True)
            return Fit(False, badge(card.family) or facts.family, badge(checkpoint.family))
        is_other = card.family and checkpoint.family and card.family != checkpoint.family
        return Fit(not is_other, badge(card.family), badge(checkpoint.family))

    def metadata(self, card: Card) -> str:
        """Everything the file's metadata says, as JSON text for people; '' for nothing."""
        return pretty_text(self._catalog.metadata(card.record))

    # Pictures

    def has_picture(self, card: Card) -> bool:
        """Whether a card has a picture, as far as nobody has found that it cannot be read."""
        is_there = bool(card.preview or card.label.has_thumbnail)
        return is_there and self._unreadable.get(card.id) != card.stamp

    def thumb(self, card: Card) -> bytes | None:
        """A small WebP copy of a card's picture; None when it has none that can be read."""
        if not self.has_picture(card):
            return None
        small = self._cache / card.id[:2] / f"{card.id}-{card.stamp}.webp"
        try:
            return small.read_bytes()
        except OSError:
            pass
        source = card.preview or thumbnail(self._catalog.metadata(card.record))
        try:
            with self._making:
                data = _small(source or b"")
        except LibraryError:
            self._unreadable[card.id] = card.stamp
            return None
        self._keep_thumb(card.id, small, data)
        return data

    def _keep_thumb(self, card_id: str, small: Path, data: bytes) -> None:
        """Keep a copy instead of those of earlier pictures; without one it is only slower."""
        try:
            small.parent.mkdir(parents=True, exist_ok=True)
            for older in small.parent.glob(f"{card_id}-*.webp"):
                older.unlink(missing_ok=True)
            part = small.with_suffix(f".{threading.get_ident()}.part")
            part.write_bytes(data)
            part.replace(small)
        except OSError:
            pass

    # Notes

    def note(self, card: Card, changes: Mapping[str, str | float]) -> Card:
        """Change what is noted beside a file.

        Args:
            changes: See ``sidecars.KEYS``.
        Returns:
            The card as it is now.
        Raises:
            CheckpointError: It cannot be written.
        """
        with self._noting:  # what two people change at once is all kept
            write_notes(card.record, changes)
        return self._again(card)

    def picture(self, card: Card, image: Image.Image) -> Card:
        """Make a picture the preview of a file; it is saved beside it.

        Raises:
            CheckpointError: It cannot be written.
        """
        packed = io.BytesIO()
        image.convert("RGB").save(packed, "PNG")
        write_preview(card.record, packed.getvalue())
        return self._again(card)

    def _again(self, card: Card) -> Card:
        changed = self._make(card.record, Beside(), card.folder)
        with self._lock:
            self._cards[card.record.kind][card.id] = changed
        return changed

    # The index

    def _of(self, kind: str) -> Mapping[str, Card]:
        """All cards of a kind, made anew where the catalog has changed.

        Raises:
            KeyError: No such kind.
        """
        if kind not in KINDS:
            raise KeyError(kind)
        with self._lock:
            records = self._records(kind)
            state = (self._catalog.generation, sum(r.is_labelled for r in records))
            if self._states.get(kind) != state:
                is_rescan = self._states.get(kind, (0, 0))[0] != state[0]
                known = self._cards.get(kind, {})
                self._cards[kind] = self._index(records, known, is_rescan=is_rescan)
                self._states[kind] = state
            return dict(self._cards[kind])

    def _records(self, kind: str) -> tuple[Record, ...]:
        return self._catalog.embeddings() if kind == "embedding" else self._catalog.records(kind)

    def _index(
        self, records: Sequence[Record], known: Mapping[str, Card], *, is_rescan: bool
    ) -> dict[str, Card]:
        there = Beside()
        roots = root_names({r.root for r in records})
        made = {}
        for record in records:
            folder = _folder(record, roots)
            card = known.get(card_id(record))
            beside = there.times(record) if card is None or is_rescan else card.beside
            if card is None or (card.record, card.folder, card.beside) != (record, folder, beside):
                card = self._make(record, there, folder)
            made[card.id] = card
            self._kinds_of_ids[card.id] = record.kind
        return made

    def _make(self, record: Record, there: Beside, folder: str) -> Card:
        label = self._catalog.label(record)
        notes = read_notes(record, there)
        words = (
            record.name, folder, record.alias, record.sha256 or "", label.title, label.author,
            label.trigger, *label.words, notes.activation, notes.notes, notes.description,
        )  # fmt: skip
        return Card(
            id=card_id(record), record=record, label=label, notes=notes, folder=folder,
            preview=there.preview(record),
            note=plain((notes.description or label.description)[:LONGEST_SEARCHED])[:LONGEST_NOTE],
            stamp=f"{there.pictured_ns(record):x}",
            beside=there.times(record),
            text="\n".join(word[:LONGEST_SEARCHED] for word in words).casefold(),
        )  # fmt: skip


def card_id(record: Record) -> str:
    """A name for a file that says nothing about its path and stays the same."""
    told = f"{record.kind}\n{record.path}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(told).hexdigest()[:ID_DIGITS]


def root_names(roots: Iterable[str]) -> dict[str, str]:
    """Short names for folders that tell them apart, without "/"; '' for one folder alone.

    Their own names, else those of the programs they belong to, else both, else their paths.
    """
    paths = {root: Path(root) for root in roots}
    if len(paths) < 2:
        return dict.fromkeys(paths, "")
    owners = {root: _owner(path) for root, path in paths.items()}
    choices = (
        {root: path.name for root, path in paths.items()},
        owners,
        {root: f"{owners[root]} · {path.name}" for root, path in paths.items()},
    )
    for names in choices:
        if len({name.casefold() for name in names.values()}) == len(names):
            return names
    return {root: " › ".join(path.parts[1:]) for root, path in paths.items()}


def _owner(path: Path) -> str:
    """The folder of the program that a model folder belongs to."""
    inner = {"models", "embeddings", *(name for names in KIND_FOLDERS.values() for name in names)}
    outer = (part for part in reversed(path.parts) if part.lower() not in inner)
    return next(outer, path.name)


def _folder(record: Record, roots: Mapping[str, str]) -> str:
    """Where a file lies, for people."""
    folder = os.path.dirname(str(record.path))
    inner = folder[len(record.root) :] if folder.startswith(record.root) else ""
    parts = (roots.get(record.root, ""), inner.replace(os.sep, "/").strip("/"))
    return printable("/".join(part for part in parts if part))


def _small(source: str | bytes) -> bytes:
    """A picture as a small WebP file.

    Raises:
        LibraryError: It cannot be read.
    """
    image = load_upright(source, least=THUMB_SIZE)
    image.thumbnail(THUMB_SIZE)
    packed = io.BytesIO()
    image.convert("RGB").save(packed, "WEBP", quality=80)
    return packed.getvalue()
