"""TensorBoard's log of a training, written without TensorBoard.

A file of records, each with its length and two checksums; a record is a protocol buffer ``Event``
with a number under a tag. That is all that is needed, so it is written here.

Source: tensorflow/core/util/event.proto, summary.proto and lib/io/record_writer; CRC-32C with
TFRecord's mask.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

from webui.params.training import TrainingOptions
from webui.training.config import without_paths, write_toml
from webui.training.watching import StepFacts

TRACKER: Final = "network_train"
CONFIG: Final = "options.toml"
_MASK: Final = 0xA282EAD8
_POLYNOMIAL: Final = 0x82F63B78


class EventFile:
    """Numbers over steps, appended to one file.

    Args:
        folder: Of the run; None = nothing is written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file: BinaryIO | None = None
        self._epoch = 0
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
            self._file = open(folder / name, "ab")  # noqa: SIM115  closed by close()
            self._record(_double(1, time.time()) + _bytes(3, b"brain.Event:2"))

    @classmethod
    def of(cls, options: TrainingOptions) -> EventFile:
        """The log that the options ask for, in kohya's folder names."""
        if not options.logging_dir:
            return cls(None)
        run = f"{options.log_prefix}{time.strftime('%Y%m%d%H%M%S')}"
        folder = Path(options.logging_dir) / run / (options.log_tracker_name or TRACKER)
        log = cls(folder)
        if options.log_config:
            with contextlib.suppress(OSError):
                (folder / CONFIG).write_text(write_toml(without_paths(options)), encoding="utf-8")
        return log

    def step(self, facts: StepFacts) -> None:
        """The numbers of one step, under kohya's tags."""
        names = {"text": "textencoder"}
        rates = {f"lr/{names.get(name, name)}": rate for name, rate in facts.rates.items()}
        losses = {"loss/current": facts.loss, "loss/average": facts.average_loss}
        self.add({**losses, **rates}, facts.step)
        if facts.epoch != self._epoch:
            if self._epoch:
                self.add({"loss/epoch_average": facts.average_loss}, self._epoch)
            self._epoch = facts.epoch

    def validation(self, epoch: int, loss: float, train_loss: float) -> None:
        """The loss of held-out pictures."""
        divergence = loss - train_loss
        names = {"epoch_average": loss, "epoch_divergence": divergence}
        self.add({f"loss/validation/{name}": value for name, value in names.items()}, epoch)

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by tag at one step. A disk that is full costs the numbers only."""
        if self._file is None:
            return
        summary = b"".join(
            _bytes(1, _bytes(1, tag.encode()) + _float(2, value)) for tag, value in values.items()
        )
        self._record(_double(1, time.time()) + _whole(2, step) + _bytes(5, summary))

    def _record(self, data: bytes) -> None:
        assert self._file is not None
        length = struct.pack("<Q", len(data))
        try:
            self._file.write(length + _checksum(length) + data + _checksum(data))
            self._file.flush()
        except OSError:
            self._file = None

    def close(self) -> None:
        """End the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _whole(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _table() -> tuple[int, ...]:
    found: list[int] = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (_POLYNOMIAL if number & 1 else 0)
        found.append(number)
    return tuple(found)


_TABLE: Final = _table()


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)
