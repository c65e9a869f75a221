"""The fence around every call of an extension: nothing that it does gets past.

What goes wrong is recorded under the extension's name with a short id, under which the log has the
traceback. An extension that fails again and again is left out until the next start.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

from webui.errors import JobCancelled, JobPaused, ParamsError
from webui.extensions.exits import guard_exits, refusing_exits
from webui.extensions.note import Note, label
from webui.extensions.time_limit import TimeIsUp, within
from webui.progress import Interrupted

logger = logging.getLogger(__name__)
MOST_FAILURES = 3
"""So many failures, and an extension is left out."""
KEPT_TROUBLES = 20
PASSES = (JobCancelled, JobPaused, Interrupted)
"""The person asked to stop: not a failure of whoever said so."""
REFUSALS = (*PASSES, ParamsError)
"""What passes in a moment that may refuse what was asked for."""


@dataclass(frozen=True)
class Trouble:
    """Something that went wrong in an extension.

    Attributes:
        moment: A hook's name, or ``loading``.
        time: Seconds since 1970. id: Under which the log has the traceback.
        is_fatal: The extension is left out from now on.
    """

    plugin: str
    moment: str
    message: str
    time: float
    id: str
    is_fatal: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the wire and the page."""
        return asdict(self)


class Runner(Protocol):
    """How a process calls extensions."""

    def __call__(self, label: bytes, seconds: float, call: Callable[[], Any], /) -> Any:
        """The call's answer; raises what it raises, and TimeIsUp where it waits no longer."""
        ...


class Fence:
    """What went wrong in the extensions of one process.

    Args:
        runner: How calls are made.
        on_trouble: Told of everything that goes wrong.
    """

    def __init__(
        self, runner: Runner, on_trouble: Callable[[Trouble], None] = lambda trouble: None
    ) -> None:
        guard_exits()
        self._run = runner
        self._on_trouble = on_trouble
        self._lock = threading.Lock()
        self._troubles: list[Trouble] = []
        self._failures: dict[str, int] = {}
        self._out: dict[str, str] = {}

    def call(self, plugin: str, moment: str, seconds: float, call: Callable[[], Any]) -> Any:
        """Call an extension once; as ``call_labelled``."""
        return self.call_labelled(plugin, moment, label(plugin, moment, seconds), seconds, call)

    def call_labelled(
        self,
        plugin: str,
        moment: str,
        note: bytes,
        seconds: float,
        call: Callable[[], Any],
        passes: tuple[type[BaseException], ...] = PASSES,
    ) -> Any:
        """Call an extension.

        Args:
            note: What is noted meanwhile, from ``note.label``.
            passes: What is no failure of the extension, and goes on to whoever called.
        Returns:
            Its answer; None when it failed.
        Raises:
            JobCancelled, JobPaused, Interrupted: The extension passed on that the person stopped.
            BaseException: Of ``passes``.
        """
        try:
            return self._run(note, seconds, partial(refusing_exits, call))
        except passes:
            raise
        except TimeIsUp as err:
            self.record(plugin, moment, err, is_fatal=True)
        except KeyboardInterrupt:
            raise
        except BaseException as err:  # fence: SystemExit, too, ends no more than this call
            self.record(plugin, moment, err)
        return None

    def record(
        self,
        plugin: str,
        moment: str,
        err: BaseException | str,
        *,
        told: str = "",
        is_fatal: bool = False,
    ) -> Trouble:
        """Note a failure, and leave the extension out when it was one too many.

        Args:
            told: What people read of it; '' = what ``err`` says.
        """
        told = told or (err if isinstance(err, str) else describe(err))
        with self._lock:
            count = self._failures[plugin] = self._failures.get(plugin, 0) + 1
            is_fatal = is_fatal or count >= MOST_FAILURES
            trouble = Trouble(plugin, moment, told, time.time(), uuid.uuid4().hex[:8], is_fatal)
            self._troubles = [*self._troubles, trouble][-KEPT_TROUBLES * 5 :]
            if is_fatal:
                self._out[plugin] = f"{moment}: {told}"
        trace = err if isinstance(err, BaseException) else None
        logger.error(
            "The extension %s failed in %s (%s): %s%s",
            plugin, moment, trouble.id, told,
            "\n" + "".join(traceback.format_exception(trace)) if trace else "",
        )  # fmt: skip
        self._on_trouble(trouble)
        return trouble

    def take(self, trouble: Trouble) -> None:
        """Note what was recorded in another process."""
        with self._lock:
            self._troubles = [*self._troubles, trouble][-KEPT_TROUBLES * 5 :]
            if trouble.is_fatal:
                self._out[trouble.plugin] = f"{trouble.moment}: {trouble.message}"

    def troubles(self, plugin: str) -> list[Trouble]:
        """What went wrong in an extension, the latest last."""
        with self._lock:
            return [one for one in self._troubles if one.plugin == plugin][-KEPT_TROUBLES:]

    def left_out(self, plugin: str) -> str:
        """Why an extension is left out, without a full stop; '' while it is not."""
        return self._out.get(plugin, "").removesuffix(".")

    def forget(self, plugin: str) -> None:
        """It was changed, or a person wants it tried again."""
        with self._lock:
            self._troubles = [one for one in self._troubles if one.plugin != plugin]
            self._failures.pop(plugin, None)
            self._out.pop(plugin, None)


def describe(err: BaseException) -> str:
    """What happened, in a line."""
    if isinstance(err, SystemExit):
        return "it tried to end the program (SystemExit)"
    return f"{type(err).__name__}: {err}" if str(err) else type(err).__name__


def within_time(label: bytes, seconds: float, call: Callable[[], Any], /) -> Any:
    """For the web process: a call is waited for so long and no longer."""
    return within(seconds, call)


class Noted:
    """For the worker: calls are made as they are, and noted for whoever watches from outside.

    Args:
        note: Where calls are noted.
    """

    def __init__(self, note: Note) -> None:
        self._note = note

    def __call__(self, label: bytes, seconds: float, call: Callable[[], Any], /) -> Any:
        self._note.begin(label)
        try:
            return call()
        finally:
            self._note.end()
