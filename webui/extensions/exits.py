"""Calls that end the process at once, past every fence: refused in the code of extensions.

``sys.exit`` raises what a fence catches; ``os._exit`` and ``os.abort`` do not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

_inside: ContextVar[bool] = ContextVar("_inside", default=False)
"""Goes along with a call into the threads and tasks that servers make for it."""
_PROCESS = os.getpid()


@contextmanager
def exits_refused() -> Iterator[None]:
    """Where something wants to end this process meanwhile, SystemExit is raised instead. Other
    processes that it starts may end."""
    before = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(before)


def refusing_exits(call: Callable[[], Any]) -> Any:
    """The call's answer; see ``exits_refused``."""
    with exits_refused():
        return call()


def _guarded(end: Callable[..., NoReturn], name: str) -> Callable[..., NoReturn]:
    def ends(*args: Any) -> NoReturn:
        if _inside.get() and os.getpid() == _PROCESS:
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
