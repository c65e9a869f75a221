"""A plot from the form to its sheet, in a real browser, with the page loaded anew in the middle."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ui.conftest import READY

pytestmark = pytest.mark.browser
STAGE = "#dq-stage .dq-stagebox"


def choose(page: Any, letter: str, axis: str, values: str) -> None:
    """Fill one axis in."""
    page.select_option(f"[name={letter}-axis]", axis)
    page.fill(f"[name={letter}-values]", values)


def test_plot_when_the_page_is_loaded_anew_in_the_middle_then_its_sheet_is_shown(
    page: Any,
) -> None:
    page.fill("#dq-prompt textarea", "a slow fox")
    page.fill("#dq-steps input[type=number]", "3")
    page.keyboard.press("Tab")
    page.click("#dq-script input")
    page.get_by_role("option", name="X/Y/Z plot").click()
    choose(page, "x", "Prompt S/R", "slow, quick")
    choose(page, "y", "CFG Scale", "3-5 (+2)")
    page.click(".dq-plot button:has-text('X ⇄ Y')")
    page.wait_for_selector("#dq-cost :text('4 cells')")

    page.click("#dq-generate")
    page.wait_for_selector(".dq-plotline")
    page.reload()
    page.wait_for_selector(READY)

    assert page.input_value("[name=x-values]") == "3-5 (+2)"
    assert page.input_value("[name=y-axis]") == "Prompt S/R"
    page.wait_for_selector(f'{STAGE}[data-state="done"] img')
    told = page.text_content("#dq-infotext")
    assert "Script: X/Y/Z plot" in told and "X Type: CFG Scale" in told
    assert "Y Values: slow, quick" in told or 'Y Values: "slow, quick"' in told
    page.get_by_role("tab", name="Queue").click()
    page.wait_for_selector("#dq-queue .dq-done:has-text('X/Y/Z plot · a slow fox')")
    assert "4 of 4 cells" in page.text_content("#dq-queue .dq-done")
