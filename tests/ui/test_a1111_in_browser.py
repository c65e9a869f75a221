"""Fields, tabs, JavaScript and routes of A1111 folders, in a real browser."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.extensions.a1111.conftest import EXAMPLES
from tests.patience import wait_until
from tests.ui.conftest import Served

pytestmark = pytest.mark.browser


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Served]:
    """A server with three folders; it ends with the test, and lets them go."""
    for name in ("recorder", "callbacks", "redoer"):
        shutil.copytree(EXAMPLES / name, tmp_path / "extensions" / name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Served(tmp_path, port)
    yield made
    made.end()


def test_page_when_folders_lie_there_then_shows_what_they_draw_and_asks_with_it(
    own_server: Served, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    here = own_server
    page = open_page(url=here.url)
    page.wait_for_function("document.body.dataset.recorder === 'loaded'")
    assert page.evaluate("gradioApp().querySelector('#txt2img_prompt textarea') !== null")
    assert page.evaluate("fetch('/first/hello').then(r => r.json())") == {"hello": "world"}

    page.get_by_label("Job Recorder").first.check()
    page.locator("#script_txt2img_job_recorder_word :is(input, textarea)").fill("leafy")
    page.locator("#dq-prompt textarea").fill("a frog")
    page.get_by_role("button", name="Generate", exact=True).first.click()
    wait_until(lambda: here.studio.jobs.list(limit=1), "nothing was asked for")
    params = here.studio.params_of(here.studio.jobs.list(limit=1)[0])
    arguments = json.loads(params.extensions["a1111"]["arguments"])
    assert arguments == {"job recorder": [True, "leafy", 1]}
    kept = '"script job recorder 1 Word": "leafy"'
    wait_until(lambda: any(kept in text for text in here.studio.drafts.texts()), "no draft is kept")

    page.get_by_role("tab", name="Second").click()
    page.locator("#b_second_answer").wait_for()

    script = tmp_path / "extensions" / "recorder" / "scripts" / "recorder.py"
    script.write_text(script.read_text("utf-8").replace('label="Times"', 'label="How often"'))
    page.get_by_role("tab", name="Extensions").click()
    page.locator(".dq-xt").get_by_role("button", name="Refresh").click()
    page.wait_for_function("window.danqingPage === 1")
    page.locator("#dq-extensions .dq-xt-card").first.wait_for()
    page.get_by_role("tab", name="txt2img").click()
    page.get_by_label("How often").first.wait_for()
    assert page.get_by_label("Job Recorder").first.is_checked(), "the draft is put back"
    page.get_by_role("button", name="Generate", exact=True).first.click()
    wait_until(lambda: len(here.studio.jobs.list(limit=2)) == 2, "nothing was asked for")
