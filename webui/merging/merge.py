"""Two or three checkpoints as one: A1111's checkpoint merger, streamed.

Source: what its merger (modules/extras.py of 1.10) makes of the same files; sums are calculated
in float32 here (float64 where that takes part), and written in the wider of the formats.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from webui.checkpoints.headers import TensorInfo
from webui.checkpoints.rules import VAE, describe
from webui.checkpoints.weights import DTYPES
from webui.checkpoints.write import NAMES, NewTensor, check_free, write_safetensors
from webui.errors import CheckpointError
from webui.merging.convert import converted, narrowed
from webui.merging.discarding import discarded
from webui.merging.recipe import merge_metadata
from webui.merging.source import ModelFile, Source, open_source
from webui.params import MergeCheckpoints
from webui.progress import Progress

LETTERS: Final = "ABC"
_SHOWN: Final = 3
_LATENT_CHANNELS: Final = 4
_SPECIAL: Final = {9: "inpainting", 8: "instruct-pix2pix"}
"""Input channels of U-Nets that see more than latents; also the ending of a result's name."""


@dataclass(frozen=True)
class Merging:
    """The open files of one merge; ``models`` are A, B, C as far as they take part."""

    params: MergeCheckpoints
    models: tuple[Source, ...]
    vae: Source | None = None

    @property
    def primary(self) -> Source:
        """A."""
        return self.models[0]

    def takes_part(self, name: str) -> bool:
        """Whether a tensor of A is calculated anew; others are taken over."""
        return (
            len(self.models) > 1
            and "model" in name
            and not name.endswith("position_ids")
            and name in self.models[1].tensors
            and DTYPES[self.primary.tensors[name].dtype].is_floating_point
        )

    @property
    def special(self) -> str:
        """``inpainting`` or ``instruct-pix2pix`` when A is such a model and B is not."""
        for name, info in self.primary.tensors.items():
            if self.takes_part(name) and _is_special(info, self.models[1].tensors[name]):
                return _SPECIAL[info.shape[1]]
        return ""


def merge_checkpoints(
    params: MergeCheckpoints,
    models: Sequence[ModelFile],
    vae: ModelFile | None,
    folder: Path,
    progress: Progress,
) -> Path:
    """Merge checkpoints into a new file.

    Args:
        models: A, B and C, as many as the interpolation needs.
        vae: Baked in, or None.
        folder: Where the result is written.
    Returns:
        The new file.
    Raises:
        CheckpointError: They cannot be merged, or the result cannot be written.
        JobCancelled: The person asked to stop.
    """
    with ExitStack() as opened:
        sources = tuple(opened.enter_context(open_source(file.path)) for file in models)
        baked = opened.enter_context(open_source(vae.path)) if vae else None
        merging = Merging(params, sources, baked)
        check_fits(merging)
        path = folder / f"{result_name(params, models, merging.special)}.safetensors"
        check_free(path)
        config, beside = _configuration(params, models), path.with_suffix(".yaml")
        if config is not None:
            check_free(beside)
        metadata = merge_metadata(
            params, models, [s.header.metadata for s in sources], merging.special, progress
        )
        write_safetensors(path, new_tensors(merging), metadata, progress)
        if config is not None:
            _copy(config, beside)
    return path


def result_name(params: MergeCheckpoints, models: Sequence[ModelFile], special: str) -> str:
    """A1111's name for a result, without ending."""
    a, b, c = (*(m.model_name for m in models), "", "")[:3]
    m = round(params.multiplier, 2)
    usual = {
        "No interpolation": a,
        "Weighted sum": f"{round(1 - params.multiplier, 2)}({a}) + {m}({b})",
        "Add difference": f"{a} + {m}({b} - {c})",
    }
    name = params.custom_name or usual[params.interpolation]
    return f"{name}.{special}" if special else name


def check_fits(merging: Merging) -> None:
    """Refuse models that are not of one shape, before anything is written.

    Raises:
        CheckpointError: Names the first differences.
    """
    if len(merging.models) < 2:
        return
    a, b = merging.models[:2]
    shared = [name for name in a.tensors if merging.takes_part(name)]
    if not shared:
        raise _misfit(merging, "they have no tensor in common")
    wrong: list[str] = []
    for name in shared:
        ours, theirs = a.tensors[name], b.tensors[name]
        if ours.shape != theirs.shape:
            _refuse_swapped(merging, ours, theirs)
            if not _is_special(ours, theirs):
                wrong.append(_difference(name, "A", ours, "B", theirs))
        third = merging.models[2].tensors.get(name) if len(merging.models) > 2 else None
        if third is not None and third.shape != theirs.shape:
            wrong.append(_difference(name, "B", theirs, "C", third))
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise _misfit(merging, "; ".join(wrong[:_SHOWN]) + more)


def _difference(name: str, one: str, a: TensorInfo, other: str, b: TensorInfo) -> str:
    return f"{name} is {list(a.shape)} in {one} and {list(b.shape)} in {other}"


def _misfit(merging: Merging, why: str) -> CheckpointError:
    what = ", ".join(
        f"{letter} ({source.path.name}) is {describe(source.header).title}"
        for letter, source in zip(LETTERS, merging.models, strict=False)
    )
    return CheckpointError(
        f"These models cannot be merged: {what}; {why}.",
        "Choose models of one family and size.",
        path=str(merging.primary.path),
    )


def _is_special(a: TensorInfo, b: TensorInfo) -> bool:
    """A's first layer sees latents and more, B's latents only; the rest is alike."""
    return (
        len(a.shape) == len(b.shape) == 4
        and a.shape[:1] + a.shape[2:] == b.shape[:1] + b.shape[2:]
        and a.shape[1] in _SPECIAL
        and b.shape[1] == _LATENT_CHANNELS
    )


def _refuse_swapped(merging: Merging, a: TensorInfo, b: TensorInfo) -> None:
    if _is_special(b, a):
        kind = _SPECIAL[b.shape[1]]
        raise CheckpointError(
            f"When an {kind} model is merged with a normal one, A must be the {kind} model; "
            f"here it is B ({merging.models[1].path.name}).",
            "Swap A and B.",
            path=str(merging.models[1].path),
        )


def new_tensors(merging: Merging) -> Iterator[NewTensor]:
    """Everything the result holds."""
    params, a = merging.params, merging.primary
    left_out = discarded(params.discard_weights, a.tensors)
    baked = _baked(merging)
    for name in a.tensors:
        if name in left_out:
            continue
        if merging.vae is not None and name in baked:
            yield _taken_over(merging.vae, baked[name], name, params.save_as_half)
        elif merging.takes_part(name):
            yield _merged(merging, name)
        else:
            is_alone = len(merging.models) == 1
            yield _taken_over(a, name, name, params.save_as_half and is_alone)


def _baked(merging: Merging) -> dict[str, str]:
    """Tensors of A that the VAE replaces → their names in its file.

    Raises:
        CheckpointError: It replaces nothing, or is of another shape.
    """
    if merging.vae is None:
        return {}
    a, vae = merging.primary.tensors, merging.vae
    found = {VAE + name.removeprefix(VAE): name for name in vae.tensors}
    found = {name: stored for name, stored in found.items() if name in a}
    wrong = [
        f"{name} is {list(vae.tensors[stored].shape)} instead of {list(a[name].shape)}"
        for name, stored in found.items()
        if vae.tensors[stored].shape != a[name].shape
    ]
    if wrong or not found:
        raise CheckpointError(
            f"The VAE {vae.path.name} cannot be baked into {merging.primary.path.name}: "
            f"{'; '.join(wrong[:_SHOWN]) or 'none of its tensors has a place there'}.",
            "Choose a VAE of the same family, with the original names of its tensors.",
            path=str(vae.path),
        )
    return found


def _halved(dtype: torch.dtype, should_halve: bool) -> torch.dtype:
    return torch.float16 if should_halve and dtype == torch.float32 else dtype


def _taken_over(source: Source, stored: str, name: str, should_halve: bool) -> NewTensor:
    is_wide = source.tensors[stored].dtype == "F32"
    return converted(source, stored, name, "fp16" if should_halve and is_wide else "keep")


def _merged(merging: Merging, name: str) -> NewTensor:
    infos = [source.tensors[name] for source in merging.models if name in source.tensors]
    common = _common(infos)
    dtype = _halved(common, merging.params.save_as_half)
    exact = torch.promote_types(common, torch.float32)
    shape = infos[0].shape
    is_special = infos[0].shape != infos[1].shape
    make = _special_pieces if is_special else _pieces
    return NewTensor(
        name,
        TensorInfo(NAMES[dtype], shape),
        lambda: (narrowed(piece, dtype, name) for piece in make(merging, name, exact)),
    )


def _common(infos: Sequence[TensorInfo]) -> torch.dtype:
    """The format that torch would calculate in. 8-bit floats, which it cannot, give way to any
    wider format; among themselves they become float16."""
    dtypes = [DTYPES[info.dtype] for info in infos]
    found = [dtype for dtype in dtypes if dtype.itemsize > 1] or [torch.float16]
    return functools.reduce(torch.promote_types, found)


def _pieces(merging: Merging, name: str, exact: torch.dtype) -> Iterator[torch.Tensor]:
    streams = [source.pieces(name) for source in merging.models if name in source.tensors]
    for parts in zip(*streams, strict=True):
        yield _combined(merging, *(part.to(exact) for part in parts))


def _special_pieces(merging: Merging, name: str, exact: torch.dtype) -> Iterator[torch.Tensor]:
    """The first layer of an inpainting model: only what it does with latents is merged."""
    layer, *others = (
        source.read(name).to(exact) for source in merging.models if name in source.tensors
    )
    shared = layer[:, :_LATENT_CHANNELS]
    layer[:, :_LATENT_CHANNELS] = _combined(merging, shared, *others)
    yield layer.flatten()


def _combined(
    merging: Merging, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | None = None
) -> torch.Tensor:
    """M at work; a difference to a tensor that C does not have counts as none (A1111)."""
    m = merging.params.multiplier
    if merging.params.interpolation == "Weighted sum":
        return a.mul(1 - m).add_(b, alpha=m)
    return a if c is None else a.add(b.sub_(c), alpha=m)


def _configuration(params: MergeCheckpoints, models: Sequence[ModelFile]) -> Path | None:
    """The configuration beside a source that is to stand beside the result."""
    wanted: Mapping[str, Sequence[int]] = {"A, B or C": (0, 1, 2), "B": (1,), "C": (2,)}
    beside = [
        models[number].path.with_suffix(".yaml")
        for number in wanted.get(params.config_source, ())
        if number < len(models)
    ]
    return next((config for config in beside if config.is_file()), None)


def _copy(config: Path, target: Path) -> None:
    try:
        shutil.copyfile(config, target)
    except OSError as err:
        raise CheckpointError(
            f"The merged file is there, but {config.name} cannot be copied beside it: "
            f"{err.strerror or err}.",
            f"Copy it to {target.name} yourself.",
            path=str(target),
        ) from err
