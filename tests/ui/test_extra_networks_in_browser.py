"""Cards of models in a real browser: found, clicked, clicked again, dimmed, noted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.patience import wait_until
from tests.test_model_cards import lora
from tests.ui.conftest import Served

pytestmark = pytest.mark.browser
CARDS = "#dq-networks .dq-net-card"


def test_cards_when_opened_are_found_clicked_and_dimmed(
    make_served: Callable[..., Served], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    for number in range(300):
        lora(tmp_path / f"{number:03d}.safetensors", number)
    lora(tmp_path / "ink.safetensors", ss_output_name="inkwash")
    notes = {"activation text": "ink <wash>", "preferred weight": 0.7, "negative text": "photo"}
    (tmp_path / "ink.json").write_text(json.dumps(notes))
    lora(tmp_path / "wide.safetensors", ss_base_model_version="sdxl_base_v1-0")
    asked: list[str] = []
    served = make_served("--lora-dir", str(tmp_path))
    page = open_page(url=served.url)
    page.on("request", lambda request: asked.append(request.url))
    prompt, negative = (page.locator(f"#dq-{name} textarea") for name in ("prompt", "negative"))
    assert page.locator(CARDS).count() == 0 and not any("ui/card" in url for url in asked)
    prompt.fill("a hill, photorealistic")
    negative.fill("photorealistic")
    prompt.evaluate("(box) => box.setSelectionRange(4, 4)")  # in the word "hill"

    page.click("#dq-networks [data-kind=lora]")
    page.wait_for_selector(CARDS)
    assert page.locator(CARDS).count() < 60, "only what is in sight is drawn"
    page.fill("#dq-networks .dq-net-search", "wash ink")
    wait_until(lambda: page.locator(CARDS).count() == 1, "the search found something else")
    press = page.locator(f"{CARDS} .dq-net-press")
    press.click()
    assert prompt.input_value() == "a hill <lora:inkwash:0.7> ink <wash>, photorealistic"
    assert negative.input_value() == "photorealistic, photo"
    assert press.get_attribute("aria-pressed") == "true"
    press.click()
    texts = (prompt.input_value(), negative.input_value())
    assert texts == ("a hill, photorealistic", "photorealistic")
    prompt.fill("<lora:ink:1> mist")
    assert press.get_attribute("aria-pressed") == "true", "that is another of its names"
    press.click()
    assert prompt.input_value() == "mist"

    page.fill("#dq-networks .dq-net-search", "wide")
    dim = page.locator(f"{CARDS}.dq-net-dim", has_text="wide")
    dim.wait_for()
    assert "Made for SDXL; the chosen checkpoint is SD1" in dim.inner_text()

    dim.locator(".dq-net-more").click()
    page.wait_for_selector(".dq-net-view[open]")
    view = page.locator(".dq-net-view").bounding_box()
    assert abs(view["y"] * 2 + view["height"] - page.viewport_size["height"]) < 2, "in the middle"
    page.fill(".dq-net-view [name=activation]", "wide view")
    page.keyboard.press("Control+Enter")  # belongs to the open view: nothing is painted
    page.click(".dq-net-save")
    page.wait_for_selector("text=Saved beside the file.")
    assert json.loads((tmp_path / "wide.json").read_text())["activation text"] == "wide view"
    page.fill(".dq-net-view [name=notes]", "half a thought")
    page.keyboard.press("Escape")
    page.wait_for_selector("text=Not saved yet.")
    page.keyboard.press("Escape")
    page.wait_for_selector(".dq-net-view", state="detached")
    assert not served.studio.jobs.list()

    page.fill("#dq-networks .dq-net-search", "")
    page.wait_for_selector(f"{CARDS} >> text=000")
    page.locator(f"{CARDS} .dq-net-press").first.focus()
    page.keyboard.press("End")
    page.wait_for_selector(f"{CARDS} >> text=wide")
    lora(tmp_path / "wider.safetensors", ss_base_model_version="sdxl_base_v1-0")
    served.studio.catalog.refresh()  # a training or a download is done, say
    page.wait_for_selector(f"{CARDS} >> text=wider")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused.startswith("wide,"), "the keyboard stays where it was"
    page.click("#dq-networks [data-kind=generation]")
    assert page.locator(CARDS).count() == 0 and page.locator("#dq-steps").is_visible()
