"""Write a LoRA as other programs know it: kohya's names, metadata and hashes, never half a file.

Source: lora-training.md, sections 4.1 to 4.5.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from torch import Tensor

from webui.checkpoints.write import NewTensor, file_bytes, lora_hashes, whole
from webui.errors import TrainingError

PRECISIONS: Final = {"float": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
MINIMUM_KEYS: Final = (
    "ss_v2", "ss_base_model_version", "ss_network_module", "ss_network_dim", "ss_network_alpha",
    "ss_network_args",
)  # fmt: skip
"""What ``no_metadata`` leaves: programs that load the file ask for it."""


def file_tensors(tensors: Mapping[str, Tensor], precision: str | None) -> dict[str, Tensor]:
    """Tensors as they stand in a file: on the CPU, contiguous, all in one format.

    Args:
        precision: ``float``, ``fp16``, ``bf16``; None = as they are.
    """
    dtype = PRECISIONS[precision] if precision else None
    return {
        name: tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
        for name, tensor in tensors.items()
    }


def model_hashes(tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """The two hashes by which a LoRA is known, as keys of its metadata."""
    return lora_hashes(_listed(tensors), metadata)


def _listed(tensors: Mapping[str, Tensor]) -> list[NewTensor]:
    return [whole(name, tensor) for name, tensor in tensors.items()]


def write_lora(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], precision: str | None
) -> None:
    """Write a LoRA; endings other than ``.safetensors`` get a pickled dict without metadata.

    Raises:
        TrainingError: It cannot be written; what stood there before is still there.
    """
    stored = file_tensors(tensors, precision)
    with replaced(path) as temporary:
        if path.suffix == ".safetensors":
            told = {**metadata, **model_hashes(stored, metadata)}
            temporary.write_bytes(file_bytes(_listed(stored), told))
        else:
            write_pickle(stored, temporary)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Hands out a temporary name; when all went well the file takes its place in one move.

    Raises:
        TrainingError: The disk is full, or may not be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except (OSError, safetensors.SafetensorError, RuntimeError) as err:
        raise cannot_write(path, err) from err
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_pickle(value: Any, path: Path) -> None:
    """``torch.save``; into an open file, whose own error is then behind torch's.

    Raises:
        RuntimeError, OSError: The disk is full, or may not be written.
    """
    with path.open("wb") as file:
        torch.save(value, file)


def cannot_write(path: Path, err: BaseException) -> TrainingError:
    """The plain sentence for a file that cannot be written."""
    cause = _behind(err)
    is_full = getattr(cause, "errno", None) == errno.ENOSPC or "No space left" in str(cause)
    reason = "the disk is full" if is_full else str(getattr(cause, "strerror", None) or cause)
    hint = "Make room on the disk" if is_full else "Check the folder and who may write there"
    return TrainingError(
        f"{path.name} could not be saved into {path.parent}: " + reason + ".",
        hint + ", then go on: nothing that was saved before is lost.",
        path=str(path),
    )


def _behind(err: BaseException) -> BaseException:
    """The system's own error that an error of a library comes from, if there is one."""
    cause: BaseException | None = err
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause or err


def _flush(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
