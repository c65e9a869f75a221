"""Writing prompts in a real browser: completion, weights, tokens, presets, undo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.patience import wait_until
from tests.ui.conftest import Served

pytestmark = pytest.mark.browser
GROUP = ".dq-prompts:has(#dq-prompt)"


def test_prompt_when_written_is_completed_weighed_kept_and_undone(
    make_served: Callable[..., Served], open_page: Callable[..., Any]
) -> None:
    served = make_served()
    tags = "1girl,0,6000000,\nhatsune_miku_(append),4,900,\nhatsune_miku,4,100000,初音未来\n"
    for name, text in (("tags/a.csv", tags), ("wildcards/colour.txt", "red\ngreen\nblue\n")):
        (served.folder / name).parent.mkdir(exist_ok=True)
        (served.folder / name).write_text(text, encoding="utf-8")
    page = open_page(url=served.url)
    box, steps = page.locator("#dq-prompt textarea"), page.locator("#dq-steps input").first
    offers = page.locator(f"{GROUP} .dq-offer")

    box.click()
    for typed, wanted in (("初音", "hatsune miku, "), ("__col", "hatsune miku, __colour__")):
        page.keyboard.type(typed)
        offers.first.wait_for()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert box.input_value() == wanted and offers.count() == 0
    page.keyboard.type(" {a|b} __none__, (x)")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Control+ArrowUp")
    assert box.input_value().endswith("(x:1.2)")
    page.keyboard.press("Control+ArrowDown")
    page.keyboard.press("Control+ArrowDown")
    assert box.input_value().endswith(", x"), "a weight of 1 needs no brackets"
    page.keyboard.press("Alt+ArrowLeft")
    written = "hatsune miku, x, __colour__ {a|b} __none__"
    assert box.input_value() == written
    page.wait_for_selector(f"{GROUP} .dq-words:has-text('6 combinations')")
    assert "__none__" in page.locator(f"{GROUP} .dq-words").inner_text()
    assert page.locator("#dq-combinatorial").is_visible()
    page.locator(f"{GROUP} .dq-tokens").click()
    page.wait_for_selector(f"{GROUP} .dq-token:has-text('miku')")

    page.locator("#dq-kit .dq-kit-speeds label", has_text="Draft").click()
    wait_until(lambda: steps.input_value() == "10", "the draft has other steps")
    page.click("#dq-kit .dq-kit-open")
    page.fill("#dq-kit .dq-kit-save input", "mine")
    page.keyboard.press("Enter")
    page.wait_for_selector("#dq-kit .dq-kit-use:text-is('mine')")
    page.locator("#dq-kit .dq-kit-use:text-is('Anime · SDXL')").click()
    wait_until(lambda: steps.input_value() == "28", "the preset was not put into the form")
    assert box.input_value() == written, "a preset without a prompt leaves it"

    for button, value in (("undo", "10"), ("undo", "20"), ("redo", "10"), ("redo", "28")):
        page.click(f"#dq-kit .dq-kit-{button}")
        wait_until(lambda v=value: steps.input_value() == v, f"{button} did not lead to {value}")
    assert box.input_value() == written
    page.click("#dq-kit .dq-kit-open")
    page.locator("#dq-kit .dq-kit-use:text-is('mine')").click()
    wait_until(lambda: steps.input_value() == "10", "the own preset was not put into the form")
    page.click("#dq-kit .dq-kit-open")
    page.click("#dq-kit .dq-kit-away")
    page.wait_for_selector("#dq-kit .dq-kit-use:text-is('mine')", state="detached")
    page.click("#dq-kit .dq-kit-said button")
    page.wait_for_selector("#dq-kit .dq-kit-use:text-is('mine')")
