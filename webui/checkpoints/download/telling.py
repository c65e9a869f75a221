"""What a download tells while it runs, and what it asks."""

from __future__ import annotations

import collections
import time
from dataclasses import dataclass
from typing import Final, Literal, Protocol

Stage = Literal["asking", "fetching", "waiting", "checking"]
SPEED_WINDOW_SECONDS: Final = 8.0


@dataclass(frozen=True)
class State:
    """How far a download is.

    Attributes:
        stage: ``asking`` which source answers, ``fetching``, ``waiting`` because a server asked
            for patience, ``checking`` what came.
        done_bytes, total_bytes: Of the file; the total is None where no server tells it.
        bytes_per_second: Over the last seconds.
        host: Where it comes from now.
        mirror_of: The host in whose place that one answers; '' when it is the original.
        wait_seconds: Until the next attempt, while ``waiting``.
    """

    stage: Stage
    done_bytes: int = 0
    total_bytes: int | None = None
    bytes_per_second: float = 0.0
    host: str = ""
    mirror_of: str = ""
    wait_seconds: float = 0.0

    @property
    def rest_seconds(self) -> float | None:
        """How long it will still take at the present speed; None when that cannot be told."""
        if self.total_bytes is None or self.bytes_per_second <= 0:
            return None
        return max(0, self.total_bytes - self.done_bytes) / self.bytes_per_second


def in_bytes(count: float) -> str:
    """So many bytes in the unit that fits."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.0f} kB"


class Watcher(Protocol):
    """Who wants to know. Both are called some four times a second, in the thread of the work."""

    def tell(self, state: State) -> None:
        """It is this far."""
        ...

    def is_interrupted(self) -> bool:
        """True once the person asked to stop."""
        ...


class Nobody:
    """Nobody looks and nobody stops it."""

    def tell(self, state: State) -> None:
        return None

    def is_interrupted(self) -> bool:
        return False


class Speedometer:
    """Bytes a second over the last few seconds."""

    def __init__(self) -> None:
        self._seen: collections.deque[tuple[float, int]] = collections.deque()
        self._bytes = 0

    def add(self, count: int) -> None:
        """So many bytes came just now."""
        now = time.monotonic()
        self._seen.append((now, count))
        self._bytes += count
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._seen and self._seen[0][0] < now - SPEED_WINDOW_SECONDS:
            self._bytes -= self._seen.popleft()[1]

    @property
    def bytes_per_second(self) -> float:
        """0 until the second sign of life."""
        now = time.monotonic()
        self._forget(now)
        if len(self._seen) < 2:
            return 0.0
        return self._bytes / max(now - self._seen[0][0], 0.25)
