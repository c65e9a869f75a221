"""Writes weights files, good and broken, and names folders to look for them in."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STARTER = (
    Path(__file__).resolve().parents[2]
    / "models"
    / "Stable-diffusion"
    / "starter-emoji.safetensors"
)


@dataclass(frozen=True)
class SomeFolders:
    """Model folders of a test."""

    models: tuple[Path, ...]
    checkpoints: tuple[Path, ...] = ()
    vaes: tuple[Path, ...] = ()
    loras: tuple[Path, ...] = ()
    embeddings: tuple[Path, ...] = ()
    hypernetworks: tuple[Path, ...] = ()
    upscalers: tuple[Path, ...] = ()


def write_safetensors(
    path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> Path:
    """Write tensors of torch as a safetensors file."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), str(path), metadata=dict(metadata) if metadata else None)
    return path


def write_raw(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    """Write a safetensors file by hand, wrong on purpose where asked."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    count = len(text) if length is None else length
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", count) + text + data)
    return path


TINY_HEADER = {"a": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}
