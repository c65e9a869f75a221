from __future__ import annotations

import random
import re

import pytest

from webui.errors import PromptSyntaxError
from webui.prompts.comments import cut_comments
from webui.prompts.composition import split_and
from webui.prompts.networks import (
    BadNetworkError,
    LoraMention,
    NetworkMention,
    cut_networks,
    hypernet_strength,
    lora_weights,
)


def lora(text: str) -> LoraMention:
    _, (mention,) = cut_networks(text)
    return lora_weights(mention)


def test_split_and_on_random_text_finds_the_weight_at_the_very_end() -> None:
    weighted = re.compile(r"(.*?)\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*", re.DOTALL)
    rng = random.Random(4)
    units = ["a", ":", " ", "1", ".", "-", "\n", "AND", " AND ", "2.5"]
    for _ in range(20_000):
        text = "".join(rng.choice(units) for _ in range(rng.randint(0, 12)))
        expected = []
        for part in re.split(r"\bAND\b", text):
            found = weighted.fullmatch(part)
            expected.append((found[1], float(found[2])) if found else (part.rstrip(), 1.0))
        assert split_and(text) == expected, text


def test_cut_networks_when_tag_never_ends_keeps_the_text() -> None:
    assert cut_networks("a <lora:b c <lora:d") == ("a <lora:b c <lora:d", [])


def test_cut_networks_when_tag_is_empty_still_finds_the_next() -> None:
    text, mentions = cut_networks("<lora:><lora:a:1>")
    assert text == "<lora:>"
    assert [m.name for m in mentions] == ["a"]


def test_cut_networks_when_tag_holds_a_tag_ends_at_the_first_closer() -> None:
    text, mentions = cut_networks("<lora:<lora:a>>")
    assert text == ">"
    assert mentions[0].positional == ("<lora", "a")


def test_cut_networks_when_name_is_chinese_or_has_line_breaks_finds_it() -> None:
    text, mentions = cut_networks("x<lora:水墨:0.5>y<ab:c\nd>")
    assert text == "xy"
    assert [m.positional for m in mentions] == [("水墨", "0.5"), ("c\nd",)]


def test_mention_as_text_is_the_tag() -> None:
    tag = "<lora:inkwash:0.5:te=1>"
    assert str(cut_networks(tag)[1][0]) == tag


def test_lora_weights_when_named_wins_over_place() -> None:
    assert lora("<lora:a:0.1:0.2:3:te=0.5:unet=0.6:dyn=7>") == LoraMention("a", 0.5, 0.6, 7)


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        ("lbw=OUTALL", {"lbw": "OUTALL"}),
        ("lbw=1,0,0.5", {"lbw": "1,0,0.5"}),
        ("start=3", {"start": 3}),
        ("stop=8", {"stop": 8}),
        ("step=3-8", {"start": 3, "stop": 8}),
        ("step=3", {"start": 3}),
    ],
)
def test_lora_weights_when_blocks_or_steps_are_named_keeps_them(
    named: str, wanted: dict[str, object]
) -> None:
    assert lora(f"<lora:a:0.5:{named}>") == LoraMention("a", 0.5, 0.5, **wanted)  # type: ignore


@pytest.mark.parametrize("named", ["start=x", "stop=1.5", "step=a-b"])
def test_lora_weights_when_a_step_is_no_whole_number_says_so(named: str) -> None:
    with pytest.raises(BadNetworkError, match="step"):
        lora(f"<lora:a:0.5:{named}>")


@pytest.mark.parametrize(
    ("start", "stop", "steps"), [(None, None, "0123"), (1, 3, "12"), (2, None, "23"), (3, 1, "")]
)
def test_mention_acts_in_steps_from_start_to_before_stop(
    start: int | None, stop: int | None, steps: str
) -> None:
    mention = LoraMention("a", start=start, stop=stop)
    assert "".join(str(n) for n in range(4) if mention.acts_at(n)) == steps


def test_lora_weights_when_only_te_is_named_unet_follows() -> None:
    assert lora("<lora:a:te=0.4>") == LoraMention("a", 0.4, 0.4, None)


@pytest.mark.parametrize(
    "tag", ["<lora:a:strong>", "<lora:a:nan>", "<lora:a:inf>", "<lora:a:1:1:2.5>", "<lora:te=1>"]
)
def test_lora_weights_when_unusable_names_the_tag(tag: str) -> None:
    with pytest.raises(BadNetworkError) as caught:
        lora(tag)
    assert isinstance(caught.value, PromptSyntaxError)
    assert tag in str(caught.value)
    assert caught.value.hint


def test_hypernet_strength_when_left_out_is_one() -> None:
    assert hypernet_strength(NetworkMention("hypernet", ("a",))) == 1.0
    assert hypernet_strength(NetworkMention("hypernet", ("a", "0.3"))) == 0.3


@pytest.mark.parametrize(
    "text, expected",
    [
        ("# all", "\n"),
        ("# first\na", "\na"),
        ("a\n# middle\nb", "a\nb"),
        ("a\n# last", "a\n"),
        ("#a\n#b\nc", "\n\nc"),
        ("a # x # y\nb", "a \nb"),
        ("", ""),
    ],
)
def test_cut_comments_leaves_one_line_end(text: str, expected: str) -> None:
    assert cut_comments(text) == expected
