"""The API answers whatever is sent, and a caller's mistake never with 500."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.api.clients import FAKE_WORKER
from tests.security.any_requests import send_any
from webui.api.app import build_api
from webui.settings import read_settings
from webui.studio import Studio


def test_api_when_sent_what_its_description_allows_and_forbids_never_crashes(
    tmp_path: Path,
) -> None:
    """Some 500 requests, the same in every run; ``python -m tests.security.any_requests 1000``
    sends more."""
    settings = read_settings(["--nowebui", "--data-dir", str(tmp_path)], {})
    studio = Studio(settings, worker_command=[sys.executable, "-m", FAKE_WORKER])
    studio.start()
    try:
        outcome = send_any(build_api(studio), each=6)
    finally:
        studio.stop()

    assert outcome.crashes == []
    assert outcome.cases > 300
    assert {200, 404, 422} <= set(outcome.statuses)
