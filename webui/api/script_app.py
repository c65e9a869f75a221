"""What A1111 folders add to the server (``on_app_started``): an application of its own.

Its routes are asked after ours, and of owners alone: behind the page's login where there is a page,
else behind the API's. What a handler does is its own: no more than its request fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.api.extensions import Passed
from webui.extensions.a1111.fences import sentence
from webui.extensions.a1111.host import Host
from webui.extensions.exits import exits_refused
from webui.extensions.time_limit import limited
from webui.hookspecs import LONG_SECONDS
from webui.studio import Studio

logger = logging.getLogger(__name__)
MOMENT = "on_app_started"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


class ScriptApp:
    """The routes of A1111 folders."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._inner: FastAPI | None = None

    @property
    def _host(self) -> Host | None:
        scripts = self._studio.extensions.scripts
        return scripts.host if scripts else None

    def open(self, page: Any = None) -> None:
        """Let the folders add their routes, in the place of those before.

        Args:
            page: Gradio's, which they are handed, too; None = there is none.
        """
        host, self._inner = self._host, None
        if host is not None and host.callbacks.has("app_started"):
            inner = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
            inner.router.route_class = _LimitedRoute
            inner.add_exception_handler(Exception, _told)
            host.callbacks.call("app_started", page, inner)
            self._inner = inner

    def open_without_page(self) -> None:
        """The same where no page is drawn, when the program starts or its folders have changed."""
        scripts = self._studio.extensions.scripts
        if scripts is not None and scripts.host is not None:
            scripts.page_begins()
            scripts.host.callbacks.call("before_ui")
        self.open()

    def has(self, scope: Scope) -> bool:
        """True for a request that is theirs."""
        return self._route(scope) is not None

    def _route(self, scope: Scope) -> BaseRoute | None:
        if self._inner is None or scope["type"] not in ("http", "websocket"):
            return None
        routes = self._inner.router.routes
        return next((one for one in routes if one.matches(scope)[0] is Match.FULL), None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host, inner, route = self._host, self._inner, self._route(scope)
        if host is None or inner is None or route is None:
            await PlainTextResponse("Not Found", 404)(scope, receive, send)
            return
        owner = _owner(host, route)
        if why := host.fence.core.left_out(owner):
            told = f"The extension {owner} was left out: {why}."
            await PlainTextResponse(told, 503)(scope, receive, send)
            return
        scope = {**scope, "extension": owner}
        for used in ("endpoint", "path_params", "route", "router", "app"):
            scope.pop(used, None)
        await _within_fence(inner, host, owner, scope, receive, send)


async def _within_fence(
    inner: ASGIApp, host: Host, owner: str, scope: Scope, receive: Receive, send: Send
) -> None:
    has_begun = False

    async def sent(message: Message) -> None:
        nonlocal has_begun
        has_begun = True
        await send(message)

    try:
        with exits_refused():
            await inner(scope, receive, sent)
    except (SystemExit, KeyboardInterrupt) as err:  # either would end the server
        told = _named(owner, host.fence.report(owner, MOMENT, err))
        if not has_begun and scope["type"] == "http":
            await PlainTextResponse(told, 500)(scope, receive, send)
    except Exception:  # fence: who asks has been told; it is no failure of the server
        logger.exception("The extension %s failed in a route", owner)


def _owner(host: Host, route: BaseRoute) -> str:
    endpoint = getattr(route, "endpoint", None)
    return host.owner_of(endpoint) if callable(endpoint) else "?"


async def _told(request: Request, err: Exception) -> Response:
    return PlainTextResponse(_named(request.scope["extension"], sentence(err)), 500)


def _named(owner: str, told: str) -> str:
    return f"The extension {owner} failed: {told}"


class _LimitedRoute(APIRoute):
    """A route whose handler is told to end when its time is up: else its thread would loop on."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, limited(endpoint, LONG_SECONDS), **options)


def script_routes(scripts: ScriptApp, route_class: type[APIRoute]) -> APIRouter:
    """The same behind the API's password, for a server without a page."""

    class ScriptRoute(route_class):  # type: ignore[misc,valid-type]
        """Where one of theirs is asked for."""

        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            if not scripts.has(scope):
                return Match.NONE, {}
            return super().matches(scope)

    routes = APIRouter(route_class=ScriptRoute)

    async def answer(request: Request) -> Response:
        return Passed(scripts, request.scope, request.receive)

    routes.add_api_route(
        "/{rest:path}", answer, methods=METHODS, include_in_schema=False, response_model=None
    )
    return routes
