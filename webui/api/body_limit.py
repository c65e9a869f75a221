"""How much may be sent: bodies are counted as they come in, and cut off before they fill memory."""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.access import Access, person_of, server_port
from webui.api.errors import ApiError, answer_error
from webui.api.guard import is_api_path

MAX_BODY_BYTES = 512 * 2**20
MAX_GUESTS_BYTES = 64 * 2**20
MOST_DIGITS = 18
MAX_STRANGERS_BYTES = 2**20
"""Of who has not logged in: enough for a login and to be refused."""


class BodyLimit:
    """ASGI layer that refuses larger bodies with 413, whether they announce their size or not.

    The API looks at logins before it reads a body; elsewhere who is not logged in may send little.

    Args:
        app: What is guarded.
        access: Knows who is logged in.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        most = self._most(connection)
        announced = connection.headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:MOST_DIGITS]) > most:
            await answer_error(_too_large(most))(scope, receive, send)
            return
        received = 0

        async def receive_some() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # who asks over the API is known when its body is read
            allowed = min(most, MAX_GUESTS_BYTES) if person_of(scope).is_guest else most
            if received > allowed:
                raise _too_large(allowed)  # the application answers it as it answers its own
            return message

        await self._app(scope, receive_some, send)

    def _most(self, connection: HTTPConnection) -> int:
        token = connection.cookies.get(self._access.cookie)
        person = self._access.person(token, server_port(connection.scope))
        if person is not None and person.is_guest:
            return MAX_GUESTS_BYTES
        is_known = is_api_path(connection.scope) or person is not None
        return MAX_BODY_BYTES if is_known else MAX_STRANGERS_BYTES


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"The request is larger than {most // 2**20} MiB. Send smaller pictures.")
