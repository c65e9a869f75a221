"""One studio that is open to others, with both doors, and everybody who may come to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app import build_app
from tests.ui.serve import FAKE_WORKER
from webui.api import server
from webui.brake import Brake
from webui.roles import guest_name
from webui.settings import read_settings
from webui.studio import Studio
from webui.ui import guest_page, page
from webui.ui.owners_page import OwnersPage

URL = "http://127.0.0.1:7860"
SHARED_PORT = 7999
"""Where the public tunnel would come in."""
PASSWORDS = {"ann": "one", "gil": "two", "tom": "three"}
OWNER, GUEST, OTHER_GUEST = "ann", "gil", "tom"
GUEST_NAME, OTHER_GUEST_NAME = guest_name(GUEST), guest_name(OTHER_GUEST)
SECRET = "the secret text of this machine"
FLAGS = ("--gradio-auth", "ann:one", "--guest-auth", "gil:two,tom:three", "--api-server-stop")


@dataclass
class Open:
    """The studio, its application, and the two pages that Gradio serves."""

    studio: Studio
    app: FastAPI
    owners: Any
    guests: Any

    @property
    def gradio(self) -> Any:
        """Gradio's own application for owners, beneath our layers."""
        found: Any = self.app.router.routes[-1].app  # type: ignore[union-attr]
        while not isinstance(found, FastAPI):
            if isinstance(found, OwnersPage):
                found = found._present.app
            else:
                found = getattr(found, "_owners", None) or found._app
        return found

    def client(self, user: str = "", **more: Any) -> TestClient:
        """Somebody with a browser, logged in when a name is given."""
        client = TestClient(self.app, **{"base_url": URL, **more})
        if user:
            form = {"username": user, "password": PASSWORDS[user]}
            assert client.post("/login", data=form).status_code == 200
        return client

    def program(self, user: str = "") -> TestClient:
        """A program that sends its login with every request."""
        client = TestClient(self.app, base_url=URL, raise_server_exceptions=False)
        client.auth = (user, PASSWORDS[user]) if user else None
        return client


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """The studio all these tests share. Nothing in it is changed but by adding jobs."""
    folder = tmp_path_factory.mktemp("open")
    settings = read_settings(["--data-dir", str(folder), *FLAGS], {})
    studio = Studio(settings, worker_command=FAKE_WORKER)
    (folder / "secret.txt").write_text(SECRET, encoding="utf-8")
    made: dict[str, Any] = {}
    keep = pytest.MonkeyPatch()
    keep.setattr(page, "build_page", _kept(page.build_page, made, "owners"))
    keep.setattr(page, "build_guest_page", _kept(guest_page.build_guest_page, made, "guests"))
    app = build_app(studio)
    keep.undo()
    ended: list[object] = []
    keep.setattr(server, "_soon", ended.append)  # a door left open must not end the tests
    studio.start()
    yield Open(studio, app, made["owners"][0], made["guests"])
    studio.stop()
    keep.undo()
    assert ended == [], "somebody could stop the server"


def _kept(build: Callable[..., Any], made: dict[str, Any], name: str) -> Callable[..., Any]:
    def kept(studio: Studio, *more: Any) -> Any:
        made[name] = build(studio, *more)
        return made[name]

    return kept


@pytest.fixture(autouse=True)
def _released(request: pytest.FixtureRequest) -> None:
    """No test waits for the guesses of another."""
    if "opened" in request.fixturenames:
        request.getfixturevalue("opened").studio.access.brake = Brake()
