"""Write a weights file piece by piece: it never lies in memory as a whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import torch

from webui.checkpoints.hashes import OLD_DIGITS, OLD_HASH_LENGTH, OLD_HASH_OFFSET
from webui.checkpoints.headers import TensorInfo
from webui.checkpoints.weights import DTYPES
from webui.errors import CheckpointError
from webui.progress import Progress, Silent, stop_if_interrupted

PIECE_ELEMENTS: Final = 1 << 18
"""So many numbers are in memory at once: 1 MiB of float32, large enough for full disk speed."""
NAMES: Final[Mapping[torch.dtype, str]] = {dtype: name for name, dtype in DTYPES.items()}
MAX_NAME_BYTES: Final = 255
"""Of a file's name on all common file systems; a Chinese character takes three of them."""
_MIB: Final = 1 << 20
_SPARE_BYTES: Final = 16 * _MIB
_PART: Final = ".danqing-part-"
_LEFTOVER_SECONDS: Final = 24 * 3600
"""What was not written to for so long, nobody writes any more."""


@dataclass(frozen=True)
class NewTensor:
    """One tensor of a file to be written.

    Attributes:
        info: dtype and shape as they will stand in the file.
        pieces: Gives its numbers in order, in flat tensors of that dtype; asked once.
    """

    name: str
    info: TensorInfo
    pieces: Callable[[], Iterable[torch.Tensor]]


def whole(name: str, tensor: torch.Tensor) -> NewTensor:
    """A tensor that lies in memory already."""
    info = TensorInfo(NAMES[tensor.dtype], tuple(tensor.shape))
    return NewTensor(name, info, lambda: (tensor,))


def write_safetensors(
    path: Path,
    tensors: Iterable[NewTensor],
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a safetensors file that has its name only once it is complete and on the disk.

    Args:
        path: Must not exist; missing folders above it are made.
        tensors: Names must differ. They are written in safetensors' usual order: wide number
            formats first, then by name.
        progress: Told MiB; asked before each piece.
    Returns:
        ``path``.
    Raises:
        CheckpointError: The name is taken, the disk is full or cannot be written.
        JobCancelled: The person asked to stop; nothing is left behind.
    """
    ordered = _in_order(tensors)
    total = sum(t.info.size_bytes for t in ordered)
    with unfinished(path, total) as part:
        try:
            with open(part, "wb") as file:
                file.write(_header(ordered, metadata or {}))
                _write_all(file, ordered, total, progress or Silent())
                file.flush()
                os.fsync(file.fileno())
        except OSError as err:
            raise _cannot_write(path, err) from err
    return path


def file_bytes(tensors: Iterable[NewTensor], metadata: Mapping[str, str]) -> bytes:
    """A small safetensors file in memory: equal values give equal bytes.

    The package's own writer puts metadata into another order each time.
    """
    ordered = _in_order(tensors)
    pieces = (bytes_of(piece) for tensor in ordered for piece in tensor.pieces())
    return b"".join([_header(ordered, metadata), *pieces])


def lora_hashes(tensors: Iterable[NewTensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """The two hashes by which a LoRA is known, as keys of its metadata.

    Source: lora-training.md, section 4.5: of the file as it would be with the ``ss_`` metadata
    alone; the first without its header.
    """
    ordered = _in_order(tensors)
    start = _header(ordered, {k: v for k, v in metadata.items() if k.startswith("ss_")})
    body, end = hashlib.sha256(), OLD_HASH_OFFSET + OLD_HASH_LENGTH
    for data in (bytes_of(piece) for tensor in ordered for piece in tensor.pieces()):
        body.update(data)
        if len(start) < end:
            start += data[: end - len(start)]
    old = hashlib.sha256(start[OLD_HASH_OFFSET:end]).hexdigest()[:OLD_DIGITS]
    return {"sshs_model_hash": body.hexdigest(), "sshs_legacy_hash": old}


def _in_order(tensors: Iterable[NewTensor]) -> list[NewTensor]:
    return sorted(tensors, key=lambda t: (-DTYPES[t.info.dtype].itemsize, t.name))


@contextlib.contextmanager
def unfinished(path: Path, total_bytes: int) -> Iterator[Path]:
    """A name beside ``path`` to write a file or folder under; it gets ``path`` when the block
    ends well, and is removed when it does not. Hidden, so no scan of the folder finds it. What
    killed processes left there is removed a day later.

    Raises:
        CheckpointError: The name is taken, or the disk has no room.
    """
    check_free(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        free = shutil.disk_usage(path.parent).free
    except OSError as err:
        raise _cannot_write(path, err) from err
    if free < total_bytes + _SPARE_BYTES:
        raise CheckpointError(
            f"{path.name} needs {total_bytes / 1e9:.1f} GB; the disk has {free / 1e9:.1f} GB free.",
            "Make room on the disk of the models folder, then try again.",
            path=str(path),
        )
    part = path.with_name(f"{_PART}{uuid.uuid4().hex}")
    try:
        yield part
        check_free(path)
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as err:
        raise _cannot_write(path, err) from err
    finally:
        _remove(part)


def _remove_leftovers(folder: Path) -> None:
    for part in folder.glob(f"{_PART}*"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _LEFTOVER_SECONDS:
                _remove(part)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)


def check_free(path: Path) -> None:
    """Nothing that exists is written over.

    Raises:
        CheckpointError: The name is taken, or longer than file systems allow.
    """
    length = len(path.name.encode())
    if length > MAX_NAME_BYTES:
        raise CheckpointError(
            f"The name {path.name[:60]}… is {length} bytes long; {MAX_NAME_BYTES} are possible.",
            "Give the result a shorter name.",
            path=str(path),
        )
    try:
        is_taken = path.exists() or path.is_symlink()
    except OSError as err:
        raise _cannot_write(path, err) from err
    if is_taken:
        raise CheckpointError(
            f"{path.name} exists already in {path.parent}.",
            "Give the result another name, or move that file away.",
            path=str(path),
        )


def _header(tensors: Sequence[NewTensor], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for tensor in tensors:
        end = position + tensor.info.size_bytes
        entries[tensor.name] = {
            "dtype": tensor.info.dtype,
            "shape": list(tensor.info.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of 8
    return len(text).to_bytes(8, "little") + text


def _write_all(
    file: BinaryIO, tensors: Sequence[NewTensor], total: int, progress: Progress
) -> None:
    done = 0
    for tensor in tensors:
        end = done + tensor.info.size_bytes
        for piece in tensor.pieces():
            stop_if_interrupted(progress)
            assert NAMES[piece.dtype] == tensor.info.dtype, f"{tensor.name} is {piece.dtype}"
            data = bytes_of(piece)
            file.write(data)
            done += len(data)
            progress.step(done // _MIB, -(-total // _MIB))
        assert done == end, f"{tensor.name}: {done - end:+d} bytes"


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """The bytes of a tensor on the CPU, shared with it where it is contiguous."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _cannot_write(path: Path, err: OSError) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be written: {err.strerror or err}.",
        "Look at the free space and the permissions of the models folder.",
        path=str(path),
    )


def _sync_folder(folder: Path) -> None:
    """Make a new name last through a power cut; Windows cannot and need not."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
