"""The gallery in a real browser: search, star, delete, undo, compare, paint again, fill a form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.library.gallery_files import painted
from tests.patience import wait_until
from tests.ui.conftest import Served, held, let_go, until_held

pytestmark = pytest.mark.browser
ITEMS = ".dq-gal-item"


def test_gallery_when_used_finds_stars_deletes_restores_and_paints_again(
    make_served: Callable[..., Served], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    for number in range(150):
        painted(tmp_path / f"{number:03d}.png", f"stone {number}", size=(16, 16), Seed=number)
    tower = painted(
        tmp_path / "tower.png",
        "a <b>tower</b>, aquarelle",
        Sampler="Euler",
        Steps=2,
        Seed=77,
        Size="64x64",
    )
    served = make_served()
    deeds = served.studio.gallery.deeds
    deeds.do("add-folder", {"folder": str(tmp_path)}, "")
    asked: list[str] = []
    page = open_page(url=served.url)
    page.on("request", lambda request: asked.append(request.url))
    assert page.locator(ITEMS).count() == 0 and not any("ui/gallery" in url for url in asked)

    page.get_by_role("tab", name="Gallery").click()
    page.wait_for_selector(ITEMS)
    wait_until(lambda: deeds.find("")["total"] == 151, "the folder was not read")
    assert page.locator(ITEMS).count() < 120, "only what is in sight is drawn"
    page.fill(".dq-gal-search", "aquarelle sampler:euler")
    wait_until(lambda: page.locator(ITEMS).count() == 1, "the search found something else")
    assert "<b>tower</b>" in (page.locator(ITEMS).get_attribute("aria-label") or "")

    page.locator(ITEMS).click()
    page.wait_for_selector(".dq-gal-view .dq-gal-text")
    page.keyboard.press("4")
    wait_until(lambda: deeds.find("", text="stars:4")["total"] == 1, "no stars were given")
    page.get_by_role("button", name="Paint again").click()
    wait_until(lambda: served.studio.jobs.list(), "nothing was asked for")
    (job,) = served.studio.jobs.list()
    params = served.studio.params_of(job)
    assert (params.prompt, params.seed, params.steps) == ("a <b>tower</b>, aquarelle", 77, 2)
    served.studio.wait(job.id, 60)
    wait_until(lambda: page.locator(ITEMS).count() == 2, "the new picture did not come")

    page.keyboard.press("Delete")
    wait_until(lambda: deeds.find("", place="trash")["total"] == 1, "nothing was deleted")
    page.locator(".dq-gal-view").get_by_role("button", name="Undo").click()
    wait_until(lambda: deeds.find("", place="trash")["total"] == 0, "nothing came back")
    assert tower.exists()
    page.keyboard.press("Escape")
    page.wait_for_selector(".dq-gal-view", state="detached")

    page.locator(ITEMS).first.focus()
    page.keyboard.press("Control+a")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector(".dq-gal-compare th:has-text('Model')")
    page.keyboard.press("Escape")
    page.locator(ITEMS).last.click()
    page.locator(".dq-gal-send").select_option("txt2img")
    page.wait_for_selector("#dq-prompt textarea", state="visible")
    prompt = page.locator("#dq-prompt textarea")
    wait_until(lambda: "tower" in prompt.input_value(), "the form was not filled")


@pytest.fixture
def opened(
    make_served: Callable[..., Served], open_page: Callable[..., Any], tmp_path: Path
) -> tuple[Any, Any]:
    """A page with the first of three pictures open, and the server's side of its gallery."""
    for number in range(3):
        painted(tmp_path / f"{number}.png", f"stone {number}", size=(16, 16), Seed=number)
    served = make_served()
    deeds = served.studio.gallery.deeds
    deeds.do("add-folder", {"folder": str(tmp_path)}, "")
    wait_until(lambda: deeds.find("")["total"] == 3, "the folder was not read")
    page = open_page(url=served.url)
    page.get_by_role("tab", name="Gallery").click()
    wait_until(lambda: page.locator(ITEMS).count() == 3, "the pictures are not drawn")
    page.locator(ITEMS).first.click()
    page.wait_for_selector(".dq-gal-view .dq-gal-text")
    return page, deeds


def test_undo_when_facts_come_while_it_is_pressed_still_hears_the_click(
    opened: tuple[Any, Any],
) -> None:
    page, deeds = opened
    facts = held(page, "**/ui/gallery/one/*")
    page.keyboard.press("Delete")
    undo = page.locator(".dq-gal-view").get_by_role("button", name="Undo")
    undo.hover()
    until_held(page, facts, 1)
    page.mouse.down()
    assert page.locator(".dq-gal-view .dq-gal-text").count() == 0
    let_go(page, "**/ui/gallery/one/*", facts)
    page.wait_for_selector(".dq-gal-view .dq-gal-text")
    page.mouse.up()
    wait_until(lambda: deeds.find("", place="trash")["total"] == 0, "nothing came back")


def test_picture_when_deleted_amid_a_look_for_new_ones_leaves_the_next_one_in_sight(
    opened: tuple[Any, Any],
) -> None:
    page, deeds = opened
    lists = held(page, "**/ui/gallery/find*")
    page.keyboard.press("Delete")
    until_held(page, lists, 2)  # one of the deletion, one of the look a few seconds later
    let_go(page, "**/ui/gallery/find*", lists)
    page.locator(".dq-gal-view").get_by_role("button", name="Undo").click()
    wait_until(lambda: deeds.find("", place="trash")["total"] == 0, "nothing came back")
    wait_until(lambda: page.locator(ITEMS).count() == 3, "the list is as before")
