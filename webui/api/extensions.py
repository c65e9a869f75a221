"""Routes of extensions: each has a router of its own below ``/extensions/<name>/``.

They stand behind the same password as the rest. Handlers have a few seconds to answer; what they
raise is theirs, and no more than their request fails.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from webui.api.errors import ApiError, answer_error
from webui.api.file_tools import PREFIX
from webui.errors import ExtensionError
from webui.extensions.exits import exits_refused
from webui.extensions.fence import describe
from webui.extensions.time_limit import TimeIsUp, limited
from webui.hookspecs import MOMENTS
from webui.services.extensions.known import Known
from webui.services.extensions.listing import list_extensions
from webui.studio import Studio

MOMENT = MOMENTS["routes"]
NO_VALUES = Body(default={}, embed=True)
PAGES = ("html", "css", "js", "mjs", "json", "png", "jpg", "jpeg", "webp", "svg", "woff2", "txt")
"""Files of an extension's folder that its tabs may show."""


def extension_routes(doors: ExtensionDoors, route_class: type[APIRoute]) -> APIRouter:
    """``/extensions/<name>/…``: whatever the extension answers; and what is told of all of them."""
    routes = APIRouter(route_class=route_class)

    @routes.get(f"{PREFIX}/extensions", tags=["extensions"])
    def extensions() -> list[dict[str, Any]]:
        """What lies in the extension folders: its state, what went wrong, how long it loads."""
        return list_extensions(doors.studio.extensions)

    @routes.post(f"{PREFIX}/extensions/{{name}}/jobs/{{task}}", tags=["extensions"])
    def begin(name: str, task: str, values: dict[str, Any] = NO_VALUES) -> dict[str, Any]:
        """Put a job of an extension's own into the queue; ``values`` are its fields."""
        studio = doors.studio
        job = studio.submit(studio.extensions.own_job(name, task, values), origin="api")
        return {"job": job.id}

    async def answer(request: Request, name: str, rest: str) -> Response:
        return await doors.answer(request, name, rest)

    routes.add_api_route(
        "/extensions/{name}/{rest:path}", answer, include_in_schema=False,
        methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
    )  # fmt: skip
    return routes


class ExtensionDoors:
    """The small applications that hold extensions' routers, made when they are first asked."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self._room = studio.extensions
        self._made: dict[str, tuple[str, ASGIApp]] = {}

    def known(self, name: str) -> Known:
        """A loaded extension.

        Raises:
            ApiError: 404, there is none.
        """
        found = next((known for known in self._room.loaded() if known.name == name), None)
        if found is None:
            raise ApiError(404, f"No extension is called {name[:80]!r}, or it is switched off.")
        return found

    async def answer(self, request: Request, name: str, rest: str) -> Response:
        """What an extension answers to the rest of a path: a file of its folder below ``page/``,
        for its tabs, else what its routes do."""
        known = self.known(name)
        if rest.startswith("page/"):
            return _page(known, rest.removeprefix("page/"))
        app = await asyncio.to_thread(self._app, known)
        scope = {**request.scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode(),
                 "root_path": ""}  # fmt: skip
        for used in ("endpoint", "path_params", "route", "router", "app"):
            scope.pop(used, None)
        return Passed(app, scope, request.receive)

    def _app(self, known: Known) -> ASGIApp:
        prints, app = self._made.get(known.name, ("", None))
        if app is None or prints != known.extension.prints:
            app = self._make(known.name)
            self._made[known.name] = (known.extension.prints, app)
        return app

    def _make(self, name: str) -> ASGIApp:
        router = APIRouter(route_class=self._route_class(name))
        self._room.plugins.tell("routes", {name: {"router": router}})
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        app.add_exception_handler(HTTPException, _told)
        app.add_exception_handler(RequestValidationError, _told)
        app.include_router(router)
        return app

    def _route_class(self, name: str) -> type[APIRoute]:
        fence = self._room.fence

        class ExtensionRoute(APIRoute):
            """A route that is given up when it takes too long."""

            def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
                if inspect.iscoroutinefunction(endpoint):
                    raise ExtensionError(
                        f"The handler of {path} is an async def; write it as a plain def, so that "
                        "it cannot hold up the whole server.", plugin=name,
                    )  # fmt: skip
                super().__init__(path, limited(endpoint, MOMENT.seconds), **options)

            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                handle = super().get_route_handler()

                async def fenced(request: Request) -> Response:
                    try:
                        return await asyncio.wait_for(_staying(handle(request)), MOMENT.seconds)
                    except (HTTPException, RequestValidationError):  # it is whoever asks
                        raise
                    except (asyncio.TimeoutError, TimeIsUp):
                        told = f"{self.path} took longer than {MOMENT.seconds:g} s"
                        fence.record(name, MOMENT.name, told)
                        return answer_error(ApiError(504, f"The extension {name}: {told}."))
                    except Exception as err:  # fence: it is the extension's
                        err = err.err if isinstance(err, _WantedToEnd) else err
                        trouble = fence.record(name, MOMENT.name, err)
                        told = f"The extension {name} failed ({trouble.id}): {describe(err)}"
                        return answer_error(ApiError(500, told))

                return fenced

        return ExtensionRoute


class _WantedToEnd(Exception):
    """A handler wanted to end the program; carried where SystemExit would end it.

    Attributes:
        err: What it raised.
    """

    def __init__(self, err: BaseException) -> None:
        super().__init__(str(err))
        self.err = err


async def _staying(answer: Coroutine[Any, Any, Response]) -> Response:
    """The answer; what would end the task it runs in, and the server with that, does not.

    Raises:
        _WantedToEnd: It wanted that. Exception: As the answer.
    """
    try:
        with exits_refused():
            return await answer
    except (SystemExit, KeyboardInterrupt) as err:
        raise _WantedToEnd(err) from err


def _page(known: Known, path: str) -> Response:
    folder = known.extension.path.resolve()
    file = (folder / path).resolve()
    is_shown = file.suffix.lower().lstrip(".") in PAGES and file.is_relative_to(folder)
    if not (known.tabs and is_shown and file.is_file()):
        raise ApiError(404, f"The extension {known.name} has no page {path[:80]!r}.")
    return FileResponse(file, headers={"Cache-Control": "no-cache"})


async def _told(request: Request, err: Exception) -> Response:
    return answer_error(err)


class Passed(Response):
    """An answer that another application sends."""

    def __init__(self, app: ASGIApp, scope: Scope, receive: Receive) -> None:
        super().__init__()
        self._app, self._scope, self._receive = app, scope, receive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(self._scope, self._receive, send)
