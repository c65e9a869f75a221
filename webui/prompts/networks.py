"""Extra network tags: ``<lora:name:0.8>`` and its kin, cut out of the prompt."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from webui.errors import PromptSyntaxError

LORA_TYPES = ("lora", "lyco")
"""Tag names that load a LoRA-family file; the second is an older spelling of the first."""

HYPERNET_TYPES = ("hypernet",)
"""Tag names that load a hypernetwork."""

_UNWRITABLE = re.compile(r"[:<>=#{}\n\r]")
_TAG_START = re.compile(r"<(\w+):")


class BadNetworkError(PromptSyntaxError, ValueError):
    """A tag whose arguments cannot be used (``tag``)."""


@dataclass(frozen=True)
class NetworkMention:
    """One tag as typed: its name, the plain arguments and the ``key=value`` ones."""

    type: str
    positional: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def name(self) -> str:
        """The first plain argument; "" when there is none."""
        return self.positional[0] if self.positional else ""

    def __str__(self) -> str:
        named = [f"{key}={value}" for key, value in self.named.items()]
        return f"<{':'.join([self.type, *self.positional, *named])}>"


@dataclass(frozen=True)
class LoraMention:
    """What a lora tag asks for.

    ``te`` and ``unet`` multiply the change to the text encoder and to the U-Net (any finite
    number; 1 = as trained). ``dyn`` caps the rank, None = no cap. ``lbw`` are block weights as
    typed, "" = all 1. The U-Net is changed from step ``start`` on and before step ``stop``,
    counted from 0; None = from the beginning, to the end.
    """

    name: str
    te: float = 1.0
    unet: float = 1.0
    dyn: int | None = None
    lbw: str = ""
    start: int | None = None
    stop: int | None = None

    def acts_at(self, step: int) -> bool:
        """Whether the U-Net is changed in a step."""
        return (self.start or 0) <= step and (self.stop is None or step < self.stop)


def cut_networks(text: str) -> tuple[str, list[NetworkMention]]:
    """Take all tags out of a prompt.

    Args:
        text: The prompt as typed.
    Returns:
        The prompt with nothing in the tags' places (spaces around them stay), and the tags in
        order. Unknown tag names are cut too; what to do with them is the caller's matter.
    """
    kept: list[str] = []
    mentions: list[NetworkMention] = []
    position = search_from = 0
    while start := _TAG_START.search(text, search_from):
        end = text.find(">", start.end())
        if end < 0:
            break
        if end == start.end():  # "<lora:>" holds nothing and stays
            search_from = end
            continue
        kept.append(text[position : start.start()])
        mentions.append(_read_arguments(start[1], text[start.end() : end]))
        position = search_from = end + 1
    kept.append(text[position:])
    return "".join(kept), mentions


def writable(name: str) -> str:
    """A name as a tag can hold it: what would end it, or the prompt's line, or be drawn as a
    choice becomes ``_``; so do the marks of what would be drawn as a wildcard."""
    written = _UNWRITABLE.sub("_", name)
    return re.sub("_+", "_", written) if written.count("__") > 1 else written


def _read_arguments(type_: str, arguments: str) -> NetworkMention:
    positional: list[str] = []
    named: dict[str, str] = {}
    for argument in arguments.split(":"):
        if argument.count("=") == 1:
            key, value = argument.split("=")
            named[key] = value
        else:
            positional.append(argument)
    return NetworkMention(type_, tuple(positional), named)


def lora_weights(mention: NetworkMention) -> LoraMention:
    """Read a ``<lora:NAME:TE:UNET:DYN>`` tag.

    TE defaults to 1 and UNET to TE; ``te=``, ``unet=`` and ``dyn=`` win over the places.
    ``lbw=``, ``start=``, ``stop=`` and ``step=START-STOP`` (the extension "LoRA Block Weight")
    have no places.

    Raises:
        BadNetworkError: No name, or a weight that is no finite number, or a rank or step that is
            no whole number. It is a ``PromptSyntaxError`` and a ``ValueError``.
    """
    if not mention.positional:
        raise BadNetworkError(
            f"A name was wanted in {mention}, found none.",
            "Write it as <lora:name:weight>.",
            tag=str(mention),
            field="prompt",
        )
    te = _weight(mention, 1, "te", 1.0)
    unet = _weight(mention, 2, "unet", te)
    start, stop = _steps(mention)
    lbw = mention.named.get("lbw", "")
    return LoraMention(mention.name, te, unet, _rank(mention), lbw, start, stop)


def hypernet_strength(mention: NetworkMention) -> float:
    """The strength in a ``<hypernet:NAME:STRENGTH>`` tag, 1 when absent.

    Raises:
        BadNetworkError: The strength is no finite number.
    """
    return _weight(mention, 1, "", 1.0)


def _argument(mention: NetworkMention, place: int, key: str) -> str | None:
    if key in mention.named:
        return mention.named[key]
    return mention.positional[place] if place < len(mention.positional) else None


def _weight(mention: NetworkMention, place: int, key: str, default: float) -> float:
    written = _argument(mention, place, key)
    if written is None:
        return default
    try:
        weight = float(written)
    except ValueError as err:
        raise _bad_number(mention, "A weight", written) from err
    if not math.isfinite(weight):
        raise _bad_number(mention, "A finite weight", written)
    return weight


def _rank(mention: NetworkMention) -> int | None:
    written = _argument(mention, 3, "dyn")
    if written is None:
        return None
    try:
        return int(written)
    except ValueError as err:
        raise _bad_number(mention, "A whole number as rank limit", written) from err


def _steps(mention: NetworkMention) -> tuple[int | None, int | None]:
    both = mention.named.get("step", "").partition("-")
    written = (mention.named.get("start", both[0]), mention.named.get("stop", both[2]))
    try:
        start, stop = (int(text) if text else None for text in written)
    except ValueError as err:
        raise _bad_number(mention, "A whole number as step", "-".join(written)) from err
    return start, stop


def _bad_number(mention: NetworkMention, wanted: str, written: str) -> BadNetworkError:
    named = ", or <lora:name:te=0.5:unet=1>" if mention.type in LORA_TYPES else ""
    return BadNetworkError(
        f"{wanted} was wanted in {mention}, found {written!r}.",
        f"Write it as <{mention.type}:name:0.8>{named}.",
        tag=str(mention),
        field="prompt",
    )
