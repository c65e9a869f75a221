"""A real Studio with a worker that needs no model, and clients that talk to its API."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.api.clients import FAKE_WORKER, MakeStudio, client_of
from webui.settings import read_settings
from webui.studio import Studio


@pytest.fixture(scope="module")
def make_studio(
    tmp_path_factory: pytest.TempPathFactory, starter_checkpoint: Path
) -> Iterator[MakeStudio]:
    """Makes running studios on data folders of their own, by start-up flags."""
    yield from _make_studios(tmp_path_factory, starter_checkpoint)


@pytest.fixture(scope="session")
def real_studio(
    tmp_path_factory: pytest.TempPathFactory, starter_checkpoint: Path
) -> Iterator[Studio]:
    """One studio with the real model process for all who add files of their own to its folders;
    the process ends by itself when no test has asked for it for a minute."""
    for make in _make_studios(tmp_path_factory, starter_checkpoint):
        yield make("--worker-idle-minutes", "1", worker="webui.worker")


def _make_studios(
    tmp_path_factory: pytest.TempPathFactory, starter_checkpoint: Path
) -> Iterator[MakeStudio]:
    made: list[Studio] = []

    def make(*flags: str, worker: str = FAKE_WORKER) -> Studio:
        folder = tmp_path_factory.mktemp("studio")
        models = folder / "models"
        (models / "Stable-diffusion").mkdir(parents=True)
        shutil.copy(starter_checkpoint, models / "Stable-diffusion" / "second.safetensors")
        settings = read_settings(["--nowebui", "--data-dir", str(folder), *flags], {})
        studio = Studio(settings, worker_command=[sys.executable, "-m", worker])
        studio.start()
        made.append(studio)
        return studio

    yield make
    for studio in made:
        if not studio.is_closing:
            studio.stop()


@pytest.fixture(scope="module")
def studio(make_studio: MakeStudio) -> Studio:
    return make_studio()


@pytest.fixture(scope="module")
def client(studio: Studio) -> Iterator[TestClient]:
    with client_of(studio) as client:
        yield client
