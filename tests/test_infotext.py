from __future__ import annotations

import json
import random
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.infotext import (
    Infotext,
    mend_hashes,
    novelai_infotext,
    parse_infotext,
    quote,
    with_defaults,
    write_infotext,
)
from webui.recipes import read_text

PAIRS = {"Steps": 20, "Sampler": "Euler a", "Seed": 5}
LINE = "Steps: 20, Sampler: Euler a, Seed: 5"
RAW_HASHES = 'Hashes: {"model": "aaaaaaaaaa", "lora:ink": "bbbbbbbbbb"}'


# Writing


def test_write_puts_prompt_negative_and_pairs_in_their_lines() -> None:
    text = write_infotext("a fox\nred", "blurry", PAIRS)
    assert text == f"a fox\nred\nNegative prompt: blurry\n{LINE}"


def test_write_when_prompts_are_empty_begins_with_what_there_is() -> None:
    assert write_infotext("", "", PAIRS) == LINE
    assert write_infotext("", "blurry", PAIRS) == f"Negative prompt: blurry\n{LINE}"
    assert write_infotext("a fox", "", {}) == "a fox"


def test_write_leaves_out_none_and_shortens_equal_pairs() -> None:
    pairs = [("Steps", 7), ("VAE", None), ("Tiling", "Tiling"), ("CFG scale", 7.0), ("On", True)]
    assert write_infotext("", "", pairs) == "Steps: 7, Tiling, CFG scale: 7.0, On: True"


def test_write_when_a_key_repeats_keeps_its_first_place_and_last_value() -> None:
    assert write_infotext("", "", [("A", 1), ("B", 2), ("A", 3)]) == "A: 3, B: 2"


@pytest.mark.parametrize(
    "value, expected",
    [
        (7, "7"),
        (7.0, "7.0"),
        ('say "hi"', 'say "hi"'),
        ("a: b", '"a: b"'),
        ("猫, é", '"猫, é"'),
        ("back\\slash, x", '"back\\\\slash, x"'),
        ([1, 2], "[1, 2]"),
        ({"a": 1}, '{"a": 1}'),
        ("", ""),
    ],
)
def test_quote_uses_json_only_where_the_line_would_break(value: Any, expected: str) -> None:
    assert quote(value) == expected


def test_what_is_written_is_read_back() -> None:
    pairs = {
        "Steps": 20,
        "Sampler": "DPM++ 2M",
        "Size": "512x768",
        "Lora hashes": "ink: 9f8e, wash: 1a2b",
        "Hires prompt": 'two\nlines, "quoted" \\ 猫 ✨',
        "Version": "v1.10.1",
    }
    read = parse_infotext(write_infotext("a fox <lora:ink:1>\n\n(red:1.2)", "x,\ny", pairs))
    assert read.prompt == "a fox <lora:ink:1>\n\n(red:1.2)"
    assert read.negative_prompt == "x,\ny"
    expected = {key: str(value) for key, value in pairs.items() if key != "Size"}
    assert read.params == {**expected, "Size-1": "512", "Size-2": "768"}


LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=40)
PROMPTS = (
    st.lists(LINES.map(str.strip), max_size=4)
    .map("\n".join)
    .map(str.strip)
    .filter(lambda text: "Negative prompt:" not in text)
)
KEYS = st.from_regex(r"[A-Z][a-z]{2,8}( [a-z]{2,8})?", fullmatch=True)
VALUES = (
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
    .map(str.strip)
    .filter(lambda text: text and text[0] != '"' and not re.match(r"\d+x\d+$", text))
)
"""Without what A1111's rule cannot hold: quotes around a value, and ``5x6``, which is a size."""


@given(PROMPTS, PROMPTS, st.dictionaries(KEYS, VALUES, min_size=3, max_size=6))
def test_whatever_is_written_is_read_back(
    prompt: str, negative_prompt: str, pairs: dict[str, str]
) -> None:
    text = write_infotext(prompt, negative_prompt, pairs)
    assert parse_infotext(text) == Infotext(prompt, negative_prompt, pairs)
    assert read_text(text).infotext == parse_infotext(text)


# Reading


def plainly(text: str) -> Infotext:
    """The grammar as one regular expression: slow on hostile text, and easy to check by eye."""
    pair = re.compile(r'(\w[-/ \w]+):\s*("(?:[^"\\]|\\.)+"|[^,]*)(?:,|$)')
    *lines, last = text.strip().split("\n")
    pairs = pair.findall(last)
    if len(pairs) < 3:
        lines.append(last)
        pairs = []
    sides = ["", ""]
    side = 0
    for line in map(str.strip, lines):
        if line.startswith("Negative prompt:"):
            side, line = 1, line[16:].strip()
        sides[side] += ("\n" if sides[side] else "") + line
    params: dict[str, str] = {}
    for key, value in pairs:
        if value.startswith('"') and value.endswith('"'):
            with suppress(ValueError):
                value = json.loads(value)
        elif not value:
            continue
        size = re.match(r"^(\d+)x(\d+)$", value)
        params.update({f"{key}-1": size[1], f"{key}-2": size[2]} if size else {key: value})
    return Infotext(*sides, params)


def test_parse_of_random_text_follows_the_grammar() -> None:
    rng = random.Random(3)
    units = [
        "a", "Aa", "Size", "_", " ", "-", "/", ":", ": ", ", ", ",", '"', "\\", "\n", "512x768",
        '"x, y"', '"512x7"', '""', '\\"', "é", "²", "\r", "\t", "\x85", "{", "}", "Steps: 4, ",
        "Negative prompt:", "\nNegative prompt: ", "1x1",
    ]  # fmt: skip
    for turn in range(30_000):
        text = "".join(rng.choice(units) for _ in range(rng.randint(0, 18)))
        if turn % 2:
            text = "words\nSeed: 1, Ab: 2, Cd: 3, " + text
        read, expected = parse_infotext(text), plainly(text)
        assert (read.prompt, read.negative_prompt) == (expected.prompt, expected.negative_prompt)
        assert read.params == expected.params, text


@pytest.mark.parametrize(
    "line, expected",
    [
        ("Empty: , Aa: 1, Bb: 2", {"Aa": "1", "Bb": "2"}),
        ('Empty: "", Aa: 1, Bb: 2', {"Empty": "", "Aa": "1", "Bb": "2"}),
        ("Aa: 1, Bb: 2, Aa: 3", {"Aa": "3", "Bb": "2"}),
        ("Aa: 1 , Bb: 2, Tail: x ", {"Aa": "1 ", "Bb": "2", "Tail": "x"}),
        ('Aa: "b, c" d, Bb: 2, Cc: 3', {"Aa": '"b', "Bb": "2", "Cc": "3"}),
        ('Aa: "bad \\x", Bb: 2, Cc: 3', {"Aa": '"bad \\x"', "Bb": "2", "Cc": "3"}),
        ("Aa: 1, bare, Bb: 2, Cc: 3", {"Aa": "1", "Bb": "2", "Cc": "3"}),
        ("Aa: 512x64 px, Bb: 2, Cc: 3", {"Aa": "512x64 px", "Bb": "2", "Cc": "3"}),
        ("Aa: b: c, Bb: 2, Cc: 3", {"Aa": "b: c", "Bb": "2", "Cc": "3"}),
        ("尺寸: 1x2, Bb: 2, Cc: 3", {"尺寸-1": "1", "尺寸-2": "2", "Bb": "2", "Cc": "3"}),
    ],
)
def test_parse_of_odd_pairs(line: str, expected: dict[str, str]) -> None:
    assert parse_infotext("p\n" + line).params == expected


def test_parse_keeps_inner_empty_lines_but_no_leading_ones() -> None:
    read = parse_infotext("a\n\nb\nNegative prompt:\n\nc\n\nd\n" + LINE)
    assert (read.prompt, read.negative_prompt) == ("a\n\nb", "c\n\nd")


def test_parse_of_nothing_is_empty() -> None:
    assert parse_infotext(" \n ") == Infotext()


def test_parse_of_raw_hashes_gives_the_block_beside_a1111s_reading() -> None:
    read = parse_infotext(f"a\n{LINE}, {RAW_HASHES}, Version: v1.10.1")
    assert read.hashes == {"model": "aaaaaaaaaa", "lora:ink": "bbbbbbbbbb"}
    assert read.params["Hashes"] == '{"model": "aaaaaaaaaa"'
    assert read.params["lora"] == 'ink": "bbbbbbbbbb"}'
    mended = mend_hashes(read).params
    assert json.loads(mended["Hashes"]) == read.hashes
    assert "lora" not in mended and mended["Version"] == "v1.10.1"


@pytest.mark.parametrize(
    "block", ["{", "{]", '{"a": [1}', '"Hashes"', "", '{"a":' * 5000, '{"a": {"b": "c"}}']
)
def test_parse_of_broken_hashes_has_none(block: str) -> None:
    assert parse_infotext(f"a\n{LINE}, Hashes: {block}").hashes == {}


# Completing


def completed(line: str = LINE, prompt: str = "a", **how: Any) -> Infotext:
    return with_defaults(parse_infotext(f"{prompt}\n{line}"), **how)


def test_with_defaults_says_what_absent_keys_mean() -> None:
    assert completed().params == {
        "Steps": "20",
        "Sampler": "Euler a",
        "Seed": "5",
        "Clip skip": "1",
        "Hires resize-1": "0",
        "Hires resize-2": "0",
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


def test_with_defaults_keeps_what_is_written_and_the_original() -> None:
    read = parse_infotext(f"a\n{LINE}, Clip skip: 2, RNG: NV, Hires resize: 1024x0")
    found = with_defaults(read).params
    assert (found["Clip skip"], found["RNG"], found["Hires resize-1"]) == ("2", "NV", "1024")
    assert "Mask mode" not in read.params


def test_with_defaults_when_weights_were_used_names_the_emphasis() -> None:
    assert completed(prompt="(a)").params["Emphasis"] == "Original"
    assert completed(prompt="\\(a\\)").params.get("Emphasis") is None
    assert completed(prompt="(a)", uses_emphasis=lambda _: False).params.get("Emphasis") is None
    assert completed(f"{LINE}, Emphasis: No norm", "(a)").params["Emphasis"] == "No norm"


def test_with_defaults_when_fp8_is_on_completes_it() -> None:
    found = completed(f"{LINE}, FP8 weight: Enable").params
    assert found["Cache FP16 weight for LoRA"] == "False"


def test_with_defaults_turns_old_networks_into_tags() -> None:
    assert completed(f"{LINE}, Hypernet: paint").prompt == "a<hypernet:paint:1.0>"
    strong = completed(f"{LINE}, Hypernet: paint, Hypernet strength: 0.5")
    assert strong.prompt == "a<hypernet:paint:0.5>"
    added = completed(
        f"{LINE}, AddNet Module 1: LoRA, AddNet Model 1: ink(0a1b2c3d4e5f), AddNet Weight A 1: 0.6,"
        " AddNet Module 2: Other, AddNet Model 2: no"
    )
    assert added.prompt == "a\n<lora:ink:0.6>"


@pytest.mark.parametrize(
    "line, size, hires",
    [
        ("Size: 1024x768, First pass size: 512x384", ("512", "384"), ("1024", "768")),
        ("Size: 1024x1024, First pass size: 0x0", ("512", "512"), ("1024", "1024")),
        ("Size: 1024x512, First pass size: 0x0", ("768", "384"), ("1024", "512")),
        ("Size: 1024x512, First pass size: none", ("1024", "512"), ("0", "0")),
    ],
)
def test_with_defaults_turns_old_hires_sizes_round(
    line: str, size: tuple[str, str], hires: tuple[str, str]
) -> None:
    found = completed(f"{LINE}, {line}").params
    assert (found["Size-1"], found["Size-2"]) == size
    assert (found["Hires resize-1"], found["Hires resize-2"]) == hires


@pytest.mark.parametrize(
    "version, downcast, refiner",
    [
        ("v1.5.2", True, True),
        ("v1.7.0-224-gabc", True, True),
        ("v1.7.0-225-gabc", False, True),
        ("v1.7.0-225-gabc-dirty", False, True),
        ("1.7.0", True, True),
        ("1.8.0-RC", False, True),
        ("v1.8.0", False, False),
        ("1.10.0", False, False),
        ("f2.0.1v1.10.1-previous-1", False, False),
        ("danqing 0.1.0", False, False),
        ("9" * 5000, False, False),
    ],
)
def test_with_defaults_when_version_is_old_adds_how_it_worked(
    version: str, downcast: bool, refiner: bool
) -> None:
    found = completed(f"{LINE}, Refiner: x, Version: {version}").params
    assert ("Downcast alphas_cumprod" in found) is downcast
    assert (found["Refiner switch by sampling steps"] == "True") is refiner


def test_with_defaults_before_16_restores_timelines_and_padding() -> None:
    line = "Steps: 20, Sampler: DDIM, Seed: 5, Version: v1.5.2"
    found = completed(line, "[a:b:5]").params
    assert found["Old prompt editing timelines"] == "True"
    assert found["Pad conds v0"] == "True"
    plain = completed(line.replace("DDIM", "Euler")).params
    assert "Old prompt editing timelines" not in plain and "Pad conds v0" not in plain
    off = completed(line, "[a:b:5]", auto_backcompat=False).params
    assert "Old prompt editing timelines" not in off and "Downcast alphas_cumprod" not in off


def test_with_defaults_leaves_out_what_is_to_be_skipped() -> None:
    found = completed(skip=("Seed", "Clip skip", "Unknown")).params
    assert "Seed" not in found and "Clip skip" not in found


# NovelAI


def test_novelai_infotext_is_an_infotext() -> None:
    comment = json.dumps(
        {"steps": 28, "sampler": "k_euler_ancestral", "seed": 7, "scale": 11.0, "uc": "lowres"}
    )
    read = parse_infotext(novelai_infotext("a fox", comment, 512, 768) or "")
    assert (read.prompt, read.negative_prompt) == ("a fox", "lowres")
    assert read.params == {
        "Steps": "28",
        "Sampler": "Euler a",
        "CFG scale": "11.0",
        "Seed": "7",
        "Size-1": "512",
        "Size-2": "768",
        "Clip skip": "2",
        "ENSD": "31337",
    }


@pytest.mark.parametrize("comment", ["", "[]", "{", "7", "[" * 100_000])
def test_novelai_infotext_when_comment_is_no_object_is_none(comment: str) -> None:
    assert novelai_infotext("a", comment, 1, 1) is None
