"""Pickles and archives that ask for nothing by name, or hide what they ask for, and would cost
hours or gigabytes."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.checkpoints.pickle_writing import (
    PROTOCOL,
    REBUILD,
    call,
    keep,
    kept,
    refused,
    text,
    zipped,
)
from webui.checkpoints import pickle_machine, pickles
from webui.checkpoints.pickle_machine import PickleError
from webui.checkpoints.pickles import read_pickle, tensors_by_name
from webui.errors import UnsafeCheckpointError

SIZE, TIMES = 4000, 500
TUPLE = b"(" + b"N" * SIZE + b"t" + keep(0)
LIST = b"](" + b"N" * SIZE + b"e" + keep(0)
DICTIONARY = b"}(" + b"".join(b"J" + struct.pack("<i", n) + b"N" for n in range(SIZE)) + b"u"
STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x04tQ"


def again(function: str, *, arguments: bytes = kept(0)) -> bytes:
    """A function called many times with something large; results stay on the stack."""
    module, _, name = function.rpartition(".")
    named = f"c{module}\n{name}\n".encode() + keep(1)
    return named + (kept(1) + arguments + b"R") * TIMES


def expanded(count: int) -> bytes:
    """A tensor that shows the first of four stored numbers again and again."""
    shape, stride = b"(\x8a\x06" + count.to_bytes(6, "little") + b"t", b"(K\x00t"
    return REBUILD + b"(" + STORAGE + b"K\x00" + shape + stride + b"\x89NtR"


COPIES: dict[str, bytes] = {
    "a list of a list": LIST + again("builtins.list", arguments=kept(0) + b"\x85"),
    "a dictionary of one": (
        DICTIONARY + keep(0) + again("collections.OrderedDict", arguments=kept(0) + b"\x85")
    ),
    "arguments": TUPLE + again("torch._utils._rebuild_parameter"),
    "arguments of arguments": (
        TUPLE + b"ctorch._utils\n_rebuild_parameter\n" + keep(2)
        + again("torch._tensor._rebuild_from_type_v2", arguments=(
            b"(" + kept(2) + b"N" + kept(0) + b"Nt"
        ))
    ),
    "arguments with names": (
        TUPLE + b"}" + text("a") + b"Ns" + keep(2) + b"cnumpy\nndarray\n" + keep(1)
        + (kept(1) + kept(0) + kept(2) + b"\x92") * TIMES
    ),
    "names": text("diffusers." + "x" * 400_000) + keep(0) + (kept(0) + kept(0) + b"\x93") * TIMES,
}  # fmt: skip
"""Few instructions that copy one large thing again and again."""


@pytest.mark.parametrize("name", COPIES)
def test_copies_count_as_instructions(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickle_machine, "MAX_STEPS", 5 * SIZE)
    error = refused(zipped(tmp_path / "evil.ckpt", COPIES[name]))
    assert "more than 20000 instructions, with what they copy" in error.message


COSTLY: dict[str, tuple[Callable[[], bytes], str]] = {
    "giant texts as keys": (lambda: b"}" + text("x" * 20_000) + b"Ns", "too long"),
    "giant bytes as keys": (lambda: b"}B" + struct.pack("<I", 20_000) + b"x" * 20_000 + b"Ns",
                            "too long"),
    "giant name of a storage": (lambda: STORAGE.replace(text("0"), text("0" * 20_000)), "too long"),
    "names that add up": (
        lambda: DICTIONARY + b"".join(
            keep(n) + b"}" + text("k" * 2000) + kept(n) + b"s" for n in range(10)
        ),
        "names in it are too long",
    ),
    "numbers without end": (lambda: expanded(1 << 40), "claims more numbers than there are"),
    "stride that goes back": (
        lambda: REBUILD + b"(" + STORAGE + b"K\x00(K\x02t(J\xff\xff\xff\xfft\x89NtR",
        "impossible shape",
    ),
    "storage that lies about its size": (
        lambda: REBUILD + b"(" + STORAGE.replace(b"K\x04t", b"J\xff\xff\xff\x7ft")
        + b"K\x00(K\x05t(K\x01t\x89NtR",
        "reaches beyond its data",
    ),
    "persistent id of a dictionary": (lambda: b"}Q", "outside data"),
    "persistent id of an object": (lambda: b"ctorch\ndevice\n)RQ", "outside data"),
    "storage of no kind": (
        lambda: STORAGE.replace(b"ctorch\nFloatStorage\n", b"ctorch\ndevice\n"), "outside data"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COSTLY)
def test_costly_pickle_when_read_is_refused(name: str, tmp_path: Path) -> None:
    make, told = COSTLY[name]
    path = zipped(tmp_path / "evil.ckpt", make())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", bytes(16))
    assert told in refused(path).message


def test_search_for_tensors_remembers_no_more_than_it_may_look_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pickles, "MAX_VALUES", 3000)
    content: list[object] = []
    for _ in range(11):
        content = [content] + [None] * 2000
    tracemalloc.start()
    try:
        with pytest.raises(PickleError, match="describes more than"):
            tensors_by_name(content)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_tensor_that_repeats_its_numbers_a_little_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mask.pt"
    torch.save({"mask": torch.ones(3, 1).expand(3, 700)}, path)
    assert read_pickle(path).tensors["mask"].info.shape == (3, 700)


def test_objects_in_objects_cost_nothing(tmp_path: Path) -> None:
    inner = b"ctorch\ndevice\n" + keep(0) + b"N" + keep(1)
    nested = inner + (kept(0) + kept(1) + b"\x85R" + keep(1)) * 20_000 + kept(1)
    assert read_pickle(zipped(tmp_path / "odd.pt", nested)).tensors == {}


# What is told


@pytest.mark.parametrize(
    ("module", "name", "told"),
    [
        ("os\n\x1b[31m\u202e", "sys\0tem", r"os\n\x1b[31m\u202e.sys\x00tem"),
        ("系统", "运行", "系统.运行"),
        ("y" * 3000, "z", "y" * 150 + "…"),
        ("", "", "."),
        ("torch.nn.modules/../../os", "system", "torch.nn.modules/../../os.system"),
    ],
)
def test_strange_names_are_told_so_that_they_can_be_read(
    module: str, name: str, told: str, tmp_path: Path
) -> None:
    path = zipped(tmp_path / "evil.ckpt", text(module) + text(name) + b"\x93)R")
    error = refused(path)
    assert isinstance(error, UnsafeCheckpointError)
    assert [wish["call"] for wish in error.wishes] == [f"{told}()"]
    assert error.wanted == told and len(error.message) < 600


def test_texts_that_are_none_can_be_told_and_stored(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and halves of characters, would break every answer they are in."""
    odd = b"X\x02\0\0\0\xff\xfe" + b"X\x03\0\0\0\xed\xa0\x80" + b"\x93(V\\ud800\ntR"
    error = refused(zipped(tmp_path / "evil.ckpt", odd))
    json.dumps([error.message, error.details], ensure_ascii=False).encode()
    assert error.wishes[0]["call"] == r"\xff\xfe.\xed\xa0\x80('\\ud800')"
    tensor = REBUILD + b"(" + STORAGE + b"K\x00(K\x01t(K\x01t\x89NtR"
    path = zipped(tmp_path / "odd.ckpt", b"}X\x02\0\0\0\xff\xfe" + tensor + b"s")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", bytes(16))
    assert list(read_pickle(path).tensors) == [r"\xff\xfe"]


def test_the_worst_wish_is_told_first_however_many_hide_it(tmp_path: Path) -> None:
    strangers = b"".join(call(f"evil.f{n}") + b"0" for n in range(50))
    hidden = call("shutil.rmtree", text("/")) + b"0" + call("os.system", text("rm"))
    wishes = refused(zipped(tmp_path / "evil.ckpt", strangers + hidden)).details["wishes"]
    assert [wish["deed"] for wish in wishes[:3]] == ["run_program", "use_files", "use_stranger"]
    assert wishes[0]["call"] == "os.system('rm')"


def test_wish_that_is_repeated_is_put_into_words_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worded: list[str] = []
    monkeypatch.setattr(
        "webui.checkpoints.pickle_wishes._call", lambda full, *_: worded.append(full) or full
    )
    refused(zipped(tmp_path / "evil.ckpt", (call("os.system") + b"0") * 5000 + b"N"))
    assert 0 < len(worded) <= 1000


# Archives


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_archive_packed_as_torch_does_not_is_refused_before_it_is_unpacked(
    method: int, tmp_path: Path
) -> None:
    """Its size is a lie: all of it is unpacked when the first byte is asked for."""
    path = tmp_path / "evil.ckpt"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 20))
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 1000)
    path.write_bytes(data)
    assert "compressed in an unknown way" in refused(path).message


def test_archive_with_a_giant_table_of_contents_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickles._Sparing, "most", 1000)
    path = zipped(tmp_path / "evil.ckpt", b"}")
    assert read_pickle(path).content == {}
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(30):
            archive.writestr(f"archive/data/{number}", b"")
    assert "table of contents is larger than 1000 bytes" in refused(path).message


def test_archive_with_absolute_names_is_written_nowhere(tmp_path: Path) -> None:
    path, outside = tmp_path / "evil.ckpt", tmp_path / "it-ran"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("/data.pkl", PROTOCOL + b"}.")
        archive.writestr(f"{outside}", b"")
    assert read_pickle(path).content == {}
    assert list(tmp_path.iterdir()) == [path]


def test_archive_with_descriptions_in_two_folders_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "evil.ckpt", b"}")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", PROTOCOL + call("os.system", text("true")) + b".")
    assert "not one written by torch" in refused(path).message
