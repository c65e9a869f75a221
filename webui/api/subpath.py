"""Everything below a path of its own (``--subpath``), behind a proxy that cuts it or does not."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Subpath:
    """ASGI layer that moves the application below a path.

    Args:
        app: What is moved.
        path: Begins with a slash, ends without one.
    """

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            path = scope["path"]
            if path != self._path and not path.startswith(self._path + "/"):
                path = self._path + path
            scope = {**scope, "root_path": self._path, "path": path}
        await self._app(scope, receive, send)
