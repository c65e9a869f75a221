"""Waiting for what happens beside a test, as patiently as a busy machine asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

PATIENCE = 150.0
"""Seconds: what takes longer never comes. A test is ended after 600 by itself."""


def wait_until(
    is_true: Callable[[], Found],
    what: object = "it did not happen",
    seconds: float = PATIENCE,
) -> Found:
    """The first answer that says yes.

    Raises:
        AssertionError: None came; with ``what`` (asked then, where it is a function).
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := is_true():
            return found
        time.sleep(0.02)
    raise AssertionError(what() if callable(what) else what)
