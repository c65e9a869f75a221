"""Weights-shaped files made from spandrel's own classes, a face that is nobody's, and watchers."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from webui.params import Extras, build
from webui.restoration.networks import Shelf
from webui.torch_setup import mend_torchvision

KEY = "a" * 64


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def networks() -> dict[str, Callable[[], torch.nn.Module]]:
    """Makers of small networks, by name. Their weights are random and always the same."""
    mend_torchvision()
    from spandrel.architectures.Compact import Compact
    from spandrel.architectures.ESRGAN import ESRGAN
    from spandrel.architectures.SwinIR import SwinIR

    def seeded(make: Callable[[], torch.nn.Module]) -> Callable[[], torch.nn.Module]:
        def made() -> torch.nn.Module:
            torch.manual_seed(7)
            return make().eval()

        return made

    return {
        "compact": seeded(lambda: Compact(num_feat=16, num_conv=2, upscale=2)),
        "compact4": seeded(lambda: Compact(num_feat=16, num_conv=2, upscale=4)),
        "esrgan": seeded(lambda: ESRGAN(num_filters=16, num_blocks=1, scale=4)),
        "swinir": seeded(
            lambda: SwinIR(
                img_size=32, window_size=8, depths=(2, 2), embed_dim=16, num_heads=(2, 2),
                mlp_ratio=2.0, upscale=2, upsampler="pixelshuffle",
            )
        ),
    }  # fmt: skip


@pytest.fixture
def saved(tmp_path: Path, networks: dict[str, Callable[[], torch.nn.Module]]) -> Any:
    """Save one of the small networks: ``saved("compact")`` → path."""

    def save(name: str, file: str | None = None, **changes: float) -> Path:
        tensors = {k: v.contiguous() for k, v in networks[name]().state_dict().items()}
        for key, factor in changes.items():
            tensors = {k: v * factor if key in k else v for k, v in tensors.items()}
        path = tmp_path / (file or f"{name}.safetensors")
        if path.suffix == ".safetensors":
            save_file(tensors, path)
        else:
            torch.save({"params_ema": tensors}, path)
        return path

    return save


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(torch.device("cpu"))


@pytest.fixture
def photograph() -> np.ndarray:
    """(120, 160, 3) uint8: smooth colours with edges and noise, like a photograph."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:120, 0:160]
    base = np.stack([x * 1.2, y * 1.6, (x + y) * 0.7], 2) + rng.normal(0, 6, (120, 160, 3))
    base[30:90, 40:80] += 60
    return np.clip(base, 0, 255).astype(np.uint8)


def settings(**values: Any) -> Extras:
    request = build("extras", {"images": [KEY], **values})
    assert isinstance(request, Extras)
    return request


def package_file(package: str, name: str) -> Path | None:
    """A file inside an installed package, found without importing it."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = [Path(str(f.locate())) for f in files if f.name == name]
    return paths[0] if paths and paths[0].is_file() else None


class Watched:
    """Records stages and warnings; stops after so many questions."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stages: list[tuple[str, int, int]] = []
        self.warnings: list[str] = []
        self.asked = 0
        self._stop_after = stop_after

    def stage(self, name: str, done: int, total: int) -> None:
        self.stages.append((name, done, total))

    def should_stop(self) -> bool:
        self.asked += 1
        return self._stop_after is not None and self.asked > self._stop_after

    def warn(self, message: str) -> None:
        self.warnings.append(message)
