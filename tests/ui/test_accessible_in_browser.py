"""What people who do not see the page, or see it badly, need of it: judged by axe-core."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.ui.test_page import assert_fits

pytestmark = pytest.mark.browser
PICTURE = Path(__file__).parents[2] / "docs/images/starter-sheet.png"
AXE = files("axe_playwright_python") / "axe.min.js"
FINDINGS = """async (rules) => {
    const wanted = rules ? {runOnly: {type: 'rule', values: rules}} : {};
    const found = await axe.run(document, {...wanted, resultTypes: ['violations']});
    return found.violations
        .filter((one) => ['serious', 'critical'].includes(one.impact))
        .flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html.slice(0, 200)}`));
}"""
OF_COLOURS = ["color-contrast", "link-in-text-block"]


def test_no_tab_has_a_serious_finding_by_day_and_by_night(open_page: Callable[..., Any]) -> None:
    page = open_page(color_scheme="light", bypass_csp=True)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    page.add_style_tag(content="* { transition: none !important; animation: none !important; }")
    tabs = page.locator("#dq-tabs > .tab-wrapper .tab-container:not(.visually-hidden) > button")
    names = [name.strip() for name in tabs.all_inner_texts()]
    assert len(names) >= 9
    findings = {}
    for name in names:
        page.get_by_role("tab", name=name, exact=True).first.click()
        page.wait_for_timeout(300)
        findings[name] = page.evaluate(FINDINGS)
        page.evaluate("document.body.classList.add('dark')")
        findings[f"{name} by night"] = page.evaluate(FINDINGS, OF_COLOURS)
        page.evaluate("document.body.classList.remove('dark')")
    assert {name: found for name, found in findings.items() if found} == {}


SPOKEN = """() => [...document.querySelectorAll('label, button, summary, h1, h2, h3, h4, th')]
    .filter((part) => part.checkVisibility() && !part.closest('.visually-hidden'))
    .map((part) => part.innerText.trim())
    .filter((text) => /[A-Za-z]{3}/.test(text) && !/[\\u4e00-\\u9fff]/.test(text))"""
NAMES = re.compile(
    r"English|SD VAE|Lora|ControlNet|\[?starter|DPM\+\+|R-ESRGAN|GFPGAN|CodeFormer|RestoreFormer"
    r"|X/Y/Z|Sigma|Rho|safetensors|fp16|bf16|fp32|Eta|png|euler|Hugging ?Face|Civitai"
)
"""What is called the same in every language."""


@pytest.mark.parametrize(("locale", "scheme"), [("en-US", "dark"), ("zh-CN", "light")])
def test_every_tab_fits_phones_laptops_and_wide_screens_in_its_language(
    open_page: Callable[..., Any], locale: str, scheme: str
) -> None:
    page = open_page(width=1920, locale=locale, color_scheme=scheme)
    tabs = page.locator("#dq-tabs > .tab-wrapper .tab-container:not(.visually-hidden) > button")
    names = [name.strip() for name in tabs.all_inner_texts()]
    assert len(names) >= 9
    foreign: dict[str, list[str]] = {}
    for name in names:
        page.set_viewport_size({"width": 1920, "height": 900})
        page.get_by_role("tab", name=name, exact=True).first.click()
        page.wait_for_timeout(200)
        for width in (1920, 1024, 390):
            page.set_viewport_size({"width": width, "height": 844})
            assert_fits(page, width)
        foreign[name] = [text for text in page.evaluate(SPOKEN) if not NAMES.search(text)]
    assert page.evaluate("document.body.classList.contains('dark')") is (scheme == "dark")
    if locale == "zh-CN":
        assert {name: found for name, found in foreign.items() if found} == {}


NAMED = """() => ['title', 'aria-label', 'placeholder'].flatMap((name) =>
    [...document.querySelectorAll(`[${name}]`)]
        .filter((part) => part.checkVisibility() && !part.closest('.visually-hidden'))
        .map((part) => part.getAttribute(name))
        .filter((text) => /[A-Za-z]{3}/.test(text) && !/[\\u4e00-\\u9fff]/.test(text)))"""
SIGNS = re.compile(r"Danqing|English|starter-|SD VAE|Lora|ControlNet")
"""Names in what is read aloud or shown beside the pointer."""


def test_page_when_chinese_then_names_of_buttons_and_values_of_menus_are_too(
    open_page: Callable[..., Any],
) -> None:
    page = open_page(width=390, height=844, locale="zh-CN")
    page.click("#dq-kit .dq-kit-open")
    page.get_by_role("button", name="动漫 · SDXL", exact=True).wait_for()
    page.keyboard.press("Escape")
    named = {"txt2img": page.evaluate(NAMED)}

    open_tab(page, "png_info")
    page.set_input_files("[id^=dq-png] input[type=file]", str(PICTURE))
    page.wait_for_selector("[id^=dq-png] [aria-label='移除图片'][title='移除图片']")
    page.wait_for_selector("[id^=dq-png] [aria-label='全屏']")
    named["png_info"] = page.evaluate(NAMED)

    open_tab(page, "models")
    page.click("#dq-models-tabs [data-tab-id=models_merge]")
    page.wait_for_selector("[aria-label='恢复默认值']")
    named["models"] = page.evaluate(NAMED)

    open_tab(page, "restore")
    broken = {"name": "aunt.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.set_input_files("#dq-rst-drop input[type=file]", broken)
    page.wait_for_selector(".toast-title:has-text('警告')")
    assert "无法作为图片读取" in page.inner_text("[data-testid=toast-body]")
    page.click("[data-testid=toast-close]")

    open_tab(page, "gallery")
    page.wait_for_selector(".dq-gal-help summary")
    page.wait_for_function("document.documentElement.scrollHeight <= innerHeight")
    page.click(".dq-gal-help summary")
    assert page.evaluate(LEFT_AND_RIGHT, ".dq-gal-helpbox") == [True, True]
    found = {
        tab: [text for text in texts if not SIGNS.search(text)] for tab, texts in named.items()
    }
    assert {tab: texts for tab, texts in found.items() if texts} == {}


LEFT_AND_RIGHT = """(part) => {
    const box = document.querySelector(part).getBoundingClientRect();
    return [box.left >= 0, box.right <= innerWidth];
}"""


def open_tab(page: Any, name: str) -> None:
    """Open a tab by its id, wherever a narrow page has put it."""
    page.evaluate(
        """(name) => {
            const way = document.createElement('button');
            way.dataset.go = name;
            document.body.append(way);
            way.click();
            way.remove();
        }""",
        name,
    )
