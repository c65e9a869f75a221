"""Weights files that change while they are read: an error in words, not the end of the process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.checkpoints.model_files import write_safetensors
from webui.checkpoints.pickles import PAGE_BYTES, read_pickle
from webui.checkpoints.weights import CONVERTED_AT_ONCE, open_weights
from webui.errors import CheckpointError


def _safe(path: Path) -> None:
    write_safetensors(path, _tensors())


def _zipped(path: Path) -> None:
    torch.save(_tensors(), path)


def _stream(path: Path) -> None:
    torch.save(_tensors(), path, _use_new_zipfile_serialization=False)


def _tensors() -> dict[str, torch.Tensor]:
    """More than the operating system reads ahead of a page fault."""
    return {"a": torch.ones(8), "b": torch.arange(1 << 20, dtype=torch.float32)}


@pytest.fixture(params=[_safe, _zipped, _stream], ids=["safe", "zip", "stream"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of each format."""
    written = tmp_path / "model.bin"
    request.param(written)
    return written


def test_file_that_is_cut_while_it_is_read_is_an_error_in_words(path: Path) -> None:
    with open_weights(path) as weights:
        assert torch.equal(weights.read("a"), torch.ones(8))
        os.truncate(path, 70_000)
        with pytest.raises(CheckpointError, match="cut or written to while it was read"):
            weights.read("b").sum()  # of a map of the file this would be the end of the process


def test_file_that_is_written_to_while_it_is_read_does_not_give_weights_of_two(
    path: Path,
) -> None:
    with open_weights(path) as weights:
        weights.read("a")
        with open(path, "r+b") as file:
            file.seek(-64, os.SEEK_END)
            file.write(bytes(64))
        os.utime(path, ns=(1, 1))  # clocks of file systems are coarse
        with pytest.raises(CheckpointError, match="written to while"):
            weights.read("b")


def test_tensors_stay_what_they_are_when_others_are_read_and_the_file_is_closed(
    path: Path,
) -> None:
    with open_weights(path) as weights:
        first, second = weights.read("b"), weights.read("b")
        second.zero_()
    path.unlink()
    assert torch.equal(first, _tensors()["b"])


def test_tensors_of_every_layout_are_read_as_another_format_like_torch_converts_them(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    numbers = torch.randn(3, CONVERTED_AT_ONCE // 2)  # the last piece is a half
    tensors = {"rows": numbers, "columns": numbers.T, "part": numbers[:, 1:5], "none": numbers[:0]}
    path = tmp_path / "model.pt"
    torch.save(tensors, path)
    with open_weights(path) as weights:
        for name, tensor in tensors.items():
            for dtype in (torch.float16, torch.bfloat16, torch.float64):
                read = weights.read(name, dtype)
                assert read.dtype == dtype
                assert read.is_contiguous()
                assert torch.equal(read, tensor.to(dtype))
        os.truncate(path, 70_000)
        with pytest.raises(CheckpointError, match="cut or written to while it was read"):
            weights.read("rows", torch.float16)


def test_stream_whose_description_is_longer_than_a_page_is_read(tmp_path: Path) -> None:
    names = {f"layer.{n:06d}.{'x' * 90}": torch.tensor([float(n)]) for n in range(1500)}
    path = tmp_path / "many.pt"
    torch.save(names, path, _use_new_zipfile_serialization=False)
    assert read_pickle(path).tensors.keys() == names.keys()
    assert path.read_bytes().index(b"layer.001499") > 2 * PAGE_BYTES
    with open_weights(path) as weights:
        assert all(float(weights.read(name)) == float(value) for name, value in names.items())
