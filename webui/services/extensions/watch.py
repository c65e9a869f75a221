"""Ends the worker when an extension keeps it too long; its job fails with that extension's name."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from webui.errors import ExtensionError
from webui.extensions.note import Watch

logger = logging.getLogger(__name__)
EVERY_SECONDS = 1.0


class WorkerWatch:
    """Looks at the worker's note while a job runs that extensions act on.

    Args:
        note: What the worker writes.
        blame: Leaves out whoever is at work; answers with a sentence.
        fail: Ends a running job with an error, and the worker with it; False = it does not run.
        running: The job that runs.
    """

    def __init__(
        self,
        note: Path,
        blame: Callable[[str], str],
        fail: Callable[[int, ExtensionError], bool],
        running: Callable[[], int | None],
    ) -> None:
        self._watch = Watch(note)
        self._blame = blame
        self._fail = fail
        self._running = running
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """An extension's worker part may run from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="extensions", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Watch no longer."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(EVERY_SECONDS * 2)

    def _loop(self) -> None:
        while not self._closing.wait(EVERY_SECONDS):
            try:
                self._look()
            except Exception:  # a job's row that cannot be read now is read in a second
                logger.exception("Looking after the extensions failed")

    def _look(self) -> None:
        job = self._running()
        call = self._watch.look(time.monotonic())
        if job is None or call is None:
            return
        told = f"it took longer than {call.seconds:g} s"
        error = ExtensionError(
            f"The extension {call.plugin} did not come back from {call.moment}: {told}.",
            "It is left out from now on; ask again for the pictures.",
            plugin=call.plugin,
            hook=call.moment,
        )
        if self._fail(job, error):
            self._blame(told)
