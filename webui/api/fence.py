"""The fence around every API route: password first, then size, then the route; every failure told.

The check hangs on the routes themselves (not on path prefixes), so no spelling of a path gets
around it, and it runs before a single byte of the body is read.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Message

from webui.api.errors import ApiError, answer_error
from webui.brake import Brake

MAX_BODY_BYTES = 512 * 2**20
CHALLENGE = 'Basic realm="Danqing API", charset="UTF-8"'
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def make_fenced_route(
    logins: Iterable[tuple[str, str]] = (), brake: Brake | None = None
) -> type[APIRoute]:
    """A route class that lets in only these logins and answers every failure in our shape.

    Args:
        logins: User and password pairs; none = everybody may pass.
        brake: Against guessing; None = one of its own.
    """
    known = tuple(logins)
    held = brake or Brake()

    class FencedRoute(APIRoute):
        """One route behind the fence."""

        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def fenced(request: Request) -> Response:
                try:
                    _check_peer(request, known, held)
                    return await handle(_limited(request))
                except _Unauthorized as err:
                    response = answer_error(err)
                    response.headers["WWW-Authenticate"] = CHALLENGE
                    return response
                except _TooManyGuesses as err:
                    response = answer_error(err)
                    response.headers["Retry-After"] = str(err.wait_seconds)
                    return response
                except Exception as err:
                    return answer_error(err)

            return fenced

    return FencedRoute


class _Unauthorized(ApiError):
    """No login, or a wrong one."""


class _WrongPassword(_Unauthorized):
    """A login that was tried and is not known."""


class _TooManyGuesses(ApiError):
    """This peer has to wait before the next login is looked at."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(
            429,
            f"Too many wrong passwords came from this address. Wait {wait_seconds} seconds and "
            "try again with the right one.",
        )
        self.wait_seconds = wait_seconds


def _check_peer(request: Request, logins: tuple[tuple[str, str], ...], brake: Brake) -> None:
    """Check a request's login unless its sender has guessed too often.

    Even the right password is not looked at while the brake holds: the answer would tell a
    guesser that it is right. A request without a login is no guess.

    Raises:
        ApiError: 401 without a known login; 429 while the brake holds.
    """
    header = request.headers.get("authorization")
    peer = request.client.host if request.client else ""
    wait = brake.wait_seconds(peer) if logins and header else 0
    if wait:
        raise _TooManyGuesses(wait)
    try:
        check_login(header, logins)
    except _WrongPassword:
        brake.note_failure(peer)
        raise


def user_of(request: Request) -> str:
    """The name in a request's login, which was checked before; '' without one."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    return _decode(encoded)[0].decode("utf-8", "replace") if scheme.lower() == "basic" else ""


def check_login(header: str | None, logins: tuple[tuple[str, str], ...]) -> None:
    """Pass when no logins are set or the header carries one of them.

    Every pair is compared, in constant time, so that timing tells nothing.

    Raises:
        ApiError: 401, in A1111's words.
    """
    if not logins:
        return
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        raise _Unauthorized(401, "Not authenticated")
    user, password = _decode(encoded)
    matches = [
        secrets.compare_digest(user, known_user.encode("utf-8"))
        & secrets.compare_digest(password, known_password.encode("utf-8"))
        for known_user, known_password in logins
    ]
    if not any(matches):
        raise _WrongPassword(401, "Incorrect username or password")


def _decode(encoded: str) -> tuple[bytes, bytes]:
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        raise _Unauthorized(401, "Not authenticated") from None
    return user, password


def _limited(request: Request) -> Request:
    """The request, with a body that may not grow past MAX_BODY_BYTES."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise _too_large()
        return message

    return Request(request.scope, receive)


def _too_large() -> ApiError:
    return ApiError(
        413,
        f"The request is larger than {MAX_BODY_BYTES // 2**20} MiB. Send smaller pictures.",
    )
