"""What stood in a browser's forms before: undo and redo of changes."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

MOST_STATES = 60
MOST_FORMS = 200
"""Forms of browsers that are remembered; the one that was used longest ago goes first."""
MOST_CHARACTERS = 200_000
"""Of one text in a form that is remembered."""
ON_ITS_WAY_SECONDS = 3.0
"""After a step, a state that is known comes from before it: it was on its way here."""


@dataclass
class _Past:
    states: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    place: int = -1
    stepped_at: float = -math.inf


class FormHistory:
    """States of forms by browser and tab, in memory: a restart forgets them.

    Args:
        on_its_way_seconds: For how long after a step a state may still come in that was sent
            before it; 0 where states are kept by whoever makes them.
    """

    def __init__(self, *, on_its_way_seconds: float = ON_ITS_WAY_SECONDS) -> None:
        self._on_its_way_seconds = on_its_way_seconds
        self._lock = threading.Lock()
        self._pasts: OrderedDict[tuple[str, str], _Past] = OrderedDict()

    def keep(self, client: str, tab: str, before: dict[str, Any], now: dict[str, Any]) -> None:
        """Remember a state; what was undone before it can no longer be redone.

        Args:
            before: The state there was when nothing is remembered yet.
        """
        if any(isinstance(v, str) and len(v) > MOST_CHARACTERS for v in now.values()):
            return
        with self._lock:
            past = self._past(client, tab)
            if not past.states:
                past.states, past.place = [before], 0
            is_late = time.monotonic() - past.stepped_at < self._on_its_way_seconds
            if past.states[past.place] == now or (is_late and now in past.states):
                return
            past.states = [*past.states[: past.place + 1], now][-MOST_STATES:]
            past.place = len(past.states) - 1

    def step(self, client: str, tab: str, by: int) -> dict[str, Any] | None:
        """What differs in the state before (−1) or behind (+1) the present one, which is the
        present one from now on; None when there is none. A name that is not in that state
        comes with None."""
        with self._lock:
            past = self._past(client, tab)
            place = past.place + by
            if not 0 <= place < len(past.states):
                return None
            old, new = past.states[past.place], past.states[place]
            past.place, past.stepped_at = place, time.monotonic()
            gone: dict[str, Any] = {name: None for name in old if name not in new}
            return gone | {name: value for name, value in new.items() if old.get(name) != value}

    def can_step(self, client: str, tab: str, by: int) -> bool:
        """True when ``step`` has somewhere to go."""
        with self._lock:
            past = self._past(client, tab)
            return 0 <= past.place + by < len(past.states)

    def _past(self, client: str, tab: str) -> _Past:
        past = self._pasts.setdefault((client, tab), _Past())
        self._pasts.move_to_end((client, tab))
        while len(self._pasts) > MOST_FORMS:
            self._pasts.popitem(last=False)
        return past
