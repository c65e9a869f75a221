"""Midjourney's prompts: ``a lighthouse::2 fog::1 --ar 3:2 --no people --seed 5``."""

from __future__ import annotations

import re

from webui.recipes.recipe import Draft, Recipe

_FLAGS = (
    "ar", "aspect", "no", "seed", "niji", "stylize", "s", "chaos", "c", "v", "version", "q",
    "quality", "iw", "tile", "style", "weird", "w", "stop", "repeat", "r", "fast", "relax", "turbo",
    "raw", "sref", "cref", "sw", "cw", "oref", "ow", "p", "profile", "video", "uplight", "upbeta",
    "hd", "test", "testp", "creative", "draft", "exp", "sameseed", "public", "stealth",
)  # fmt: skip
_FLAG = re.compile(rf"(?:^|\s)(?:--|—)({'|'.join(sorted(_FLAGS, key=len, reverse=True))})\b")
_WEIGHT = re.compile(r"::\s*(-?\d*\.?\d+)?")
_ASPECT = re.compile(r"(\d{1,4})\s*[:x/]\s*(\d{1,4})")
_LINK = re.compile(r"https?://\S+|<https?://[^>]*>")


def is_midjourney(text: str) -> bool:
    """True for a text with one of its flags, or with weighted parts."""
    return bool(_FLAG.search(text)) or bool(re.search(r"\S::\s*-?\d", text))


def read_midjourney(text: str, native: int = 512) -> Recipe:
    """The recipe. Weighted parts become ``AND`` parts, which are painted apart as they are there.

    Args:
        native: Side in pixels of the checkpoint's square pictures, for ``--ar``.
    """
    words, flags = _split(" ".join(text.split()))
    draft = Draft()
    draft.prompt = _parts(_LINK.sub("", words))
    for link in _LINK.findall(words):
        draft.leave_out("picture", link)
    for name, value in flags:
        _put_flag(draft, name, value.strip(), native)
    return draft.finish("Midjourney")


def _split(text: str) -> tuple[str, list[tuple[str, str]]]:
    found = list(_FLAG.finditer(text))
    if not found:
        return text, []
    ends = [*(flag.start() for flag in found[1:]), len(text)]
    flags = [(flag[1], text[flag.end() : end]) for flag, end in zip(found, ends, strict=True)]
    return text[: found[0].start()], flags


def _parts(words: str) -> str:
    if "::" not in words:
        return words.strip()
    parts: list[str] = []
    start = 0
    for mark in _WEIGHT.finditer(words):
        part = words[start : mark.start()].strip()
        weight = float(mark[1]) if mark[1] else 1.0
        start = mark.end()
        if part:
            parts.append(part if weight == 1 else f"{part} :{weight:g}")
    if words[start:].strip():
        parts.append(words[start:].strip())
    return " AND ".join(parts)


def _put_flag(draft: Draft, name: str, value: str, native: int) -> None:
    aspect = _ASPECT.fullmatch(value) if name in ("ar", "aspect") else None
    if name == "no":
        draft.negative_prompt = ", ".join(filter(None, (draft.negative_prompt, value)))
    elif name == "seed" and value.isdecimal():
        draft.put("Seed", value)
    elif name == "tile":
        draft.put("Tiling", True)
    elif aspect and int(aspect[1]) and int(aspect[2]):
        width = native * (int(aspect[1]) / int(aspect[2])) ** 0.5
        sides = (max(64, round(side / 64) * 64) for side in (width, native * native / width))
        draft.put_size(*sides)
    else:
        draft.leave_out(f"--{name}", value or "yes")
