"""Wildcard files: layouts, names, damage."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.built_in_extensions.dynamic_prompts.wildcards import WildcardFiles, names_like


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "wildcards"


def put(file: Path, content: str | bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def held(folder: Path, name: str) -> dict[str, float] | None:
    found = WildcardFiles([folder]).find(name)
    return dict(zip(found.texts, found.weights, strict=True)) if found else None


def test_lines_when_read_are_texts_once_each_with_their_weights(folder: Path) -> None:
    put(folder / "a.txt", "\ufeff# a note\nred\n\n  2::green \nred\r\n[a::0.5] b\n")

    assert held(folder, "a") == {"red": 1, "green": 2, "[a::0.5] b": 1}


def test_names_when_in_folders_are_found_by_path_by_pattern_and_by_their_end(folder: Path) -> None:
    put(folder / "hair" / "long.txt", "braid")
    put(folder / "hair" / "Short.txt", "bob")
    put(folder / "hair" / "more" / "odd.txt", "mohawk")

    assert held(folder, "hair/long") == {"braid": 1}
    assert held(folder, "HAIR\\short") == {"bob": 1}
    assert held(folder, "short") == {"bob": 1}
    assert held(folder, "hair/*") == {"braid": 1, "bob": 1}
    assert held(folder, "hair/**") == {"braid": 1, "bob": 1, "mohawk": 1}
    assert held(folder, "**/o?d") == {"mohawk": 1}
    assert held(folder, "hair/nope") is held(folder, "*" * 30) is None
    assert WildcardFiles([folder]).names() == ["hair/long", "hair/more/odd", "hair/Short"]


def test_documents_when_read_name_their_lists_by_keys(folder: Path) -> None:
    data = {"coat": {"upper": ["shirt", "2::blouse", {"text": "vest", "weight": 3}], "hat": "cap"}}
    put(folder / "clothes.json", json.dumps(data))
    put(folder / "more.yaml", "shoe:\n  - boot\n  - 7\nnone: []\n")
    put(folder / "in" / "plain.yml", "- x\n- y\n")

    assert held(folder, "coat/upper") == {"shirt": 1, "blouse": 2, "vest": 3}
    assert held(folder, "coat/hat") == {"cap": 1}
    assert held(folder, "shoe") == {"boot": 1, "7": 1}
    assert held(folder, "in/plain") == {"x": 1, "y": 1}
    assert held(folder, "none") is None


def test_names_when_they_lead_out_of_the_folder_find_nothing(folder: Path) -> None:
    put(folder.parent / "secret.txt", "password")
    put(folder / "a.txt", "red")

    for name in ("../secret", "/etc/passwd", "..\\secret", str(folder.parent / "secret"), "", "."):
        assert held(folder, name) is None, name


def test_files_when_changed_are_read_again_and_when_not_are_kept(folder: Path) -> None:
    put(folder / "a.txt", "red")
    files = WildcardFiles([folder], look_seconds=0)
    first = files.find("a")
    put(folder / "b.txt", "x")
    assert files.find("a") is first

    put(folder / "a.txt", "green leaf")

    again = files.find("a")
    assert again is not None and again.texts == ("green leaf",)
    os.remove(folder / "a.txt")
    assert files.find("a") is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "{"), ("a.yaml", "a: ["), ("a.yaml", "!!python/object:os.system x"),
        ("a.yaml", "a: &a [" + "*a" * 1 + "]"), ("a.json", "[" * 100_000),
        ("a.yaml", "\n".join(
            ["a0: &a0 {x: [1]}"]
            + [f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}" for i in range(1, 30)])),
    ],
)  # fmt: skip
def test_files_when_damaged_are_told_of_and_left_out(folder: Path, name: str, content: str) -> None:
    put(folder / name, content)
    put(folder / "b.txt", "fine")
    files = WildcardFiles([folder])

    assert files.find("b") is not None
    assert len(files.problems()) == 1 or files.find("a") is None
    assert name == "a.yaml" or name in files.problems()[0]


def test_files_when_empty_or_of_another_encoding_are_read(folder: Path) -> None:
    put(folder / "empty.txt", "\n# nothing\n")
    put(folder / "chinese.txt", "红发\n短发".encode("gb18030"))
    put(folder / "noise.txt", bytes(range(256)))

    assert held(folder, "empty") is None
    assert held(folder, "chinese") == {"红发": 1, "短发": 1}
    assert held(folder, "noise") is not None


def test_folders_when_two_hold_a_name_the_first_counts(folder: Path, tmp_path: Path) -> None:
    put(folder / "a.txt", "ours")
    put(tmp_path / "old" / "a.txt", "theirs")
    put(tmp_path / "old" / "b.txt", "theirs")

    files = WildcardFiles([folder, tmp_path / "old", tmp_path / "none"])

    found = files.find("a")
    assert found is not None and found.texts == ("ours",)
    assert files.names() == ["a", "b"]


def test_pattern_when_it_almost_fits_a_long_name_takes_no_time() -> None:
    names = ["a" * 4000, "a" * 3999 + "b", "x/a", "x/y/ab", "ab"]

    assert list(names_like("*a*a*a*a*a*b", names)) == ["a" * 3999 + "b"]
    assert list(names_like("**/ab", names)) == ["x/y/ab", "ab"]
    assert list(names_like("**a*b", names)) == ["a" * 3999 + "b", "x/y/ab", "ab"]
    assert list(names_like("x/*", names)) == ["x/a"]
    assert list(names_like("?/?", names)) == ["x/a"]


@given(
    st.lists(st.sampled_from(["a", "b", "/", "*", "**", "**/", "?"]), max_size=6).map("".join),
    st.text("ab/", max_size=8),
)
def test_pattern_means_what_its_regular_expression_means(pattern: str, name: str) -> None:
    signs = {"**/": r"(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    expression = "".join(signs.get(piece, re.escape(piece)) for piece in pieces)

    assert list(names_like(pattern, [name])) == [name] * bool(re.fullmatch(expression, name))


def test_files_of_other_encodings_are_read_and_what_is_no_text_is_told(folder: Path) -> None:
    put(folder / "notepad.txt", "red\r\n蓝\r\n".encode("utf-16"))
    put(folder / "chinese.txt", "\ufeff红\r\n# x\r\n\r\n蓝".encode())
    put(folder / "binary.txt", b"a\0b\n\0\x07\n\x1bc")
    put(folder / "torn.txt", b"\xff\xfea\0b")
    put(folder / "huge.txt", "")
    os.truncate(folder / "huge.txt", 100_000_000)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.txt")  # reading it would never end

    files = WildcardFiles([folder])

    assert held(folder, "notepad") == {"red": 1, "蓝": 1} and held(folder, "chinese") == {
        "红": 1, "蓝": 1,
    }  # fmt: skip
    assert files.names() == ["binary", "chinese", "notepad", "torn"]
    assert held(folder, "torn") == {"a\ufffd": 1}
    assert held(folder, "binary") == {"ab": 1, "c": 1}
    assert ["huge" in told for told in files.problems()] == [True]
