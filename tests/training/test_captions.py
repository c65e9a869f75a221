"""Captions: where they are found and what becomes of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from webui.errors import DatasetError
from webui.params.training_data import Captioning
from webui.training.captions import (
    Moment,
    caption_file,
    caption_for,
    changed_tags,
    count_tags,
    face_in,
    read_caption,
)


def _use(caption: str, seed: int = 0, moment: Moment | None = None, **rule: object) -> str:
    return caption_for(caption, Captioning.model_validate(rule), random.Random(seed), moment)


def _uses(caption: str, **rule: object) -> set[str]:
    return {_use(caption, seed, **rule) for seed in range(60)}


def test_shuffle_when_tags_are_kept_then_the_head_stays_and_the_rest_moves() -> None:
    seen = _uses("mychar, 1girl, red hair, smile", shuffle_caption=True, keep_tokens=1)
    assert len(seen) == 6
    assert all(text.startswith("mychar, ") for text in seen)


def test_shuffle_when_a_separator_is_given_then_head_and_tail_stay() -> None:
    text = "mychar, 1girl ||| red hair, smile ||| best quality"
    rule = {"keep_tokens_separator": "|||", "shuffle_caption": True}
    assert _uses(text, **rule) == {
        "mychar, 1girl, smile, red hair, best quality",
        "mychar, 1girl, red hair, smile, best quality",
    }


def test_separator_when_nothing_is_shuffled_then_it_is_not_left_in_the_text() -> None:
    assert _use("a, b ||| c", keep_tokens_separator="|||") == "a, b, c"


def test_secondary_separator_when_shuffled_then_a_group_moves_as_one() -> None:
    rule = {"shuffle_caption": True, "secondary_separator": ";;;"}
    assert _uses("a;;;b, c", **rule) == {"a,b, c", "c, a,b"}


def test_prefix_and_suffix_when_given_then_frame_the_caption() -> None:
    assert (
        _use("cat", caption_prefix="photo of", caption_suffix="outside") == "photo of cat outside"
    )


def test_dropout_when_certain_or_in_its_epoch_then_the_caption_is_empty() -> None:
    assert _use("cat", caption_dropout_rate=1) == ""
    every = {"caption_dropout_every_n_epochs": 2}
    assert [_use("cat", moment=Moment(epoch), **every) for epoch in (1, 2, 3, 4)] == [
        "cat", "", "cat", "",
    ]  # fmt: skip
    share = sum(not _use("cat", seed, caption_dropout_rate=0.25) for seed in range(400)) / 400
    assert 0.18 < share < 0.32


def test_tag_dropout_when_certain_then_only_kept_tags_remain() -> None:
    assert _use("a, b, c", caption_tag_dropout_rate=1, keep_tokens=1) == "a"


def test_wildcards_when_enabled_then_one_line_and_one_alternative_are_drawn() -> None:
    seen = _uses("a {red|blue} cat\na {{dog}}", enable_wildcard=True)
    assert seen == {"a red cat", "a blue cat", "a {dog}"}
    assert _use("first\nsecond") == "first"


def test_warm_up_when_begun_then_tags_join_one_by_one() -> None:
    rule = {"token_warmup_step": 0.5, "token_warmup_min": 1}
    counts = [
        len(_use("a, b, c, d, e", moment=Moment(1, step, 20), **rule).split(", "))
        for step in (0, 5, 9, 10)
    ]
    assert counts == [1, 3, 4, 5]


def test_file_when_the_name_carries_a_face_then_the_stem_before_it_counts(tmp_path: Path) -> None:
    picture = tmp_path / "anna_1_120_80_40_50.png"
    (tmp_path / "anna_1.txt").write_text("anna", encoding="utf-8")
    assert caption_file(picture, "txt") == tmp_path / "anna_1.txt"
    assert face_in(picture) == (120, 80, 40, 50)
    assert caption_file(tmp_path / "a_1_2_3.png", ".txt") is None


def test_reading_when_marked_or_broken_then_first_line_or_a_plain_error(tmp_path: Path) -> None:
    file = tmp_path / "图 片.txt"
    file.write_bytes("\ufeff 一只猫 \nzwei".encode())
    assert read_caption(file) == "一只猫"
    file.write_bytes(b"abc\xff")
    with pytest.raises(DatasetError, match=r'"图 片.txt" is not UTF-8 text \(byte 3\)'):
        read_caption(file)


def test_tags_when_counted_then_once_a_picture_and_in_lower_case() -> None:
    assert count_tags(["Cat, cat, dog", "cat"]) == {"cat": 2, "dog": 1}


def test_tags_when_changed_then_each_stays_once_in_its_order() -> None:
    tags = ["1girl", "Red Hair", "smile"]
    assert changed_tags(tags, add=["mychar", "smile"]) == ["mychar", "smile", "1girl", "Red Hair"]
    assert changed_tags(tags, remove=["red hair"]) == ["1girl", "smile"]
    assert changed_tags(tags, replace=("RED HAIR", "long hair, hair")) == [
        "1girl", "long hair", "hair", "smile",
    ]  # fmt: skip
    assert changed_tags(tags, add=["x"], at_head=False)[-1] == "x"
