"""One file in another form: safetensors, another number format, only what painting needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

from webui.checkpoints.families import FAMILIES
from webui.checkpoints.headers import TensorInfo
from webui.checkpoints.keys import FIRST_LAYER, UNET, VAE
from webui.checkpoints.weights import dtype_of
from webui.checkpoints.write import NAMES, NewTensor, check_free, write_safetensors
from webui.errors import CheckpointError
from webui.merging.source import ModelFile, Source, open_source
from webui.params import ConvertModel
from webui.progress import Progress

EMA: Final = "model_ema."
MARKERS: Final = ("v_pred", "ztsnr", "edm_vpred.sigma_max", "edm_vpred.sigma_min")
"""Tensors without a use of their own: that they are there tells how a model was trained."""
FORMATS: Final[Mapping[str, torch.dtype]] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
_EMBEDDING: Final = "string_to_param."


def convert_model(params: ConvertModel, file: ModelFile, folder: Path, progress: Progress) -> Path:
    """Write a file in another form.

    Returns:
        The new file.
    Raises:
        CheckpointError: It cannot be read, or what was asked for is not in it.
        JobCancelled: The person asked to stop.
    """
    path = folder / f"{result_name(params, file)}.safetensors"
    check_free(path)
    with open_source(file.path) as source:
        names = kept_names(source, params)
        tensors = (converted(source, old, new, params.precision) for new, old in names.items())
        metadata = {**source.header.metadata, "format": "pt"}
        return write_safetensors(path, tensors, metadata, progress)


def result_name(params: ConvertModel, file: ModelFile) -> str:
    """The wanted name, or the old one with what was done behind it."""
    if params.custom_name:
        return params.custom_name
    pruned = {"disabled": "", "no-ema": "-pruned", "ema-only": "-pruned-emaonly"}
    precision = "" if params.precision == "keep" else f"-{params.precision}"
    name = f"{file.model_name}{pruned[params.pruning]}{precision}"
    is_same = name == file.model_name and file.path.suffix == ".safetensors"
    return f"{name}-converted" if is_same else name


def kept_names(source: Source, params: ConvertModel) -> dict[str, str]:
    """What the new file holds: its name → the old file's.

    Raises:
        CheckpointError: Averages are wanted and there are none, or nothing is left.
    """
    if params.model_kind == "embedding":
        return {_embedding_name(name): name for name in source.tensors}
    if params.pruning == "disabled":
        return {name: name for name in source.tensors}
    kept = {name: name for name in source.tensors if _is_needed(name)}
    if params.pruning == "ema-only":
        kept |= _averages(source)
    if FIRST_LAYER not in kept:  # other families keep their text encoders under other names
        raise CheckpointError(
            f"{source.path.name} holds no model whose parts are known, so nothing can be cut.",
            "Convert it without pruning.",
            path=str(source.path),
        )
    return kept


def _is_needed(name: str) -> bool:
    prefixes = {VAE, UNET}
    for family in FAMILIES.values():
        for text in family.texts:
            prefixes |= {prefix.split(".")[0] + "." for prefix in text.prefixes}
    return name.startswith(tuple(prefixes)) or name in MARKERS


def _averages(source: Source) -> dict[str, str]:
    """U-Net tensors → their running averages, whose names have lost their dots."""
    found = {
        name: average
        for name in source.tensors
        if name.startswith(UNET)
        and (average := EMA + name.removeprefix("model.").replace(".", "")) in source.tensors
    }
    if not found:
        raise CheckpointError(
            f"{source.path.name} holds no running averages (EMA).",
            "Prune it with «no-ema».",
            path=str(source.path),
        )
    return found


def _embedding_name(name: str) -> str:
    """A1111's pickled embeddings hold one named ``*``; safetensors' say ``emb_params``."""
    return "emb_params" if name.startswith(_EMBEDDING) else name


def converted(source: Source, old: str, new: str, precision: str) -> NewTensor:
    """A tensor in the wanted number format; whole numbers stay, and positions become some."""
    info = source.tensors[old]
    if old.endswith("position_ids"):
        return NewTensor(
            new,
            TensorInfo("I64", info.shape),
            lambda: (piece.double().round().long() for piece in source.pieces(old)),
        )
    dtype = wanted_format(dtype_of(source.path, info), precision)
    return NewTensor(
        new,
        TensorInfo(NAMES[dtype], info.shape),
        lambda: (narrowed(piece, dtype, old) for piece in source.pieces(old)),
    )


def narrowed(piece: torch.Tensor, dtype: torch.dtype, name: str) -> torch.Tensor:
    """Numbers in another format.

    Raises:
        CheckpointError: Some are too large for it: written as infinity they would spoil the model.
    """
    if piece.numel() and _reach(dtype) < _reach(piece.dtype):
        most = float(piece.abs().max())
        if _reach(dtype) < most < math.inf:
            raise CheckpointError(
                f"{name} holds {most:g}, and {NAMES[dtype]} ends at {_reach(dtype):g}.",
                "Keep the number format, choose bf16, or leave that tensor out.",
            )
    return piece.to(dtype)


def _reach(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).max if dtype.is_floating_point else 0.0


def wanted_format(stored: torch.dtype, precision: str) -> torch.dtype:
    """What a tensor is written in; «keep» and whole numbers leave it as it is stored."""
    return FORMATS.get(precision, stored) if stored.is_floating_point else stored
