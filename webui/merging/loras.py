"""Several LoRAs as one, and LoRAs inside a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from webui.checkpoints.families import title_of
from webui.checkpoints.headers import TensorInfo
from webui.checkpoints.lora_file import read_lora
from webui.checkpoints.weights import dtype_of
from webui.checkpoints.write import NAMES, NewTensor, check_free, write_safetensors
from webui.errors import CheckpointError
from webui.merging.convert import converted, narrowed, wanted_format
from webui.merging.lora_writing import NewLayer, lora_metadata, write_lora
from webui.merging.matrices import low_rank
from webui.merging.models import OpenModel, open_model
from webui.merging.source import ModelFile, Source, known_name, open_source
from webui.networks.lora.changes import LayerChange, LowRank
from webui.networks.lora.files import LoraFile, some
from webui.networks.lora.kohya import block_naming, kohya_name
from webui.networks.lora.matching import match_layers
from webui.params import BakeLoras, MergeLoras
from webui.progress import Progress, stop_if_interrupted

Warn = Callable[[str], None]


# Several as one


def merge_loras(
    params: MergeLoras, files: Sequence[ModelFile], folder: Path, progress: Progress
) -> Path:
    """Write one LoRA that does what several do together.

    Returns:
        The new file.
    Raises:
        CheckpointError: They are not of one family or naming, or not plain LoRAs.
        JobCancelled: The person asked to stop.
    """
    usual = " + ".join(
        f"{lora.weight:g}({file.model_name})"
        for lora, file in zip(params.loras, files, strict=True)
    )
    path = folder / f"{params.custom_name or usual}.safetensors"
    check_free(path)
    loras = [read_lora(file.path) for file in files]
    family = _common_family(loras)
    weighted: dict[str, list[tuple[LowRank, float]]] = {}
    for lora, wish in zip(loras, params.loras, strict=True):
        for name, change in _plain_layers(lora, family).items():
            weighted.setdefault(name, []).append((change, wish.weight))
    _check_naming(loras, list(weighted))
    layers: dict[str, NewLayer] = {}
    for done, (name, parts) in enumerate(weighted.items()):
        stop_if_interrupted(progress)
        progress.step(done, len(weighted))
        layers[name] = _joined(name, parts, params.dim)
    metadata = lora_metadata(
        path.stem, family, is_v=False, ranks={x.rank for x in layers.values()}, network_args={}
    )
    metadata["modelspec.merged_from"] = ", ".join(lora.name for lora in loras)
    return write_lora(path, layers, params.precision, metadata, progress)


def _common_family(loras: Sequence[LoraFile]) -> str:
    families = {lora.family: lora.name for lora in loras if lora.family}
    if len(families) > 1:
        told = ", ".join(f"{name} is for {title_of(family)}" for family, name in families.items())
        raise CheckpointError(
            f"LoRAs of different families cannot be one: {told}.", "Choose LoRAs of one family."
        )
    return next(iter(families), "sd1")


def _plain_layers(lora: LoraFile, family: str) -> dict[str, LowRank]:
    """Its layers under kohya's names.

    Raises:
        CheckpointError: Some are in a form that is no product of two matrices.
    """
    found: dict[str, LowRank] = {}
    odd: list[str] = []
    for name, change in lora.layers.items():
        known = kohya_name(name, family)
        inner = change.weight
        if known is None or change.bias is not None or not isinstance(inner, LowRank) or (
            inner.mid is not None
        ):  # fmt: skip
            odd.append(name)
        else:
            _check_sound(lora, name, inner)
            found[known] = inner
    if odd or lora.unknown:
        raise CheckpointError(
            f"{lora.name} has layers that are no plain LoRA: {some([*odd, *lora.unknown])}.",
            "Only LoRA and LoCon can become one LoRA; every kind can be put into a checkpoint.",
        )
    return found


def _check_sound(lora: LoraFile, name: str, change: LowRank) -> None:
    up, down = change.up, change.down
    if up.ndim < 2 or down.ndim < 2 or up[0].numel() != down.shape[0]:
        raise CheckpointError(
            f"{lora.name} is damaged: {name} has matrices of {list(up.shape)} and "
            f"{list(down.shape)}, which do not go together.",
            "Get it again, or leave it out.",
        )


def _check_naming(loras: Sequence[LoraFile], names: list[str]) -> None:
    has_unet = any(name.startswith("lora_unet_") for name in names)
    if has_unet and not block_naming(names):
        told = ", ".join(lora.name for lora in loras)
        raise CheckpointError(
            f"The LoRAs name the blocks of the U-Net in two different ways: {told}.",
            "Put them into a checkpoint instead, where both are understood.",
        )


def _joined(name: str, parts: Sequence[tuple[LowRank, float]], rank: int) -> NewLayer:
    """Side by side, which is exact; then of lower rank, where one was asked for."""
    shapes = {(p.up.shape[0], *p.down.shape[1:]) for p, _ in parts}
    if len(shapes) > 1:
        raise CheckpointError(
            f"The LoRAs do not fit together: {name} is {' and '.join(map(str, sorted(shapes)))}.",
            "Choose LoRAs for one family of checkpoints.",
        )
    shares = [p.factor * w for p, w in parts]
    roots = [math.sqrt(abs(share)) for share in shares]  # on both, or float16 loses digits of one
    up = torch.cat(
        [
            p.up.float().flatten(1) * math.copysign(root, share)
            for (p, _), root, share in zip(parts, roots, shares, strict=True)
        ],
        dim=1,
    )
    down = torch.cat(
        [p.down.float().flatten(1) * root for (p, _), root in zip(parts, roots, strict=True)]
    )
    if 0 < rank < down.shape[0]:
        up, down = _compressed(up, down, rank)
    first = parts[0][0].down
    if first.ndim == 4:
        return NewLayer(up[:, :, None, None], down.reshape(-1, *first.shape[1:]))
    return NewLayer(up, down)


def _compressed(up: Tensor, down: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best product of lower rank, without ever making the large one."""
    left, small_left = torch.linalg.qr(up.double())  # (o, R), (R, R)
    right, small_right = torch.linalg.qr(down.double().T)  # (i, R), (R, R)
    inner_up, inner_down = low_rank(small_left @ small_right.T, rank)
    return (left @ inner_up.double()).float(), (inner_down.double() @ right.T).float()


# Into a checkpoint


@dataclass(frozen=True)
class _Applied:
    """One LoRA's change of one layer, and what share of it."""

    change: LayerChange
    weight: float


@dataclass(frozen=True)
class _Place:
    """A layer's tensor inside a stored one; see ``conversion.Source``."""

    third: int | None
    is_transposed: bool
    is_bias: bool
    shape: tuple[int, ...]
    applied: tuple[_Applied, ...]


def bake_loras(
    params: BakeLoras,
    checkpoint: ModelFile,
    files: Sequence[ModelFile],
    folder: Path,
    progress: Progress,
    warn: Warn,
) -> Path:
    """Write a checkpoint that paints as another one does with LoRAs on.

    Args:
        warn: Told of layers that have no place in the checkpoint.
    Returns:
        The new file.
    Raises:
        CheckpointError: A LoRA does not fit, or something cannot be read or written.
        JobCancelled: The person asked to stop.
    """
    usual = " + ".join(
        [checkpoint.model_name]
        + [f"{x.weight:g}({f.model_name})" for x, f in zip(params.loras, files, strict=True)]
    )
    path = folder / f"{params.custom_name or usual}.safetensors"
    check_free(path)
    with open_source(checkpoint.path) as source, open_model(checkpoint.path) as model:
        weights = [lora.weight for lora in params.loras]
        places = _places(model, [read_lora(f.path) for f in files], weights, warn)
        tensors = [
            _baked(source, name, places[name], params.precision)
            if name in places
            else converted(source, name, name, params.precision)
            for name in source.tensors
        ]
        write_safetensors(path, tensors, {**source.header.metadata, "format": "pt"}, progress)
    return path


def _places(
    model: OpenModel, loras: Sequence[LoraFile], weights: Sequence[float], warn: Warn
) -> dict[str, list[_Place]]:
    """Stored tensor → what of it is changed, and how."""
    tables = model.tables()
    layers: dict[tuple[str, str], list[_Applied]] = {}
    for lora, weight in zip(loras, weights, strict=True):
        match = match_layers(lora, tables)
        if not match.applied:
            family = f" It was made for {lora.family}." if lora.family else ""
            raise CheckpointError(
                f"{lora.name} changes no layer of {model.path.name}.{family}",
                "Choose a LoRA and a checkpoint of the same family.",
            )
        lost = match.strangers + match.unfit + lora.unknown
        if lost:
            warn(
                f"{lora.name}: {match.applied} of {match.total} layers were put in; there is no "
                f"place for {some(lost)}."
            )
        for part, changes in match.layers.items():
            for path, change in changes.items():
                layers.setdefault((part, path), []).append(_Applied(change, weight))
    found: dict[str, list[_Place]] = {}
    for (part, path), applied in layers.items():
        shape = tables[part].shapes[path]
        for leaf, is_bias in (("weight", False), ("bias", True)):
            parts = tuple(
                a for a in applied
                if (a.change.bias if is_bias else a.change.weight) is not None
            )  # fmt: skip
            if parts:
                where = model.source(part, path, leaf)
                found.setdefault(known_name(where.name), []).append(
                    _Place(
                        where.third, where.is_transposed, is_bias,
                        shape[:1] if is_bias else shape, parts,
                    )
                )  # fmt: skip
    return found


def _baked(source: Source, name: str, places: Sequence[_Place], precision: str) -> NewTensor:
    info = source.tensors[name]
    dtype = wanted_format(dtype_of(source.path, info), precision)

    def pieces() -> tuple[Tensor, ...]:
        stored = source.read(name).float()
        was_finite = stored.isfinite().all()
        for place in places:
            _apply(stored, place)
        if was_finite and not stored.isfinite().all():
            raise CheckpointError(
                f"With the LoRAs {name} holds numbers that are not finite.",
                "One of them may be damaged: leave it out, or give it less weight.",
                path=str(source.path),
            )
        return (narrowed(stored, dtype, name),)

    return NewTensor(name, TensorInfo(NAMES[dtype], info.shape), pieces)


def _apply(stored: Tensor, place: _Place) -> None:
    """Change the layer's part of a stored tensor in place, LoRA after LoRA."""
    part = stored if place.third is None else stored.tensor_split(3)[place.third]
    part = part.T if place.is_transposed else part
    weight = part.reshape(place.shape).clone()
    for applied in place.applied:
        if place.is_bias:
            assert applied.change.bias is not None
            weight += applied.weight * applied.change.bias.float().reshape(place.shape)
        else:
            assert applied.change.weight is not None
            weight += applied.weight * applied.change.weight.delta(weight)
    part.copy_(weight.reshape(part.shape))
