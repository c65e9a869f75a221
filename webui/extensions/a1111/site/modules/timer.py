"""Measuring."""

from __future__ import annotations

import time


class Timer:
    """Seconds by the name of what they were spent on."""

    def __init__(self, print_log: bool = False) -> None:
        self.start = self._last = time.perf_counter()
        self.records: dict[str, float] = {}
        self.total = 0.0

    def record(self, category: str, extra_time: float = 0) -> None:
        """The time since the last record belongs to this."""
        now = time.perf_counter()
        spent = now - self._last + extra_time
        self._last = now
        self.records[category] = self.records.get(category, 0.0) + spent
        self.total += spent

    def summary(self) -> str:
        parts = ", ".join(f"{name}: {seconds:.1f}s" for name, seconds in self.records.items())
        return f"{self.total:.1f}s ({parts})"


startup_timer = Timer()
