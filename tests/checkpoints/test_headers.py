"""Headers of weights files: read without torch, never trusted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from tests.checkpoints.model_files import STARTER, write_raw
from webui.checkpoints.headers import read_header
from webui.errors import CheckpointError, CheckpointNotFoundError

TENSOR = {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}


def test_header_of_the_starter_agrees_with_the_safetensors_library() -> None:
    header = read_header(STARTER)
    with safe_open(str(STARTER), framework="np") as file:
        assert set(header.tensors) == set(file.keys())
        for name in file.keys():  # noqa: SIM118
            part = file.get_slice(name)
            assert header.tensors[name].shape == tuple(part.get_shape())
            assert header.tensors[name].dtype == part.get_dtype()
        assert header.metadata == file.metadata()


def test_header_with_good_content_is_accepted(tmp_path: Path) -> None:
    header = read_header(write_raw(tmp_path / "a.safetensors", {"a": TENSOR}, b"\0" * 8))
    assert header.tensors["a"].shape == (4,)


BROKEN = {
    "longer than the file": (({"a": TENSOR}, b"", 10_000), "it was cut"),
    "longer than allowed": (({"a": TENSOR}, b"", 200_000_000), "the format allows"),
    "not json": ((b"{not json at all}", b""), "not valid JSON"),
    "not utf-8": ((b'{"\xff\xfe": 1}', b""), "not valid JSON"),
    "deeply nested": ((b'{"a":' + b"[" * 100_000, b""), "not valid JSON"),
    "name twice": (
        (b'{"a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},"a":1}', b"\0" * 8),
        "occurs twice",
    ),
    "data missing": (({"a": TENSOR}, b"\0" * 5), "5 of 8 bytes"),
    "data left over": (({"a": TENSOR}, b"\0" * 9), "belong to no tensor"),
    "offsets backwards": (
        ({"a": {**TENSOR, "data_offsets": [8, 0]}}, b"\0" * 8),
        "its shape asks for 8",
    ),
    "negative offset": (
        ({"a": {**TENSOR, "data_offsets": [-8, 0]}}, b"\0" * 8),
        "not a whole number",
    ),
    "shape too large": (({"a": {**TENSOR, "shape": [5]}}, b"\0" * 8), "its shape asks for 10"),
    "negative shape": (({"a": {**TENSOR, "shape": [-4]}}, b"\0" * 8), "not a whole number"),
    "shape is text": (({"a": {**TENSOR, "shape": "4"}}, b"\0" * 8), "not a whole number"),
    "huge shape": (({"a": {**TENSOR, "shape": [2**70]}}, b"\0" * 8), "not a whole number"),
    "unknown dtype": (({"a": {**TENSOR, "dtype": "Q3"}}, b"\0" * 8), "unknown number format"),
    "entry is a number": (({"a": 3}, b""), "incomplete"),
    "overlap": (
        ({"a": TENSOR, "b": {**TENSOR, "data_offsets": [4, 12]}}, b"\0" * 12),
        "overlap or leave a gap",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_header_is_refused_with_path_and_reason(case: str, tmp_path: Path) -> None:
    arguments, expected = BROKEN[case]
    path = write_raw(tmp_path / "broken.safetensors", *arguments)
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    assert expected in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.path == str(path)


FOREIGN = {
    b"": "empty (0 bytes)",
    b"<!DOCTYPE html><html>Sign in</html>": "a web page",
    b"\n\n  <HTML><body>404</body></HTML>": "a web page",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n": "Git LFS pointer",
    b'{"error":"Unauthorized"}': "JSON text",
    b"GGUF\x03\0\0\0\0\0\0\0\0\0": "a GGUF file",
    b"\x89PNG\r\n\x1a\n" + b"\0" * 50: "a PNG picture",
    b"Rar!\x1a\x07\x01\0\0\0\0\0": "a RAR archive",
    b"\0" * 4096: "unfinished download",
    b"hello world, this is no model": "neither a safetensors file nor a torch file",
}


@pytest.mark.parametrize("content", FOREIGN, ids=lambda c: FOREIGN[c])
def test_foreign_file_is_named_for_what_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(FOREIGN[content])):
        read_header(path)


def test_missing_file_is_said_to_be_missing_and_what_to_look_for(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match="is not there") as caught:
        read_header(tmp_path / "gone.safetensors")
    assert caught.value.details["wanted"] == "gone.safetensors"
    assert "choose another one" in caught.value.hint


@pytest.mark.parametrize("kept", [9, 100, 50_000, 5_000_000])
def test_truncated_starter_is_refused(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    with open(STARTER, "rb") as file:
        path.write_bytes(file.read(kept))
    with pytest.raises(CheckpointError):
        read_header(path)


@pytest.mark.parametrize(
    ("name", "entry", "told"),
    [
        ("x", {"shape": [2**62] * 20_000}, "has 20000 axes"),
        ("x", {"dtype": []}, "unknown number format '[]'"),
        ("x", {"dtype": "Z" * 10_000}, "unknown number format 'ZZZ"),
        ("x" * 10_000, {"dtype": "F3"}, "xxx…' has the unknown number format 'F3'"),
        ("\x1b[31m\n", {"dtype": "F3"}, r"'\x1b[31m\n' has"),
        ("\ud800", {}, r"'\ud800' is no text"),
    ],
)
def test_absurd_header_is_refused_at_once_and_shortly(
    name: str, entry: dict[str, Any], told: str, tmp_path: Path
) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0], **entry}
    path = write_raw(tmp_path / "odd.safetensors", {name: entry})
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    assert told in caught.value.message and len(caught.value.message) < 500
    caught.value.message.encode()
