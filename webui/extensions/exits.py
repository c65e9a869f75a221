"""Calls that end the process at once, past every fence: refused in the code of extensions.

``sys.exit`` raises what a fence catches; ``os._exit`` and ``os.abort`` do not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, NoReturn

_inside = threading.local()
_PROCESS = os.getpid()


def refusing_exits(call: Callable[[], Any]) -> Any:
    """The call's answer; where it wants to end this process, SystemExit is raised instead. Other
    processes that it starts may end."""
    before = getattr(_inside, "depth", 0)
    _inside.depth = before + 1
    try:
        return call()
    finally:
        _inside.depth = before


def _guarded(end: Callable[..., NoReturn], name: str) -> Callable[..., NoReturn]:
    def ends(*args: Any) -> NoReturn:
        if getattr(_inside, "depth", 0) and os.getpid() == _PROCESS:
            raise SystemExit(f"os.{name}")
        end(*args)

    ends.is_guarded = True  # type: ignore[attr-defined]
    return ends


def guard_exits() -> None:
    """Have ``os._exit`` and ``os.abort`` ask first; done once in a process."""
    for name in ("_exit", "abort"):
        end = getattr(os, name)
        if not hasattr(end, "is_guarded"):
            setattr(os, name, _guarded(end, name))
