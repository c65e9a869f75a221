"""Pickles written instruction by instruction, as nobody honest would."""

from __future__ import annotations

import pickle
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from webui.checkpoints.pickles import read_pickle
from webui.errors import CheckpointError

MOST_SECONDS = 5.0
"""Of the processor's time; half of it goes into counting memory."""
MOST_BYTES = 100 << 20
PROTOCOL = b"\x80\x04"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def touch(trace: Path) -> str:
    return f"touch {trace}"


def call(name: str, *arguments: bytes) -> bytes:
    """Instructions that call ``module.name`` with what other instructions put on the stack."""
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def keep(key: int) -> bytes:
    """Take what was made off the stack and remember it."""
    return b"r" + struct.pack("<I", key) + b"0"


def kept(key: int) -> bytes:
    return b"j" + struct.pack("<I", key)


def zipped(path: Path, instructions: bytes, name: str = "archive/data.pkl") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, PROTOCOL + instructions + b".")
    return path


def legacy(path: Path, *pickles: bytes) -> Path:
    """torch's format of before 1.6: magic number, version, system, content, keys."""
    first = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    path.write_bytes(b"".join([*(pickle.dumps(x, 2) for x in first), *pickles]))
    return path


def refused(path: Path) -> CheckpointError:
    """The error of reading a file, which came soon and without much memory."""
    began = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            read_pickle(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < MOST_SECONDS
    assert peak < MOST_BYTES
    return caught.value
