"""One thing at a time, where it may be done at all: installing, updating, removing extensions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from webui.services.extensions.commands import InstallError


class AccessOffError(InstallError):
    """Extensions may not be installed, updated or removed on this server."""

    code = "extension_access"
    http_status = 403


class BusyError(InstallError):
    """Another extension is being fetched."""

    code = "extension_busy"
    http_status = 409


@dataclass
class _Work:
    title: str
    cancel: threading.Event = field(default_factory=threading.Event)


class Turn:
    """Whose turn it is.

    Args:
        is_allowed: Whether any of this may be done here.
    """

    def __init__(self, is_allowed: bool) -> None:
        self.is_allowed = is_allowed
        self._lock = threading.Lock()
        self._work: _Work | None = None

    def check(self) -> None:
        """Go on only where it is allowed.

        Raises:
            AccessOffError: It is not.
        """
        if not self.is_allowed:
            raise AccessOffError(
                "Extensions cannot be installed, updated or removed here: other machines, or "
                "pages of other sites, reach this server.",
                "Do it on the machine itself, without --listen, --share and --cors-allow-origins; "
                "or start the program with --enable-insecure-extension-access.",
            )

    @contextmanager
    def taken(self, title: str) -> Iterator[threading.Event]:
        """Do one thing; the event is set when it shall stop.

        Args:
            title: What people are told is under way.
        Raises:
            AccessOffError; BusyError: Something else is under way.
        """
        self.check()
        if not self._lock.acquire(blocking=False):
            raise BusyError(
                f"Something else is under way: {self.busy}.", "Wait for it, or stop it."
            )
        work = self._work = _Work(title)
        try:
            yield work.cancel
        finally:
            self._work = None
            self._lock.release()

    @property
    def busy(self) -> str:
        """What is under way; '' = nothing."""
        work = self._work
        return work.title if work else ""

    def cancel(self) -> None:
        """Stop what is under way."""
        work = self._work
        if work is not None:
            work.cancel.set()
