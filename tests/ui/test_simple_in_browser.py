"""Few fields, the first look around, and what is told of a job, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.ui.conftest import Served

pytestmark = pytest.mark.browser
STAGE = "#dq-stage"
TYPE_STEPS = """(steps) => {
    const box = document.querySelector('#dq-steps input');
    box.value = steps;
    box.dispatchEvent(new Event('input', {bubbles: true}));
}"""
LETTERS = """() => [...document.querySelectorAll('#dq-stage .dq-next .dq-btn')]
    .filter((button) => button.checkVisibility())
    .map((button) => JSON.parse(getComputedStyle(button, '::before').content))"""
NOTES = """
window.heard = [];
window.Notification = class {
  static permission = 'default';
  static async requestPermission() { this.permission = 'granted'; return 'granted'; }
  constructor(title, options) { window.heard.push(options.body); }
};
Object.defineProperty(document, 'hidden', {get: () => Boolean(window.isAway), configurable: true});
"""
"""A browser that grants notifications, keeps what they say, and is out of sight on demand."""


def test_tour_then_four_pictures_with_few_fields_then_smaller_after_a_failure(
    open_page: Callable[..., Any], served: Served
) -> None:
    page = open_page(width=390, height=844)
    page.evaluate(NOTES)

    page.click("[data-tour=begin]")
    page.wait_for_selector(".dq-tour")
    assert page.locator(".dq-tour .dq-chip").count() == 3
    idea = page.locator(".dq-tour .dq-chip").first
    prompt = idea.inner_text()
    idea.click()  # writes it and goes on
    assert page.input_value("#dq-prompt textarea") == prompt
    for _ in range(3):
        page.click(".dq-tour-next")
    assert page.locator(".dq-tour, .dq-tour-here").count() == 0
    page.wait_for_selector("[data-tour=begin]", state="hidden")

    page.wait_for_selector("#dq-kit .dq-kit-speeds input[value=speed]:checked")  # a fresh form's
    page.click("[data-simple]")
    page.wait_for_selector("#dq-steps", state="hidden")
    page.click("#dq-kit .dq-kit-speeds label >> nth=2")
    page.wait_for_function("document.querySelector('#dq-steps input')?.value === '10'")
    page.evaluate(TYPE_STEPS, 11)
    page.wait_for_selector("#dq-kit .dq-kit-speeds input:checked", state="detached")
    page.wait_for_selector("#dq-negative", state="hidden")
    page.wait_for_function("document.querySelector('#dq-batch-size input')?.value === '4'")
    page.fill("#dq-prompt textarea", f"{prompt} ，(a,b:1.1)\n BREAK held, oil paintings")
    page.click(".dq-tile-oil")
    page.click(".dq-tile-ink")  # one style at a time, nothing else is touched
    written = f"{prompt} ，(a,b:1.1)\n BREAK held, oil paintings, chinese ink painting"
    assert page.input_value("#dq-prompt textarea") == written
    assert page.evaluate("document.documentElement.scrollWidth") == 390

    page.click("[data-notify]")
    page.wait_for_selector("#dq-kit [data-notify][aria-pressed=true]")
    other = '<div hidden><div class="dq-stagebox" data-state="done" data-job="0"></div></div>'
    page.evaluate(f"document.body.insertAdjacentHTML('afterbegin', '{other}')")  # a tab before
    page.evaluate("window.isAway = true")
    page.click("#dq-generate")
    page.wait_for_function("/^\\d+ % · Danqing/.test(document.title)")
    served.let_on()
    page.wait_for_selector(f"{STAGE} .dq-cell >> nth=3")
    bottom = "document.querySelector('#dq-stage .dq-view').getBoundingClientRect().bottom"
    page.wait_for_function(f"{bottom} < innerHeight")  # it came into sight by itself
    assert page.evaluate(LETTERS) == ["V", "U"] * 4
    page.wait_for_function("window.heard.length === 1 && !/%/.test(document.title)")
    assert page.evaluate("window.heard") == ["The picture is done."]

    page.evaluate("window.isAway = false")
    page.fill("#dq-prompt textarea", "fail")
    page.click("#dq-generate")
    page.click(f"{STAGE} [data-way=one_by_one]")
    page.wait_for_selector(f"{STAGE} .dq-failed [data-way=smaller]")
    page.wait_for_selector(f"{STAGE} [data-way=one_by_one]", state="detached")

    page.wait_for_selector("#dq-interrupt[disabled]")  # nothing is asked any more
    page.reload()
    page.wait_for_selector(".dq-simple .dq-tiles")
    assert "dq-toured" in page.get_attribute("body", "class")
    page.click("[data-simple]")
    page.wait_for_selector("#dq-steps", state="visible")

    button = '<button data-go="models" data-find="GFPGAN">Open Models</button>'  # as failures.py
    page.evaluate(
        f"document.querySelector('#dq-stage').insertAdjacentHTML('beforeend', '{button}')"
    )
    page.click("[data-go]")
    page.wait_for_function(
        "document.querySelector('#dq-get-search :is(input, textarea)')?.value === 'GFPGAN'"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 390
