"""Long texts are read in time proportional to their length, without deep recursion."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from webui.infotext import parse_infotext, with_defaults
from webui.prompts.attention import parse_attention
from webui.prompts.comments import cut_comments
from webui.prompts.composition import split_and
from webui.prompts.networks import cut_networks
from webui.prompts.schedule import schedule_prompt
from webui.prompts.styles import Style, apply_styles, extract_styles

SIZE = 200_000
"""Characters. A quadratic reader takes minutes for that, ours a second or two."""
CPU_SECONDS = 10.0


def repeated(unit: str) -> str:
    return unit * (SIZE // len(unit))


def nested(opener: str, middle: str, closer: str) -> str:
    depth = SIZE // len(opener + closer)
    return opener * depth + middle + closer * depth


NASTY = {
    "words": repeated("a cat, "),
    "spaces": repeated(" "),
    "one_word": repeated("x"),
    "open_round": repeated("("),
    "open_square": repeated("["),
    "close_round": repeated(")"),
    "nested_round": nested("(", "", ")"),
    "nested_square": nested("[", "", "]"),
    "nested_words": nested("(a", "", ")"),
    "nested_weights": nested("(a", "", ":1.2)"),
    "nested_edits": nested("[a:", "b", ":3]"),
    "nested_not_edits": nested("[a:", "b", ":c]"),
    "nested_alternations": nested("[a|", "b", "]"),
    "emphasis_around_change": nested("(", "[a|b]", ")"),
    "many_edits": repeated("[a:b:3]"),
    "crossed": repeated("([)]"),
    "colons": repeated(": "),
    "spaced_colon": "(a:" + repeated(" ") + "x",
    "long_number": "[a:" + repeated("1") + "x]",
    "bad_weights": repeated("(a:1.2.3)"),
    "open_tags": repeated("<lora:a"),
    "tag_starts": repeated("<"),
    "breaks": repeated("BREAK "),
    "spaced_break": repeated(" ") + "BREAK" + repeated("\t"),
    "ands": repeated("AND:1 "),
    "hashes": repeated("#\n"),
    "lines": repeated("a\n"),
    "backslashes": repeated("\\") + "\\",
    "keys": repeated("Aa: 1, "),
    "key_without_colon": repeated("a -/"),
    "quotes": repeated('Aa: "'),
    "long_version": "Aa: 1, Bb: 2, Version: " + repeated("1"),
    "open_hashes": "Aa: 1, Bb: 2, Cc: 3, Hashes: " + repeated('{"a":'),
}


def cpu_seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


READERS: dict[str, Callable[[str], object]] = {
    "attention": parse_attention,
    "schedule": lambda text: schedule_prompt(text, 4),
    "composition": split_and,
    "networks": cut_networks,
    "comments": cut_comments,
    "styles": lambda text: apply_styles(text, ["x {prompt}", "y"]),
    "extract": lambda text: extract_styles(text, text, [Style("s", "x {prompt}", "y")]),
    "infotext": lambda text: with_defaults(parse_infotext(text)),
}


@pytest.mark.parametrize("name", NASTY)
def test_long_text_when_read_takes_seconds(name: str) -> None:
    for reader, read in READERS.items():
        seconds = cpu_seconds(lambda read=read: read(NASTY[name]))
        assert seconds < CPU_SECONDS, f"{reader} took {seconds:.0f} s"
