"""How much memory a training takes."""

from __future__ import annotations

import os
import sys

import psutil
import torch


def memory_facts(device: torch.device) -> dict[str, int]:
    """``memory_bytes`` and ``peak_memory_bytes`` of a GPU; on the CPU of this process."""
    if device.type == "cuda":
        return {
            "memory_bytes": torch.cuda.memory_allocated(device),
            "peak_memory_bytes": torch.cuda.max_memory_allocated(device),
        }
    used = psutil.Process(os.getpid()).memory_info().rss
    return {"memory_bytes": used, "peak_memory_bytes": max(used, _peak_of_process())}


def _peak_of_process() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
