"""A guest in a real browser: logs in, paints, finds the picture in the gallery, logs out; behind a
reverse proxy that speaks https and cuts a sub-path off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.ui.conftest import READY, Served
from tests.ui.reverse_proxy import https_proxy
from webui.brake import MAX_FAILURES, Brake

pytestmark = pytest.mark.browser


def test_guest_when_logged_in_paints_under_the_security_headers(
    browser: Any, make_served: Callable[..., Served]
) -> None:
    """No script, style or picture of the page is refused by what the answers allow, and nothing is
    asked for outside of the sub-path."""
    logins = ("--gradio-auth", "ann:one", "--guest-auth", "gil:two")
    served = make_served(*logins, "--subpath", "/art", "--forwarded-allow-ips", "127.0.0.1")
    with https_proxy(served.port, "/art") as url:
        _look_around_as_a_guest(browser, served, url)
    assert served.studio.jobs.list(limit=1)[0].user == "gil~"


def _look_around_as_a_guest(browser: Any, served: Served, url: str) -> None:
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, locale="en-US", ignore_https_errors=True
    )
    context.set_default_timeout(PATIENCE * 1000)
    page, errors = context.new_page(), []
    page.on(
        "console",
        lambda it: errors.append(f"{it.text} {it.location}") if it.type == "error" else None,
    )
    page.on("pageerror", lambda err: errors.append(str(err)))

    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if r.url.startswith("https:") else None)
    page.goto(url)
    assert page.url == f"{url}login"
    served.studio.access.brake = Brake(clock=lambda: 0.0)  # slow as a browser may be, no wait ends
    for _ in range(MAX_FAILURES - 1):
        served.studio.access.brake.note_failure("127.0.0.1")
    for told in ("do not belong together", "Too many wrong passwords"):  # the last one, one more
        page.fill("input[name=username]", '"gil"')
        page.fill("input[name=password]", "three")
        page.click("button[type=submit]")
        page.wait_for_selector(f"[role=alert]:has-text('{told}')")
        kept = page.input_value("input[name=username]")
        assert kept == ('"gil"' if "belong" in told else "")
    assert len(errors) == 2 and "400" in errors[0] and "429" in errors[1]
    errors.clear()
    served.studio.access.brake = Brake()
    page.fill("input[name=username]", "gil")
    page.fill("input[name=password]", "two")
    page.click("button[type=submit]")
    page.wait_for_selector(READY)
    (cookie,) = [one for one in context.cookies() if one["httpOnly"]]
    assert cookie["secure"] and cookie["path"] == "/art/"
    page.fill("#dq-prompt textarea", "a red fox")
    page.click("#dq-generate")
    page.wait_for_selector("#dq-stage .dq-stagebox[data-state=done] img")
    assert page.get_by_role("tab").all_inner_texts()[:4] == [
        "txt2img", "img2img", "Gallery", "Queue",
    ]  # fmt: skip
    page.get_by_role("tab", name="Gallery").click()
    page.wait_for_selector("#dq-gallery .dq-gal-item img")
    for owners in ("#dq-folder", "#dq-save", "#dq-refresh", ".dq-kit-open"):
        assert page.locator(owners).count() == 0, owners
    page.get_by_role("tab", name="Queue").click()
    page.wait_for_selector("#dq-queue .dq-job")
    for owners in ("#dq-queue-pause", "#dq-queue-resume"):
        assert page.locator(owners).count() == 0, owners
    assert errors == []
    _ask_the_api_by_script(page, context)
    errors.clear()
    page.click("#dq-logout")
    page.wait_for_selector("input[name=password]")
    context.close()

    # between two cookies the page's own stream was refused, too
    assert [error for error in errors if "401" not in error] == []
    assert [address for address in asked if not address.startswith(url)] == []


def _ask_the_api_by_script(page: Any, context: Any) -> None:
    """What the page's scripts may not have is refused at once, by no dialog of the browser's own,
    for which they would wait; also when the session has ended while the page was open."""
    ask = "async () => (await fetch('sdapi/v1/options')).status"
    session = context.cookies()
    assert page.evaluate(ask) == 403
    context.clear_cookies()
    assert page.evaluate(ask) == 401
    context.add_cookies(session)
