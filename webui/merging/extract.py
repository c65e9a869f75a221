"""The difference of two checkpoints as a LoRA.

Source: kohya's ``extract_lora_from_models``: which layers, ranks, rules and metadata.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from webui.checkpoints.write import check_free
from webui.errors import CheckpointError
from webui.merging.lora_writing import NewLayer, lora_metadata, write_lora
from webui.merging.matrices import clamped, low_rank
from webui.merging.models import UNET, OpenModel, open_model
from webui.merging.source import ModelFile
from webui.networks.lora.kohya import (
    Target,
    has_original_names,
    text_prefix,
    text_targets,
    unet_targets,
)
from webui.params import ExtractLora
from webui.progress import Progress, stop_if_interrupted

logger = logging.getLogger(__name__)


def extract_lora(
    params: ExtractLora,
    tuned: ModelFile,
    original: ModelFile,
    folder: Path,
    progress: Progress,
    device: torch.device | str = "cpu",
) -> Path:
    """Write what turns one checkpoint into the other as a LoRA.

    Args:
        device: Where matrices are taken apart.
    Returns:
        The new file, named after the tuned checkpoint unless the request says otherwise.
    Raises:
        CheckpointError: They cannot be read, are of different shape, or do not differ.
        JobCancelled: The person asked to stop.
    """
    name = params.custom_name or f"{tuned.model_name}-lora"
    path = folder / f"{name}.safetensors"
    check_free(path)
    with open_model(tuned.path) as ours, open_model(original.path) as theirs:
        _check_alike(ours, theirs)
        changed = _changed(params, ours, theirs, progress)
        if not changed:
            raise CheckpointError(
                f"{tuned.name} and {original.name} do not differ in any layer a LoRA can change.",
                "Choose a checkpoint that was trained further, and what it began from.",
                path=str(tuned.path),
            )
        layers: dict[str, NewLayer] = {}
        for done, (part, target) in enumerate(changed):
            stop_if_interrupted(progress)
            progress.step(done, len(changed))
            layers[target.name] = _layer(params, _difference(ours, theirs, part, target), device)
        spec = ours.spec
    convolutions = {"conv_dim": str(params.conv_dim), "conv_alpha": f"{params.conv_dim:.1f}"}
    metadata = lora_metadata(
        path.stem,
        spec.family,
        is_v=spec.prediction_type == "v_prediction",
        ranks={params.dim},
        network_args=convolutions if params.conv_dim else {},
    )
    return write_lora(path, layers, params.precision, metadata, progress)


def _check_alike(ours: OpenModel, theirs: OpenModel) -> None:
    a, b = ours.spec, theirs.spec
    same = (a.family, a.unet.channels, a.unet.depths, a.unet.context_dim, a.texts)
    if same != (b.family, b.unet.channels, b.unet.depths, b.unet.context_dim, b.texts):
        raise CheckpointError(
            f"{ours.path.name} ({a.family}, U-Net of {a.unet.channels}) and {theirs.path.name} "
            f"({b.family}, U-Net of {b.unet.channels}) are not of one shape.",
            "Choose a checkpoint and what it was trained from.",
            path=str(ours.path),
        )


def _targets(params: ExtractLora, model: OpenModel) -> Iterator[tuple[str, Target]]:
    family = model.spec.family
    for part, network in model.networks.items():
        if part == UNET:
            found = unet_targets(
                network,
                original_names=has_original_names(family),
                has_convolutions=params.conv_dim > 0,
            )
        else:
            found = text_targets(network, text_prefix(family, model.lora_number(part)))
        for target in found:
            yield part, target


def _changed(
    params: ExtractLora, ours: OpenModel, theirs: OpenModel, progress: Progress
) -> list[tuple[str, Target]]:
    """Layers to take apart. A text encoder is left out as a whole when nothing in it differs by
    more than ``min_diff``: the rest is rounding."""
    found: list[tuple[str, Target]] = []
    largest: dict[str, float] = {}
    for part, target in _targets(params, ours):
        stop_if_interrupted(progress)
        most = float(_difference(ours, theirs, part, target).abs().max())
        largest[part] = max(largest.get(part, 0.0), most)
        if most > 0:
            found.append((part, target))
    same = {p for p, most in largest.items() if p != UNET and most <= params.min_diff}
    for part in sorted(same):
        logger.info("%s is the same in both (largest difference %g).", part, largest[part])
    return [(part, target) for part, target in found if part not in same]


def _difference(ours: OpenModel, theirs: OpenModel, part: str, target: Target) -> Tensor:
    """Of a layer's weight, float32, in the layer's shape.

    Raises:
        CheckpointError: It is missing, of another shape, or not finite.
    """
    shape: Any = target.layer.weight.shape
    both: list[Tensor] = []
    for model in (ours, theirs):
        weight = model.read(part, target.path).float()
        if weight.numel() != shape.numel() or not weight.isfinite().all():
            raise CheckpointError(
                f"{target.path} of {model.path.name} has the shape {list(weight.shape)} instead "
                f"of {list(shape)}, or holds numbers that are not finite.",
                "The file may be damaged: choose another one.",
                path=str(model.path),
            )
        both.append(weight.reshape(shape))
    return both[0] - both[1]


def _layer(params: ExtractLora, change: Tensor, device: torch.device | str) -> NewLayer:
    is_kernel = change.ndim == 4 and change.shape[2:] != (1, 1)
    where = "cpu" if torch.device(device).type == "mps" else device  # MPS has no float64
    matrix = change.flatten(1).to(where)
    up, down = low_rank(matrix, params.conv_dim if is_kernel else params.dim)
    up, down = clamped(up, down, params.clamp_quantile)
    if change.ndim == 4:
        up, down = up[:, :, None, None], down.reshape(-1, *change.shape[1:])
    return NewLayer(up.cpu(), down.cpu())
