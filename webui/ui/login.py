"""The page's own login: a form, a session in a cookie, and the way out.

Gradio's login keeps passwords as they are, slows nobody down and gives its cookie to every page;
nothing of Gradio is reached before this one.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from string import Template
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from gradio_client.utils import is_http_url_like
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.access import SESSION_SECONDS, Access, Person, server_port
from webui.ui.first_script import ICON
from webui.ui.login_texts import LOGIN_PAGE, LOGIN_TEXTS
from webui.ui.texts import CHINESE, language_of

if TYPE_CHECKING:
    from webui.studio import Studio

MAX_FORM_BYTES = 10_000
NEVER_KEPT = {"Cache-Control": "no-store"}
GRADIO_FILES = ("/assets/", "/static/", "/svelte/", "/custom_component/")
GRADIO_PATHS = (
    "/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json",
    "/gradio_api/info", "/gradio_api/theme.css", "/gradio_api/startup-events",
    "/gradio_api/app_id", "/gradio_api/cancel", "/gradio_api/reset", "/gradio_api/upload",
    "/gradio_api/upload_progress", "/gradio_api/queue/join", "/gradio_api/queue/data",
    "/gradio_api/queue/status", "/gradio_api/run/predict", "/gradio_api/api/predict",
)  # fmt: skip
FILE = "/gradio_api/file="
GRADIO_BEGINNINGS = (*GRADIO_FILES, FILE, "/gradio_api/heartbeat/", "/pwa_icon")
"""What the page needs of Gradio. Its further routes (fetching for other sites, editing by language
model, monitoring, deep links, developers' reloading, another login) are not there at all."""
LOGIN_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
"""The login page runs no script at all, and asks for nothing, no icon either."""


class Cookie:
    """The cookie that holds a session's token: for this server alone, out of scripts' reach.

    Args:
        studio: Its sub-path is where the cookie is sent.
    """

    def __init__(self, studio: Studio) -> None:
        self.name = studio.access.cookie
        self.path = f"{studio.settings.subpath}/"

    def read(self, connection: HTTPConnection) -> str | None:
        """The token that a request carries."""
        return connection.cookies.get(self.name)

    def write(self, response: Response, token: str, *, is_secure: bool) -> None:
        """Send a token to the browser; over https it never comes back in the clear."""
        response.set_cookie(
            self.name, token, max_age=int(SESSION_SECONDS), path=self.path, httponly=True,
            samesite="lax", secure=is_secure,
        )  # fmt: skip

    def remove(self, response: Response) -> None:
        """Let the browser forget it."""
        response.delete_cookie(self.name, path=self.path, httponly=True, samesite="lax")


class Visitors:
    """Who opens the page, by the session in their cookie."""

    def __init__(self, studio: Studio) -> None:
        self.access = studio.access
        self.cookie = Cookie(studio)

    def of(self, connection: HTTPConnection) -> Person | None:
        """Who asks; None for who has to log in first."""
        return self.access.person(self.cookie.read(connection), server_port(connection.scope))

    def name_of(self, request: Request) -> str | None:
        """The same by name, as Gradio wants it."""
        person = self.of(request)
        return None if person is None else person.name


class PageDoor:
    """ASGI layer in front of everything that Gradio serves: strangers log in first, guests get the
    guests' page, which has nothing in it that they may not do.

    Args:
        owners: Gradio's application for owners. guests: The one for guests; None = there are none.
        visitors: Tells who asks.
        root: Where the page lies, with a slash at its end.
    """

    def __init__(
        self, owners: ASGIApp, guests: ASGIApp | None, visitors: Visitors, root: str
    ) -> None:
        self._owners = owners
        self._guests = guests
        self._visitors = visitors
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._owners(scope, receive, send)
            return
        person = self._visitors.of(HTTPConnection(scope))
        if person is not None and not is_needed(scope):
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)
        elif person is not None and not person.is_guest:
            await self._owners(scope, receive, without_permission(send))
        elif person is not None and self._guests is not None:
            await self._guests(scope, receive, without_permission(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._refusal(scope)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response:
        is_look = scope["method"] in ("GET", "HEAD") and _wants_html(HTTPConnection(scope))
        if is_look:
            return RedirectResponse(f"{self._root}login", 303, NEVER_KEPT)
        return JSONResponse({"detail": "Not authenticated"}, 401, NEVER_KEPT)


def without_permission(send: Send) -> Send:
    """Leaves out what Gradio permits pages of other origins: on this machine it lets the page of
    any other port read everything. Whom to permit is our flags' affair (``--cors-allow-origins``).
    """

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name in {name for name in headers if name.startswith("access-control-")}:
                del headers[name]
        await send(message)

    return send_on


def is_needed(scope: Scope) -> bool:
    """True for the paths of Gradio that the page uses."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if is_http_url_like(path.removeprefix(FILE)):
        return False  # Gradio would fetch that address
    return path in GRADIO_PATHS or path.startswith(GRADIO_BEGINNINGS)


def make_login_routes(studio: Studio, visitors: Visitors) -> APIRouter:
    """``/login`` shows the form and takes it, ``/logout`` ends the session."""
    router = APIRouter(include_in_schema=False)
    access, cookie = studio.access, visitors.cookie
    root = f"{studio.settings.subpath}/"

    @router.api_route("/login", methods=["GET", "HEAD"])
    @router.api_route("/login/", methods=["GET", "HEAD"])
    def show(request: Request) -> Response:
        if visitors.of(request) is not None and not access.has_guests:
            return RedirectResponse(root, 303, NEVER_KEPT)
        return _page(request, root, access)

    @router.post("/login")
    @router.post("/login/")
    async def take(request: Request) -> Response:
        peer = access.peer(request.scope)
        wait = access.brake.wait_seconds(peer)
        if wait:
            return _answer(request, root, access, 429, "login_wait", seconds=wait)
        form = await _read_form(request)
        user, password = form.get("username", "").strip(), form.get("password", "")
        access.brake.note_failure(peer)
        if not await run_in_threadpool(access.page.check, user, password):
            return _answer(request, root, access, 400, "login_wrong", user=user)
        access.brake.forgive(peer)
        access.end_session(cookie.read(request))
        response: Response = JSONResponse({"success": True}, headers=NEVER_KEPT)
        if _wants_html(request):
            response = RedirectResponse(root, 303, NEVER_KEPT)
        cookie.write(response, access.begin_session(user), is_secure=_is_secure(request, access))
        return response

    @router.get("/logout")
    @router.post("/logout")
    def leave(request: Request) -> Response:
        access.end_session(cookie.read(request))
        response = RedirectResponse(f"{root}login", 303, NEVER_KEPT)
        cookie.remove(response)
        return response

    return router


def _is_secure(request: Request, access: Access) -> bool:
    """True when the browser reached us over https: our own, a trusted proxy's, the tunnel's."""
    return request.url.scheme == "https" or access.is_shared(server_port(request.scope))


def _wants_html(connection: HTTPConnection) -> bool:
    return "text/html" in connection.headers.get("accept", "")


async def _read_form(request: Request) -> Mapping[str, str]:
    """The fields of a small form.

    Raises:
        HTTPException: 413, it is not small.
    """
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MAX_FORM_BYTES:
            raise HTTPException(413, "The form is too large.")
    text = data.decode("utf-8", "replace")
    try:
        found = parse_qs(text, keep_blank_values=True, max_num_fields=20)
    except ValueError as err:
        raise HTTPException(400, "The form cannot be read.") from err
    return {name: values[-1] for name, values in found.items()}


def _answer(
    request: Request, root: str, access: Access, status: int, problem: str, **values: object
) -> Response:
    """A refusal: the form again for people, a sentence for programs."""
    headers = {"Retry-After": str(values["seconds"])} if "seconds" in values else {}
    if _wants_html(request):
        return _page(request, root, access, status, problem, headers, **values)
    said = LOGIN_TEXTS[problem][0].format(**values)
    return JSONResponse({"detail": said}, status, {**NEVER_KEPT, **headers})


def _page(
    request: Request,
    root: str,
    access: Access,
    status: int = 200,
    problem: str = "",
    headers: Mapping[str, str] | None = None,
    **values: object,
) -> HTMLResponse:
    is_chinese = language_of(request) == CHINESE
    texts = {key: html.escape(both[is_chinese]) for key, both in LOGIN_TEXTS.items()}
    page = Template(LOGIN_PAGE).substitute(
        texts,
        icon=ICON,
        lang="zh-CN" if is_chinese else "en",
        action=html.escape(f"{root}login"),
        problem=texts[problem].format(**values) if problem else "",
        user=html.escape(str(values.get("user", ""))),
        name_focus="" if "user" in values else "autofocus",
        password_focus="autofocus" if "user" in values else "",
        guest_hint=texts["login_guests"] if access.has_guests else "",
    )
    told = {**NEVER_KEPT, "Content-Security-Policy": LOGIN_POLICY, **(headers or {})}
    return HTMLResponse(page, status, told)
