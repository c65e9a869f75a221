"""The owner's page while the program runs: another build takes its place, and what becomes of the
one before."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from webui.errors import ExtensionError
from webui.ui.login import Visitors
from webui.ui.owners_page import IDS_APART, OwnersPage


class Builds:
    """Makes pages that answer with their number, and hears what becomes of them."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.app.state.script_app = SimpleNamespace(
            open=lambda blocks: None, has=lambda scope: False
        )
        self.heard: list[str] = []
        self.is_broken = False
        studio: Any = SimpleNamespace(
            extensions=SimpleNamespace(scripts=None, drawing_alone=nullcontext)
        )
        visitors: Visitors = SimpleNamespace(of=lambda request: SimpleNamespace(is_guest=False))  # type: ignore[assignment]
        self.page = OwnersPage(self.app, studio, visitors, self.draw, self.mount)
        self.app.router.routes.append(self.page.routes)
        self.app.mount("/", self.page)
        self.app.router.lifespan_context = self.page.live_with(self.app.router.lifespan_context)

    def draw(self, first_id: int) -> tuple[Any, list[Any]]:
        if self.is_broken:
            raise RuntimeError("no")
        number = first_id // IDS_APART
        if number:
            self.heard.append(f"{number} is drawn while {self.page.number} is told")
        queue = SimpleNamespace(
            close=lambda: self.heard.append(f"queue {number} closed"),
            pending_messages_per_session={},
        )
        return SimpleNamespace(number=number, _queue=queue), [f"tab {number}"]

    def mount(self, blocks: Any, more_head: str) -> Any:
        outer = self.app.router.lifespan_context

        @asynccontextmanager
        async def life(app: FastAPI) -> AsyncIterator[Any]:
            async with outer(app) as state:
                self.heard.append(f"{blocks.number} begins")
                yield state
                self.heard.append(f"{blocks.number} ends")

        self.app.router.lifespan_context = life
        made = FastAPI()

        @made.post("/queue/join")
        async def join(request: Request) -> dict[str, Any]:
            body = await request.body()
            blocks._queue.pending_messages_per_session[f"of {blocks.number}"] = body
            return {"build": blocks.number, "asked": body.decode()}

        @made.get("/queue/data")
        def hear() -> int:
            return blocks.number

        @made.get("/head")
        def head() -> str:
            return more_head

        return made


def asked(client: TestClient, body: dict[str, Any]) -> tuple[int, Any]:
    """Which build was asked, and for what."""
    answer = client.post("/queue/join", json=body).json()
    return answer["build"], json.loads(answer["asked"])


def test_page_when_built_anew_then_serves_at_once_and_pages_of_the_one_before_can_save() -> None:
    builds = Builds()
    page = builds.page
    with TestClient(builds.app) as client:
        old = {"fn_index": 7, "data": ["x" * 100_000]}
        assert asked(client, old) == (0, old)
        tabs = page.tabs
        page.renew()
        assert page.number == 1 and tabs is page.tabs and tabs == ["tab 1"]
        assert "danqingPage = 1" in client.get("/head").json()
        assert asked(client, old) == (0, old), "the page saves what stands in it"
        new = {**old, "fn_index": IDS_APART + 7}
        assert asked(client, new) == (1, new)
        for number in (0, 1):  # what was asked is heard from who was asked
            heard = client.get("/queue/data", params={"session_hash": f"of {number}"})
            assert heard.json() == number
        assert client.get("/queue/data").json() == 1
        assert client.post("/queue/join", content=b"{").json() == {"build": 1, "asked": "{"}
        page.renew()
        assert client.post("/queue/join", json=old).status_code == 409
        assert asked(client, new) == (1, new)
        assert builds.heard == [
            "0 begins", "1 is drawn while 0 is told", "1 begins", "2 is drawn while 1 is told",
            "2 begins", "queue 0 closed", "0 ends",
        ]  # fmt: skip
    assert builds.heard[7:] == ["queue 1 closed", "1 ends", "queue 2 closed", "2 ends"]


def test_page_when_another_cannot_be_built_then_stays_and_it_can_be_tried_again() -> None:
    builds = Builds()
    with TestClient(builds.app) as client:
        builds.is_broken = True
        with pytest.raises(ExtensionError, match="could not be built anew: RuntimeError: no"):
            builds.page.renew()
        assert builds.page.number == 0 and builds.page.tabs == ["tab 0"]
        assert client.post("/queue/join", json={"fn_index": 1}).json()["build"] == 0
        builds.is_broken = False
        builds.page.renew()
        assert client.post("/queue/join", json={"fn_index": IDS_APART}).json()["build"] == 1
