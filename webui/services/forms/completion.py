"""What may follow in a prompt: tags, embeddings, networks, styles, and what extensions offer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from webui.prompts.chinese.dictionary import SAYING_SOMETHING
from webui.prompts.chinese.translate import has_chinese
from webui.prompts.styles import PLACEHOLDER
from webui.services.forms.tag_index import TagIndex

if TYPE_CHECKING:
    from webui.studio import Studio

MOST = 18
_NETWORKS = (("lora", "lora"), ("hypernetwork", "hypernet"))
"""Kinds of files, and the word of their tags."""


@dataclass(frozen=True)
class Offer:
    """One way to go on.

    Attributes:
        text: What is written in place of what was typed.
        name: What is shown.
        kind: tag, word, embedding, lora, hypernetwork, style or extension.
        category, count: Of a tag, see ``Tag``.
        note: What it was found by, when that is another name; or where it comes from.
        label: What an extension calls its kind, by language.
    """

    text: str
    name: str
    kind: str
    category: int = 0
    count: int = 0
    note: str = ""
    label: Mapping[str, str] = field(default_factory=dict[str, str])


def tag_folders(data: Path, programs: tuple[Path, ...]) -> list[Path]:
    """Where lists of tags may lie: ours, then those of A1111's extension, here and elsewhere."""
    extension = Path("extensions", "a1111-sd-webui-tagcomplete", "tags")
    return [data / "tags", *(place / extension for place in (data, *programs))]


class Completion:
    """Finds what may follow.

    Args:
        tags: The lists of tags.
    """

    def __init__(self, tags: TagIndex) -> None:
        self.tags = tags

    def offers(self, typed: str, studio: Studio) -> list[Offer]:
        """At most ``MOST`` ways to go on.

        Args:
            typed: From the last separator to the cursor. ``<`` begins a network, ``__`` a
                name that only extensions know; anything else is part of a tag, an embedding or a
                style.
        """
        typed = typed.lstrip()
        if typed.startswith("<"):
            found = _networks(typed, studio)
        else:
            words = () if typed.startswith("__") else self._words(typed.strip(), studio)
            found = chain(_of_extensions(typed, studio), words)
        return list(islice(found, MOST))

    def _words(self, typed: str, studio: Studio) -> Iterator[Offer]:
        if not typed:
            return
        yield from _embeddings(typed, studio)
        yield from _styles(typed, studio)
        known: set[str] = set()
        for found in self.tags.find(typed, MOST):
            tag = found.tag
            text = tag.name if len(tag.name) <= 3 else tag.name.replace("_", " ")
            known.add(text)
            yield Offer(_escaped(text), text, "tag", tag.category, tag.count, found.alias)
        for chinese, english in _chinese_words(typed, studio):
            if english not in known:
                known.add(english)
                yield Offer(_escaped(english), english, "word", note=chinese)


def _escaped(text: str) -> str:
    return text.replace("(", r"\(").replace(")", r"\)")


def _chinese_words(typed: str, studio: Studio) -> list[tuple[str, str]]:
    """Chinese words of the dictionary that hold what was typed, with their English: those that
    begin with it first, of these the shortest."""
    if not has_chinese(typed):
        return []
    found = [
        (chinese, word.text)
        for chinese, word in studio.chinese.words().items()
        if typed in chinese and word.kind in SAYING_SOMETHING and word.text
    ]
    return nsmallest(MOST, found, key=lambda pair: (not pair[0].startswith(typed), len(pair[0])))


def _fits(name: str, typed: str) -> bool:
    return typed.casefold() in name.casefold()


def _beginning_first(names: list[str], typed: str) -> list[str]:
    """Those that hold what was typed; those that begin with it first."""
    fitting = [name for name in names if _fits(name, typed)]
    return sorted(fitting, key=lambda name: not name.casefold().startswith(typed.casefold()))


def _networks(typed: str, studio: Studio) -> Iterator[Offer]:
    written = typed[1:].rpartition(":")[2]
    weight = studio.options["extra_networks_default_multiplier"]
    for kind, word in _NETWORKS:
        if ":" in typed and not typed[1:].startswith(word):
            continue
        stems = list(dict.fromkeys(record.stem for record in studio.catalog.records(kind)))
        for name in _beginning_first(stems, written):
            yield Offer(f"<{word}:{name}:{weight:g}>", name, kind)


def _of_extensions(typed: str, studio: Studio) -> Iterator[Offer]:
    for one in studio.extensions.offers(typed) if typed else ():
        yield Offer(one.text, one.name, "extension", label=one.label.model_dump())


def _embeddings(typed: str, studio: Studio) -> Iterator[Offer]:
    names = [record.stem for record in studio.catalog.records("embedding")]
    for name in _beginning_first(names, typed):
        yield Offer(name, name, "embedding")


def _styles(typed: str, studio: Studio) -> Iterator[Offer]:
    styles = studio.styles.by_name()
    for name in _beginning_first(list(styles), typed):
        text = styles[name].prompt.replace(PLACEHOLDER, "").strip(" ,")
        if text:
            yield Offer(text, name, "style", note=text[:60])
