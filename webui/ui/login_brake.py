"""A brake on guessing the page's password, around Gradio's login."""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.brake import Brake

WRONG_PASSWORD = 400
"""What Gradio answers to a login that is not known."""


class LoginBrake:
    """ASGI layer: who sent too many wrong passwords has to wait, whatever is sent meanwhile.

    Args:
        app: Gradio's application.
        brake: Counts the wrong ones, together with those sent to the API.
    """

    def __init__(self, app: ASGIApp, brake: Brake) -> None:
        self._app = app
        self._brake = brake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_login(scope):
            await self._app(scope, receive, send)
            return
        client = HTTPConnection(scope).client
        peer = client.host if client else ""
        wait = self._brake.wait_seconds(peer)
        if wait:
            await _refusal(wait)(scope, receive, send)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == WRONG_PASSWORD:
                self._brake.note_failure(peer)
            await send(message)

        await self._app(scope, receive, send_on)


def _is_login(scope: Scope) -> bool:
    is_post = scope["type"] == "http" and scope["method"] == "POST"
    return is_post and scope["path"].rstrip("/").endswith("/login")


def _refusal(wait_seconds: int) -> JSONResponse:
    text = (
        "Too many wrong passwords came from this address. "
        f"Wait {wait_seconds} seconds and try again with the right one."
    )
    headers = {"Retry-After": str(wait_seconds)}
    return JSONResponse({"detail": text}, status_code=429, headers=headers)
