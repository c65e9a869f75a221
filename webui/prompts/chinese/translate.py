"""A prompt with Chinese in it as the English prompt that is painted.

Weights, LoRA tags, wildcards, choices and what is no Chinese stay as they are. Of the grammar as
much is known as prompts have: 的, places (在…里), numbers with measure words, 和, 没有.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from webui.prompts.chinese.dictionary import Word, split_words

_HAN = "\u3400-\u4dbf\u4e00-\u9fff〇"
_IS_CHINESE = re.compile(f"[{_HAN}]")
_IS_JAPANESE = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
_PARTS = re.compile(rf"<[^<>\n]*>|__(?:(?!__)\S)+__|\\.|[{_HAN}]+|.", re.DOTALL)
_SIGNS = str.maketrans(
    {"，": ", ", "、": ", ", "。": ", ", "；": ", ", "！": ", ", "？": ", ", "（": "(", "）": ")",
     "：": ":", "“": '"', "”": '"', "　": " "}
)  # fmt: skip
_ODD_PLURALS = {"man": "men", "woman": "women", "child": "children", "person": "people",
                "fish": "fish", "sheep": "sheep", "deer": "deer", "wolf": "wolves",
                "leaf": "leaves", "mouse": "mice", "goose": "geese", "people": "people",
                "cherries": "cherries", "grapes": "grapes"}  # fmt: skip
_WITH = frozenset(
    {
        "hair", "eyes", "face", "ears", "wings", "tail", "horns", "beard", "skin", "teeth", "lips",
        "hands", "legs", "feathers", "ponytail", "twintails", "braids", "bangs", "glasses",
    }
)  # fmt: skip
"""Ends of what somebody has, not of what somebody is like."""


@dataclass(frozen=True)
class Translated:
    """A prompt in English.

    Attributes:
        text: What is painted.
        unwanted: What it says is not wanted (没有…); for the negative prompt.
        unknown: Chinese that no list knows; it stands in ``text`` as it is.
    """

    text: str
    unwanted: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def has_chinese(text: str) -> bool:
    """Whether there is anything to translate; Japanese is left alone."""
    outside = re.sub(r"<[^<>\n]*>|__(?:(?!__)\S)+__", "", text)
    return bool(_IS_CHINESE.search(outside)) and not _IS_JAPANESE.search(outside)


def translate(text: str, words: Mapping[str, Word]) -> Translated:
    """The English of a prompt; one without Chinese comes back as it is."""
    if not has_chinese(text):
        return Translated(text)
    found: list[str] = []
    unwanted: list[str] = []
    unknown: list[str] = []
    for part in _PARTS.findall(text):
        if not _IS_CHINESE.match(part):
            found.append(part if len(part) > 1 else part.translate(_SIGNS))
            continue
        pieces = split_words(part, words)
        unknown += [word.text for word in pieces if word.kind == "?"]
        wanted, refused = _without(pieces)
        unwanted += filter(None, [_said(refused)] if refused else [])
        found.append(_apart(found, _said(wanted)))
    return Translated(
        _tidied("".join(found)), tuple(dict.fromkeys(unwanted)), tuple(dict.fromkeys(unknown))
    )


def in_english(prompt: str, negative: str, tell: Callable[[str], Translated]) -> tuple[str, str]:
    """Both prompts in English; what the prompt does not want stands in the negative one."""
    told, told_negative = tell(prompt), tell(negative)
    unwanted = [told_negative.text, *told_negative.unwanted, *told.unwanted]
    return told.text, ", ".join(filter(None, unwanted)) if any(unwanted[1:]) else unwanted[0]


def _apart(before: Sequence[str], english: str) -> str:
    """The English with a space or comma before it where letters would run together."""
    last = before[-1][-1:] if before else ""
    is_listed = last == " " and len(before) > 1 and before[-2][-1:].isalnum()
    if is_listed:
        return f"\0{english}"
    return f" {english}" if last.isalnum() and last.isascii() else english


def _tidied(text: str) -> str:
    text = re.sub(r" ?\0 ?", lambda found: ", ", text)
    text = re.sub(r"(?<=[a-z])(?=<[^/])", " ", text)
    text = re.sub(r"[ \t]*,(?:[ \t]*,)*[ \t]*", ", ", text)
    return re.sub(r"[ \t]{2,}", " ", text).strip(" ,\t")


def _without(words: Sequence[Word]) -> tuple[list[Word], list[Word]]:
    """What is wanted, and what stands behind 没有."""
    kinds = [word.kind for word in words]
    if "t" not in kinds:
        return list(words), []
    at = kinds.index("t")
    behind = list(words[at + 1 :])
    ends = next((i for i, word in enumerate(behind) if word.text == "的"), None)
    if ends is None:
        return list(words[:at]), behind
    return [*words[:at], *behind[ends + 1 :]], behind[:ends]


def _said(words: Sequence[Word]) -> str:
    """The English of one run of words."""
    words = [word for word in words if word.kind != "x" or word.text == "的"]
    parts: list[list[Word]] = [[]]
    for word in words:
        if word.text == "的" and word.kind == "x":
            parts.append([])
        else:
            parts[-1].append(word)
    head: list[Word] = parts[0]
    for part in parts[1:]:
        head = _described(head, part) if part else head
    return " ".join(word.text for word in _placed(_things(head)) if word.text)


def _described(by: list[Word], part: list[Word]) -> list[Word]:
    """«A 的 B»: the thing that B begins with, described by A."""
    joint = max((i for i, word in enumerate(by) if word.kind == "f"), default=-1)
    verb = max((i for i, word in enumerate(by) if word.kind == "v"), default=-1)
    if all(word.kind in "qma" for word in by[verb + 1 :]) and by[verb + 1 :]:
        joint = max(joint, verb)
    before, by = by[: joint + 1], by[joint + 1 :]
    end = _end_of_thing(part)
    if all(word.kind in "qma" for word in by):
        return [*before, Word(_joined([*by, *part[:end]]), "n"), *part[end:]]
    by = _things(by)
    thing = _joined(part[:end])
    if by[-1].kind == "l":
        number, by = _number_of_head(by)
        place = " ".join(word.text for word in _placed(by))
        described = f"{number}{thing} {place}"
    elif any(word.kind == "v" for word in by) and len(by) > 1:
        number, by = _number_of_head(by)
        described = f"{number}{thing} {' '.join(word.text for word in _placed(by))}"
    elif by[-1].kind == "n" and by[-1].text.split()[-1] in _WITH:
        number, by = _number_of_head(by)
        described = f"{number}{thing} with {' '.join(word.text for word in by)}"
    else:
        described = f"{' '.join(word.text for word in by)} {thing}"
    return [*before, Word(_article(described), "n"), *part[end:]]


_NUMBER = re.compile(r"(an?|two|three|four|five|six|seven|eight|nine|ten)( |$)")
_BACKDROPS = frozenset(
    {
        "background", "sky", "meadow", "snow", "grass", "sea", "ocean", "sunset", "night", "sun",
        "water",
    }
)  # fmt: skip


def _number_of_head(by: list[Word]) -> tuple[str, list[Word]]:
    """«一个» before what has none itself, such as a background or a deed, belongs to the head."""
    number = _NUMBER.match(by[0].text) if by else None
    if number is None:
        return "", by
    is_backdrop = by[0].text.split()[-1] in _BACKDROPS
    is_deed = by[0].text == number[0].strip()
    is_part = by[-1].kind == "n" and by[0].text.split()[-1] in _WITH
    if not (is_backdrop or is_deed or is_part):
        return "", by
    rest = by[0].text[number.end() :].strip()
    return f"{number[1]} ", [*([Word(rest, by[0].kind)] if rest else []), *by[1:]]


def _article(text: str) -> str:
    """«a» and «an» before what they stand before now."""
    text = re.sub(r"\ba (?=[aeio])", "an ", text)
    return re.sub(r"\ban (?=[^aeio])", "a ", text)


def _end_of_thing(words: Sequence[Word]) -> int:
    """How many of the words are one thing with what describes it."""
    end = 0
    while end < len(words) and words[end].kind in "qman?":
        end += 1
        if words[end - 1].kind in "n?" and words[end : end + 1] and words[end].kind in "aqm":
            break
    return end


def _things(words: Sequence[Word]) -> list[Word]:
    """Numbers, measure words and what describes, drawn together with the thing behind them."""
    found: list[Word] = []
    at = 0
    while at < len(words):
        if words[at].kind in "qma":
            end = at + max(1, _end_of_thing(words[at:]))
            has_thing = any(word.kind in "n?" for word in words[at:end])
            found.append(Word(_joined(words[at:end]), "n" if has_thing else "a"))
            at = end
        else:
            found.append(words[at])
            at += 1
    return found


def _joined(words: Sequence[Word]) -> str:
    """«三 只 白 猫» as «three white cats»."""
    number = next((word.text for word in words if word.kind == "q"), "")
    said = " ".join(word.text for word in words if word.kind not in "qm" and word.text)
    if not number:
        return said
    if number == "a":
        return _article(f"a {said}").strip()
    return f"{number} {_plural(said)}".strip()


def _plural(text: str) -> str:
    first, space, last = text.rpartition(" ")
    if not last or not last.isascii():
        return text
    if last in _ODD_PLURALS:
        last = _ODD_PLURALS[last]
    elif re.search(r"(s|x|z|ch|sh)$", last):
        last += "es"
    elif re.search(r"[^aeiou]y$", last):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return first + space + last


def _placed(words: Sequence[Word]) -> list[Word]:
    """Places with their word before them: «花园 里» is «in garden»; 在 alone is «at»."""
    found: list[Word] = []
    for word in words:
        if word.kind == "l" and found and found[-1].kind in "n?" and word.text != "at":
            at = found.pop()
            if found and found[-1].text == "at":
                found.pop()
            elif found and found[-1].text.endswith(" at"):  # «standing at» before «under a tree»
                found[-1] = Word(found[-1].text[:-3], "v")
            found.append(Word(f"{word.text} {at.text}", "p"))
        elif word.text.startswith("by ") and found and found[-1].text == "at":
            found[-1] = Word(word.text, "p")
        else:
            found.append(word)
    front = next((i for i, word in enumerate(found) if word.kind == "p"), None)
    if front == 0 and len(found) > 1 and found[1].kind in "n?":  # «花园里一只猫»
        found.append(found.pop(0))
    for i in range(len(found) - 1):
        if found[i].kind == "p" and found[i + 1].kind == "v":
            found[i], found[i + 1] = found[i + 1], found[i]
    return found
