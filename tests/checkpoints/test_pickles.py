"""torch's pickle files: read without running anything."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from webui.checkpoints.headers import read_header
from webui.checkpoints.pickles import read_pickle
from webui.checkpoints.weights import open_weights
from webui.errors import CheckpointError, UnsafeCheckpointError

NEW_AND_OLD = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])


def tensors_of_many_kinds() -> dict[str, torch.Tensor]:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    return {
        "plain": base,
        "half": base.half(),
        "brain": base.bfloat16(),
        "view": base[1:, ::2],
        "turned": base.t(),
        "whole": torch.arange(3),
        "truth": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(base + 1),
    }


def save(path: Path, content: Any, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@NEW_AND_OLD
def test_tensors_equal_those_torch_loads(zipped: bool, tmp_path: Path) -> None:
    wanted = tensors_of_many_kinds()
    path = save(tmp_path / "a.ckpt", {"state_dict": wanted, "epoch": 3}, zipped)
    by_torch = torch.load(path, weights_only=True)["state_dict"]
    with open_weights(path) as weights:
        assert set(weights.header.tensors) == set(wanted)
        for name, tensor in by_torch.items():
            found = weights.read(name)
            assert found.dtype == tensor.dtype
            assert torch.equal(found, tensor), name


@NEW_AND_OLD
def test_header_without_torch_has_names_shapes_and_dtypes(zipped: bool, tmp_path: Path) -> None:
    header = read_header(save(tmp_path / "a.pt", tensors_of_many_kinds(), zipped))
    assert header.tensors["view"].shape == (3, 3)
    assert header.tensors["brain"].dtype == "BF16"
    assert header.format == ("torch" if zipped else "torch-old")


def test_reading_a_tensor_never_changes_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", {"a": torch.ones(8)})
    before = path.read_bytes()
    with open_weights(path) as weights:
        weights.read("a").add_(1)
    assert path.read_bytes() == before


class RunsCommand:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.target}'",)


@NEW_AND_OLD
def test_pickle_that_runs_a_command_is_refused_by_name_and_not_run(
    zipped: bool, tmp_path: Path
) -> None:
    trace = tmp_path / "it-ran"
    content = {"state_dict": {"a": torch.ones(2)}, "note": RunsCommand(trace)}
    path = save(tmp_path / "evil.ckpt", content, zipped)
    with pytest.raises(UnsafeCheckpointError, match=r"system") as caught:
        read_pickle(path)
    assert not trace.exists()
    assert caught.value.wanted.endswith(".system")
    torch.load(path, weights_only=False)  # the attack itself works, so the test can fail
    assert trace.exists()


@pytest.mark.parametrize(
    "source",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cbuiltins\ngetattr\n(cbuiltins\ndict\nS'get'\ntR.",
        b"c__builtin__\nexec\n(S''\ntR.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"ctorch\nload\n(S'x'\ntR.",
        b"ctorch.utils._config_module\nload_config\n(S'x'\ntR.",
        b"csubprocess\nPopen\n(S'true'\ntR.",
    ],
)
def test_dangerous_names_are_refused(source: bytes, tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + source)
    with pytest.raises(UnsafeCheckpointError):
        read_pickle(path)


def test_rebuild_functions_cannot_be_given_a_state(tmp_path: Path) -> None:
    source = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b."
    path = tmp_path / "odd.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", source)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_pickle(path)


def test_leftovers_of_training_frameworks_are_swallowed(tmp_path: Path) -> None:
    import sys
    import types

    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    kind = type("ModelCheckpoint", (), {"__module__": module.__name__})
    module.ModelCheckpoint = kind  # type: ignore[attr-defined]
    names = ["pytorch_lightning", "pytorch_lightning.callbacks", module.__name__]
    for name in names:
        sys.modules[name] = module
    try:
        made = kind()
        made.best = 3
        content = {"state_dict": {"a": torch.ones(2)}, "callbacks": {kind: made}}
        path = save(tmp_path / "lightning.ckpt", content)
    finally:
        for name in names:
            del sys.modules[name]
    assert list(read_pickle(path).tensors) == ["a"]


def test_numpy_scalars_beside_the_weights_are_swallowed(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    content = {"state_dict": {"a": torch.ones(2)}, "loss": numpy.float64(0.5)}
    assert list(read_pickle(save(tmp_path / "a.ckpt", content)).tensors) == ["a"]


def test_nested_dictionaries_give_dotted_names(tmp_path: Path) -> None:
    content = {"string_to_param": {"*": torch.ones(2, 768)}, "name": "cat"}
    header = read_header(save(tmp_path / "cat.pt", content))
    assert header.tensors["string_to_param.*"].shape == (2, 768)


def test_ordered_dictionaries_are_read(tmp_path: Path) -> None:
    content = collections.OrderedDict(a=torch.ones(2))
    assert list(read_pickle(save(tmp_path / "a.pt", content)).tensors) == ["a"]


@NEW_AND_OLD
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_truncated_file_is_refused(zipped: bool, share: float, tmp_path: Path) -> None:
    path = save(tmp_path / "a.ckpt", {"a": torch.ones(5000)}, zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match="damaged"):
        read_pickle(path)


def test_other_zip_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="not one written by torch"):
        read_pickle(path)


def test_tensor_reaching_beyond_its_data_is_refused(tmp_path: Path) -> None:
    good = save(tmp_path / "good.pt", {"a": torch.ones(8)})
    bad = tmp_path / "bad.pt"
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            if info.filename.endswith("data.pkl"):
                assert data.count(b"K\x08\x85") >= 1  # the shape (8,)
                data = data.replace(b"K\x08\x85", b"K\x7f\x85")
            target.writestr(info.filename, data)
    with pytest.raises(CheckpointError, match="reaches beyond its data"):
        read_pickle(bad)


@pytest.mark.parametrize("seed", range(200))
def test_damaged_bytes_never_escape_as_another_error(seed: int, tmp_path: Path) -> None:
    import random

    rng = random.Random(seed)
    data = bytearray(pickle.dumps({"a": [1, 2, {"b": "c"}], "d": (1.5, None)}, protocol=2))
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(2, len(data))] = rng.randrange(256)
    path = tmp_path / "damaged.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(data))
    with contextlib.suppress(CheckpointError):
        read_pickle(path)
