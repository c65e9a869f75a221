"""The owner's page: built at the start, and anew when folders for A1111 bring other parts of it.

Gradio's page stays what it was when it was built. What is data appears in an open page by itself;
fields that scripts draw, tabs, JavaScript and routes of such folders need another build. It takes
the place of the one before while the program runs; open pages see that and load it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.errors import ExtensionError
from webui.ui import a1111_page
from webui.ui.login import Visitors
from webui.ui.painting_tab import PaintingTab

if TYPE_CHECKING:
    from webui.studio import Studio

IDS_APART = 1_000_000
"""Handlers of one build have other numbers than those of the next, so that it is known which of
them an open page asks: the one before is still there for pages that save what stands in them, then
load the next."""
START_SECONDS = 60.0
ASKS = ("/queue/join", "/run/predict")
"""Where pages of Gradio ask for handlers."""
HEARS = "/queue/data"
"""Where they hear what came of it."""
Life = Callable[[FastAPI], AbstractAsyncContextManager[Any]]
Draw = Callable[[int], tuple[gr.Blocks, list[PaintingTab]]]
"""From the number that handlers begin with to a page, and its painting tabs."""
Mount = Callable[[gr.Blocks, str], ASGIApp]
"""From a page, and what else its head holds, to Gradio's application for it."""


@dataclass
class Build:
    """One build of the page.

    Attributes:
        app: Gradio's application. life: What runs while it is served.
    """

    app: ASGIApp
    blocks: gr.Blocks
    life: Life
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class OwnersPage:
    """The page that owners see, as an application.

    Args:
        app: The program's.
        draw, mount: How it is made.

    Attributes:
        tabs: The painting tabs of the present build.
        routes: What extensions have added to the server, behind the page's login.
        number: Of the present build; open pages compare theirs.
    """

    def __init__(
        self, app: FastAPI, studio: Studio, visitors: Visitors, draw: Draw, mount: Mount
    ) -> None:
        self._app, self._studio = app, studio
        self._draw, self._mount = draw, mount
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.number = 0
        self.tabs: list[PaintingTab] = []
        self.routes = a1111_page.ScriptRoutes(visitors, app.state.script_app)
        self._before: Build | None = None
        self._present = self._build(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        build: Build | None = self._present
        if self.number and scope["type"] == "http":
            request = Request(scope, receive)
            if scope["path"].endswith(ASKS):
                age = self.number - await _number_asked(request, self.number)
                build = {0: self._present, 1: self._before}.get(age)
                receive = _again(await request.body(), receive)
            elif scope["path"].endswith(HEARS):
                build = self._build_that_answers(request.query_params.get("session_hash"))
        if build is None:
            refusal = JSONResponse({"detail": "This page is an old one."}, 409)
            await refusal(scope, receive, send)
            return
        await build.app(scope, receive, send)

    def _build_that_answers(self, session: str | None) -> Build:
        """The one that was asked in a session of Gradio's, if there is something to tell."""
        before = self._before
        if before is not None and session in before.blocks._queue.pending_messages_per_session:
            return before
        return self._present

    def _build(self, number: int) -> Build:
        blocks, self.tabs[:] = self._draw(number * IDS_APART)
        router = self._app.router
        outer, router.lifespan_context = router.lifespan_context, _nothing
        try:
            mark = f"<script>window.danqingPage = {number};</script>"
            made = self._mount(blocks, mark + a1111_page.head(self._studio))
            return Build(made, blocks, router.lifespan_context)
        finally:
            router.lifespan_context = outer

    def open_routes(self) -> None:
        """Let extensions add their routes, in the place of those before."""
        self._app.state.script_app.open(self._present.blocks)

    # Life

    def live_with(self, outer: Life) -> Life:
        """A lifespan for the application: that which it has, and the page's."""

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
            async with outer(app) as state:
                self._loop = asyncio.get_running_loop()
                await self._begin(self._present)
                try:
                    yield state
                finally:
                    self._loop = None
                    for build in filter(None, (self._before, self._present)):
                        await self._end(build)

        return lifespan

    async def _begin(self, build: Build) -> None:
        started = asyncio.Event()

        async def live() -> None:
            async with build.life(self._app):
                started.set()
                await build.ended.wait()

        build.task = asyncio.create_task(live())
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait({build.task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if build.task.done():
            build.task.result()

    async def _end(self, build: Build) -> None:
        build.ended.set()
        build.blocks._queue.close()  # what it has begun goes on to its end
        if build.task is not None:
            await build.task

    # Anew

    def renew(self) -> None:
        """Build the page anew; open pages load it.

        Raises:
            ExtensionError: It cannot be built; the one before stays.
        """
        with self._lock, self._studio.extensions.drawing_alone():
            oldest, tabs = self._before, list(self.tabs)
            try:
                made = self._build(self.number + 1)
                self._on_the_loop(lambda: self._begin(made))
            except Exception as err:  # fence: whatever extensions have brought, a page is there
                self.tabs[:] = tabs
                raise ExtensionError(
                    f"The page could not be built anew: {type(err).__name__}: {err}.",
                    "Restart the program to see what has changed.",
                ) from err
            self._before, self._present = self._present, made
            self.number += 1  # from now on open pages are told
            self.open_routes()
            if oldest is not None:
                self._on_the_loop(lambda: self._end(oldest))

    def _on_the_loop(self, deed: Callable[[], Awaitable[None]]) -> None:
        """Do something where the server lives; nothing is done before it does."""
        if self._loop is not None:

            async def run() -> None:
                await deed()

            asyncio.run_coroutine_threadsafe(run(), self._loop).result(START_SECONDS)


async def _number_asked(request: Request, present: int) -> int:
    """The number of the build whose handler is asked for."""
    try:
        return int((await request.json())["fn_index"]) // IDS_APART
    except (ValueError, TypeError, KeyError):
        return present  # Gradio tells what is wrong with it


def _again(body: bytes, receive: Receive) -> Receive:
    """Hands out a body that was read already, then what comes after it."""
    left = [body]

    async def hand_out() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return hand_out


@asynccontextmanager
async def _nothing(app: FastAPI) -> AsyncIterator[None]:
    yield
