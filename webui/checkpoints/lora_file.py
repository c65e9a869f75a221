"""Read a file of the LoRA family."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from webui.checkpoints.headers import unreadable
from webui.checkpoints.rules import describe
from webui.checkpoints.weights import open_weights
from webui.errors import CheckpointError
from webui.networks.lora.files import LoraFile, read_layers, some

logger = logging.getLogger(__name__)
ADAPTER_CONFIG: Final = "adapter_config.json"
"""What PEFT writes beside its weights."""


def read_lora(path: Path) -> LoraFile:
    """Read a LoRA of any format into main memory, at its stored precision.

    Raises:
        CheckpointError: The file is missing, damaged (by NaN too) or no LoRA.
        UnsafeCheckpointError: A pickle that asks for more than tensors.
    """
    try:
        stat = path.stat()  # before it is read: what is written meanwhile gets another key
    except OSError as err:
        raise unreadable(path, err) from err
    with open_weights(path) as weights:
        header = weights.header
        tensors = {name: weights.read(name) for name in header.tensors}
    _refuse_broken(path, tensors)
    file = read_layers(
        tensors,
        key=(str(path), stat.st_size, stat.st_mtime_ns),
        name=path.stem,
        metadata=header.metadata,
        adapter_config=_adapter_config(path),
        family=describe(header).family,
    )
    if not file.layers:
        raise CheckpointError(
            f"{path.name} holds no LoRA: it is {describe(header).title}.",
            "Put it into the folder it belongs in, or download the LoRA again.",
            path=str(path),
        )
    return file


def _refuse_broken(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    broken = [name for name, tensor in tensors.items() if not _has_finite_sum(tensor)]
    if broken:
        raise CheckpointError(
            f"{path.name} holds values that are no numbers (NaN), in {some(broken)}.",
            "Its training has failed, or the file was damaged: use an earlier state of it, or "
            "download it again.",
            path=str(path),
        )


def _has_finite_sum(tensor: torch.Tensor) -> bool:
    """Whether all values are numbers; a fifth of the time of asking each of them."""
    return bool(tensor.sum(dtype=torch.float32).isfinite())


def _adapter_config(path: Path) -> dict[str, Any]:
    beside = path.with_name(ADAPTER_CONFIG)
    if not beside.exists():
        return {}
    try:
        values = json.loads(beside.read_text("utf-8-sig"))
    except (OSError, ValueError) as err:
        logger.warning("%s cannot be read (%s); alpha is taken as rank.", beside, err)
        return {}
    return values if isinstance(values, dict) else {}
