"""From dropped photographs to a LoRA card: the real program, model and browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import wait_until
from tests.test_first_picture import Server, any_free_port, running
from tests.training.pictures import BLUE, GREEN, picture
from tests.ui.conftest import READY

pytestmark = pytest.mark.browser
TOML = """
resolution = 64
min_bucket_reso = 64
max_bucket_reso = 64
repeats = 1
max_train_epochs = 2
network_dim = 2
network_train_unet_only = true
sample_prompts = "小明 --w 64 --h 64 --s 1 --d 1"
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path / "数据 data", any_free_port(), has_page=True) as server:
        yield server


def test_photographs_when_dropped_and_trained_then_an_epoch_becomes_a_card(
    server: Server, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page(url=server.base + "/")
    page.wait_for_selector(READY)
    page.get_by_role("tab", name="Train", exact=True).click()
    page.wait_for_selector("#dq-trn-stage .dq-empty")

    files = [
        picture(tmp_path / "红 coat.png", (80, 64), GREEN),
        picture(tmp_path / "IMG_0001.png", colour=BLUE),
    ]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    drop = page.locator("#dq-trn-drop input[type=file]")
    drop.set_input_files([*files, tmp_path / "broken.png"])
    page.get_by_text("Give it a name first").wait_for()
    word = page.locator("#dq-trn-word").get_by_role("textbox")
    word.fill("小明")
    word.blur()  # the photographs that wait are taken now
    page.wait_for_selector("#dq-trn-pictures figure >> nth=1")
    page.get_by_text('"broken.png" cannot be read as an image').wait_for()
    page.click("[data-testid=toast-close]")  # it stays until then
    page.click("#dq-trn-names")
    words = page.locator("[data-caption='红 coat.png']")
    wait_until(lambda: words.input_value() == "小明, 红 coat", "no words from the file's name")
    words.fill("小明, 红色大衣")
    words.blur()

    page.locator("[data-pick='红 coat.png']").check()
    assert page.locator("[data-chosen]").inner_text() == "1 ticked"
    page.locator("#dq-trn-tools [data-field=add]").fill("hat")
    page.click("#dq-trn-tools [data-act=tags]")
    wait_until(lambda: words.input_value() == "hat, 小明, 红色大衣", "the tag did not come")
    other = page.locator("[data-caption='IMG_0001.png']")
    assert other.input_value() == "小明" and page.locator("[data-pick]:checked").count() == 1

    page.get_by_label("Expert").click()
    page.wait_for_selector("[data-option=network_dim]", state="attached")
    page.locator("#dq-trn-toml textarea").fill(TOML)
    page.click("#dq-trn-toml-apply")
    plan = page.locator("#dq-trn-plan")
    wait_until(lambda: "4 steps" in plan.inner_text(), "the plan does not follow")

    page.click("#dq-trn-go")
    page.wait_for_selector(".dq-trn-card[data-state=done]")
    stage = page.locator("#dq-trn-stage")
    assert "done: 4 steps" in stage.inner_text()
    assert stage.locator(".dq-trn-sheet img").count() == 2
    stage.locator("[data-act=use]").first.click()

    lora = server.data / "models" / "Lora" / "小明-000001.safetensors"
    notes = lora.with_suffix(".json")
    wait_until(lambda: lora.with_name("小明-000001.preview.png").exists(), "there is no card")
    assert lora.stat().st_size > 10_000
    assert json.loads(notes.read_text("utf-8"))["activation text"] == "小明"
    kept = server.data / "training" / "pictures" / "小明" / "红 coat.txt"
    assert kept.read_text("utf-8") == "hat, 小明, 红色大衣"
