"""How a companion's file is written: fp16, and it says what it is and under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from tools.starter.export import LICENCE


def write_companion(file: Path, tensors: Mapping[str, Tensor], what: str, **about: str) -> None:
    """Write a safetensors file.

    Args:
        tensors: Floats of any precision; unchanged.
        what: One line on what the file does.
        about: More metadata that programs look for, or figures that were measured.
    """
    halves = {name: tensor.half().contiguous() for name, tensor in tensors.items()}
    save_file(halves, file, metadata={"format": "pt", "licence": LICENCE, "what": what, **about})
