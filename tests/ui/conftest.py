"""A served page with a fake model process, and a browser that tolerates no error."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from app import build_app
from tests.patience import PATIENCE, wait_until
from tests.ui.fake_worker import LET_ON
from tests.ui.serve import FAKE_WORKER
from webui.settings import read_settings
from webui.studio import Studio

BROWSER_ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
READY = "gradio-app:not([inert]) #dq-stage :is(.dq-card, .dq-stagebox)"


class Served:
    """One server on one port, that can be ended and begun again."""

    def __init__(self, folder: Path, port: int, *flags: str) -> None:
        self.folder, self.port, self.flags = folder, port, flags
        self.begin()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def begin(self) -> None:
        """Start; returns when the page can be asked for."""
        settings = read_settings(
            ["--data-dir", str(self.folder), "--port", str(self.port), *self.flags], environ={}
        )
        self.studio = Studio(settings, worker_command=(*FAKE_WORKER, str(self.folder)))
        config = uvicorn.Config(
            build_app(self.studio), host="127.0.0.1", port=self.port, log_level="error",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started, "the server did not start")

    def let_on(self) -> None:
        """One batch whose prompt says ``held`` goes on."""
        (self.folder / LET_ON).touch()

    def end(self) -> None:
        """Stop everything."""
        self._server.should_exit = True
        self._thread.join(timeout=15)
        self.studio.stop()


def held(page: Any, address: str) -> list[Any]:
    """The requests to an address from now on, which wait until a test lets them go on."""
    waiting: list[Any] = []
    page.route(address, lambda route: waiting.append(route))
    return waiting


def let_go(page: Any, address: str, waiting: list[Any]) -> None:
    """Let them, and what comes after them, go on."""
    for one in waiting:
        one.continue_()
    page.unroute(address)


def until_held(page: Any, waiting: list[Any], count: int) -> None:
    """Wait in the page's own time: what waits is told of only while the page is asked something."""
    for _ in range(600):
        if len(waiting) >= count:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{len(waiting)} requests came, not {count}")


@contextmanager
def _serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    made: list[Served] = []

    def make(*flags: str) -> Served:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        made.append(Served(tmp_path_factory.mktemp("data"), port, *flags))
        return made[-1]

    yield make
    for served in made:
        served.end()


@pytest.fixture(scope="module")
def make_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Starts servers of a file's own, and ends them with it."""
    with _serving(tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server most tests share."""
    with _serving(tmp_path_factory) as make:
        yield make()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """A Chromium for a file's tests; in a process that drives one no event loop can run."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(BROWSER_ARGS))
        yield started
        started.close()


HAS_FAILED = pytest.StashKey[bool]()
"""Whether a test has failed in this turn."""
LEAVING = "This page is being left."
"""Said by a page on ``beforeunload``: Gradio then aborts its stream, and calls it an error."""


@dataclass
class Watched:
    """What went wrong in a browser window, and where it asked for things."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    is_outage_expected: bool = False

    def watch(self, page: Any, url: str) -> None:
        """Hear what this page says from now on."""
        leaving = False

        def hear(message: Any) -> None:
            nonlocal leaving
            leaving = leaving or message.text == LEAVING
            if message.type == "error":
                note(f"{message.text} {message.location}")

        def note(error: str) -> None:
            if not leaving:
                self.errors.append(error)

        def arrive(_: Any) -> None:
            nonlocal leaving
            leaving = False

        page.add_init_script(f"addEventListener('beforeunload', () => console.debug('{LEAVING}'))")
        page.on("console", hear)
        page.on("framenavigated", arrive)
        page.on("pageerror", lambda error: note(error.stack or str(error)))
        own = (url, "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(own) else self.foreign.append(r.url))

    def judge(self) -> None:
        """No error is allowed but in an outage, and never a foreign host."""
        if not self.is_outage_expected:
            assert self.errors == []
        assert self.foreign == []


@contextmanager
def _opening(browser: Any, served: Served) -> Iterator[Callable[..., Any]]:
    """A function that opens pages in fresh browser profiles; they are closed at the end."""
    contexts: list[Any] = []
    pages: list[Any] = []
    watched = Watched()

    def open_one(
        width: int = 1280, height: int = 900, context: Any = None, url: str = "", **options: Any
    ) -> Any:
        url = url or served.url
        if context is None:
            options = {"locale": "en-US", **options}
            context = browser.new_context(viewport={"width": width, "height": height}, **options)
            context.set_default_timeout(PATIENCE * 1000)
            contexts.append(context)
        page = context.new_page()
        pages.append(page)
        watched.watch(page, url)
        page.goto(url)
        page.wait_for_selector(READY)
        return page

    open_one.watched, open_one.pages = watched, pages  # type: ignore[attr-defined]
    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def open_page(browser: Any, served: Served) -> Iterator[Callable[..., Any]]:
    """Opens pages in fresh browser profiles; afterwards no error and no foreign host is allowed."""
    with _opening(browser, served) as open_one:
        yield open_one
    open_one.watched.judge()  # type: ignore[attr-defined]


@pytest.fixture
def page(open_page: Callable[..., Any]) -> Any:
    """One page in a fresh browser profile."""
    return open_page()


@pytest.fixture(scope="module")
def _kept(browser: Any, served: Served) -> Iterator[tuple[Callable[..., Any], list[Any]]]:
    """What opens the page that a file's tests share, and that page once it is open."""
    with _opening(browser, served) as open_one:
        yield open_one, []


@pytest.fixture
def kept_page(
    _kept: tuple[Callable[..., Any], list[Any]], request: pytest.FixtureRequest
) -> Iterator[Any]:
    """The page that a file's tests share, as the test before left it; a new one after a failure.

    Opening a page costs more than most of what is looked at on it."""
    open_one, opened = _kept
    watched = open_one.watched  # type: ignore[attr-defined]
    request.node.stash[HAS_FAILED] = False
    if not opened:
        opened.append(open_one())
    yield opened[0]
    try:
        if request.node.stash[HAS_FAILED]:
            opened.pop().context.close()
        watched.judge()
    finally:
        watched.errors.clear()
        watched.foreign.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failed test of a page tells what stood on it, and what the server had done."""
    report = yield
    if report.failed:
        item.stash[HAS_FAILED] = True
    if report.when == "call" and report.failed:
        given = list(getattr(item, "funcargs", {}).values())
        opened = [page for one in given for page in getattr(one, "pages", ())]
        told = [_told(one) for one in [*given, *opened]]
        if hasattr(report.longrepr, "addsection"):
            report.longrepr.addsection("at the end", "\n".join(dict.fromkeys(told)))
    return report


def _told(value: Any) -> str:
    """What a page shows, or a server has done; nothing of anything else."""
    try:
        if isinstance(value, Served):
            rows = value.studio.jobs.list(limit=10)
            return "\n".join(f"job {one.id} {one.state} {one.params_json[:120]}" for one in rows)
        if hasattr(value, "inner_text") and not value.is_closed():
            shown = value.inner_text("body", timeout=5000).split("\n")
            return f"{value.url} {' | '.join(filter(str.strip, shown))[:3000]}"
    except Exception as err:
        return f"could not be asked: {err}"
    return ""
