"""Calls that are given up when they take too long."""

from __future__ import annotations

import ctypes
import functools
import inspect
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class TimeIsUp(Exception):
    """A call took longer than it may."""


class _GiveUp(BaseException):
    """Raised inside a thread that nobody waits for any more; ends a loop written in Python."""


def within(seconds: float, call: Callable[[], Answer]) -> Answer:
    """Call something in a thread of its own, in the caller's context, and wait for it so long.

    A call that takes longer is told to end; one that does not listen (it waits in native code)
    goes on in the background, and its answer is thrown away.

    Raises:
        TimeIsUp: It takes longer.
        BaseException: What the call raised, SystemExit among it; KeyboardInterrupt as an error.
    """
    answer: list[Answer] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(call())
        except KeyboardInterrupt:  # Ctrl-C reaches the main thread alone: this is the call's own
            failure.append(RuntimeError("it raised KeyboardInterrupt"))
        except BaseException as err:  # handed to the one who waits
            failure.append(err)

    thread = threading.Thread(target=copy_context().run, args=(run,), name="extension", daemon=True)
    thread.start()
    thread.join(seconds)
    if answer:
        return answer[0]
    if failure:
        raise failure[0]
    _end(thread)
    raise TimeIsUp(f"it took longer than {seconds:g} s")


def limited(call: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """The same for servers: a handler that is told to end when its time is up, since the thread
    of one that loops would never be free again.

    One that gives way by itself (``async``, a generator) stays as it is.
    """
    is_named = inspect.isroutine(call) or isinstance(call, partial)
    body = call if is_named else type(call).__call__
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if any(is_one(body) for is_one in kinds):
        return call

    @functools.wraps(call)
    def handler(*args: Any, **kwargs: Any) -> Any:
        return within(seconds, partial(call, *args, **kwargs))

    return handler


def _end(thread: threading.Thread) -> None:
    ident: Any = thread.ident
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(_GiveUp))
