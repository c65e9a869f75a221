"""File and folder names by A1111's patterns: ``[seed]``, ``[datetime<%Y><UTC>]`` and the rest."""

from __future__ import annotations

import hashlib
import os
import re
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from zoneinfo import ZoneInfo

MAX_NAME_BYTES = 255
LONGEST_EXTENSION = len(".webp")
TIME_FORMAT = "%Y%m%d%H%M%S"
NO_VAE = "NoneType"
"""What A1111 writes for ``[vae_filename]`` when no VAE file is chosen."""

_TOKEN = re.compile(r"\[([^\[\]]+)\]")
_ARGUMENT = re.compile(r"<([^>]*)>$")
_INVALID = re.compile(r'[#<>:"/\\|?*\x00-\x1f\x7f]')
_INVALID_ON_UNIX = re.compile(r"[/\x00]")
_NOT_WORDS = re.compile(rf"[\s{re.escape(string.punctuation)}]+")
_PADDED_TIME = re.compile(r"%[-_0^#+]*\d")
"""glibc pads ``%999999d`` to that width; a name never needs it."""
_RESERVED_ON_WINDOWS = frozenset(
    ["CON", "PRN", "AUX", "NUL", *(f"{name}{n}" for name in ("COM", "LPT") for n in range(1, 10))]
)


class _ManyPictures(Protocol):
    """What ``PictureFacts.from_params`` reads of a request."""

    @property
    def image_count(self) -> int: ...


@dataclass(frozen=True)
class NameRules:
    """How this installation names files.

    Attributes:
        max_length: Characters kept of each value (A1111's --filenames-max-length).
        is_unix: Replace only ``/`` (A1111's --unix-filenames-sanitization).
        prompt_words: Words kept by ``[prompt_words]``.
    """

    max_length: int = 128
    is_unix: bool = False
    prompt_words: int = 8


@dataclass(frozen=True)
class PictureFacts:
    """What is known of one picture when it is written; None = does not apply to it.

    Attributes:
        batch_number: Place in its batch, 1-based. generation_number: Place in the job, 1-based.
        batch_size, image_count: Of the job.
        model_name, vae_filename: Without folder and extension.
        prompt_no_styles: None = the same as the prompt.
        job_time: Unix seconds; None = when the job's first picture was written.
        image_hash: SHA-256 of the raw pixels, hex; worked out when a pattern asks for it.
        basename: Stem of the input file, for upscaled pictures.
        infotext: The recipe.
        caption: Words for training, written beside the picture.
        pixels: SHA-256 of the picture as it was painted, hex: ``Image.tobytes()`` before any
            compression; "" where that was not recorded.
        made_on: What painted it: device, device_name, dtype, torch, threads, program, files and
            extensions.
    """

    seed: int | None = None
    seed_first: int | None = None
    seed_last: int | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    width: int | None = None
    height: int | None = None
    styles: tuple[str, ...] = ()
    sampler: str | None = None
    schedule: str | None = None
    model_hash: str | None = None
    model_name: str | None = None
    prompt: str = ""
    negative_prompt: str = ""
    prompt_no_styles: str | None = None
    batch_number: int = 1
    batch_size: int = 1
    generation_number: int = 1
    image_count: int = 1
    clip_skip: int | None = None
    denoising_strength: float | None = None
    user: str = ""
    vae_filename: str | None = None
    job_time: float | None = None
    image_hash: str = ""
    basename: str | None = None
    infotext: str = ""
    caption: str = ""
    pixels: str = ""
    made_on: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def from_params(
        cls, params: _ManyPictures, event: Mapping[str, Any], *, user: str = ""
    ) -> PictureFacts:
        """The facts of one finished picture.

        Args:
            params: The job's request; fields that its kind does not have are left None.
            event: The worker's ``image`` message: index, seed, width, height, infotext, and in
                ``facts`` anything named as a field here (model_name, model_hash …).
            user: Login name, if any.
        """
        batch_size, count = getattr(params, "batch_size", 1), params.image_count
        first_seed = getattr(params, "seed", None)
        hires = getattr(params, "hires", None)
        vae = getattr(params, "vae", None)
        facts: dict[str, Any] = {
            "seed": event.get("seed"),
            "seed_first": first_seed,
            "seed_last": _last_seed(first_seed, count, getattr(params, "subseed_strength", 0)),
            "steps": getattr(params, "steps", None),
            "cfg_scale": getattr(params, "cfg_scale", None),
            "width": event.get("width"),
            "height": event.get("height"),
            "styles": tuple(getattr(params, "styles", ())),
            "sampler": getattr(params, "sampler", None),
            "schedule": getattr(params, "schedule", None),
            "prompt": getattr(params, "prompt", ""),
            "negative_prompt": getattr(params, "negative_prompt", ""),
            "batch_number": event["index"] % batch_size + 1,
            "batch_size": batch_size,
            "generation_number": event["index"] + 1,
            "image_count": count,
            "clip_skip": getattr(params, "clip_skip", None),
            "denoising_strength": getattr(hires or params, "denoising_strength", None),
            "user": user,
            "vae_filename": None if vae in (None, "None", "Automatic", "") else Path(vae).stem,
            "infotext": event.get("infotext", ""),
        }
        known = {k: v for k, v in event.get("facts", {}).items() if k in cls.__dataclass_fields__}
        return cls(**{**facts, **known})


def _last_seed(first: int | None, count: int, subseed_strength: float) -> int | None:
    """With a variation seed all pictures share the seed; else it grows by one."""
    return first if first is None or subseed_strength else first + count - 1


class _Skip:
    """A value that does not apply: it vanishes, and so does the literal text before it."""


SKIP = _Skip()


def sanitize(text: str, rules: NameRules = NameRules(), *, spaces_to: str = " ") -> str:
    """Make text safe as part of a file name.

    Source:
        formats.md 5.3: the characters, the cut to ``max_length``, the trimmed ends.
    """
    text = text.encode("utf-8", "replace").decode("utf-8").replace(" ", spaces_to)
    text = (_INVALID_ON_UNIX if rules.is_unix else _INVALID).sub("_", text)
    return text.lstrip(" ")[: rules.max_length].rstrip(" .")


def expand(
    pattern: str,
    facts: PictureFacts,
    *,
    now: datetime | None = None,
    rules: NameRules = NameRules(),
) -> str:
    """Fill in a pattern.

    Args:
        pattern: Literal text with ``[name]``, ``[name<argument>]``, ``[name<a><b>]``; names in any
            case; unknown ones stay as they are.
        now: Local time with its zone; None = the present.
    Returns:
        Text whose values are sanitised; the literal text is not.
    """
    values = _Values(facts, now or datetime.now().astimezone(), rules)
    result, end = "", 0
    for token in _TOKEN.finditer(pattern):
        literal, end = pattern[end : token.start()], token.end()
        value = values.of(token[1])
        if value is SKIP:
            continue
        result += literal + (token[0] if value is None else str(value))
    return result + pattern[end:]


def decoration(
    pattern: str,
    facts: PictureFacts,
    *,
    has_folders: bool,
    now: datetime | None = None,
    rules: NameRules = NameRules(),
) -> str:
    """The part of a file name after its number.

    Args:
        pattern: Empty = ``[seed]``, with ``-[prompt_spaces]`` when there are no sub-folders.
        has_folders: Pictures go into sub-folders.
    """
    pattern = pattern or ("[seed]" if has_folders else "[seed]-[prompt_spaces]")
    text = expand(pattern, facts, now=now, rules=rules)
    return (_INVALID_ON_UNIX if rules.is_unix else _INVALID).sub("_", text).strip(" .")


def subfolder(
    pattern: str,
    facts: PictureFacts,
    *,
    now: datetime | None = None,
    rules: NameRules = NameRules(),
) -> PurePosixPath:
    """The folder below the output folder; never outside of it, whatever the pattern says.

    Args:
        pattern: ``/`` and ``\\`` part folders; empty = none.
    """
    text = expand(pattern, facts, now=now, rules=rules)
    parts = (sanitize(part, rules).strip() for part in re.split(r"[/\\]", text))
    return PurePosixPath(*(_not_reserved(cut(p, MAX_NAME_BYTES)) for p in parts if p))


def stems(
    number: int | None, text: str, *, prefix: str = "", max_bytes: int = MAX_NAME_BYTES
) -> Iterator[str]:
    """File names without extension to try in turn, until one is free.

    Args:
        number: First number to try; None = no number, then ``-1``, ``-2`` … are added.
        text: The decoration.
        prefix: ``grid-`` numbers with four digits instead of five.
        max_bytes: What the file system takes, extension included.
    """
    room = max_bytes - LONGEST_EXTENSION
    if number is None and text:
        yield _not_reserved(cut(text, room))
        for suffix in range(1, 1_000_000):
            yield cut(text, room - len(f"-{suffix}")) + f"-{suffix}"
        return
    digits = 4 if prefix else 5
    for following in range(number or 0, (number or 0) + 1_000_000):
        head = f"{prefix}{following:0{digits}}"
        yield cut(f"{head}-{text}" if text else head, room)


def name_limit(folder: Path) -> int:
    """Longest file name the folder's file system takes, in bytes (on Windows: characters)."""
    if os.name == "nt":
        return max(40, min(MAX_NAME_BYTES, 259 - len(str(folder)) - 1))
    try:
        return os.statvfs(folder).f_namemax or MAX_NAME_BYTES
    except OSError:
        return MAX_NAME_BYTES


def cut(text: str, max_bytes: int) -> str:
    """Cut to so many bytes of UTF-8, never inside a character; no space or dot at the end."""
    return text.encode("utf-8")[:max_bytes].decode("utf-8", "ignore").rstrip(" .")


def _not_reserved(stem: str) -> str:
    return f"_{stem}" if stem.split(".")[0].upper() in _RESERVED_ON_WINDOWS else stem


class NumberBook:
    """Next free file numbers. A folder is read once; later numbers are counted in memory.

    Numbers taken by others meanwhile are noticed when the name turns out to be taken.
    """

    def __init__(self) -> None:
        self._next: dict[tuple[Path, str], int] = {}

    def next_number(self, folder: Path, prefix: str = "") -> int:
        """One above the highest number at the start of a file name; 0 in an empty folder."""
        known = self._next.get((folder, prefix))
        if known is not None and folder.is_dir():
            return known
        return self._read(folder, prefix)

    def note(self, path: Path) -> None:
        """A file exists now; it may begin with a number."""
        prefix = "grid-" if path.stem.startswith("grid-") else ""
        head = path.stem[len(prefix) :].split("-")[0]
        if head.isascii() and head.isdecimal():
            key = path.parent, prefix
            self._next[key] = max(int(head) + 1, self._next.get(key, 0))

    def _read(self, folder: Path, prefix: str) -> int:
        highest = -1
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith(prefix):
                        head = entry.name[len(prefix) :].split("-")[0].split(".")[0]
                        if head.isascii() and head.isdecimal():
                            highest = max(highest, int(head))
        except OSError:
            return 0  # not there yet, or unreadable: writing will say so
        self._next[folder, prefix] = highest + 1
        return highest + 1


@dataclass(frozen=True)
class _Values:
    """The value behind each name of a pattern."""

    facts: PictureFacts
    now: datetime
    rules: NameRules
    table: Mapping[str, Callable[..., object]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", self._table())

    def of(self, token: str) -> object:
        """The value of ``name<a><b>``; SKIP, or None for an unknown or unusable one."""
        arguments: list[str] = []
        while match := _ARGUMENT.search(token):
            arguments.insert(0, match[1])
            token = token[: match.start()]
        value = self.table.get(token.lower())
        if value is None:
            return None
        try:
            return value(*arguments)
        except (TypeError, ValueError, LookupError):
            return None  # arguments that make no sense: the token stays as it was typed

    def _clean(self, text: str | None, spaces_to: str = " ") -> str | None:
        return None if text is None else sanitize(text, self.rules, spaces_to=spaces_to)

    def _table(self) -> Mapping[str, Callable[..., object]]:
        facts = self.facts
        own_words = facts.prompt if facts.prompt_no_styles is None else facts.prompt_no_styles
        return {
            "seed": lambda: "" if facts.seed is None else facts.seed,
            "seed_first": lambda: facts.seed if facts.batch_size == 1 else facts.seed_first,
            "seed_last": lambda: SKIP if facts.batch_size == 1 else facts.seed_last,
            "steps": lambda: facts.steps,
            "cfg": lambda: facts.cfg_scale,
            "width": lambda: facts.width,
            "height": lambda: facts.height,
            "styles": lambda: self._clean(", ".join(facts.styles) or "None"),
            "sampler": lambda: self._clean(facts.sampler),
            "scheduler": lambda: self._clean(facts.schedule),
            "sampler_scheduler": self._sampler_and_schedule,
            "model_hash": lambda: facts.model_hash,
            "model_name": lambda: self._clean(facts.model_name),
            "date": lambda: self.now.strftime("%Y-%m-%d"),
            "datetime": self._datetime,
            "job_timestamp": self._job_timestamp,
            "prompt_hash": lambda n="8": _sha256(facts.prompt, n),
            "negative_prompt_hash": lambda n="8": _sha256(facts.negative_prompt, n),
            "full_prompt_hash": lambda n="8": _sha256(f"{facts.prompt} {facts.negative_prompt}", n),
            "prompt": lambda: self._clean(facts.prompt, "_"),
            "prompt_spaces": lambda: self._clean(facts.prompt),
            "prompt_no_styles": lambda: self._clean(own_words),
            "prompt_words": self._prompt_words,
            "batch_number": lambda: SKIP if facts.batch_size == 1 else facts.batch_number,
            "batch_size": lambda: facts.batch_size,
            "generation_number": lambda: (
                SKIP if facts.image_count == 1 else facts.generation_number
            ),
            "hasprompt": self._hasprompt,
            "clip_skip": lambda: facts.clip_skip,
            "denoising": lambda: facts.denoising_strength or SKIP,
            "user": lambda: self._clean(facts.user),
            "vae_filename": lambda: self._clean(facts.vae_filename or NO_VAE),
            "none": lambda: "",
            "image_hash": lambda n="": facts.image_hash[: int(n) if n else None] or None,
            "basename": lambda: self._clean(facts.basename),
        }

    def _sampler_and_schedule(self) -> str | None:
        names = [self.facts.sampler, self.facts.schedule]
        if self.facts.sampler is None:
            return None
        return self._clean(" ".join(name for name in names if name and name != "Automatic"))

    def _datetime(self, time_format: str = "", zone: str = "") -> str | None:
        now = self.now
        if zone:
            try:
                now = now.astimezone(ZoneInfo(zone))
            except (LookupError, ValueError, OSError):
                now = self.now  # no such zone: local time, as A1111 does
        return self._clean(_strftime(now, time_format))

    def _job_timestamp(self) -> str:
        begun = self.facts.job_time
        moment = self.now if begun is None else datetime.fromtimestamp(begun, self.now.tzinfo)
        return moment.strftime(TIME_FORMAT)

    def _prompt_words(self) -> str | None:
        words = [word for word in _NOT_WORDS.split(self.facts.prompt) if word] or ["empty"]
        return self._clean(" ".join(words[: self.rules.prompt_words]))

    def _hasprompt(self, *arguments: str) -> str | None:
        """``<word|default>``: the word if the prompt has it, else the default."""
        prompt, found = self.facts.prompt.lower(), ""
        for argument in filter(None, arguments):
            word, _, default = argument.partition("|")
            found += word.lower() if word.lower() in prompt else default.split("|")[0]
        return self._clean(found)


def _strftime(moment: datetime, time_format: str) -> str:
    if time_format and not _PADDED_TIME.search(time_format):
        try:
            return moment.strftime(time_format)
        except ValueError:
            pass  # a directive this system does not know
    return moment.strftime(TIME_FORMAT)


def _sha256(text: str, length: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[: int(length or 8)]
