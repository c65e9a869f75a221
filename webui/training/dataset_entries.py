"""One folder's or metadata file's pictures, with their words and the size each is trained at.

No torch. What is wrong with one file is told or raised, as ``Findings`` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from webui.errors import DatasetError, ParamsError
from webui.params.training_data import DatasetOptions, Subset
from webui.training import buckets, captions
from webui.training.buckets import Fit
from webui.training.notices import Notice, first_names
from webui.training.photographs import Photograph, measure, measure_whole, pictures_in

MIXED_EXTENSIONS = (".txt", ".caption")
"""Endings of caption files that people mix up."""


@dataclass(frozen=True)
class Entry:
    """One picture as it is trained.

    Attributes:
        caption: As read; with wildcards one alternative a line.
        has_caption: False when the words are its folder's.
        repeats: How often it comes in an epoch.
    """

    photograph: Photograph
    caption: str
    has_caption: bool
    subset: Subset
    fit: Fit
    repeats: int


@dataclass
class Findings:
    """What comes up while a plan is made.

    Attributes:
        goes_on: What is broken is written down instead of ending everything.
        broken: Files that are left out. fatal: Files without which nothing may begin.
    """

    goes_on: bool
    notices: list[Notice] = field(default_factory=list[Notice])
    broken: list[DatasetError] = field(default_factory=list[DatasetError])
    fatal: list[DatasetError] = field(default_factory=list[DatasetError])

    def say(self, code: str, **values: Any) -> None:
        self.notices.append(Notice(code, values))

    def bad(self, err: DatasetError, *, may_skip: bool) -> None:
        (self.broken if self.goes_on or may_skip else self.fatal).append(err)

    def stop_if_fatal(self) -> None:
        """Raise the first of the files that may not be left out, with how many are like it."""
        if not self.fatal:
            return
        first = self.fatal[0]
        count = sum(err.hint == first.hint for err in self.fatal)
        more = f"({count} such files)" if count > 1 else ""
        hint = " ".join(filter(None, (first.hint, more)))
        raise DatasetError(first.message, hint, **first.details)


def read_entries(subset: Subset, rule: DatasetOptions, found: Findings) -> list[Entry]:
    """The pictures of a subset by path.

    Args:
        rule: With limits of buckets as they are used.
        found: Is told what is broken and what the person should know.
    Raises:
        ParamsError: There is no such folder.
        DatasetError: A file cannot be used, and ``found`` does not go on.
    """
    pairs = (_from_metadata if subset.metadata_file else _from_folder)(subset, found)
    entries: list[Entry] = []
    for path, caption in pairs:
        try:
            photograph = measured(path, is_whole=subset.skip_broken)
            entries.append(_entry(photograph, caption, subset, rule))
        except DatasetError as err:
            found.bad(err, may_skip=subset.skip_broken)
    _say_of_subset(subset, entries, found)
    return entries


def _entry(photograph: Photograph, caption: str, subset: Subset, rule: DatasetOptions) -> Entry:
    fit = buckets.fit(photograph.size, rule)
    if not min(fit.bucket):
        width, height = photograph.size
        raise DatasetError(
            f'"{photograph.path.name}" is {width}x{height}, smaller than bucket_reso_steps '
            f"({rule.bucket_reso_steps}). Remove it or switch bucket_no_upscale off.",
            file=str(photograph.path),
            reason=f"{width}x{height}",
        )
    words = caption or subset.class_tokens
    return Entry(photograph, words, bool(caption), subset, fit, subset.num_repeats)


def measured(path: Path, *, is_whole: bool = False) -> Photograph:
    """As ``photographs.measure``; a file that did not change is not opened again.

    Args:
        is_whole: Its pixels are tried, too: what is left out must be known before.
    Raises:
        DatasetError: As there.
    """
    try:
        facts = path.stat()
    except OSError:
        return measure(path)  # which says what is wrong
    return _measured(path, facts.st_mtime_ns, facts.st_size, is_whole)


@lru_cache(maxsize=20_000)
def _measured(path: Path, _mtime_ns: int, _size: int, is_whole: bool) -> Photograph:
    return measure_whole(path) if is_whole else measure(path)


def _from_folder(subset: Subset, found: Findings) -> list[tuple[Path, str]]:
    folder = Path(subset.image_dir).expanduser()
    if not folder.is_dir():
        raise ParamsError(
            f'image_dir: the folder "{subset.image_dir}" does not exist.', field="train_data_dir"
        )
    pairs = []
    for path in pictures_in(folder):
        try:
            pairs.append((path, _caption_beside(path, subset, found)))
        except DatasetError as err:
            found.bad(err, may_skip=False)
    return pairs


def _caption_beside(path: Path, subset: Subset, found: Findings) -> str:
    file = captions.caption_file(path, subset.caption_extension)
    if file is None:
        return ""
    text = captions.read_caption(file, all_lines=subset.enable_wildcard)
    if not text:
        found.say("caption_empty", file=file.name, words=subset.class_tokens)
    return text


def _from_metadata(subset: Subset, found: Findings) -> list[tuple[Path, str]]:
    file = Path(subset.metadata_file).expanduser()
    pairs = []
    for name, record in _records(file):
        path = _picture_of(name, Path(subset.image_dir or file.parent).expanduser())
        if path is None:
            reason = "there is no such picture"
            err = DatasetError(f'"{name}" in "{file.name}": {reason}.', file=name, reason=reason)
            found.bad(err, may_skip=subset.skip_broken)
            continue
        parts = (str(record.get(key) or "").strip() for key in ("caption", "tags"))
        pairs.append((path, subset.caption_separator.join(part for part in parts if part)))
    return sorted(pairs)


def _records(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and facts of a metadata file, JSON or one object a line.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
        if file.suffix.lower() == ".jsonl":
            lines = [json.loads(line) for line in text.splitlines() if line.strip()]
            yield from ((str(line["image_path"]), line) for line in lines)
        else:
            for name, record in json.loads(text).items():
                yield name, record if isinstance(record, dict) else {"caption": record}
    except OSError as err:
        raise DatasetError(
            f'"{file}" cannot be read: {err.strerror or err}.', file=str(file)
        ) from err
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise DatasetError(
            f'"{file.name}" is no metadata file: {type(err).__name__}: {err}.',
            'It should read {"picture.png": {"caption": "a cat", "tags": "cat, sitting"}}.',
            file=str(file),
        ) from err


def _picture_of(name: str, folder: Path) -> Path | None:
    """The picture a name in a metadata file stands for; its ending may be missing."""
    path = folder / name
    if path.is_file():
        return path
    beside = pictures_in(path.parent) if path.parent.is_dir() else []
    return next((other for other in beside if other.stem == path.name), None)


# What is said of them


def _say_of_subset(subset: Subset, entries: list[Entry], found: Findings) -> None:
    if subset.caption_dropout_every_n_epochs == 1:
        found.say("caption_dropped_always")
    folder = Path(subset.image_dir or subset.metadata_file).name
    if subset.custom_attributes:
        names = first_names(list(subset.custom_attributes))
        found.say("custom_attributes", folder=folder, names=names)
    if subset.face_crop_aug_range:
        _say_missing_faces(entries, found)
    without = [entry.photograph.path.name for entry in entries if not entry.has_caption]
    if without:
        code = "caption_missing" if subset.class_tokens else "caption_missing_nothing"
        found.say(
            code, missing=len(without), pictures=len(entries), folder=folder,
            extension=subset.caption_extension, first=first_names(without),
            words=subset.class_tokens,
        )  # fmt: skip
        _say_other_extension(subset, entries, folder, found)
    told = [entry for entry in entries if entry.has_caption]
    if subset.shuffle_caption and subset.keep_tokens and told:
        # of a single tag nothing could be shuffled, whatever is kept
        full = [e for e in told if 1 < _tag_count(e, subset) <= subset.keep_tokens]
        if len(full) * 2 > len(told):
            found.say("keep_tokens_all", keep_tokens=subset.keep_tokens)


def _tag_count(entry: Entry, subset: Subset) -> int:
    return len(captions.split_tags(entry.caption, subset.caption_separator))


def _say_missing_faces(entries: list[Entry], found: Findings) -> None:
    names = [e.photograph.path.name for e in entries if captions.face_in(e.photograph.path) is None]
    if names:
        found.say("face_name_missing", count=len(names), first=first_names(names))


def _say_other_extension(
    subset: Subset, entries: list[Entry], folder: str, found: Findings
) -> None:
    for other in MIXED_EXTENSIONS:
        if other == subset.caption_extension.lower():
            continue
        paths = (e.photograph.path for e in entries if not e.has_caption)
        count = sum(captions.caption_file(path, other) is not None for path in paths)
        if count:
            found.say(
                "caption_other_extension", extension=subset.caption_extension, count=count,
                other=other, folder=folder,
            )  # fmt: skip
