from __future__ import annotations

import random

import pytest

from webui.prompts.schedule import schedule_prompt, text_at


@pytest.mark.parametrize(
    "text",
    [
        "a | b [c:d:3]",  # a bar belongs in square brackets only
        "(a|b) [c:d:3]",
        "[a|b:c:3] [c:d:3]",
        "[a:b|c:3]",
        "[c:d:3] \\",  # a backslash needs a character
        "[c:d:3] \\\nx",
        "[a|b",
    ],
)
def test_schedule_when_text_is_unreadable_is_one_literal_entry(text: str) -> None:
    assert schedule_prompt(text, 10) == [(10, text)]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[(a:b:c):d:5] [x:y:3]", [(3, "[(a:b:c):d:5] x"), (10, "[(a:b:c):d:5] y")]),
        ("[a [x:y:3]:5:6:7]", [(3, "[a x:5:6:7]"), (10, "[a y:5:6:7]")]),
        ("[[x:y:3]", [(3, "[x"), (10, "[y")]),
        ("[x:y:3]]", [(3, "x]"), (10, "y]")]),
        ("([)[x:y:3]", [(3, "([)x"), (10, "([)y")]),
        ("((q:w) [x:y:3]:1.2)", [(3, "((q:w) x:1.2)"), (10, "((q:w) y:1.2)")]),
    ],
)
def test_schedule_when_a_bracket_is_plain_text_follows_the_edits_inside(
    text: str, expected: list[tuple[int, str]]
) -> None:
    assert schedule_prompt(text, 10) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[:5]", [(5, ""), (10, "")]),
        ("[5:6]", [(6, ""), (10, "5")]),
        ("[a:5:6]", [(6, "a"), (10, "5")]),
        ("[ :b: 5 ]", [(5, " "), (10, "b")]),
        ("[a:b:5.]", [(10, "a")]),
        ("[a:b:1e999]", [(10, "a")]),
        ("[a:b:-1e999]", [(10, "b")]),
        ("[a:b:5\n]", [(5, "a"), (10, "b")]),
        ("[a:[b:c:4]:0]", [(4, "b"), (10, "c")]),
        ("[[b:c:4]:a:0]", [(4, "a"), (10, "a")]),
        ("[é:猫:5]", [(5, "é"), (10, "猫")]),
        ("[a:b:٥]", [(10, "[a:b:٥]")]),  # digits are ASCII
    ],
)
def test_schedule_when_edit_is_unusual_reads_it_as_the_grammar_says(
    text: str, expected: list[tuple[int, str]]
) -> None:
    assert schedule_prompt(text, 10) == expected


def test_schedule_when_alternation_starts_with_nothing_has_an_empty_member() -> None:
    assert schedule_prompt("[|a]", 3) == [(1, ""), (2, "a"), (3, "")]


def test_schedule_of_hires_pass_ends_at_its_own_steps() -> None:
    assert schedule_prompt("a [b|c]", 20, 2) == [(1, "a b"), (2, "a c")]
    assert schedule_prompt("a | b", 20, 2) == [(2, "a | b")]


def test_schedule_of_random_text_has_ascending_steps_up_to_the_last() -> None:
    rng = random.Random(8)
    parts = ["[", "]", "(", ")", ":", "|", "a", " ", "5", ".5", "\\", "[a:b:4]", "[x|y]", ":3]"]
    for _ in range(20_000):
        text = "".join(rng.choice(parts) for _ in range(rng.randint(0, 14)))
        steps = [step for step, _ in schedule_prompt(text, 9, rng.choice([None, 6]))]
        assert steps == sorted(set(steps)) and steps[0] >= 1
        assert steps[-1] in (6, 9)


def test_text_at_uses_the_first_entry_whose_end_is_not_passed() -> None:
    edit = schedule_prompt("[a:b:5]", 10)
    assert [text_at(edit, call) for call in range(10)] == ["a"] * 6 + ["b"] * 4
    turns = schedule_prompt("[a|b]", 4)
    assert [text_at(turns, call) for call in range(5)] == ["a", "a", "b", "a", "b"]


def test_text_at_past_the_end_is_the_first_entry() -> None:
    assert text_at([(5, "a"), (10, "b")], 11) == "a"
