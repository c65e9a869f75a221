"""Scenes in words: many ways to say the same, so that people need not guess the one that works."""

from __future__ import annotations

import random
from typing import Final

from tools.starter.concepts import (
    ART_OPENINGS,
    ART_WORDS,
    COLOUR_WORDS,
    SCENES,
    UNCOUNTED,
    Concept,
)
from tools.starter.scenes import Background, Scene, Subject

_SAME_IN_PLURAL: Final = ("sheep", "fish", "tropical fish", "deer")
_COLOURS_IN_NAMES: Final = ("red ", "green ", "blue ", "orange ")
_LIKE_CONSONANTS: Final = ("unicorn", "ufo")


def with_article(words: str) -> str:
    """'a cat', 'an owl', 'a unicorn', 'an hourglass'; uncounted words stay as they are."""
    if words in UNCOUNTED or words.split(" ", 1)[-1] in UNCOUNTED:
        return words
    is_open = words[0] in "aeiou" and not words.startswith(_LIKE_CONSONANTS)
    return ("an " if is_open or words.startswith("hourglass") else "a ") + words


def plural(words: str) -> str:
    """'cats', 'slices of pizza', 'wolves', 'cherries' …"""
    if words in UNCOUNTED or words in _SAME_IN_PLURAL:
        return words
    if " of " in words:
        head, tail = words.split(" of ", 1)
        return f"{plural(head)} of {tail}"
    if words == "mouse":
        return "mice"
    if words.endswith(("leaf", "wolf")):
        return words[:-1] + "ves"
    if words.endswith(("s", "x", "ch", "sh", "z", "tomato", "potato")):
        return words + "es"
    if words.endswith("y") and words[-2] not in "aeiou":
        return words[:-1] + "ies"
    return words + "s"


def caption(scene: Scene, rng: random.Random) -> str:
    """One of many wordings of a scene."""
    words = _what(scene, rng) + _where(scene.layout, rng)
    if rng.random() < 0.25:
        words = f"{rng.choice(ART_OPENINGS)} {words}"
    if scene.background.is_named:
        words += _before(scene.background, rng)
    if rng.random() < 0.15:
        extra = ", ".join(rng.sample(ART_WORDS, rng.randint(1, 3)))
        words = f"{extra}, {words}" if rng.random() < 0.3 else f"{words}, {extra}"
    return words


def plain_caption(concept: Concept, colour: str, layout: str = "one") -> str:
    """The usual wording of one subject on one colour; what the evaluation asks for."""
    where = {"left": " on the left", "right": " on the right", "top": " at the top"}
    where["bottom"] = " at the bottom"
    what = {"two": "two", "three": "three", "small": "a small", "big": "a big"}.get(layout)
    word = plural(concept.word) if layout in ("two", "three") else concept.word
    words = f"{what} {word}" if what else with_article(word)
    return f"{words}{where.get(layout, '')} on {with_article(colour)} background"


def _what(scene: Scene, rng: random.Random) -> str:
    name = _name(scene.subjects[0], rng)
    one = with_article(name)
    match scene.layout:
        case "two":
            many = plural(name)
            return rng.choice(
                (f"two {many}", f"two {many}", f"a pair of {many}", f"two {many} side by side")
            )
        case "three":
            return f"three {plural(name)}"
        case "small":
            return f"a {rng.choice(('small', 'tiny', 'little'))} {name}"
        case "big":
            return rng.choice((f"a big {name}", f"a large {name}", f"a huge {name}",
                               f"a close-up of {one}"))  # fmt: skip
        case "pair":
            other = with_article(_name(scene.subjects[1], rng))
            return rng.choice(
                (
                    f"{one} and {other}", f"{one} and {other}", f"{one} next to {other}",
                    f"{one} beside {other}", f"{one} and {other} side by side",
                    f"{one} on the left and {other} on the right",
                )
            )  # fmt: skip
    return one if rng.random() < 0.75 else name


def _where(layout: str, rng: random.Random) -> str:
    if layout in ("left", "right"):
        return rng.choice((f" on the {layout}", f" on the {layout} side"))
    if layout in ("top", "bottom"):
        return rng.choice((f" at the {layout}", f" in the {layout}"))
    return ""


def _name(subject: Subject, rng: random.Random) -> str:
    concept = subject.concept
    word = concept.word if rng.random() < 0.6 else rng.choice(concept.words)
    return coloured(word, subject.hue)


def coloured(word: str, hue: str) -> str:
    """'blue rose'; 'green heart' from 'red heart'; the word itself without a hue."""
    if not hue:
        return word
    for colour in _COLOURS_IN_NAMES:
        word = word.removeprefix(colour)
    return f"{hue} {word}"


def _before(background: Background, rng: random.Random) -> str:
    if background.kind == "scene":
        return " " + rng.choice(SCENES[background.names[0]])
    first = _colour(background.names[0], rng)
    if background.kind == "gradient":
        last = _colour(background.names[1], rng)
        return rng.choice(
            (
                f" on {with_article(first)} and {last} gradient background",
                f" on a gradient background from {first} to {last}",
                f" on {with_article(first)} to {last} gradient",
            )
        )
    one = with_article(first)
    return rng.choice(
        (
            f" on {one} background", f" on {one} background", f" on {one} background",
            f" with {one} background", f" in front of {one} background",
            f", {first} background", f", {first} background", f" on {first}",
        )
    )  # fmt: skip


def _colour(name: str, rng: random.Random) -> str:
    return rng.choice(COLOUR_WORDS.get(name, (name,))) if rng.random() < 0.5 else name
