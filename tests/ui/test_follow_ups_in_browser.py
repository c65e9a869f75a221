"""Going on from a finished picture, in a real browser: variations, comparison, sending."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.patience import wait_until
from tests.test_first_picture import Server, any_free_port, running
from tests.ui.conftest import READY, Served
from webui.services.follow_ups import SUBTLE

pytestmark = pytest.mark.browser
CANVAS = "[data-board=dq-i2i-canvas-inpaint]"
STAGE, OTHER_STAGE = "#dq-stage", "#dq-i2i-stage"


def generate(page: Any, prompt: str, **numbers: int) -> None:
    """Fill in and press Generate; numbers by element id without ``dq-``."""
    page.fill("#dq-prompt textarea", prompt)
    for name, value in {"steps": 2, **numbers}.items():
        page.fill(f"#dq-{name.replace('_', '-')} input[type=number]", str(value))
        page.keyboard.press("Tab")
    page.click("#dq-generate")


def wait_for_job(page: Any, number: int) -> None:
    """Until the stage shows the end of that many jobs."""
    page.wait_for_selector(f'{STAGE} .dq-stagebox[data-state="done"]:not([data-job="{number}"])')


def shown_job(page: Any) -> int:
    return int(page.get_attribute(f"{STAGE} .dq-stagebox", "data-job"))


def cut_of(page: Any, place: str) -> str:
    return page.eval_on_selector(
        f"{place} .dq-pair", "frame => getComputedStyle(frame).getPropertyValue('--dq-cut')"
    )


def test_two_by_two_when_checked_paints_four_walked_by_arrow_keys_and_follows_the_sliders(
    page: Any,
) -> None:
    page.check("#dq-four input")
    page.wait_for_function("document.querySelector('#dq-batch-size input')?.value === '4'")
    generate(page, "four")
    page.wait_for_selector(f"{STAGE} .dq-four .dq-cell >> nth=3")
    assert page.locator(f"{STAGE} .dq-cell").count() == 4
    page.focus(f"{STAGE} .dq-pick >> nth=0")

    def picked() -> int:
        pressed = page.locator(f"{STAGE} .dq-pick").evaluate_all(
            "all => all.map(pick => pick.getAttribute('aria-pressed') === 'true')"
        )
        return pressed.index(True)

    for key, expected in (("ArrowRight", 1), ("ArrowDown", 3), ("ArrowLeft", 2), ("ArrowUp", 0)):
        page.keyboard.press(key)
        wait_until(lambda expected=expected: picked() == expected, f"{key} did not pick {expected}")
    page.wait_for_function("document.activeElement.matches('.dq-pick')")

    page.fill("#dq-batch-size input[type=number]", "3")
    page.keyboard.press("Tab")
    page.wait_for_function("document.querySelector('#dq-four input')?.checked === false")


def test_comparison_is_cut_by_keys_mouse_and_in_large_and_stays_off_after_a_reload(
    page: Any,
) -> None:
    generate(page, "a fox")
    page.wait_for_selector(f"{STAGE} .dq-next")
    page.click(f"{STAGE} [data-how=strong]")
    page.wait_for_selector(f"{STAGE} .dq-pair .dq-before img")
    assert cut_of(page, STAGE) == "50%"
    page.focus(f"{STAGE} .dq-cut")
    page.keyboard.press("Home")
    assert cut_of(page, STAGE) == "0%"
    page.keyboard.press("ArrowRight")
    assert cut_of(page, STAGE) == "0.5%"
    box = page.locator(f"{STAGE} .dq-pair").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    assert abs(float(cut_of(page, STAGE).rstrip("%")) - 80) < 2

    page.click(f"{STAGE} .dq-corner [data-zoom]")
    box = page.locator(".dq-large .dq-pair").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + 40)
    assert abs(float(cut_of(page, ".dq-large").rstrip("%")) - 25) < 2
    page.keyboard.press("Escape")
    assert page.locator(".dq-large").count() == 0

    page.click(f"{STAGE} [data-compare]")
    assert not page.is_visible(f"{STAGE} .dq-before")
    page.reload()
    page.wait_for_selector(f"{STAGE} .dq-pair")
    page.wait_for_selector(f"{STAGE} [data-compare][aria-pressed=false]")
    assert not page.is_visible(f"{STAGE} .dq-before")


def test_comparison_on_a_phone_fits(open_page: Callable[..., Any]) -> None:
    page = open_page(width=390, height=844)
    generate(page, "a fox")
    page.wait_for_selector(f"{STAGE} .dq-next")
    page.click(f"{STAGE} [data-how=subtle]")
    page.wait_for_selector(f"{STAGE} .dq-pair")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    heights = page.locator(f"{STAGE} .dq-next button").evaluate_all(
        "all => all.map(button => button.getBoundingClientRect().top)"
    )
    assert len(set(heights)) == 1, "the next steps do not fit into one line"


def test_upscale_when_pressed_uses_the_second_pass_of_the_form(page: Any, served: Served) -> None:
    page.click("#dq-hires input")
    page.fill("#dq-hires-scale input[type=number]", "1.5")
    page.keyboard.press("Tab")
    page.click("#dq-hires input")
    generate(page, "a small house")
    page.wait_for_selector(f"{STAGE} .dq-next")
    first = shown_job(page)
    page.click(f"{STAGE} [data-how=upscale]")
    page.wait_for_selector(f'{STAGE} .dq-stagebox[data-state="done"]:not([data-job="{first}"])')

    params = served.studio.params_of(served.studio.jobs.get(shown_job(page)))
    assert params.kind == "txt2img" and params.hires.scale == 1.5 and params.first_pass_image
    assert page.locator(f"{STAGE} .dq-pair").count() == 1


def test_buttons_of_a_picture_when_a_job_ends_stay_where_they_are_and_the_same(page: Any) -> None:
    for prompt in ("a fox", "a boat", "a held tree"):
        job = shown_job(page) if page.locator(f"{STAGE} .dq-stagebox").count() else 0
        generate(page, prompt)
        if "held" not in prompt:
            wait_for_job(page, job)
    page.wait_for_selector(f"{STAGE} .dq-progress")
    page.click(f"{STAGE} .dq-thumb >> nth=-1")
    page.wait_for_selector(f"{STAGE} .dq-next")
    assert page.locator(f"{STAGE} .dq-progress").count() == 1
    where = "all => { all[0].isMarked = true; return all[0].getBoundingClientRect().top; }"
    before = page.locator(f"{STAGE} .dq-next").evaluate_all(where)
    job = shown_job(page)
    page.keyboard.press("Alt+Enter")  # it is held until it is skipped
    page.wait_for_selector(f'{STAGE} .dq-stagebox[data-state="done"][data-job="{job}"]')
    told = "next => [next.isMarked, next.getBoundingClientRect().top]"
    assert page.eval_on_selector(f"{STAGE} .dq-next", told) == [True, before]
    assert "Done in" in page.inner_text(f"{STAGE} .dq-ended")


def test_send_when_pressed_puts_picture_and_recipe_into_img2img(page: Any) -> None:
    generate(page, "a fox to send", steps=3)
    page.wait_for_selector(f"{STAGE} .dq-next")
    page.click("#dq-send-img2img")
    page.wait_for_function(
        "document.querySelector('#dq-i2i-prompt textarea')?.value === 'a fox to send'"
    )
    assert page.input_value("#dq-i2i-steps input[type=number]") == "3"
    page.wait_for_selector(f"{OTHER_STAGE} .dq-stagebox")  # the other stage has looked too


def test_send_when_a_picture_was_dropped_into_png_info_puts_it_on_the_canvas(
    page: Any, tmp_path: Path, served: Served
) -> None:
    file = tmp_path / "plain.png"
    Image.new("RGB", (64, 64), (10, 200, 90)).save(file)
    page.get_by_role("tab", name="PNG Info").click()
    page.set_input_files("#dq-png-picture input[type=file]", file)
    page.wait_for_selector("#dq-png-send-inpaint:not([disabled])")
    assert page.is_disabled("#dq-png-send-txt2img")  # it carries no recipe
    page.click("#dq-png-send-inpaint")

    page.wait_for_selector(CANVAS)
    wait_until(lambda: canvas_colour(page) == [10, 200, 90], "the picture is not on the canvas")


def canvas_colour(page: Any) -> list[int]:
    """The middle of the inpainting canvas, as it is seen; nothing while it is empty."""
    canvas = page.locator(f"{CANVAS} canvas").first
    if not canvas.count() or not canvas.is_visible():
        return []
    shot = Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")
    return list(shot.getpixel((shot.width // 2, shot.height // 2)))


# The real model


def is_red(colour: list[int]) -> bool:
    return bool(colour) and colour[0] > 150 and colour[1] < 110 and colour[2] < 110


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path, any_free_port(), has_page=True) as server:
        yield server


def test_vary_when_pressed_on_the_second_of_four_is_painted_compared_and_sent_to_inpaint(
    server: Server, open_page: Callable[..., Any]
) -> None:
    page = open_page(url=server.base + "/")
    page.wait_for_selector(READY)
    generate(page, "a red apple on a yellow background", steps=8, batch_size=4)
    page.wait_for_selector(f"{STAGE} .dq-four")
    first = shown_job(page)
    parent = page.get_attribute(f"{STAGE} .dq-cell >> nth=1 >> .dq-after", "src")
    page.click(f"{STAGE} .dq-cell >> nth=1 >> [data-how=subtle]")
    wait_for_job(page, first)

    assert f"Denoising strength: {SUBTLE}" in page.inner_text("#dq-infotext pre")
    page.click(f"{STAGE} .dq-cell >> nth=2 >> [data-zoom]")
    before, after = page.evaluate(
        """async () => {
          const bytes = async (image) => (await (await fetch(image.src)).arrayBuffer()).byteLength;
          const large = document.querySelector('.dq-large');
          return [await bytes(large.querySelector('.dq-before img')),
                  await bytes(large.querySelector('.dq-after'))];
        }"""
    )
    same = page.evaluate(
        "async (url) => (await (await fetch(url)).arrayBuffer()).byteLength", parent
    )
    assert before == same != after  # at the left the second of the four, at the right a new one
    page.keyboard.press("Escape")

    page.click("#dq-send-inpaint")
    page.wait_for_selector(CANVAS)
    wait_until(lambda: is_red(canvas_colour(page)), "the apple is not on the canvas")
    assert "red apple" in page.input_value("#dq-i2i-prompt textarea")
