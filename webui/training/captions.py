"""Captions: where they are found, and what becomes of one each time its picture is used.

Plain Python, no torch. Names and order of the rules are those of the training options.
"""

from __future__ import annotations

import contextlib
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.errors import DatasetError, TrainingError
from webui.params.training_data import Captioning, CaptionRule

FACE_PARTS = 4
"""A file name may end in the centre and size of a face: ``_x_y_width_height``."""
_ALTERNATIVES = re.compile(r"\{([^{}]*)\}")
_OPEN, _CLOSE = "\ue000", "\ue001"
"""Stand for ``{{`` and ``}}`` while alternatives are chosen; from Unicode's private area."""


@dataclass(frozen=True)
class Moment:
    """When in a training a caption is used.

    Attributes:
        epoch: From 1. step: Updates made so far. steps: Of the whole training.
    """

    epoch: int = 1
    step: int = 0
    steps: int = 1


# Finding


def dotted(extension: str) -> str:
    """A caption extension with its dot: ``txt`` means ``.txt``."""
    return extension if extension.startswith(".") or not extension else f".{extension}"


def caption_file(picture: Path, extension: str) -> Path | None:
    """The caption beside a picture; None when there is none.

    ``pic_120_80_40_40.png`` may have ``pic.txt``: its name carries a face's place and size.
    """
    stems = [picture.stem]
    parts = picture.stem.split("_")
    if len(parts) > FACE_PARTS:
        stems.append("_".join(parts[:-FACE_PARTS]))
    files = (picture.with_name(stem + dotted(extension)) for stem in stems)
    return next((file for file in files if file.is_file()), None)


def face_in(picture: Path) -> tuple[int, int, int, int] | None:
    """A face's centre and size in a file name such as ``pic_120_80_40_40.png``."""
    numbers = picture.stem.split("_")[1:][-FACE_PARTS:]
    if len(numbers) < FACE_PARTS or not all(number.isdecimal() for number in numbers):
        return None
    x, y, width, height = (int(number) for number in numbers)
    return (x, y, width, height) if width and height else None


def read_caption(file: Path, *, all_lines: bool = False) -> str:
    """The caption in a file: its first line, or with ``all_lines`` all that are not empty.

    Raises:
        DatasetError: Not UTF-8 text, or not readable (``file``).
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise DatasetError(
            f'"{file.name}" is not UTF-8 text (byte {err.start}).',
            "Save it as UTF-8 in a text editor.",
            file=str(file),
        ) from err
    except OSError as err:
        raise DatasetError(
            f'"{file.name}" cannot be read: {err.strerror or err}.', file=str(file)
        ) from err
    lines = [line.strip() for line in text.splitlines()]
    if all_lines:
        return "\n".join(line for line in lines if line)
    return lines[0] if lines else ""


def write_caption(file: Path, caption: str) -> None:
    """Write a caption; the one before stays until this one is whole.

    Raises:
        TrainingError: The disk does not take it.
    """
    part = file.with_name(f".{file.name}.part")
    try:
        part.write_text(caption, encoding="utf-8")
        part.replace(file)
    except OSError as err:
        with contextlib.suppress(OSError):
            part.unlink()
        raise TrainingError(
            f'The caption "{file.name}" could not be written: {err.strerror or err}.',
            "Make room on that disk.",
            path=str(file),
        ) from err


# Use


def varies(rule: Captioning) -> bool:
    """True when a caption can be another each time, more than there or left out whole."""
    return bool(
        rule.shuffle_caption
        or rule.enable_wildcard
        or rule.caption_tag_dropout_rate
        or rule.token_warmup_step
    )


def can_be_dropped(rule: Captioning) -> bool:
    """True when a picture is sometimes trained without its caption."""
    return bool(rule.caption_dropout_rate or rule.caption_dropout_every_n_epochs)


def caption_for(
    caption: str, rule: Captioning, draw: random.Random, moment: Moment | None = None
) -> str:
    """A caption as it is trained this time.

    Args:
        caption: As it was read; with wildcards one alternative a line.
        draw: The only source of randomness.
    """
    moment = moment or Moment()
    text = _joined(rule.caption_prefix, caption, rule.caption_suffix)
    if _is_dropped(rule, draw, moment):
        return ""
    text = _chosen(text, draw) if rule.enable_wildcard else text.split("\n", 1)[0]
    if rule.shuffle_caption or rule.token_warmup_step > 0 or rule.caption_tag_dropout_rate > 0:
        text = _mixed(text, rule, draw, moment)
    elif rule.keep_tokens_separator:
        pieces = (piece.strip(f" {rule.caption_separator}")
                  for piece in text.split(rule.keep_tokens_separator))  # fmt: skip
        text = ", ".join(piece for piece in pieces if piece)
    if rule.secondary_separator:
        text = text.replace(rule.secondary_separator, rule.caption_separator)
    return text


def _joined(prefix: str, caption: str, suffix: str) -> str:
    lines = caption.split("\n")
    whole = (" ".join(part for part in (prefix, line, suffix) if part) for line in lines)
    return "\n".join(whole)


def _is_dropped(rule: Captioning, draw: random.Random, moment: Moment) -> bool:
    if rule.caption_dropout_rate > 0 and draw.random() < rule.caption_dropout_rate:
        return True
    every = rule.caption_dropout_every_n_epochs
    return every > 0 and moment.epoch % every == 0


def _chosen(text: str, draw: random.Random) -> str:
    """One line, and of every ``{a|b}`` one alternative; ``{{`` and ``}}`` are plain braces."""
    line = draw.choice(text.split("\n"))
    line = line.replace("{{", _OPEN).replace("}}", _CLOSE)
    line = _ALTERNATIVES.sub(lambda found: draw.choice(found[1].split("|")), line)
    return line.replace(_OPEN, "{").replace(_CLOSE, "}")


def _mixed(text: str, rule: Captioning, draw: random.Random, moment: Moment) -> str:
    head, tags, tail = _parts(text, rule)
    if rule.token_warmup_step > 0:
        tags = tags[: _warmed_up(len(tags), rule, moment)]
    if rule.shuffle_caption:
        draw.shuffle(tags)
    if rule.caption_tag_dropout_rate > 0:
        tags = [tag for tag in tags if draw.random() >= rule.caption_tag_dropout_rate]
    return ", ".join([*head, *tags, *tail])


def _parts(text: str, rule: Captioning) -> tuple[list[str], list[str], list[str]]:
    """Tags that stay at the head, those that move, and those that stay at the tail."""
    mark = rule.keep_tokens_separator
    if mark and mark in text:
        head, _, rest = text.partition(mark)
        middle, _, tail = rest.partition(mark)
        return tuple(split_tags(part, rule.caption_separator) for part in (head, middle, tail))  # type: ignore[return-value]
    tags = split_tags(text, rule.caption_separator)
    return tags[: rule.keep_tokens], tags[rule.keep_tokens :], []


def _warmed_up(count: int, rule: Captioning, moment: Moment) -> int:
    until = rule.token_warmup_step
    if until < 1:
        until = math.floor(until * moment.steps)
    if moment.step >= until:
        return count
    least = rule.token_warmup_min
    return math.floor(moment.step * (count - least) / until) + least


# Described by a network


def described(now: str, words: str, rule: CaptionRule, prefix: str = "") -> str:
    """A caption after a tagger or captioner has looked at its picture.

    Args:
        now: What stands there. words: What was seen.
        rule: ``missing``: a caption that is there stays; ``before``: what was seen comes before
            it; ``replace``: it goes.
        prefix: Comes first, once, wherever else it stood.
    """
    if rule == "missing" and now:
        return now
    kept = split_tags(now) if rule == "before" else []
    return ", ".join(changed_tags([*split_tags(words), *kept], add=split_tags(prefix)))


# Tags


def split_tags(caption: str, separator: str = ",") -> list[str]:
    """The tags of a caption, without blanks around and without empty ones."""
    return [tag for tag in (part.strip() for part in caption.split(separator)) if tag]


def count_tags(captions: Iterable[str], separator: str = ",") -> Counter[str]:
    """In how many captions each tag occurs, in lower case."""
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update({tag.lower() for tag in split_tags(caption, separator)})
    return counts


def changed_tags(
    tags: Sequence[str],
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
    replace: tuple[str, str] | None = None,
    at_head: bool = True,
) -> list[str]:
    """Tags after a bulk edit, each once, in their order; capitals make no difference."""
    gone = {tag.lower() for tag in remove}
    new = list(tags)
    if replace:
        old, by = replace[0].strip().lower(), split_tags(replace[1])
        new = [out for tag in new for out in (by if tag.lower() == old else [tag])]
    new = [*add, *new] if at_head else [*new, *add]
    seen: dict[str, str] = {}
    for tag in new:
        if tag.lower() not in gone:
            seen.setdefault(tag.lower(), tag)
    return list(seen.values())
