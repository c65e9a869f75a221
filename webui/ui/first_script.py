"""Scripts that run before Gradio's: they stand in the page itself, as Gradio's ``head`` does not.

Gradio hands ``head`` to its own program, which adds it when the page's language is already chosen.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("first.js", "events.js", "ticks.js", "answers.js")
_DRAWN = quote((ASSETS / "icon.svg").read_text(encoding="utf-8").strip())
ICON = f'<link rel="icon" href="data:image/svg+xml,{_DRAWN}">'
"""The page's sign. Without one a browser asks the host's root for it, which below a sub-path is
somebody else's."""
HEAD = b"<head>"


class FirstScript:
    """Puts icon and ``SCRIPTS`` at the beginning of the page's head; other answers are left
    alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        scripts = [(ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS]
        drawn = "".join(f"<script>{script}</script>" for script in scripts)
        self._script = f"{ICON}{drawn}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_page(scope):
            await self._app(scope, receive, send)
            return
        start: Message | None = None

        async def put(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is not None:
                self._add(start, message)
                await send(start)
                start = None
            await send(message)

        await self._app(scope, receive, put)

    def _add(self, start: Message, first: Message) -> None:
        """Change the beginning of an answer, and its length."""
        body = first.get("body", b"")
        first["body"] = body.replace(HEAD, HEAD + self._script, 1)
        headers = MutableHeaders(scope=start)
        if "content-length" in headers:
            longer = len(first["body"]) - len(body)
            headers["content-length"] = str(int(headers["content-length"]) + longer)


def _is_page(scope: Scope) -> bool:
    return scope["path"].removeprefix(scope.get("root_path", "")) in ("", "/")
