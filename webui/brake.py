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
MAX_TOTAL_FAILURES = 100
TOTAL_WAIT_SECONDS = 2.0


class Brake:
    """Counts wrong passwords at all doors, by peer and together; used from the event loop only.

    After ``MAX_FAILURES`` of one peer within ``WINDOW_SECONDS`` every further one costs it
    ``WAIT_SECONDS``. After ``MAX_TOTAL_FAILURES`` of all peers, whoever they are, there is one
    guess in ``TOTAL_WAIT_SECONDS``: many addresses are no way around. It does not hold for a peer
    that has been right before, lest strangers lock out those who live here.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}
        self._total: deque[float] = deque(maxlen=2 * MAX_TOTAL_FAILURES)
        self._known: dict[str, None] = {}

    def wait_seconds(self, peer: str) -> int:
        """Whole seconds until the peer may try again; 0 = now."""
        own = self._wait(self._failures.get(peer), MAX_FAILURES, WAIT_SECONDS)
        if peer in self._known:
            return own
        return max(own, self._wait(self._total, MAX_TOTAL_FAILURES, TOTAL_WAIT_SECONDS))

    def _wait(self, recent: deque[float] | None, most: int, wait_seconds: float) -> int:
        if recent is None or len(recent) < most:
            return 0
        now = self._clock()
        if recent[-most] < now - WINDOW_SECONDS:
            return 0
        return max(0, math.ceil(recent[-1] + wait_seconds - now))

    def note_failure(self, peer: str) -> None:
        """Remember a wrong password; the peer not wrong for longest is dropped.

        A password is noted as wrong before it is looked at, so that many guesses at once are
        counted, too; ``forgive`` takes that back. Twice as many are kept as count, so that what is
        taken back has not pushed out one that stays.
        """
        recent = self._failures.pop(peer, None) or deque(maxlen=2 * MAX_FAILURES)
        recent.append(self._clock())
        self._failures[peer] = recent
        self._total.append(recent[-1])
        if len(self._failures) > MAX_PEERS:
            del self._failures[next(iter(self._failures))]

    def forgive(self, peer: str) -> None:
        """Take the peer's newest failure back: its password was right."""
        recent = self._failures.get(peer)
        if recent:
            recent.pop()
        if not recent:
            self._failures.pop(peer, None)
        if self._total:
            self._total.pop()
        self._known[peer] = None
        while len(self._known) > MAX_PEERS:
            del self._known[next(iter(self._known))]
