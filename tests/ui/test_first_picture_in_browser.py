"""A stranger's first picture: the real program, model and browser, with a refresh in mid-job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import wait_until
from tests.test_first_picture import Server, any_free_port, border_colour, pictures_in, running
from tests.ui.conftest import READY
from webui.pictures import read_infotext

pytestmark = pytest.mark.browser
PROMPT = "a red apple on a yellow background"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path, any_free_port(), has_page=True) as server:
        yield server


def test_first_picture_when_typed_and_generated_survives_a_refresh_and_is_saved(
    server: Server, open_page: Callable[..., Any]
) -> None:
    page = open_page(url=server.base + "/")
    page.wait_for_selector(READY)

    page.fill("#dq-prompt textarea", PROMPT)
    page.get_by_label("Batch count").first.fill("3")
    page.keyboard.press("Tab")
    page.focus("#dq-prompt textarea")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#dq-preview")
    page.reload()
    page.wait_for_selector(READY)
    assert page.input_value("#dq-prompt textarea") == PROMPT
    page.wait_for_selector('.dq-stagebox[data-state="done"]')

    assert PROMPT in page.inner_text("#dq-infotext pre")
    page.wait_for_selector("#dq-cost .dq-cost")  # what the next one will take is known now
    wait_until(lambda: len(pictures_in(server.data)) == 3, "the pictures were not saved")
    for file in pictures_in(server.data):
        red, green, blue = border_colour(file.read_bytes())
        assert red > 180 and green > 140 and blue < 120, "the background is not yellow"
        infotext, _ = read_infotext(file)
        assert infotext is not None and infotext.startswith(PROMPT + "\nSteps: 20, ")
