"""How much may be sent: bodies are counted as they come in, and cut off before they fill memory."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.access import Access, Person, person_of, server_port
from webui.api.errors import ApiError, answer_error
from webui.api.guard import is_api_path
from webui.roles import login_of

MAX_BODY_BYTES = 512 * 2**20
MAX_GUESTS_BYTES = 64 * 2**20
MAX_GUESTS_BYTES_AN_HOUR = 2**31
"""Of all who share a guests' login, lest they fill the disk with what they upload."""
SMALL_BYTES = 2**20
"""So much of a body is a form or a question, and is not counted for the hour."""
MOST_DIGITS = 18
MAX_STRANGERS_BYTES = 2**20
"""Of who has not logged in: enough for a login and to be refused."""


class BodyLimit:
    """ASGI layer that refuses larger bodies with 413, whether they announce their size or not, and
    what guests send beyond an hour's share with 429.

    The API looks at logins before it reads a body; elsewhere who is not logged in may send little.

    Args:
        app: What is guarded.
        access: Knows who is logged in.
        clock: Seconds that only grow.
    """

    def __init__(
        self, app: ASGIApp, access: Access, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._access = access
        self._clock = clock
        self._sent: dict[str, tuple[int, int]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        visitor = self._visitor(connection)
        most = self._most(connection, visitor)
        announced = connection.headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:MOST_DIGITS]) > most:
            await answer_error(_too_large(most))(scope, receive, send)
            return
        received = 0

        async def receive_some() -> Message:
            nonlocal received
            message = await receive()
            count = len(message.get("body", b""))
            received += count
            # who asks over the API is known when its body is read
            person = person_of(scope) if visitor is None or not visitor.is_guest else visitor
            allowed = min(most, MAX_GUESTS_BYTES) if person.is_guest else most
            if received > allowed:
                raise _too_large(allowed)  # the application answers it as it answers its own
            if person.is_guest and received > SMALL_BYTES:
                self._note_sent(login_of(person.name), min(count, received - SMALL_BYTES))
            return message

        await self._app(scope, receive_some, send)

    def _visitor(self, connection: HTTPConnection) -> Person | None:
        """Whose session a request carries."""
        token = connection.cookies.get(self._access.cookie)
        return self._access.person(token, server_port(connection.scope))

    def _most(self, connection: HTTPConnection, visitor: Person | None) -> int:
        if visitor is not None and visitor.is_guest:
            return MAX_GUESTS_BYTES
        is_known = is_api_path(connection.scope) or visitor is not None
        return MAX_BODY_BYTES if is_known else MAX_STRANGERS_BYTES

    def _note_sent(self, login: str, count: int) -> None:
        """Count what guests sent of large bodies.

        Raises:
            ApiError: 429, it is more than an hour's share.
        """
        hour = int(self._clock() // 3600)
        counted, sent = self._sent.get(login, (hour, 0))
        sent = count + (sent if counted == hour else 0)
        self._sent[login] = (hour, sent)
        if sent > MAX_GUESTS_BYTES_AN_HOUR:
            raise ApiError(
                429,
                f"Guests have sent {MAX_GUESTS_BYTES_AN_HOUR // 2**20} MiB within an hour. "
                "Wait for the next one.",
            )


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"The request is larger than {most // 2**20} MiB. Send smaller pictures.")
