"""Choices and wildcards in prompts: what they may become, how often, and what stays as typed."""

from __future__ import annotations

import random
import string
from collections import Counter
from itertools import islice
from typing import Any

import pytest

from webui.built_in_extensions.dynamic_prompts.drawing import MANY, Drawer, Numbers, Values
from webui.built_in_extensions.dynamic_prompts.templates import is_template, read_template
from webui.errors import PromptSyntaxError

HELD = {
    "colour": ("red", "green", "blue"),
    "thing": ("__colour__ hat", "{big|small} dog"),
    "one": ("__two__",),
    "two": ("deep in __one__",),
    "twice": ("__twice_more__ __twice_more__",),
    "twice_more": ("__much__ __much__",),
    "much": ("x" * 60_000,),
    "heavy": ("never", "always"),
}
WEIGHTS = {"heavy": (0.0, 3.0)}


def find(name: str) -> Values | None:
    texts = HELD.get(name)
    return Values(texts, WEIGHTS.get(name, (1.0,) * len(texts))) if texts else None


def every(text: str, drawer: Drawer | None = None) -> list[str]:
    return list(islice((drawer or Drawer(find)).every(text), 1000))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a {red|green} cat", ["a red cat", "a green cat"]),
        ("{a|b}{c|d}", ["ac", "ad", "bc", "bd"]),
        ("{x|{y|z}}", ["x", "y", "z"]),
        ("{|a}", ["", "a"]),
        ("{2$$a|b|c}", ["a, b", "a, c", "b, a", "b, c", "c, a", "c, b"]),
        ("{1-2$$ and $$a|b}", ["a", "b", "a and b", "b and a"]),
        ("{2$$|$$a|b}", ["a|b", "b|a"]),
        ("{0-1$$a|b}", ["", "a", "b"]),
        ("{-1$$a|b}", ["a", "b"]),
        ("{2-$$a|b}", ["a, b", "b, a"]),
        ("{5$$a|b}", ["a, b", "b, a"]),
        ("{0.5::a|2::b|.5::c}", ["a", "b", "c"]),
        ("__colour__", ["red", "green", "blue"]),
        ("__thing__", ["red hat", "green hat", "blue hat", "big dog", "small dog"]),
        ("{3$$-$$__colour__}",
         ["red-green-blue", "red-blue-green", "green-red-blue", "green-blue-red",
          "blue-red-green", "blue-green-red"]),
        ("${c=!{a|b}}${c}${c}", ["aa", "bb"]),
        ("${c={a|b}}${c}${c}", ["aa", "ab", "ba", "bb"]),
        ("${c:{a|b}}!", ["a!", "b!"]),
        ("${c=x}${c?=y}${c}", ["x"]),
        ("{[a|b]|c}", ["[a|b]", "c"]),
        ("{[:|:(}", ["[:", ":("]),
        (r"{\{a\}\|b|c}", ["{a}|b", "c"]),
        ("(x:1.2) <lora:a_b:0.8> {a|b} [a|b]", ["(x:1.2) <lora:a_b:0.8> a [a|b]",
                                                "(x:1.2) <lora:a_b:0.8> b [a|b]"]),
    ],
)  # fmt: skip
def test_template_when_written_out_gives_these_texts(text: str, expected: list[str]) -> None:
    assert every(text) == expected
    assert Drawer(find).count(text) == len(expected)
    assert {Drawer(find).draw(text, seed) for seed in range(200)} == set(expected)


@pytest.mark.parametrize(
    "text",
    [
        "{{masterpiece}}, {prompt}", "a {b|c", "a} b|c {d}", "$5 and 100%", r"\{a", "__init__",
        "____", "__ a __", "<lora:a__b__c:1>", "${nothing}", "", "[a|b]", "a __../../etc/passwd__",
    ],
)  # fmt: skip
def test_text_when_it_offers_nothing_stays_as_typed(text: str) -> None:
    assert Drawer(find).draw(text, 1) == text
    assert every(text) == [text]


def test_wildcard_when_nothing_is_there_is_told() -> None:
    drawer = Drawer(find)

    assert drawer.draw("{a|a} __colours__", 1) == "a __colours__"
    assert list(drawer.missing) == ["colours"]


def test_draws_when_the_seed_is_the_same_are_the_same_for_ever() -> None:
    template = "__thing__, {2$$a|b|c|d} {0.3::x|y}"

    drawn = [Drawer(find).draw(template, seed) for seed in (0, 1, 2, 2**64 - 1)]

    assert drawn == [
        "small dog, b, c y", "red hat, d, c y", "small dog, d, c y", "small dog, a, b y",
    ]  # fmt: skip
    assert Drawer(find).draw(template, 1, side=1) != drawn[1]


def test_weights_when_given_decide_how_often() -> None:
    drawn = Counter(Drawer(find).draw("{1::a|3::b}", seed) for seed in range(4000))

    assert drawn["b"] / 4000 == pytest.approx(0.75, abs=0.03)
    assert {Drawer(find).draw("__heavy__", seed) for seed in range(50)} == {"always"}
    assert {Drawer(find).draw("{2$$__heavy__}", seed) for seed in range(50)} == {"always"}


def test_picks_when_many_of_many_are_wanted_are_all_different() -> None:
    weights = [1.0] * 30_000

    picked = Numbers(5).pick_several(weights, 29_999)

    assert len(set(picked)) == 29_999


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("__one__", "__one__ → __two__ → __one__"),
        ("${a=${b}}${b=${a}}${a}", "$a → $b → $a"),
        ("__twice__", "longer than"),
        ("{x|" * 50 + "y" + "}" * 50, "nested"),
    ],
)
def test_template_when_it_has_no_end_says_so(text: str, told: str) -> None:
    with pytest.raises(PromptSyntaxError, match=told.replace("$", r"\$")):
        Drawer(find).draw(text, 1)


def test_count_when_a_wildcard_leads_back_to_itself_says_so() -> None:
    with pytest.raises(PromptSyntaxError, match="leads back"):
        Drawer(find).count("{a|__one__}")


def test_count_when_large_is_quick() -> None:
    many = Values([str(n) for n in range(60_000)], [1.0] * 60_000)

    assert Drawer(lambda name: many).count("{3$$__x__}") == MANY
    assert Drawer(lambda name: many).count("{1$$__x__}") == 60_000
    assert Drawer(find).count("{a|b}" * 5000) == MANY


def random_text(rng: random.Random) -> str:
    """A heap of marks and words: mostly nonsense, now and then a template."""
    pieces = [
        "{", "}", "|", "$$", "2$$", "1-3$$", "::", "0.5::", "__colour__", "__thing__", "__no__",
        "[", "]", "\\", "${c=", "${c}", "=", "!", "a", "b ", ", ", "_", "__", "#", "<lora:x:1>",
    ]  # fmt: skip
    return "".join(rng.choice(pieces) for _ in range(rng.randrange(30)))


def test_any_text_when_drawn_is_one_of_those_that_are_counted() -> None:
    rng = random.Random(1)
    for _ in range(1500):
        text = random_text(rng)
        drawer: Any = Drawer(find)
        try:
            texts = every(text)
        except PromptSyntaxError:
            continue
        assert drawer.count(text) == len(texts) or len(texts) == 1000, text
        assert drawer.draw(text, rng.randrange(2**64)) in texts or len(texts) == 1000, text
        assert is_template(text) or texts == [text], text


def test_any_plain_text_when_read_is_itself() -> None:
    rng = random.Random(2)
    letters = string.printable.replace("{", "").replace("_", "") + "猫'’🐈"
    for _ in range(300):
        text = "".join(rng.choice(letters) for _ in range(40))
        assert read_template(text) == (text,)


@pytest.mark.parametrize("mark", ["{", "}", "[", "|", "{a|", "__", "${a", "{[", "__a ", "\\"])
def test_nonsense_when_long_is_read_in_time_in_proportion(mark: str) -> None:
    with_many = mark * (200_000 // len(mark))

    assert Drawer(find).draw(with_many, 1) == with_many
