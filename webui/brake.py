"""A brake on guessing passwords: who was wrong too often has to wait; nothing is stored."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

MAX_FAILURES = 5
WINDOW_SECONDS = 60.0
WAIT_SECONDS = 10.0
MAX_PEERS = 1000


class Brake:
    """Counts wrong passwords by peer at all doors; used from the event loop only.

    After ``MAX_FAILURES`` within ``WINDOW_SECONDS`` every further one costs ``WAIT_SECONDS``.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}

    def wait_seconds(self, peer: str) -> int:
        """Whole seconds until the peer may try again; 0 = now."""
        recent = self._failures.get(peer)
        if recent is None or len(recent) < MAX_FAILURES:
            return 0
        now = self._clock()
        if recent[0] < now - WINDOW_SECONDS:
            return 0
        return max(0, math.ceil(recent[-1] + WAIT_SECONDS - now))

    def note_failure(self, peer: str) -> None:
        """Remember a wrong password; the peer not wrong for longest is dropped."""
        recent = self._failures.pop(peer, None) or deque(maxlen=MAX_FAILURES)
        recent.append(self._clock())
        self._failures[peer] = recent
        if len(self._failures) > MAX_PEERS:
            del self._failures[next(iter(self._failures))]
