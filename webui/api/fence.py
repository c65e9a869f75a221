"""The fence around every API route: password first, then size, then the route; every failure told.

The check hangs on the routes themselves (not on path prefixes), so no spelling of a path gets
around it, and it runs before a single byte of the body is read.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from webui.access import LOCAL, Access, Person, note_person, person_of, server_port
from webui.api.errors import ApiError, SafeJSONResponse, answer_error
from webui.roles import is_for_guests, is_guest

MADE_ANEW = ("content-length", "content-type")
CHALLENGE = 'Basic realm="Danqing API", charset="UTF-8"'
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


Told = Callable[[str, str], str]
"""From a user and a sentence to the sentence as that user may read it."""


def make_fenced_route(access: Access | None = None, told: Told | None = None) -> type[APIRoute]:
    """A route class that lets in only who may, and answers every failure in our shape.

    A route whose function is not marked ``for_guests`` is the owner's alone.

    Args:
        access: Who may; None = everybody.
        told: What becomes of the sentences of failures.
    """

    class FencedRoute(APIRoute):
        """One route behind the fence."""

        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def fenced(request: Request) -> Response:
                response = await answered(request)
                return response if told is None else told_to_guests(request, response, told)

            async def answered(request: Request) -> Response:
                try:
                    if access is not None:
                        person = await _check_peer(request, access)
                        _check_role(person, self)
                        note_person(request.scope, person)
                    return await handle(request)
                except _Unauthorized as err:
                    response = answer_error(err)
                    if not _is_by_script(request):
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


class _TooManyGuesses(ApiError):
    """This peer has to wait before the next login is looked at."""

    def __init__(self, wait_seconds: int) -> None:
        super().__init__(
            429,
            f"Too many wrong passwords came from this address. Wait {wait_seconds} seconds and "
            "try again with the right one.",
        )
        self.wait_seconds = wait_seconds


def _is_by_script(request: Request) -> bool:
    """True for what a page's script asks: to a challenge a browser would open a dialog of its own,
    and the script would wait until somebody has answered it.

    Browsers say what they ask for where they trust the connection (Fetch Metadata); elsewhere what
    is asked for by script, or with the page's session, is no look at an address.
    """
    mode = request.headers.get("sec-fetch-mode")
    if mode is not None:
        return mode != "navigate"
    is_look = "text/html" in request.headers.get("accept", "")
    return not is_look and ("x-requested-with" in request.headers or "cookie" in request.headers)


async def _check_peer(request: Request, access: Access) -> Person:
    """Who asks, by the login that the request carries, unless its sender has guessed too often; by
    the page's session where it carries none.

    Even the right password is not looked at while the brake holds: the answer would tell a
    guesser that it is right. A request without a login is no guess.

    Raises:
        ApiError: 401 without a known login; 429 while the brake holds.
    """
    if not access.asks_api(server_port(request.scope)):
        return LOCAL
    header = request.headers.get("authorization")
    if header is None and (person := access.page_person_at_api(request.cookies)) is not None:
        return person
    peer = access.peer(request.scope)
    wait = access.brake.wait_seconds(peer) if header else 0
    if wait:
        raise _TooManyGuesses(wait)
    user, password = _read_login(header)
    if not access.remembers(user, password):
        access.brake.note_failure(peer)
        if not await run_in_threadpool(access.api.check, user, password):
            raise _Unauthorized(401, "Incorrect username or password")
        access.brake.forgive(peer)
        access.remember(user, password)
    person = access.api_person(user)
    if person is None:
        raise ApiError(
            403,
            "The guests' common login is for the page alone. Ask for a login of your own "
            "(--guest-auth) to use the API.",
        )
    return person


def told_to_guests(request: Request, response: Response, told: Told) -> Response:
    """An answer of ours; a failure with its sentences as who asks may read them."""
    user = user_of(request)
    if not is_guest(user) or response.status_code < 400:
        return response
    content = {
        key: told(user, value) if isinstance(value, str) else value
        for key, value in json.loads(bytes(response.body)).items()
    }
    headers = {k: v for k, v in response.headers.items() if k.lower() not in MADE_ANEW}
    return SafeJSONResponse(content, response.status_code, headers)


def _check_role(person: Person, route: APIRoute) -> None:
    """Raises ApiError 403 where a guest has no business."""
    if person.is_guest and not is_for_guests(route.endpoint):
        raise ApiError(
            403, "Guests paint and look at their own pictures; this is for the owner alone."
        )


def user_of(request: Request) -> str:
    """Under which name a request's jobs and pictures are kept; '' where no login is asked for."""
    return person_of(request.scope).name


def guest_of(request: Request) -> str:
    """The same for a guest; '' for the owner, whose pictures over the API are nobody's."""
    person = person_of(request.scope)
    return person.name if person.is_guest else ""


def _read_login(header: str | None) -> tuple[str, str]:
    """User and password of a header.

    Raises:
        ApiError: 401, there is none that can be read.
    """
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        raise _Unauthorized(401, "Not authenticated")
    user, password = _decode(encoded)
    try:
        return user.decode("utf-8"), password.decode("utf-8")
    except UnicodeDecodeError:
        raise _Unauthorized(401, "Not authenticated") from None


def _decode(encoded: str) -> tuple[bytes, bytes]:
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        raise _Unauthorized(401, "Not authenticated") from None
    return user, password
