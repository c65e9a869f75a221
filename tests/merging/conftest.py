"""Small checkpoints to make others from."""

from __future__ import annotations

from pathlib import Path

from tests.checkpoints.conftest import small_state  # noqa: F401
from webui.merging.source import ModelFile
from webui.torch_setup import prepare_torch

prepare_torch(threads=1)


def model_file(path: Path, sha256: str | None = None) -> ModelFile:
    """A file as a job's message names it."""
    return ModelFile(path, path.name, path.stem, sha256)
