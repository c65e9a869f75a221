"""``X-Process-Time`` on every answer, and one log line for each API request if wanted."""

from __future__ import annotations

import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.api.guard import is_api_path

logger = logging.getLogger(__name__)


class Timing:
    """ASGI layer that measures each request.

    Args:
        app: What is measured.
        log: Write a line for each API request (``--api-log``).
    """

    def __init__(self, app: ASGIApp, log: bool = False) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def timed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = time.perf_counter() - begun
                MutableHeaders(scope=message)["X-Process-Time"] = f"{seconds:.4f}"
                if self._log and is_api_path(scope):
                    self._write_line(scope, message["status"], seconds)
            await send(message)

        await self._app(scope, receive, timed_send)

    def _write_line(self, scope: Scope, status: int, seconds: float) -> None:
        client = scope["client"][0] if scope.get("client") else "?"
        logger.info(
            "API %s %s %r from %s in %.3f s",
            status, scope["method"], scope["path"], client, seconds,
        )  # fmt: skip
