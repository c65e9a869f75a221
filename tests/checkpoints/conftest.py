"""Small checkpoints made of random numbers, and folders to look for them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints.model_files import write_safetensors
from webui.torch_setup import prepare_torch

prepare_torch(threads=1)


@pytest.fixture(scope="session")
def small_state() -> dict[str, Any]:
    """A whole SD 1.x file of the real shape (two blocks a level) in small, random numbers."""
    import torch

    from tests.checkpoints.stripped import sd1_shapes
    from webui.checkpoints.specs import TextSpec, UNetSpec, VaeSpec

    unet = UNetSpec(4, 4, (32, 64, 128, 128), 2, (True, True, True, False), 64, 8, 8)
    vae = VaeSpec((16, 32, 64, 64), 2, 4)
    text = TextSpec(64, 3, 1, 256, vocabulary=49408)
    generator = torch.Generator().manual_seed(7)
    state = {}
    for name, (_, shape) in sd1_shapes(unet, vae, text).items():
        if name.endswith("position_ids"):
            state[name] = torch.arange(77)[None]
            continue
        fan_in = max(1, int(torch.tensor(shape[1:]).prod())) if len(shape) > 1 else 4
        state[name] = torch.randn(shape, generator=generator) / fan_in**0.5
    return state


@pytest.fixture(scope="session")
def small_checkpoint(small_state: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``small_state`` as a safetensors file."""
    return write_safetensors(tmp_path_factory.mktemp("small") / "small.safetensors", small_state)
