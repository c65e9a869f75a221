"""What the API's tests share: a program that talks to a studio, and a request that is quick."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

from webui.api.app import build_api
from webui.studio import Studio

BASE_URL = "http://127.0.0.1:7860"
FAKE_WORKER = "tests.api.fake_worker"
QUICK = {"prompt": "a boat", "steps": 3, "width": 64, "height": 64, "seed": 7}

MakeStudio = Callable[..., Studio]


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody used a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def client_of(studio: Studio, **more: Any) -> TestClient:
    """A program that talks to a studio's API (programs send no Origin)."""
    return TestClient(build_api(studio), base_url=BASE_URL, **more)
