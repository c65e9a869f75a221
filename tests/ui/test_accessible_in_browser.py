"""What people who do not see the page, or see it badly, need of it: judged by axe-core."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

pytestmark = pytest.mark.browser
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
