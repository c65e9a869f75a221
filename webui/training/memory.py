"""How much memory a training takes."""

from __future__ import annotations

import os
import sys
from typing import Final

import psutil
import torch

ALMOST_FULL: Final = 0.95
"""Share of a card's memory from which on some drivers take main memory instead, without a word."""


def memory_facts(device: torch.device) -> dict[str, int]:
    """``memory_bytes`` and ``peak_memory_bytes`` of a GPU; on the CPU of this process."""
    if device.type == "cuda":
        return {
            "memory_bytes": torch.cuda.memory_allocated(device),
            "peak_memory_bytes": torch.cuda.max_memory_allocated(device),
        }
    used = psutil.Process(os.getpid()).memory_info().rss
    return {"memory_bytes": used, "peak_memory_bytes": max(used, _peak_of_process())}


def card_memory(device: torch.device) -> tuple[int, int]:
    """Bytes of a GPU that are in use, by whomever, and all it has; (0, 0) for other devices."""
    if device.type != "cuda":
        return 0, 0
    free, total = torch.cuda.mem_get_info(device)
    return total - free, total


def _peak_of_process() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
