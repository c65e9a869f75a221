"""Looks over a training set before it is trained: blur, copies, sizes, words; no torch.

Everything is told, nothing is changed. Looks at a file are kept while it stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from webui.checkpoints.describers import is_face
from webui.errors import DatasetError
from webui.training.buckets import Size
from webui.training.captions import Moment, caption_for, count_tags, split_tags
from webui.training.dataset_entries import Entry
from webui.training.dataset_plan import PicturePlan
from webui.training.notices import Notice, first_names
from webui.training.photographs import small

LOOK_SIDE = 384
"""Longer side in pixels of the copies that are judged: about what a network makes out."""
BLUR_WINDOW = 9
BLURRED = 0.55
"""From here on a picture looks out of focus: photographs lie at 0.2–0.35, blurred by 2 pixels at
0.53–0.75. See ``blur_of``."""
HASH_SIDE = 16
SAME_BITS = 20
"""Differing bits, of 256, up to which two pictures are one and the same."""
SAME_COLOUR = 14.0
"""Mean difference of 8 × 8 tiny copies (0–255) up to which they are."""
ENLARGED = 1.6
"""Pictures that must be enlarged by more than this lack detail."""
FEW_PICTURES = 5
LONG_CAPTION_WORDS = 60
USES_SHOWN = 8
ODD_CHARACTERS = set("<>{}[]|\\^~�")


@dataclass(frozen=True)
class Look:
    """What one picture shows.

    Attributes:
        blur: 0 (sharp) – 1. bits: ``HASH_SIDE``² booleans. tiny: (8, 8, 3) 0–255.
    """

    blur: float
    bits: NDArray[np.bool_]
    tiny: NDArray[np.float32]


@dataclass(frozen=True)
class Judged:
    """One picture with what was found.

    Attributes:
        codes: Of ``("blurred", "enlarged", "copy", "no_caption", "odd_caption", "long_caption")``.
        same_as: Name of the picture it is a copy of.
    """

    entry: Entry
    blur: float
    codes: tuple[str, ...]
    same_as: str = ""


@dataclass(frozen=True)
class Use:
    """How a picture may come in a batch: cut to its bucket, with these words."""

    entry: Entry
    words: str


@dataclass(frozen=True)
class Report:
    """A whole training set, looked over.

    Attributes:
        pictures: Each file once. broken: What cannot be used.
        buckets: Size → pictures with repeats. tags: Tag → pictures.
        notices: Of the plan, and what came up here.
        uses: The first pictures as they may come.
    """

    pictures: tuple[Judged, ...]
    broken: tuple[DatasetError, ...]
    buckets: dict[Size, int]
    tags: Counter[str]
    notices: tuple[Notice, ...]
    uses: tuple[Use, ...] = ()

    def with_code(self, code: str) -> list[Judged]:
        """Pictures of which this is said."""
        return [judged for judged in self.pictures if code in judged.codes]


def examine(plan: PicturePlan, on_picture: Callable[[int, int], None] | None = None) -> Report:
    """Look at every picture of a plan.

    Args:
        on_picture: Is told how many of how many were looked at.
    """
    entries = list({e.photograph.path: e for e in plan.all_entries()}.values())
    looks: dict[Path, Look] = {}
    broken = list(plan.broken)
    for number, entry in enumerate(entries):
        try:
            looks[entry.photograph.path] = look_at(entry.photograph.path)
        except DatasetError as err:
            broken.append(err)
        if on_picture is not None:
            on_picture(number + 1, len(entries))
    seen = [entry for entry in entries if entry.photograph.path in looks]
    originals = copies([looks[entry.photograph.path] for entry in seen])
    judged = tuple(
        _judge(entry, looks[entry.photograph.path], "" if first is None else _name(seen[first]))
        for entry, first in zip(seen, originals, strict=True)
    )
    buckets: Counter[Size] = Counter()
    for dataset in plan.datasets:
        buckets.update(dataset.samples())
    tags = count_tags(entry.caption for entry in seen if not entry.subset.is_reg)
    notices = (*plan.notices, *_notices(judged))
    return Report(
        judged, tuple(broken), dict(sorted(buckets.items())), tags, notices, first_uses(seen)
    )


def first_uses(entries: Sequence[Entry]) -> tuple[Use, ...]:
    """How the first pictures may come: words are mixed and left out as a training does."""
    shown = [entry for entry in entries if not entry.subset.is_reg][:USES_SHOWN]
    return tuple(
        Use(entry, caption_for(entry.caption, entry.subset, Random(number), Moment()))
        for number, entry in enumerate(shown)
    )


def _name(entry: Entry) -> str:
    return entry.photograph.path.name


def look_at(path: Path) -> Look:
    """Judge one picture.

    Raises:
        DatasetError: It cannot be decoded.
    """
    facts = path.stat()
    return _look(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=5_000)
def _look(path: Path, _mtime_ns: int, _size: int) -> Look:
    image = small(path, LOOK_SIDE)
    grey = np.asarray(image.convert("L"), np.float32)
    steps = np.asarray(image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE)), np.float32)
    tiny = np.asarray(image.resize((8, 8)), np.float32)
    return Look(blur_of(grey), (steps[:, 1:] > steps[:, :-1]).ravel(), tiny)


def blur_of(grey: NDArray[np.float32]) -> float:
    """How little is lost when a picture is blurred once more: 0 (sharp) – 1 (nothing to lose).

    Args:
        grey: (H, W).
    Source:
        Crété et al. 2007, "The blur effect", with a window of 9 pixels.
    """
    return max(_blur_along(grey), _blur_along(grey.T))


def _blur_along(grey: NDArray[np.float32]) -> float:
    if min(grey.shape) <= BLUR_WINDOW:
        return 0.0
    sums = np.cumsum(np.pad(grey, ((BLUR_WINDOW, 0), (0, 0))), axis=0, dtype=np.float64)
    blurred = (sums[BLUR_WINDOW:] - sums[:-BLUR_WINDOW])[BLUR_WINDOW:] / BLUR_WINDOW
    margin = BLUR_WINDOW // 2
    sharp = grey[margin + 1 : margin + 1 + len(blurred)]
    change, softened = np.abs(np.diff(sharp, axis=0)), np.abs(np.diff(blurred, axis=0))
    total = float(change.sum())
    if total <= 0:
        return 0.0  # a plain surface is not out of focus
    lost = float(np.maximum(0, change - softened).sum())
    return 1 - lost / total


def copies(looks: Sequence[Look]) -> list[int | None]:
    """For each picture the first one that it is a copy of; None for those that are no copy."""
    if not looks:
        return []
    bits = np.stack([look.bits for look in looks]).astype(np.float32)
    tiny = np.stack([look.tiny.ravel() for look in looks])
    found: list[int | None] = []
    for at in range(len(looks)):
        if at == 0:
            found.append(None)
            continue
        far = np.abs(bits[:at] - bits[at]).sum(1)
        other = np.abs(tiny[:at] - tiny[at]).mean(1)
        same = np.flatnonzero((far <= SAME_BITS) & (other <= SAME_COLOUR))
        first = int(same[0]) if len(same) else None
        found.append(first if first is None or found[first] is None else found[first])
    return found


def _judge(entry: Entry, look: Look, same_as: str) -> Judged:
    checks = {
        "blurred": look.blur >= BLURRED,
        "enlarged": entry.fit.resized[0] > ENLARGED * entry.photograph.size[0],
        "copy": bool(same_as),
        "no_caption": not entry.has_caption,
        "odd_caption": is_odd(entry.caption, entry.subset.enable_wildcard),
        "long_caption": len(entry.caption.replace(",", " ").split()) > LONG_CAPTION_WORDS,
    }
    codes = tuple(code for code, is_so in checks.items() if is_so)
    return Judged(entry, look.blur, codes, same_as)


def is_odd(caption: str, has_wildcards: bool = False) -> bool:
    """True for captions that look like a mistake: brackets of prompts, a tag twice, no letters."""
    allowed = set("{}|") if has_wildcards else set()
    tags = [tag.lower() for tag in split_tags(caption)]
    told = [tag for tag in tags if not is_face(tag)]
    return bool(caption) and (
        bool(set("".join(told)) & (ODD_CHARACTERS - allowed))
        or len(set(tags)) < len(tags)
        or not any(character.isalpha() for character in caption)
    )


def _notices(judged: Sequence[Judged]) -> list[Notice]:
    said = []
    for code in ("blurred", "enlarged", "copy", "odd_caption", "long_caption"):
        names = [_name(one.entry) for one in judged if code in one.codes]
        if names:
            values = {"count": len(names), "first": first_names(names)}
            said.append(Notice(f"pictures_{code}", values))
    few = sum(not one.entry.subset.is_reg for one in judged)
    if 0 < few < FEW_PICTURES:
        said.append(Notice("pictures_few", {"count": few}))
    return said
