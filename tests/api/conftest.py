"""A real Studio with a worker that needs no model, and clients that talk to its API."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from webui.api.app import build_api
from webui.settings import PROJECT_DIR, read_settings
from webui.studio import Studio

BASE_URL = "http://127.0.0.1:7860"
FAKE_WORKER = Path(__file__).with_name("fake_worker.py")
QUICK = {"prompt": "a boat", "steps": 3, "width": 64, "height": 64, "seed": 7}

MakeStudio = Callable[..., Studio]


def wait_until(is_true: Callable[[], Any], seconds: float = 20.0) -> Any:
    """The first true value within the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = is_true()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("it did not become true in time")


@pytest.fixture(scope="module")
def make_studio(tmp_path_factory: pytest.TempPathFactory, starter_checkpoint: Path) -> Iterator[MakeStudio]:
    """Makes running studios on data folders of their own, by start-up flags."""
    made: list[Studio] = []

    def make(*flags: str, worker: Path = FAKE_WORKER) -> Studio:
        folder = tmp_path_factory.mktemp("studio")
        models = folder / "models"
        (models / "Stable-diffusion").mkdir(parents=True)
        shutil.copy(starter_checkpoint, models / "Stable-diffusion" / "second.safetensors")
        settings = read_settings(["--nowebui", "--data-dir", str(folder), *flags], {})
        studio = Studio(settings, worker_command=[sys.executable, str(worker)])
        studio.start()
        made.append(studio)
        return studio

    yield make
    for studio in made:
        if not studio.is_closing:
            studio.stop()


def client_of(studio: Studio, **more: Any) -> TestClient:
    """A program that talks to a studio's API (programs send no Origin)."""
    return TestClient(build_api(studio), base_url=BASE_URL, **more)


@pytest.fixture(scope="module")
def studio(make_studio: MakeStudio) -> Studio:
    return make_studio()


@pytest.fixture(scope="module")
def client(studio: Studio) -> Iterator[TestClient]:
    with client_of(studio) as client:
        yield client
