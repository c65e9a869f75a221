"""Write a LoRA that was made here: kohya's tensors, metadata and hashes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from webui.checkpoints.write import NewTensor, lora_hashes, whole, write_safetensors
from webui.networks.lora.kohya import architecture, base_version, implementation
from webui.progress import Progress

PRECISIONS: Final[Mapping[str, torch.dtype]] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


@dataclass(frozen=True)
class NewLayer:
    """One layer's matrices, float32: ``up`` (o, r[, 1, 1]), ``down`` (r, i[, k, k]); alpha = r."""

    up: Tensor
    down: Tensor

    @property
    def rank(self) -> int:
        """Of the two."""
        return self.down.shape[0]


def write_lora(
    path: Path,
    layers: Mapping[str, NewLayer],
    precision: str,
    metadata: Mapping[str, str],
    progress: Progress,
) -> Path:
    """Write layers under their names.

    Raises:
        CheckpointError: The name is taken, or the disk cannot be written.
        JobCancelled: The person asked to stop.
    """
    dtype = PRECISIONS[precision]
    tensors: list[NewTensor] = []
    for name, layer in layers.items():
        parts = {
            "lora_up.weight": layer.up,
            "lora_down.weight": layer.down,
            "alpha": torch.tensor(float(layer.rank)),
        }
        tensors += [whole(f"{name}.{part}", t.to("cpu", dtype)) for part, t in parts.items()]
    return write_safetensors(
        path, tensors, {**metadata, **lora_hashes(tensors, metadata)}, progress
    )


def lora_metadata(
    title: str, family: str, *, is_v: bool, ranks: set[int], network_args: Mapping[str, str]
) -> dict[str, str]:
    """What programs look for in a LoRA, in kohya's words.

    Args:
        ranks: Of its layers; «Dynamic» where they differ.
    """
    rank = str(max(ranks, default=0)) if len(ranks) < 2 else "Dynamic"
    alpha = f"{max(ranks, default=0):.1f}" if len(ranks) < 2 else "Dynamic"
    found = {
        "ss_v2": str(family == "sd2"),
        "ss_base_model_version": base_version(family, is_v=is_v),
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        "ss_network_alpha": alpha,
        "ss_network_args": json.dumps(dict(network_args)),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": architecture(family, is_v=is_v),
        "modelspec.implementation": implementation(family),
        "modelspec.title": title,
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "modelspec.prediction_type": "v" if is_v else "epsilon",
    }
    return {key: value for key, value in found.items() if value}
