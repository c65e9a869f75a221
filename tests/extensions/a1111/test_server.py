"""Routes that A1111 folders add to the server: where no page is, and what their handlers do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.extensions.a1111.conftest import MakeFolder
from tests.patience import PATIENCE
from webui.api import script_app
from webui.api.app import build_api
from webui.extensions.fence import MOST_FAILURES
from webui.settings import read_settings
from webui.studio import Studio

ROUTES = """
import os, sys, threading
from fastapi import APIRouter
from modules import script_callbacks
DEMOS, THREADS = [], []
script_callbacks.on_before_ui(lambda: DEMOS.append("before"))
def started(demo, app):
    DEMOS.append(demo)
    @app.get("/mine/demo")
    def demos(): return DEMOS
    @app.get("/mine/softly")
    def softly(): sys.exit(3)
    @app.get("/mine/hard")
    def hard(): os._exit(4)
    @app.get("/mine/waiting")
    async def waiting(): os.abort()
    @app.get("/mine/broken")
    def broken(): raise ValueError("boom")
    @app.get("/mine/loop")
    def loop():
        THREADS.append(threading.current_thread())
        while True: pass
    router = APIRouter()
    @router.post("/included")
    def included(word: str): return word
    app.include_router(router, prefix="/mine")
    app.add_api_route("/sdapi/v1/samplers", lambda: "theirs")
script_callbacks.on_app_started(started)
"""
LOGIN = ("me", "secret")


@pytest.fixture
def studio(tmp_path: Path, script: MakeFolder) -> Iterator[Studio]:
    """A studio without a page and with a password, and a folder that adds routes."""
    script(ROUTES, "mine")
    flags = [
        "--data-dir",
        str(tmp_path),
        "--use-cpu",
        "all",
        "--nowebui",
        "--api-auth",
        "me:secret",
    ]
    made = Studio(read_settings(flags, {}), worker_command=["true"])
    yield made
    made.stop()


def _client(studio: Studio) -> TestClient:
    made = TestClient(build_api(studio), base_url="http://127.0.0.1:7860")
    made.auth = LOGIN
    return made


@pytest.fixture
def client(studio: Studio) -> TestClient:
    return _client(studio)


def test_routes_when_there_is_no_page_then_folders_add_them_behind_the_apis_password(
    client: TestClient,
) -> None:
    assert client.get("/mine/demo").json() == ["before", None]
    assert client.post("/mine/included?word=x").json() == "x"
    assert client.get("/mine/demo", auth=("me", "no")).status_code == 401
    assert client.get("/mine/nothing").status_code == 404
    assert client.get("/sdapi/v1/samplers").json() != "theirs"


def test_routes_when_the_folder_comes_and_goes_then_they_do(
    client: TestClient, studio: Studio, script: MakeFolder
) -> None:
    late = script(ROUTES.replace("/mine", "/late"), "late")
    studio.refresh_extensions()
    assert client.get("/late/demo").json() == ["before", None]
    (late.path / "scripts" / "main.py").unlink()
    studio.refresh_extensions()
    assert client.get("/late/demo").status_code == 404
    assert client.get("/mine/demo").status_code == 200


@pytest.mark.parametrize("path", ["softly", "hard", "waiting"])
def test_routes_when_a_handler_wants_to_end_the_program_then_its_request_alone_fails(
    client: TestClient, studio: Studio, path: str
) -> None:
    answer = client.get(f"/mine/{path}")
    assert (answer.status_code, answer.text) == (
        500,
        "The extension mine failed: It tried to end the program, which was not done.",
    )
    (trouble,) = studio.extensions.fence.troubles("mine")
    assert trouble.moment == "on_app_started"
    assert client.get("/mine/demo").status_code == 200


def test_routes_when_a_handler_fails_then_says_whose_it_is_and_goes_on(client: TestClient) -> None:
    for _ in range(MOST_FAILURES + 1):
        answer = client.get("/mine/broken")
        assert answer.status_code == 500
        assert answer.text == "The extension mine failed: ValueError: boom"


def test_routes_when_the_folder_is_left_out_then_says_why(
    client: TestClient, studio: Studio
) -> None:
    studio.extensions.fence.record("mine", "process", "too slow", is_fatal=True)
    answer = client.get("/mine/demo")
    assert answer.status_code == 503 and "process: too slow" in answer.text


def test_routes_when_a_handler_loops_for_ever_then_its_thread_is_ended(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script_app, "LONG_SECONDS", 0.2)
    answer = _client(studio).get("/mine/loop")
    assert answer.status_code == 500 and "longer than 0.2 s" in answer.text
    scripts = studio.extensions.scripts
    assert scripts is not None and scripts.host is not None
    thread: threading.Thread = scripts.host.modules["mine/main.py"].THREADS[0]
    thread.join(PATIENCE)
    assert not thread.is_alive()
