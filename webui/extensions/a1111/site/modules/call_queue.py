"""Handlers of the page that take their turn."""

from __future__ import annotations

import functools
import html
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from webui.extensions.a1111.host import current

queue_lock = threading.RLock()


def wrap_queued_call(func: Callable[..., Any]) -> Callable[..., Any]:
    """One of these at a time."""

    @functools.wraps(func)
    def in_turn(*args: Any, **kwargs: Any) -> Any:
        with queue_lock:
            return func(*args, **kwargs)

    return in_turn


def wrap_gradio_call(
    func: Callable[..., Any], extra_outputs: Any = None, add_stats: bool = False
) -> Callable[..., Any]:
    """A handler that tells what went wrong in its last output."""

    @functools.wraps(func)
    def told(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            result = list(func(*args, **kwargs))
        except Exception as err:  # fence: around a handler of the page
            owner = current().caller()[0]
            current().fence.report(owner, func.__name__, err)
            line = traceback.format_exception_only(err)[-1].strip()
            outputs = list(extra_outputs) if extra_outputs is not None else [None, ""]
            return (*outputs, f"<div class='error'>{html.escape(line)}</div>")
        if add_stats and result:
            seconds = time.perf_counter() - began
            result[-1] = f"{result[-1]}<div class='performance'>{seconds:.1f} s</div>"
        return tuple(result)

    return told


wrap_gradio_call_no_job = wrap_gradio_call


def wrap_gradio_gpu_call(func: Callable[..., Any], extra_outputs: Any = None) -> Callable[..., Any]:
    """As ``wrap_gradio_call``, one at a time. What paints belongs into a script's ``run``."""
    return wrap_gradio_call(wrap_queued_call(func), extra_outputs, add_stats=True)
