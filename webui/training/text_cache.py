"""Encoded captions that were kept on disk, under kohya's names.

A file is known by all that decides what is in it: the tokens and their weights, the layer that is
taken, the text encoders. So none is ever stale: another caption, tokenizer, clip skip or checkpoint
asks for another file. Files that kohya's trainer left beside pictures tell nothing of this and are
not read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from webui.errors import DatasetError
from webui.params.training import TrainingOptions

ENDING: Final = "_te_outputs.npz"
MOST_OF_A_NAME: Final = 60
"""Characters of a picture's name in a file's; file systems stop at 255 bytes."""
_UNREADABLE = (
    OSError, ValueError, TypeError, zipfile.BadZipFile, EOFError, KeyError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class Told:
    """Encoded captions.

    Attributes:
        states: (B, T, C), T = 77, 152 or 227. pooled: (B, 1280) for SDXL, else None.
    """

    states: Tensor
    pooled: Tensor | None = None


class TextCache:
    """Files of one folder for one set of text encoders.

    Args:
        encoders: Stands for them; see ``encoders_key``.
        stems: Caption → name of a picture that has it.
    """

    def __init__(self, folder: Path, encoders: str, stems: Mapping[str, str]) -> None:
        self._folder, self._encoders, self._stems = folder, encoders, stems
        files = folder.glob(f"*{ENDING}") if folder.is_dir() else ()
        self._files = {file.name.removesuffix(ENDING).rpartition("_")[2]: file for file in files}

    def read(self, recipe: object) -> Told | None:
        """What was kept for a caption; None when nothing was, or nothing whole.

        Args:
            recipe: All about the caption that decides how it is encoded, printable.
        Returns:
            One caption, float32 on the CPU.
        """
        file = self._files.get(self._key(recipe))
        if file is None:
            return None
        try:
            with np.load(file, allow_pickle=False) as arrays:
                held = {name: torch.from_numpy(arrays[name].copy()) for name in arrays.files}
            parts = [held[name] for name in ("hidden_state1", "hidden_state2") if name in held]
            pooled = held["pool2"][None] if len(parts) > 1 else None
            told = Told(torch.cat(parts, dim=-1)[None], pooled)
        except _UNREADABLE:
            return None
        return told if told.states.isfinite().all() else None

    def write(self, caption: str, recipe: object, told: Told) -> None:
        """Keep one encoded caption.

        Raises:
            DatasetError: The disk does not take it.
        """
        stem = self._stems.get(caption, "")[:MOST_OF_A_NAME] or "empty"
        file = self._folder / f"{stem}_{self._key(recipe)}{ENDING}"
        part = file.with_name(f"{file.name}.{os.getpid()}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as out:
                np.savez(out, allow_pickle=False, **_arrays(told))
            part.replace(file)
        except OSError as err:
            with contextlib.suppress(OSError):
                part.unlink()
            raise DatasetError(
                f'Encoded captions could not be kept in "{self._folder}": {err.strerror or err}.',
                "Make room on that disk, or train without cache_text_encoder_outputs_to_disk.",
                file=str(file),
            ) from err

    def _key(self, recipe: object) -> str:
        return hashlib.sha256(repr((self._encoders, recipe)).encode()).hexdigest()[:16]


def _arrays(told: Told) -> dict[str, np.ndarray]:
    """kohya's arrays of one caption: of two encoders, the second is as wide as its vector."""
    states = told.states[0].float().cpu()
    if told.pooled is None:
        return {"hidden_state1": states.numpy()}
    width = states.shape[-1] - told.pooled.shape[-1]
    return {
        "hidden_state1": states[:, :width].numpy(),
        "hidden_state2": states[:, width:].numpy(),
        "pool2": told.pooled[0].float().cpu().numpy(),
    }


def encoders_key(options: TrainingOptions, checkpoint: Path, sha256: str, dtype: object) -> str:
    """Stands for the text encoders of a training: whose weights they are, and in which numbers.

    Args:
        sha256: Of the checkpoint; '' for folders, whose files are looked at.
    """
    merged = zip(options.base_weights, map(_stamp, map(Path, options.base_weights)), strict=True)
    own = sha256 or [_stamp(file) for file in sorted(checkpoint.glob("text_encoder*/*"))]
    return repr((own, [*merged], options.base_weights_multiplier, dtype))


def _stamp(file: Path) -> tuple[str, int, int]:
    facts = file.stat()
    return file.name, facts.st_size, facts.st_mtime_ns
