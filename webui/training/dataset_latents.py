"""Latents that were encoded once: in memory, or in files under kohya's names.

Files lie in a folder of ours, under a key made of the picture, its bucket and the VAE, so that none
is ever stale. Files that kohya's trainer left beside pictures are read where they fit.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from webui.errors import DatasetError
from webui.training.dataset_entries import Entry

logger = logging.getLogger(__name__)
MOST_OF_A_NAME = 60
"""Characters of a picture's name in a cache file's; file systems stop at 255 bytes."""


@dataclass(frozen=True)
class Latents:
    """One picture, encoded.

    Attributes:
        plain, flipped: (4, h, w) float32, not multiplied by the VAE's factor.
        mask: (H, W) uint8; None = all counts.
    """

    plain: Tensor
    flipped: Tensor | None = None
    mask: Tensor | None = None


def content_seed(path: Path) -> int:
    """A number that follows from a picture's bytes: the same picture draws the same latent in
    every run, whether it was kept or not."""
    return int.from_bytes(hashlib.sha256(path.read_bytes()).digest()[:6], "big")


def kohya_name(entry: Entry, is_sdxl: bool) -> str:
    """What kohya's trainer calls a picture's latents."""
    width, height = entry.photograph.size
    return (
        f"{entry.photograph.path.stem}_{width:04d}x{height:04d}_{'sdxl' if is_sdxl else 'sd'}.npz"
    )


def cache_file(folder: Path, entry: Entry, vae_key: str, is_sdxl: bool) -> Path:
    """Where a picture's latents are kept: kohya's name and a key behind it."""
    facts = entry.photograph.path.stat()
    told = (
        str(entry.photograph.path.resolve()), facts.st_mtime_ns, facts.st_size, entry.fit,
        entry.subset.resize_interpolation, vae_key,
    )  # fmt: skip
    key = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
    stem, size, kind = kohya_name(entry, is_sdxl).rsplit("_", 2)
    return folder / f"{stem[:MOST_OF_A_NAME]}_{size}_{key}_{kind}"


def read_file(file: Path, entry: Entry) -> Latents | None:
    """Latents of a picture from a file; None when it holds none that fit.

    Fitting is: the bucket's size, finite, and mirrored or masked ones where they are needed.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError):
        return None
    names = ("latents", "latents_flipped", "alpha_mask")
    plain, flipped, mask = (held.get(name) for name in names)
    wants_mask = entry.subset.alpha_mask and entry.photograph.has_alpha
    if (
        plain is None
        or (entry.subset.flip_aug and flipped is None)
        or (wants_mask and mask is None)
    ):
        return None
    width, height = entry.fit.bucket
    if plain.shape != (4, height // 8, width // 8) or not np.isfinite(plain).all():
        return None
    if mask is not None and mask.shape != (height, width):
        return None
    return Latents(
        torch.from_numpy(plain.astype(np.float32)),
        None if flipped is None else torch.from_numpy(flipped.astype(np.float32)),
        _mask_tensor(mask) if wants_mask and mask is not None else None,
    )


def _mask_tensor(mask: np.ndarray) -> Tensor:
    """Kohya keeps opacity as 0–1, which is told from 0–255 by the largest value."""
    scale = 255 if np.issubdtype(mask.dtype, np.floating) else 1
    return torch.from_numpy((mask * scale).round().astype(np.uint8))


def read_kohyas(entry: Entry, is_sdxl: bool) -> Latents | None:
    """Latents that kohya's trainer left beside the picture, where they are not older than it."""
    picture = entry.photograph.path
    file = picture.with_name(kohya_name(entry, is_sdxl))
    try:
        if file.stat().st_mtime_ns < picture.stat().st_mtime_ns:
            return None
    except OSError:
        return None
    return read_file(file, entry)


def write_file(file: Path, entry: Entry, latents: Latents) -> None:
    """Keep latents, with the arrays that kohya's trainer has in its files.

    Raises:
        DatasetError: The disk does not take it.
    """
    left, top = entry.fit.crop
    width, height = entry.fit.bucket
    arrays = {
        "latents": latents.plain.numpy(),
        "original_size": np.array(entry.photograph.size),
        "crop_ltrb": np.array((left, top, left + width, top + height)),
    }
    if latents.flipped is not None:
        arrays["latents_flipped"] = latents.flipped.numpy()
    if latents.mask is not None:
        arrays["alpha_mask"] = latents.mask.numpy().astype(np.float32) / 255
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as out:
            np.savez(out, allow_pickle=False, **arrays)
        part.replace(file)
    except OSError as err:
        with contextlib.suppress(OSError):
            part.unlink()
        raise DatasetError(
            f'Latents could not be kept in "{file.parent}": {err.strerror or err}.',
            "Make room on that disk, or use cache_latents without cache_latents_to_disk.",
            file=str(file),
        ) from err
