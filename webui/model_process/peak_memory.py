"""The most memory that was in use while a job ran, for telling what the next one will need."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""Sets VmHWM back to what is in use now (Linux, proc(5))."""


class PeakMemory:
    """Measures one job at a time.

    Args:
        device: Where it runs; on a CPU the whole process is measured, where the system tells.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def begin(self) -> None:
        """A job begins now."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        with suppress(OSError):
            _RESET.write_text(_RESET_PEAK, encoding="ascii")

    def bytes(self) -> int:
        """The most in use since ``begin``; 0 where nobody tells."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        with suppress(OSError, ValueError):
            for line in _STATUS.read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return 0
