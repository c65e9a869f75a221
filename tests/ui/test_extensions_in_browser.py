"""The Extensions tab in a real browser: a zip is shown, put in, removed and put back."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.patience import wait_until
from tests.ui.conftest import Served

pytestmark = pytest.mark.browser
FORMS = """from webui.hookspecs import Form, hook
@hook
def forms(): return [Form()]
"""


def test_zip_when_chosen_then_shown_first_and_comes_goes_and_comes_back(
    served: Served, open_page: Callable[..., Any]
) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as made:
        made.writestr("extension.toml", "api = 1\n[title]\nen = 'Ripples <b>'")
        made.writestr("web.py", FORMS)
    page = open_page()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("tab", name="Extensions").click()
    part = page.locator(".dq-xt")
    part.get_by_role("tab", name="Install", exact=True).click()
    file = {"name": "ripple.zip", "mimeType": "application/zip", "buffer": data.getvalue()}
    part.locator("input[type=file]").set_input_files([file])
    part.get_by_text("To be installed: Ripples <b>").wait_for()
    assert not (served.studio.settings.folders.data / "extensions/ripple").exists()

    part.locator(".dq-xt-offer").get_by_role("button", name="Install", exact=True).click()
    card = part.locator("[data-name=ripple]")
    card.get_by_text("on", exact=True).wait_for()
    block = page.locator(".dq-exts[data-tab=txt2img] .dq-ext[data-name=ripple]")
    block.wait_for(state="attached")
    card.get_by_role("switch").uncheck()
    block.wait_for(state="detached")
    card.get_by_role("switch").check()
    block.wait_for(state="attached")
    card.get_by_role("button", name="Remove").click()
    card.wait_for(state="detached")
    block.wait_for(state="detached")

    part.get_by_role("tab", name="Backups").click()
    row = part.locator(".dq-xt-row", has_text="ripple")
    row.get_by_role("button", name="Restore").click()
    row.wait_for(state="detached")
    assert served.studio.extension_store.trash.all() == []
    part.get_by_role("tab", name="Installed").click()
    card.get_by_role("button", name="Remove").click()
    card.wait_for(state="detached")


def open_from_menu(page: Any, name: str) -> None:
    """Choose a tab that has no room in the row. The menu closes when Gradio measures its tabs, as
    it does for a while after a page has come."""
    from playwright.sync_api import Error

    entry = page.locator("#dq-tabs .overflow-dropdown").get_by_text(name, exact=True)

    def is_pressed() -> bool:
        try:
            if not entry.is_visible():
                page.locator("#dq-tabs .overflow-menu > button").click()
            entry.click(timeout=2000)
        except Error:
            return False
        return True

    wait_until(is_pressed, "the menu did not stay open")


def test_page_when_loaded_anew_on_a_phone_then_the_tab_out_of_the_menu_is_open_again(
    open_page: Callable[..., Any],
) -> None:
    page = open_page(width=390, height=844)
    open_from_menu(page, "Extensions")
    page.locator(".dq-xt-card").first.wait_for()
    page.evaluate("window.stays = true; window.danqingComeBack('page_renewed')")
    page.wait_for_function("!window.stays")
    page.locator(".dq-xt-card").first.wait_for()
