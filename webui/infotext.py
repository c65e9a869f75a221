"""The text stored inside a picture: prompt, negative prompt, one line of ``Key: value`` pairs.

    a lighthouse in fog
    Negative prompt: blurry
    Steps: 24, Sampler: DPM++ 2M, Seed: 41, Size: 640x832, Version: …

:func:`parse_infotext` reads exactly what A1111 reads, oddities included;
:func:`with_defaults` then mends and completes it for filling in a form.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

NEGATIVE_MARK = "Negative prompt:"
MIN_PAIRS = 3
"""A last line with fewer pairs belongs to the prompt."""

_RUN = re.compile(r"([-/ \w]+)(:)?")
_WORD_CHARACTER = re.compile(r"\w")
_QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"(?=,|$)')
_SIZE = re.compile(r"(\d+)x(\d+)$")
_HASHES = re.compile(r"(?:^|[,\s])Hashes:\s*(?=\{)")
_NETWORK_MODEL = re.compile(r"(.*)\([0-9a-f]+\)$", re.DOTALL)
_BRACKET = re.compile(r"\\.|([(\[])", re.DOTALL)


@dataclass(frozen=True)
class Infotext:
    """An infotext, read.

    Attributes:
        prompt, negative_prompt: As typed, network tags included.
        params: The pairs, all as text. ``WxH`` values appear as two entries, ``Size-1`` and
            ``Size-2``.
        hashes: What a ``Hashes: {…}`` block (Civitai) says, for example ``{"model": "0a1b…"}``;
            empty without one.
    """

    prompt: str = ""
    negative_prompt: str = ""
    params: dict[str, str] = field(default_factory=dict[str, str])
    hashes: dict[str, str] = field(default_factory=dict[str, str])


# Writing


def quote(value: Any) -> str:
    """A value as it stands in the line: JSON when its text holds a comma, colon or newline.

    Numbers are written as Python does (7, 7.0, 0.5), booleans as True and False.
    """
    text = str(value)
    if not any(mark in text for mark in ",:\n"):
        return text
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:  # an object that JSON does not know
        return json.dumps(text, ensure_ascii=False)


def write_infotext(
    prompt: str, negative_prompt: str, pairs: Mapping[str, Any] | Iterable[tuple[str, Any]]
) -> str:
    """Put an infotext together.

    Args:
        prompt, negative_prompt: After styles and comments, with network tags as typed. An empty
            negative prompt leaves no line.
        pairs: Keys and values in the order to be written. None leaves the pair out; a value
            equal to its key writes the key alone.
    """
    written = {key: value for key, value in dict(pairs).items() if value is not None}
    line = ", ".join(
        key if key == value else f"{key}: {quote(value)}" for key, value in written.items()
    )
    negative = f"\n{NEGATIVE_MARK} {negative_prompt}" if negative_prompt else ""
    return f"{prompt}{negative}\n{line}".strip()


def add_pairs(text: str, pairs: Iterable[tuple[str, Any]]) -> str:
    """An infotext with more pairs at the end of its last line, before who wrote it."""
    more = ", ".join(f"{key}: {quote(value)}" for key, value in pairs)
    head, mark, version = text.rpartition(", Version: ")
    if mark and "\n" not in version:
        return f"{head}, {more}{mark}{version}"
    return f"{text}, {more}"


# Reading


def parse_infotext(text: str, *, min_pairs: int = MIN_PAIRS) -> Infotext:
    """Read an infotext, whoever wrote it. Never fails; text without pairs is all prompt.

    Args:
        min_pairs: A last line with fewer pairs belongs to the prompt.
    Source:
        A1111's grammar. It cuts a raw ``Hashes: {…}`` block at its commas, so ``params`` may hold
        half a block and made-up keys; ``hashes`` has the block itself.
    """
    *lines, last = text.strip().split("\n")
    pairs = list(_find_pairs(last))
    if len(pairs) < min_pairs:
        lines.append(last)
        pairs, last = [], ""
    prompt, negative_prompt = _split_prompts(lines)
    params: dict[str, str] = {}
    for key, value in pairs:
        params.update(read_pair(key, value))
    return Infotext(prompt, negative_prompt, params, _hash_block(last))


def _find_pairs(line: str) -> Iterator[tuple[str, str]]:
    """All ``key: value`` pairs of a line, in one pass.

    A key is a word character and at least one more of word characters, spaces, hyphens and
    slashes; a value is a JSON-like string up to a comma or the end, else all up to a comma.
    """
    position = 0
    while run := _RUN.search(line, position):
        position = run.end()
        key_start = _WORD_CHARACTER.search(line, run.start(), run.end(1))
        if not run[2] or not key_start or run.end(1) - key_start.start() < 2:
            continue
        key = line[key_start.start() : run.end(1)]
        value, position = _find_value(line, position)
        yield key, value


def _find_value(line: str, start: int) -> tuple[str, int]:
    """The value that begins at ``start``, and where to look for the next key."""
    while start < len(line) and line[start].isspace():
        start += 1
    quoted = _QUOTED.match(line, start)
    if quoted and len(quoted[0]) > 2:
        return quoted[0], quoted.end() + 1
    comma = line.find(",", start)
    end = comma if comma >= 0 else len(line)
    return line[start:end], end + 1


def read_pair(key: str, value: str) -> dict[str, str]:
    """A written pair as entries: ``WxH`` becomes two, an empty value none, JSON its text."""
    if not value:
        return {}
    value = _unquote(value)
    size = _SIZE.match(value)
    if size:
        return {f"{key}-1": size[1], f"{key}-2": size[2]}
    return {key: value}


def _unquote(value: str) -> str:
    if not (value.startswith('"') and value.endswith('"')):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _split_prompts(lines: Iterable[str]) -> tuple[str, str]:
    prompt: list[str] = []
    negative: list[str] = []
    current = prompt
    for line in lines:
        line = line.strip()
        if line.startswith(NEGATIVE_MARK):
            current = negative
            line = line[len(NEGATIVE_MARK) :].strip()
        if current or line:  # empty lines count only after some text
            current.append(line)
    return "\n".join(prompt), "\n".join(negative)


def _hash_block(line: str) -> dict[str, str]:
    """The content of a ``Hashes: {…}`` block; {} without one."""
    found = _HASHES.search(line)
    if not found:
        return {}
    try:
        block, _ = json.JSONDecoder().raw_decode(line, found.end())
    except (ValueError, RecursionError):
        return {}
    return {name: value for name, value in block.items() if isinstance(value, str)}


# Completing


def with_defaults(
    infotext: Infotext,
    *,
    auto_backcompat: bool = True,
    uses_emphasis: Callable[[str], bool] | None = None,
    skip: Collection[str] = (),
) -> Infotext:
    """Mend and complete a parsed infotext so that every absent key has its meaning.

    Old spellings become present ones (``Hypernet``, ``AddNet …``, ``First pass size``), a
    ``Hashes`` block is kept whole, and keys that were left out get the value they stood for.

    Args:
        infotext: From :func:`parse_infotext`; unchanged.
        auto_backcompat: Add the settings under which an old A1111 version (``Version``) made the
            picture. A version that is no dotted number adds nothing.
        uses_emphasis: Tells whether a prompt weights anything; by default any unescaped
            bracket counts.
        skip: Keys to leave out of the result.
    """
    params = dict(mend_hashes(infotext).params)
    prompt = infotext.prompt + _old_networks(params)
    _restore_first_pass(params)
    for key, value in _DEFAULTS.items():
        params.setdefault(key, value)
    if "Hires resize-1" not in params:
        params["Hires resize-1"] = params["Hires resize-2"] = "0"
    if params["FP8 weight"] != "Disable":
        params.setdefault("Cache FP16 weight for LoRA", "False")
    is_weighted = uses_emphasis or _has_bracket
    if is_weighted(prompt) or is_weighted(infotext.negative_prompt):
        params.setdefault("Emphasis", "Original")
    if auto_backcompat:
        params.update(_backward_compatible(prompt, params))
    for key in skip:
        params.pop(key, None)
    return replace(infotext, prompt=prompt, params=params)


_DEFAULTS = {
    "Clip skip": "1",
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": "32",
    "RNG": "GPU",
    "Schedule type": "Automatic",
    "Schedule max sigma": "0",
    "Schedule min sigma": "0",
    "Schedule rho": "0",
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
    "Refiner switch by sampling steps": "False",
}


def mend_hashes(infotext: Infotext) -> Infotext:
    """The infotext with its ``Hashes: {…}`` block whole, and without the keys cut out of it."""
    params = dict(infotext.params)
    if not infotext.hashes or not params.get("Hashes", "").startswith("{"):
        return infotext
    block = json.dumps(infotext.hashes, ensure_ascii=False)
    for key, value in _find_pairs(block):
        for cut in read_pair(key, value):
            params.pop(cut, None)
    params["Hashes"] = block
    return replace(infotext, params=params)


def _old_networks(params: Mapping[str, str]) -> str:
    """Tags for networks that very old files name among the pairs."""
    tags = ""
    if "Hypernet" in params:
        tags += f"<hypernet:{params['Hypernet']}:{params.get('Hypernet strength', '1.0')}>"
    loras = "".join(_additional_networks(params))
    return tags + ("\n" + loras if loras else "")


def _additional_networks(params: Mapping[str, str]) -> Iterator[str]:
    prefix = "AddNet Model "
    for key, name in params.items():
        number = key.removeprefix(prefix)
        if number == key or params.get(f"AddNet Module {number}") != "LoRA":
            continue
        hashed = _NETWORK_MODEL.fullmatch(name)
        weight = params.get(f"AddNet Weight A {number}", "1.0")
        yield f"<lora:{hashed[1] if hashed else name}:{weight}>"


def _restore_first_pass(params: dict[str, str]) -> None:
    """``First pass size`` (before 2023): the size was the large one (changes in place)."""
    first = _whole(params, "First pass size-1"), _whole(params, "First pass size-2")
    size = _whole(params, "Size-1", 512), _whole(params, "Size-2", 512)
    if None in first or None in size:
        return
    width, height = size
    assert width is not None and height is not None
    if 0 in first:
        first = _old_first_pass(width, height)
    params["Size-1"], params["Size-2"] = str(first[0]), str(first[1])
    params["Hires resize-1"], params["Hires resize-2"] = str(width), str(height)


def _whole(params: Mapping[str, str], key: str, default: int | None = None) -> int | None:
    written = params.get(key, "")
    is_number = written.isdecimal() and len(written) <= 6  # a side in pixels
    return int(written) if is_number else default


def _old_first_pass(width: int, height: int) -> tuple[int, int]:
    """About 512 x 512 pixels in the same shape, sides rounded up to multiples of 64."""
    scale = math.sqrt(512 * 512 / (width * height)) if width and height else 1.0
    return math.ceil(scale * width / 64) * 64, math.ceil(scale * height / 64) * 64


def _has_bracket(text: str) -> bool:
    return any(found[1] for found in _BRACKET.finditer(text))


# What old versions did


@dataclass(frozen=True, order=True)
class _Version:
    """A version as packaging tools order it: release, then rc before final before commits."""

    release: tuple[int, ...]
    is_final: bool
    commits: int


_VERSION = re.compile(
    r"\s*v?(?P<release>\d{1,9}(?:\.\d{1,9}){0,5})"
    r"(?P<early>[-_.]?(?:a|alpha|b|beta|c|rc|pre|preview)[-_.]?\d{0,9})?"
    r"(?:-(?P<commits>\d{1,9})|[-_.]?post[-_.]?(?P<post>\d{1,9}))?\s*",
    re.IGNORECASE,
)


def _read_version(text: str) -> _Version | None:
    """``v1.7.0-225-gabc`` is 225 commits after 1.7.0; None when it is no version."""
    parts = text.split("-")
    found = _VERSION.fullmatch("-".join(parts[:2]) if len(parts) > 2 else text)
    if not found:
        return None
    release = tuple(int(number) for number in found["release"].split("."))
    while release and release[-1] == 0:
        release = release[:-1]
    return _Version(release, not found["early"], int(found["commits"] or found["post"] or 0))


_V160 = _Version((1, 6), True, 0)
_V170_225 = _Version((1, 7), True, 225)
_V180 = _Version((1, 8), True, 0)


def _backward_compatible(prompt: str, params: Mapping[str, str]) -> dict[str, str]:
    """Settings that were fixed behaviour in the version that made the picture."""
    version = _read_version(params.get("Version", ""))
    if version is None:
        return {}
    applies = {
        "Old prompt editing timelines": version < _V160 and "[" in prompt,
        "Pad conds v0": version < _V160 and params.get("Sampler") in ("DDIM", "PLMS"),
        "Downcast alphas_cumprod": version < _V170_225,
        "Refiner switch by sampling steps": version < _V180 and bool(params.get("Refiner")),
    }
    return {key: "True" for key, is_needed in applies.items() if is_needed}


# NovelAI

_NOVELAI_SAMPLERS = {
    "k_euler_ancestral": "Euler a",
    "k_euler": "Euler",
    "k_lms": "LMS",
    "k_heun": "Heun",
    "k_dpm_2": "DPM2",
    "k_dpm_2_ancestral": "DPM2 a",
    "k_dpmpp_2s_ancestral": "DPM++ 2S a",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_sde": "DPM++ SDE",
    "k_dpmpp_2m_sde": "DPM++ 2M SDE",
    "ddim": "DDIM",
    "plms": "PLMS",
}


def novelai_infotext(description: str, comment: str, width: int, height: int) -> str | None:
    """What NovelAI stores in a picture, as an infotext.

    Args:
        description: The PNG text ``Description``: the prompt.
        comment: The PNG text ``Comment``: JSON with uc, steps, sampler, scale, seed.
        width, height: Of the picture, in pixels.
    Returns:
        None when the comment is no JSON object.
    Source:
        A1111; NovelAI reads the second last text layer and shifts its noise seed by 31337.
    """
    try:
        loaded = json.loads(comment)
    except (ValueError, RecursionError):
        return None
    if not isinstance(loaded, dict):
        return None
    facts = cast("dict[str, Any]", loaded)
    return write_infotext(
        description.strip(),
        str(facts.get("uc") or ""),
        {
            "Steps": facts.get("steps"),
            "Sampler": _NOVELAI_SAMPLERS.get(str(facts.get("sampler")), "Euler a"),
            "CFG scale": facts.get("scale"),
            "Seed": facts.get("seed"),
            "Size": f"{width}x{height}",
            "Clip skip": 2,
            "ENSD": 31337,
        },
    )
