"""Read single weights of a loaded network again, from the file it was loaded from.

The file is known by what the operating system tells of it; it is read in pieces, never mapped, so
that one which is cut meanwhile is an error and not the end of the process.
"""

from __future__ import annotations

import io
import weakref
from collections.abc import Mapping

import torch

from webui.checkpoints.conversion import Source
from webui.checkpoints.headers import Header, file_state
from webui.checkpoints.weights import DTYPES, FileChangedError, RenamedWeights, read_into
from webui.errors import CheckpointError


class StoredWeights:
    """The weights of a network in the safetensors file they came from; see
    ``networks.lora.holding.Originals``.

    Args:
        header: Of the file, read before they were loaded.
        sources: Name in the network → where it is.
    """

    def __init__(self, header: Header, sources: Mapping[str, Source]) -> None:
        self._header = header
        self._sources = sources

    def open(self) -> OpenWeights | None:
        """None when the file is gone, or another one, or of another kind."""
        try:
            file = io.FileIO(self._header.path)
        except OSError:
            return None
        if file_state(file) != self._header.state:
            file.close()
            return None
        return OpenWeights(file, self._header, self._sources)


class OpenWeights:
    """The same, open; see ``networks.lora.holding.OpenOriginals``. Closed when it is dropped."""

    def __init__(self, file: io.FileIO, header: Header, sources: Mapping[str, Source]) -> None:
        weakref.finalize(self, file.close)
        self._weights = RenamedWeights(_Pieces(file, header), sources)

    def read(self, name: str) -> torch.Tensor:
        """See ``OpenOriginals``."""
        return self._weights.read(name)


class _Pieces:
    """``weights.Weights`` whose tensors all stand in one piece of memory, one after the other."""

    def __init__(self, file: io.FileIO, header: Header) -> None:
        self.header = header
        self._file = file
        self._memory = bytearray()

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """See ``Weights``; good until the next is read."""
        info = self.header.tensors[name]
        length = info.size_bytes
        if len(self._memory) < length:
            self._memory = bytearray(length)
        if not length:
            return torch.empty(info.shape, dtype=DTYPES[info.dtype])
        piece, place = memoryview(self._memory)[:length], self.header.places[name]
        assert self.header.state is not None
        try:
            read_into(piece, self._file, place, self.header.state)
        except FileChangedError as err:
            reason = "the file was changed since it was loaded"
            raise self._lost(reason) from err
        except OSError as err:
            reason = f"they cannot be read: {err.strerror or err}"
            raise self._lost(reason) from err
        data = torch.frombuffer(self._memory, dtype=torch.uint8, count=length)
        return data.view(DTYPES[info.dtype]).reshape(info.shape).to(dtype or DTYPES[info.dtype])

    def _lost(self, reason: str) -> CheckpointError:
        path = self.header.path
        return CheckpointError(
            f"The weights in {path} were wanted again to take a LoRA off, but " + reason + ".",
            "Paint again: the checkpoint is loaded anew then.",
            path=str(path),
        )
