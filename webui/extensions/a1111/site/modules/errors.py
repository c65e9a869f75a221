"""Telling what went wrong."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

from webui.extensions.a1111.host import current

exception_records: list[Any] = []


def report(message: str, *, exc_info: bool = False) -> None:
    """Tell of a failure under the extension's name."""
    host = current()
    err = sys.exc_info()[1] if exc_info else None
    host.fence.report(host.caller()[0], "errors.report", err or RuntimeError(message))


def print_error_explanation(message: str) -> None:
    print(message, file=sys.stderr)


def display(e: BaseException, task: str, *, full_traceback: bool = False) -> None:
    """Print a failure."""
    print(f"{task}: {type(e).__name__}: {e}", file=sys.stderr)
    if full_traceback:
        traceback.print_exception(e)


def display_once(e: BaseException, task: str) -> None:
    display(e, task)


def run(code: Callable[[], Any], task: str) -> None:
    """Call something; print what it raises."""
    try:
        code()
    except Exception as err:  # fence: whoever calls this wants to go on
        display(err, task)


def check_versions() -> None:
    """The program has looked already."""
