"""Hashes by which files are known elsewhere; no torch.

Four rules (formats.md, section 2): SHA-256 of the whole file (AutoV2 shows its first 10 digits),
the old 8-digit hash over 64 KiB at offset 1 MiB, SHA-256 without the safetensors header for
LoRAs (AutoV3), and what a LoRA's own metadata states.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from webui.checkpoints.headers import unreadable
from webui.errors import JobCancelled

BLOCK_BYTES: Final = 4 << 20
OLD_HASH_OFFSET: Final = 0x100000
OLD_HASH_LENGTH: Final = 0x10000
SHORT_DIGITS: Final = 10
LORA_SHORT_DIGITS: Final = 12
OLD_DIGITS: Final = 8


def sha256_of_file(
    path: Path, *, start: int = 0, should_stop: Callable[[], bool] | None = None
) -> str:
    """SHA-256 of a file from a byte offset to its end, 64 lower-case hex digits.

    Raises:
        CheckpointError: The file cannot be read.
        JobCancelled: ``should_stop`` answered True.
    """
    digest = hashlib.sha256()
    buffer = bytearray(BLOCK_BYTES)
    view = memoryview(buffer)
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(start)
            while count := file.readinto(buffer):
                if should_stop is not None and should_stop():
                    raise JobCancelled(f"Hashing {path} was stopped.")
                digest.update(view[:count])
    except OSError as err:
        raise unreadable(path, err) from err
    return digest.hexdigest()


def old_hash(path: Path) -> str:
    """The 8-digit hash used until January 2023; «NOFILE» when the file is not there."""
    try:
        with open(path, "rb") as file:
            file.seek(OLD_HASH_OFFSET)
            return hashlib.sha256(file.read(OLD_HASH_LENGTH)).hexdigest()[:OLD_DIGITS]
    except FileNotFoundError:
        return "NOFILE"
    except OSError as err:
        raise unreadable(path, err) from err


def stated_hash(metadata: Mapping[str, str]) -> str:
    """The hash a LoRA's trainer wrote into it, 64 hex digits; '' when there is none."""
    stated = metadata.get("sshs_model_hash", "").lower()
    is_hash = len(stated) == 64 and all(c in "0123456789abcdef" for c in stated)
    return stated if is_hash else ""


def lora_hash(
    path: Path,
    metadata: Mapping[str, str],
    *,
    should_stop: Callable[[], bool] | None = None,
) -> str:
    """A LoRA's hash, 64 hex digits: what the trainer stated, else the file without its header.

    Raises:
        CheckpointError: The file cannot be read.
        JobCancelled: ``should_stop`` answered True.
    """
    stated = stated_hash(metadata)
    if stated:
        return stated
    start = 0
    if path.suffix.lower() == ".safetensors":
        try:
            with open(path, "rb") as file:
                start = 8 + int.from_bytes(file.read(8), "little")
                start = min(start, os.fstat(file.fileno()).st_size)
        except OSError as err:
            raise unreadable(path, err) from err
    return sha256_of_file(path, start=start, should_stop=should_stop)
