"""What can be told to be wrong of a training before its model is read, beyond its options alone.

``checks.py`` judges the options; here files, folders and the length of the training are looked at.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from webui.checkpoints.families import title_of
from webui.checkpoints.headers import read_header
from webui.checkpoints.identify import identify_file
from webui.checkpoints.rules import describe
from webui.checkpoints.specs import ArchSpec
from webui.errors import CheckpointError, ParamsError
from webui.params.training import TrainingOptions
from webui.training import state as states
from webui.training.estimates import ModelSize, lora_bytes
from webui.training.network_args import read_network_args
from webui.training.optimizer_names import (
    KINDS,
    PACKAGE_HINT,
    PACKAGE_MISSING,
    optimizer_name,
)
from webui.training.preparing import other_rank
from webui.training.rates import rate_factor
from webui.training.steps import Due, training_length

_CHECKPOINT: Final = "pretrained_model_name_or_path"


def identified(path: Path, options: TrainingOptions) -> ArchSpec:
    """What the checkpoint to train upon is.

    Raises:
        ParamsError: It is not there, or no checkpoint.
    """
    named = options.pretrained_model_name_or_path
    if not named:
        raise ParamsError(
            "No checkpoint to train upon was chosen.",
            f"Write the path of a checkpoint file: {_CHECKPOINT}.",
            field=_CHECKPOINT,
        )
    if not path.exists():
        raise ParamsError(
            f'{_CHECKPOINT}: there is no file or folder "{named}".',
            "Look for a mistake in the path. A checkpoint from the network is fetched first, with: "
            "python launch.py models get LINK",
            field=_CHECKPOINT,
        )
    try:
        return identify_file(path)
    except CheckpointError as err:
        raise ParamsError(
            f"{_CHECKPOINT}: {err.message}",
            "Choose a checkpoint of SD 1.x, SD 2.x or SDXL.",
            field=_CHECKPOINT,
        ) from err


def check_folders(options: TrainingOptions, checkpoint: Path, batches: int, processes: int) -> None:
    """Make the folders that are written to, and see whether they can be and have room.

    Args:
        batches: Of an epoch, of all processes together.
    Raises:
        ParamsError: One cannot, or the files of the training find no room on its disk.
    """
    for name in ("output_dir", "logging_dir"):
        if named := getattr(options, name):
            _check_writable(Path(named), name)
    folder = Path(options.output_dir or ".")
    needed = _needed_bytes(options, checkpoint, batches, processes)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ParamsError(
            f"output_dir: the files of this training need about {needed / 1e6:.0f} MB, but the "
            f'disk of "{folder}" has {free / 1e6:.0f} MB free.',
            "Make room there, choose a folder on another disk, or keep fewer files "
            "(save_last_n_epochs).",
            field="output_dir",
        )


def _check_writable(folder: Path, field: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as err:
        reason = "it is a file" if folder.is_file() else err.strerror or str(err)
        raise ParamsError(
            f'{field}: nothing can be written into "{folder}": {reason}.',
            "Choose another folder, or see to it that you may write there.",
            field=field,
        ) from err


def _needed_bytes(options: TrainingOptions, checkpoint: Path, batches: int, processes: int) -> int:
    """What the LoRAs of a training take; 0 for folders of parts, whose size is not known yet."""
    if not checkpoint.is_file():
        return 0
    length = training_length(options, batches, processes)
    one = lora_bytes(options, ModelSize.of(read_header(checkpoint).tensors))
    return one * Due.of(options, length).most_files(length)


def check_optimizer(options: TrainingOptions) -> None:
    """Whether the optimiser's package is there, where no other takes its place.

    Raises:
        ParamsError: It is not.
    """
    name = optimizer_name(options)
    kind = KINDS[name]
    if kind.package and not kind.fallback and find_spec(kind.module.partition(".")[0]) is None:
        raise ParamsError(
            PACKAGE_MISSING.format(name=name, package=kind.package),
            PACKAGE_HINT.format(package=kind.package),
            field="optimizer_type",
        )


def check_length(options: TrainingOptions, batches_per_epoch: int, processes: int) -> None:
    """Whether the learning rate's schedule fits into the training.

    Raises:
        ParamsError: Its warm-up takes longer.
    """
    rate_factor(options, training_length(options, batches_per_epoch, processes).steps, 1.0)


def check_weights(options: TrainingOptions, family: str) -> None:
    """Whether the LoRAs to begin with, or to train beside, fit.

    Files that cannot be read so are judged when they are loaded.

    Args:
        family: Of the checkpoint.
    Raises:
        ParamsError: One is of another family, or has no rank of this training.
    """
    for named in options.base_weights:
        _check_family(Path(named), "base_weights", family)
    path = Path(options.network_weights)
    if not options.network_weights or options.dim_from_weights or path.suffix != ".safetensors":
        return
    args = read_network_args(options)
    here = {args.dim, args.conv_dim, *(args.block_dims or ()), *(args.conv_block_dims or ())}
    try:
        tensors = read_header(path).tensors
    except CheckpointError:
        return
    ranks = {info.shape[0] for name, info in tensors.items() if name.endswith(".lora_down.weight")}
    if ranks and not ranks & here:
        raise other_rank(min(ranks), args.dim)


def _check_family(path: Path, field: str, family: str) -> None:
    try:
        found = describe(read_header(path)).family
    except CheckpointError:
        return
    if found and found != family:
        raise ParamsError(
            f'{field}: "{path.name}" was made for {title_of(found)}; this job trains '
            f"{title_of(family)}.",
            "Choose a LoRA or a checkpoint of the same family.",
            field=field,
        )


def check_resumed(options: TrainingOptions, family: str, path: Path) -> None:
    """Whether the state that is asked for is one of this training.

    Raises:
        ParamsError: It is none, or of another model or rank.
    """
    if options.resume:
        folder = Path(options.resume)
        now = {"family": family, "model": path.name, "dim": read_network_args(options).dim}
        states.check_same(folder, states.read_place(folder), now)
