"""What a weights file says of itself in words: title, trigger words, family; no torch.

Trainers write it as metadata into safetensors files: ``ss_…`` is kohya's (and most others'),
``modelspec.…`` is Stability's ModelSpec 1.0.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from webui.checkpoints.foreign_text import parse_json

WORDS_KEPT: Final = 24
LONGEST_WORD: Final = 120
LONGEST_TEXT: Final = 2000
THUMBNAIL: Final = "modelspec.thumbnail"
MAX_THUMBNAIL_BYTES: Final = 8 << 20
LONGEST_SHOWN, MOST_SHOWN = 1_000_000, 4_000_000
"""Characters of one entry of metadata, and of all of them, that people are shown."""

BADGES: Final = {
    "sd1": "SD1", "sd2": "SD2", "sdxl": "SDXL", "sdxl-refiner": "SDXL refiner", "sd3": "SD3",
    "flux": "Flux", "chroma": "Chroma", "lumina": "Lumina", "qwen-image": "Qwen",
    "hunyuan-dit": "Hunyuan", "pixart": "PixArt", "auraflow": "AuraFlow", "cascade": "Cascade",
    "flux2": "FLUX.2", "z-image": "Z-Image", "sana": "Sana", "kolors": "Kolors",
    "cogview": "CogView", "kandinsky": "Kandinsky", "hidream": "HiDream",
    "wan": "Wan", "ltx": "LTX", "svd": "SVD", "animatediff": "AnimateDiff",
}  # fmt: skip
"""A family in a word or two. The first three are A1111's, which notes them as «sd version»."""

_BASES: Final = (
    ("sdxl_", "sdxl"), ("sd_v1", "sd1"), ("sd_v2", "sd2"), ("sd_1", "sd1"), ("sd_2", "sd2"),
    ("sd3", "sd3"), ("flux", "flux"), ("chroma", "chroma"), ("lumina", "lumina"),
    ("hunyuan", "hunyuan-dit"),
)  # fmt: skip
_ARCHITECTURES: Final = (
    ("stable-diffusion-v1", "sd1"), ("stable-diffusion-v2", "sd2"),
    ("stable-diffusion-xl-v1-refiner", "sdxl-refiner"), ("stable-diffusion-xl", "sdxl"),
    ("stable-diffusion-3", "sd3"), ("flux", "flux"), ("chroma", "chroma"), ("lumina", "lumina"),
    ("qwen-image", "qwen-image"), ("hunyuan", "hunyuan-dit"),
)  # fmt: skip
"""Beginnings of ss_base_model_version (kohya: sd_v1; ai-toolkit: sd_1.5) and of
modelspec.architecture, and whose they are."""


@dataclass(frozen=True)
class Label:
    """What people look for a file by.

    Attributes:
        title, author, description: As stated.
        trigger: What a prompt must say for a LoRA to act, as stated by its maker.
        words: The most frequent tags of the pictures it was trained with, those first.
        has_thumbnail: A picture lies in the metadata.
    """

    title: str = ""
    author: str = ""
    description: str = ""
    trigger: str = ""
    words: tuple[str, ...] = ()
    has_thumbnail: bool = False

    def to_json(self) -> str:
        """As text, for ``from_json``."""
        return json.dumps(asdict(self), ensure_ascii=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Label:
        """A label again.

        Raises:
            ValueError, TypeError: The text is none.
        """
        values = json.loads(text)
        return cls(**{**values, "words": tuple(values["words"])})


def read_label(metadata: Mapping[str, str]) -> Label:
    """The label in a file's metadata; parts that are missing or odd stay empty."""
    return Label(
        title=_text(metadata, "modelspec.title", LONGEST_WORD),
        author=_text(metadata, "modelspec.author", LONGEST_WORD),
        description=_text(metadata, "modelspec.description", LONGEST_TEXT),
        trigger=_text(metadata, "modelspec.trigger_phrase", LONGEST_TEXT),
        words=tuple(word for word, _ in frequent_words(metadata)[:WORDS_KEPT]),
        has_thumbnail=metadata.get(THUMBNAIL, "").startswith("data:image/"),
    )


def _text(metadata: Mapping[str, str], key: str, longest: int) -> str:
    return " ".join(metadata.get(key, "").split())[:longest]


def frequent_words(metadata: Mapping[str, str]) -> list[tuple[str, int]]:
    """Tags of the training pictures with how many pictures have them, most frequent first.

    From ``ss_tag_frequency``, a JSON object folder → tag → count; else ``modelspec.tags``, a list
    with commas, each counted 0.
    """
    counts: Counter[str] = Counter()
    folders = parse_json(metadata.get("ss_tag_frequency", ""))
    for tags in folders.values() if isinstance(folders, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if type(count) is int and tag.strip():
                counts[tag.strip()[:LONGEST_WORD]] += count
    if counts:
        return counts.most_common()
    stated = (tag.strip() for tag in metadata.get("modelspec.tags", "").split(","))
    return [(tag[:LONGEST_WORD], 0) for tag in dict.fromkeys(stated) if tag]


def stated_family(metadata: Mapping[str, str]) -> str:
    """The family a file says it was made for; '' when it does not say."""
    version = metadata.get("ss_base_model_version", "").lower()
    if metadata.get("ss_v2") == "True" and not version.startswith("sdxl_"):
        return "sd2"
    by_base = next((family for start, family in _BASES if version.startswith(start)), "")
    if by_base:
        return by_base
    architecture = metadata.get("modelspec.architecture", "").lower()
    stated = (family for start, family in _ARCHITECTURES if architecture.startswith(start))
    # Trainers that knew only SD 1.x and 2.x wrote which of the two, and no version
    return next(stated, "sd1" if metadata.get("ss_v2") == "False" and not version else "")


def badge(family: str) -> str:
    """A family in a word or two; '' for none."""
    return BADGES.get(family, family)


def thumbnail(metadata: Mapping[str, str]) -> bytes | None:
    """The picture file in the metadata, unread and unproven; None when there is none."""
    head, comma, data = metadata.get(THUMBNAIL, "").partition(",")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        return None
    if len(data) > MAX_THUMBNAIL_BYTES * 4 // 3:
        return None
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        return None


def pretty(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Metadata to be read by people: JSON inside texts opened up, the picture left out, texts
    longer than ``LONGEST_SHOWN`` cut, and no more than ``MOST_SHOWN`` characters in all."""
    shown: dict[str, Any] = {}
    rest = MOST_SHOWN
    for key, value in sorted(metadata.items()):
        if key == THUMBNAIL:
            continue
        if rest <= 0:
            return {**shown, "…": f"{len(metadata) - len(shown)} more entries"}
        shown[key] = _opened(value) if len(value) <= LONGEST_SHOWN else _cut(value)
        rest -= len(key) + min(len(value), LONGEST_SHOWN)
    return shown


def _cut(value: str) -> str:
    return f"{value[:LONGEST_SHOWN]} … ({len(value):,} characters in all)"


def pretty_text(metadata: Mapping[str, str]) -> str:
    """``pretty`` as JSON text with line ends; '' for none."""
    shown = pretty(metadata)
    try:
        return json.dumps(shown, indent=4, ensure_ascii=False) if shown else ""
    except RecursionError:  # nested as deep as can be read is too deep to be written
        unopened = {key: metadata.get(key, value) for key, value in shown.items()}
        return json.dumps(unopened, indent=4, ensure_ascii=False)


def _opened(value: str) -> Any:
    is_structure = value.lstrip()[:1] in ("{", "[")
    found = parse_json(value) if is_structure else None
    return value if found is None else found
