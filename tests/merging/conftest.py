"""Small checkpoints to make others from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.checkpoints.conftest import small_checkpoint, small_state  # noqa: F401 (fixtures)
from tests.checkpoints.stripped import sdxl_shapes
from webui.checkpoints.specs import TextSpec, UNetSpec, VaeSpec
from webui.merging.source import ModelFile
from webui.torch_setup import prepare_torch

prepare_torch(threads=1)


def model_file(path: Path, sha256: str | None = None) -> ModelFile:
    """A file as a job's message names it."""
    return ModelFile(path, path.name, path.stem, sha256)


@pytest.fixture(scope="session")
def small_xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SDXL's layout in small, random numbers; its second text encoder under OpenCLIP's names."""
    unet = UNetSpec(
        4, 4, (32, 64, 128), 2, (0, 1, 2), 128, (1, 1, 2), 8, True, 2, 64 + 6 * 256
    )  # fmt: skip
    text = TextSpec(64, 2, 1, 256, vocabulary=300)
    big = TextSpec(64, 2, 1, 256, vocabulary=300, activation="gelu", projection=64)
    shapes = sdxl_shapes(unet, VaeSpec((16, 32), 1, 4), text, big)
    generator = torch.Generator().manual_seed(3)
    state = {
        name: torch.arange(77)[None] if name.endswith("position_ids")
        else torch.randn(shape, generator=generator) * 0.1
        for name, (_, shape) in shapes.items()
    }  # fmt: skip
    path = tmp_path_factory.mktemp("xl") / "xl.safetensors"
    save_file(state, path)
    return path
