"""A supervisor over the fake worker, stopped after each test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.small_studio import SmallStudio, is_alive
from webui.jobs.store import JobStore


@pytest.fixture
def studio(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[SmallStudio]:
    caplog.set_level(logging.CRITICAL, "webui.jobs")
    store = JobStore(tmp_path / "jobs.sqlite3")
    studio = SmallStudio(tmp_path, store)
    yield studio
    pid = studio.supervisor.worker_pid
    studio.supervisor.stop(grace_seconds=0.2)
    assert pid is None or not is_alive(pid)
    store.close()
