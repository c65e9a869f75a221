from __future__ import annotations

import math
import random
import re

import pytest

from webui.errors import PromptSyntaxError
from webui.prompts.attention import BadWeightError, parse_attention, weigh

TOKENS = re.compile(r"\\[()\[\]\\]?|[(\[]|:\s*([+-]?[.\d]+)\s*\)|[)\]]|[^\\()\[\]:]+|:")
ALPHABET = ["a", "b ", "(", ")", "[", "]", ":", ":1.2)", ": -0.5 )", "\\", "BREAK", " ", "\n", "0"]


def plainly(text: str) -> list[tuple[str, float]]:
    """The rules word by word, multiplying ranges in place: slow, and easy to check by eye."""
    pieces: list[list] = []
    stacks: dict[str, list[int]] = {"(": [], "[": []}

    def multiply(first: int, factor: float) -> None:
        for piece in pieces[first:]:
            piece[1] *= factor

    for token in TOKENS.finditer(text):
        word = token.group()
        if word.startswith("\\"):
            pieces.append([word[1:], 1.0])
        elif word in "([":
            stacks[word].append(len(pieces))
        elif token[1] and stacks["("]:
            multiply(stacks["("].pop(), float(token[1]))
        elif word == ")" and stacks["("]:
            multiply(stacks["("].pop(), 1.1)
        elif word == "]" and stacks["["]:
            multiply(stacks["["].pop(), 1 / 1.1)
        else:
            for index, part in enumerate(re.split(r"\s*\bBREAK\b\s*", word)):
                if index:
                    pieces.append(["BREAK", -1])
                pieces.append([part, 1.0])
    for opener, factor in (("(", 1.1), ("[", 1 / 1.1)):
        for first in stacks[opener]:
            multiply(first, factor)
    merged = pieces[:1] or [["", 1.0]]
    for piece in pieces[1:]:
        if piece[1] == merged[-1][1]:
            merged[-1][0] += piece[0]
        else:
            merged.append(piece)
    return [(text, weight) for text, weight in merged]


def test_parse_attention_on_random_text_follows_the_rules_to_the_last_digit() -> None:
    rng = random.Random(20)
    for _ in range(20_000):
        text = "".join(rng.choice(ALPHABET) for _ in range(rng.randint(0, 14)))
        assert parse_attention(text) == plainly(text), text


def test_parse_attention_when_very_deep_still_multiplies_every_bracket() -> None:
    ((text, weight),) = parse_attention("(" * 200 + "x" + ")" * 200)
    assert text == "x"
    assert math.isclose(weight, 1.1**200, rel_tol=1e-12)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("(a:1.2.3)", [("(a:1.2.3)", 1.0)]),
        ("(ubuntu:22.04.1) (cat)", [("(ubuntu:22.04.1) ", 1.0), ("cat", 1.1)]),
        ("((a:1..2) b:1.3)", [("(a:1..2) b", 1.3)]),
        ("[(a:.)]", [("(a:.)", 1 / 1.1)]),
        ("a:1.2.3)", [("a:1.2.3)", 1.0)]),
    ],
)
def test_parse_attention_when_number_is_bad_keeps_the_words(
    text: str, expected: list[tuple[str, float]]
) -> None:
    assert parse_attention(text) == expected


def test_parse_attention_when_number_is_bad_and_strict_names_the_place() -> None:
    with pytest.raises(BadWeightError) as caught:
        parse_attention("a (b:1.2.3)", bad_weight="raise")
    assert isinstance(caught.value, PromptSyntaxError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.position == 5
    assert "'1.2.3'" in str(caught.value)


def test_weigh_when_none_reads_nothing() -> None:
    assert weigh("(a:2) BREAK \\(", "None") == [("(a:2) BREAK \\(", 1.0)]


def test_weigh_when_ignore_keeps_breaks_but_no_weights() -> None:
    assert weigh("(a:2) BREAK b", "Ignore") == [
        ("a", 1.0), ("", 1.0), ("BREAK", -1), ("b", 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["Original", "No norm"])
def test_weigh_when_weights_count_reads_them(mode: str) -> None:
    assert weigh("(a:2)", mode) == [("a", 2.0)]
