"""Reading a LoRA file that is whole, and refusing one that is not, in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from webui.checkpoints.lora_file import read_lora
from webui.errors import CheckpointError

UP, DOWN = "lora_unet_x.lora_up.weight", "lora_unet_x.lora_down.weight"


def write(path: Path, dtype: torch.dtype = torch.float16, value: float = 0.5) -> Path:
    down = torch.full((4, 8), 0.25)
    down[1, 2] = value
    save_file({UP: torch.ones(8, 4).to(dtype), DOWN: down.to(dtype)}, path)
    return path


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (torch.float32, NAN), (torch.float16, NAN), (torch.bfloat16, NAN),
        (torch.float8_e4m3fn, NAN), (torch.float8_e5m2, NAN),
        (torch.float32, INFINITY), (torch.float16, INFINITY),
    ],
)  # fmt: skip
def test_values_that_are_no_numbers_are_refused_and_named(
    tmp_path: Path, dtype: torch.dtype, value: float
) -> None:
    assert read_lora(write(tmp_path / "good.safetensors", dtype)).layers
    with pytest.raises(CheckpointError, match=f"broken.safetensors holds .* in {DOWN}") as caught:
        read_lora(write(tmp_path / "broken.safetensors", dtype, value))
    assert "earlier state" in caught.value.hint


@pytest.mark.parametrize("kept", [0, 5, 100, -3])
def test_file_when_cut_short_is_refused_with_a_hint(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "torn.safetensors")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="torn") as caught:
        read_lora(path)
    assert caught.value.hint


def test_file_without_tensors_is_no_lora(tmp_path: Path) -> None:
    path = tmp_path / "empty.safetensors"
    save_file({}, path)
    with pytest.raises(CheckpointError, match="empty"):
        read_lora(path)


def test_file_when_replaced_under_its_name_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    first = read_lora(write(path)).key
    assert read_lora(path).key == first
    write(path, value=0.75)
    os.utime(path, ns=(1, 1))
    assert read_lora(path).key != first
