"""The page in a real browser, over a real studio with a fake model process."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.patience import PATIENCE, wait_until
from tests.ui.conftest import READY, Served, held, let_go, until_held
from webui.services.job_control import JobControl
from webui.ui import queue_tab, results
from webui.ui.follow import Look, look

pytestmark = pytest.mark.browser


def write(page: Any, prompt: str) -> None:
    page.fill("#dq-prompt textarea", prompt)


def generate(page: Any, prompt: str) -> None:
    write(page, prompt)
    page.click("#dq-generate")


def queue_up(page: Any, served: Served, *prompts: str) -> None:
    """Press Generate for one after the other; of two quick presses either may come first."""
    for prompt in prompts:
        generate(page, prompt)
        wait_until(
            lambda text=f'"{prompt}"': [
                job for job in served.studio.jobs.list(limit=1) if text in job.params_json
            ],
            "nothing was asked for",
        )


def wait_for_state(page: Any, state: str) -> None:
    """Until a job of this test is in that state on the stage."""
    before = page.evaluate("window.jobBefore ?? ''")
    page.wait_for_selector(f'.dq-stagebox[data-state="{state}"]:not([data-job="{before}"])')


def wait_idle(served: Served) -> None:
    wait_until(
        lambda: not served.studio.jobs.list(states=("running", "queued")), "jobs never ended"
    )


FORM = {
    "#dq-prompt textarea": "", "#dq-negative textarea": "",
    "#dq-seed textarea, #dq-seed input": "-1", "#dq-steps input[type=number]": "20",
    "#dq-width input[type=number]": "128", "#dq-height input[type=number]": "128",
    "#dq-batch-count input[type=number]": "1",
}  # fmt: skip
SWITCHES = ("#dq-forever input", "#dq-hires input", "#dq-seed-extra input")


@pytest.fixture
def page(kept_page: Any) -> Any:
    """The page that these tests share, its form as on the first visit; on the stage is perhaps a
    job of another test. For a first visit, a reload or another width there is ``open_page``."""
    kept_page.get_by_role("tab", name="txt2img").click()
    kept_page.wait_for_selector(".dq-progress", state="detached")
    kept_page.wait_for_selector("#dq-preview", state="detached")
    kept_page.evaluate(
        "window.jobBefore = document.querySelector('.dq-stagebox')?.dataset.job ?? ''"
    )
    for switch in SWITCHES:
        if kept_page.is_checked(switch):
            kept_page.click(switch)
    for field, value in FORM.items():
        if kept_page.input_value(field) != value:
            kept_page.fill(field, value)
            kept_page.keyboard.press("Tab")
    return kept_page


@pytest.fixture(autouse=True)
def _clean_queue(served: Served) -> Any:
    """No test leaves work behind for the next."""
    yield
    served.studio.supervisor.resume()
    for job in served.studio.jobs.list(states=("running", "queued")):
        served.studio.control.cancel(job.id)
    wait_idle(served)


def test_generate_when_pressed_shows_preview_then_picture_and_recipe(
    page: Any, served: Served
) -> None:
    generate(page, "a held red apple")
    page.wait_for_selector("#dq-preview")
    assert "Step" in page.inner_text(".dq-progress")
    served.let_on()
    wait_for_state(page, "done")
    page.wait_for_function("document.querySelector('button.dq-view img')?.naturalWidth === 128")
    assert "a held red apple" in page.inner_text("#dq-infotext pre")
    assert page.is_enabled("#dq-save")


def test_list_of_events_is_plain_for_the_page_looks_through_it_again_and_again(page: Any) -> None:
    """A list of Svelte's own makes opening the page a quarter longer (assets/events.js)."""
    events = "window.gradio_config.dependencies"
    assert page.evaluate(f"{events}.length") > 100
    assert page.evaluate(f"Object.getPrototypeOf({events}) !== Array.prototype")


COUNT_CLOCKS = """
window.clocks = {requestAnimationFrame: 0, setTimeout: 0};
for (const name of Object.keys(window.clocks)) {
  const native = window[name];
  window[name] = (deed, ...more) => {
    if (/performance\\.now\\(\\).*1e3/.test(deed)) window.clocks[name] += 1;
    return native.call(window, deed, ...more);
  };
}
"""
"""Counts what reckons seconds, by how it is asked for."""


def test_clock_of_waiting_ticks_twice_a_second_instead_of_with_every_frame(
    open_page: Callable[..., Any], served: Served
) -> None:
    """Gradio's never ends on a page that does nothing (assets/ticks.js)."""
    page = open_page()
    page.add_init_script(COUNT_CLOCKS)
    page.goto(served.url)
    page.wait_for_selector(READY)
    page.wait_for_function("window.clocks.setTimeout > 0")
    assert page.evaluate("window.clocks.requestAnimationFrame") == 0


def test_generate_when_pressed_twice_queues_both(page: Any, served: Served) -> None:
    page.fill("#dq-steps input[type=number]", "100")
    generate(page, "a held pear")
    page.click("#dq-generate")
    wait_until(
        lambda: len(served.studio.jobs.list(states=("running", "queued"))) == 2, "one was lost"
    )


def test_refresh_when_job_runs_and_form_was_changed_restores_the_draft_and_reattaches(
    open_page: Callable[..., Any], served: Served
) -> None:
    page = open_page()
    generate(page, "a held boat")
    page.wait_for_selector("#dq-preview")
    write(page, "a fox in the fog")
    page.fill("#dq-negative textarea", "rain")
    page.fill("#dq-steps input[type=number]", "33")
    page.click("#dq-hires input")
    page.wait_for_selector("#dq-hires-upscaler")
    wait_until(
        lambda: any(
            "fox in the fog" in text and json.loads(text)["has_hires"]
            for text in served.studio.drafts.texts()
        ),
        "the draft was not kept",
    )
    page.reload()
    page.wait_for_function(
        "document.querySelector('#dq-prompt textarea')?.value === 'a fox in the fog'"
    )
    page.wait_for_selector("#dq-hires-upscaler")
    assert page.input_value("#dq-negative textarea") == "rain"
    assert page.input_value("#dq-steps input[type=number]") == "33"

    page.wait_for_selector(".dq-progress")
    page.keyboard.press("Alt+Enter")  # it is held until it is skipped
    wait_for_state(page, "done")
    assert "a held boat" in page.inner_text("#dq-infotext pre")


def test_tokens_when_typed_are_counted(page: Any) -> None:
    write(page, "a red apple on a yellow background")
    page.wait_for_function("document.querySelectorAll('.dq-tokens')[0].textContent === '7/75'")


def test_first_visit_with_starter_checkpoint_has_its_size_and_examples(
    open_page: Callable[..., Any],
) -> None:
    page = open_page()
    assert page.input_value("#dq-width input[type=number]") == "128"
    assert page.input_value("#dq-height input[type=number]") == "128"
    page.click("text=a castle at sunset")
    page.wait_for_function("document.querySelectorAll('.dq-tokens')[0].textContent === '4/75'")
    wait_for_state(page, "done")
    assert page.input_value("#dq-prompt textarea") == "a castle at sunset"


def test_interrupt_when_running_ends_the_job_soon(page: Any) -> None:
    generate(page, "a held tower")
    page.wait_for_selector("#dq-preview")
    page.click("#dq-interrupt")
    wait_for_state(page, "cancelled")
    page.wait_for_selector("button.dq-view img")


def test_interrupt_when_the_next_look_is_slow_still_ends_with_the_picture(
    page: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops, seen = [], []

    stop = JobControl.stop_current

    def stop_current(control: JobControl, *args: Any) -> None:
        stop(control, *args)
        stops.append(time.monotonic())

    def slow_once(*args: Any) -> Look:
        found = look(*args)
        if stops and not seen:
            seen.append(found)
            time.sleep(3)
        return found

    page.fill("#dq-steps input[type=number]", "100")
    generate(page, "a held lighthouse")
    page.wait_for_selector("#dq-preview")
    monkeypatch.setattr(JobControl, "stop_current", stop_current)
    monkeypatch.setattr(results, "look", slow_once)
    page.click("#dq-interrupt")
    wait_until(lambda: seen, "nobody looked")
    page.wait_for_timeout(4500)
    wait_for_state(page, "cancelled")
    assert page.is_visible("button.dq-view img")


def test_tab_when_left_and_opened_again_at_once_is_still_followed(
    page: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def slowly(*args: Any) -> dict:
        opened.append(args)
        time.sleep(1)
        return refresh(*args)

    refresh = queue_tab.refresh
    page.fill("#dq-steps input[type=number]", "40")
    generate(page, "a held heron")
    page.wait_for_selector("#dq-preview")
    monkeypatch.setattr(queue_tab, "refresh", slowly)
    page.get_by_role("tab", name="Queue").click()
    wait_until(lambda: opened, "the queue was not opened")
    page.get_by_role("tab", name="txt2img").click()
    served.let_on()
    wait_for_state(page, "done")


def test_keys_generate_and_interrupt(page: Any) -> None:
    page.fill("#dq-steps input[type=number]", "100")
    page.click("#dq-prompt textarea")
    page.keyboard.type("a held bridge")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#dq-preview")
    page.keyboard.press("Escape")
    wait_for_state(page, "cancelled")


def test_skip_key_when_two_batches_goes_on_with_the_next(page: Any, served: Served) -> None:
    page.fill("#dq-batch-count input[type=number]", "2")
    generate(page, "a held mill")
    page.wait_for_selector("#dq-preview")
    page.keyboard.press("Alt+Enter")
    page.wait_for_selector("text=Batch 2/2")
    served.let_on()
    wait_for_state(page, "done")


def test_failure_when_job_fails_shows_what_to_do_and_retries(page: Any, served: Served) -> None:
    generate(page, "fail please")
    page.wait_for_selector(".dq-failed")
    card = page.inner_text(".dq-failed")
    assert "card has 2.1 GiB free" in card
    assert "Make it smaller" in card
    before = len(served.studio.jobs.list(limit=500))
    page.click(".dq-failed [data-act=retry]")
    wait_until(lambda: len(served.studio.jobs.list(limit=500)) == before + 1, "not asked again")


def test_queue_reorders_and_cancels(page: Any, served: Served) -> None:
    queue_up(page, served, "a stuck one", "a two", "a three")
    wait_until(lambda: len(served.studio.jobs.waiting()) == 2, "two should wait")
    page.get_by_role("tab", name="Queue").click()
    page.wait_for_selector('.dq-job:has-text("a three") [data-act=up]')
    page.click('.dq-job:has-text("a three") [data-act=up]')
    wait_until(
        lambda: "three" in served.studio.jobs.waiting()[0].params_json, "the order did not change"
    )
    page.wait_for_selector('.dq-jobs .dq-job:nth-child(2):has-text("a three")')
    page.click('.dq-job:has-text("a two") [data-act=cancel]')
    wait_until(lambda: len(served.studio.jobs.waiting()) == 1, "it was not cancelled")


@pytest.mark.parametrize("names", [("two", "three"), ("two", "three", "four")])
def test_press_when_jobs_move_up_under_it_is_for_the_one_that_was_there(
    page: Any, served: Served, names: tuple[str, ...]
) -> None:
    queue_up(page, served, "a stuck one", *(f"a {name}" for name in names))
    wait_until(lambda: len(served.studio.jobs.waiting()) == len(names), "not all wait")
    first, *others = sorted(job.id for job in served.studio.jobs.waiting())
    page.get_by_role("tab", name="Queue").click()
    page.hover('.dq-job:has-text("a two") [data-act=prefer]')
    page.mouse.down()
    served.studio.control.cancel(first)
    page.wait_for_selector('.dq-jobs .dq-job:nth-child(2):has-text("a three")')
    page.evaluate(
        "document.getElementById('dq-queue-wake').addEventListener('click', "
        "() => { document.body.dataset.answered = 'yes'; })"
    )
    page.mouse.up()
    page.wait_for_selector("body[data-answered]")
    assert [job.id for job in served.studio.jobs.waiting()] == others
    assert {job.priority for job in served.studio.jobs.waiting()} == {0}


def test_press_when_its_button_goes_before_the_finger_does_counts(
    page: Any, served: Served
) -> None:
    queue_up(page, served, "a stuck one", "a two", "a three")
    wait_until(lambda: len(served.studio.jobs.waiting()) == 2, "two should wait")
    two, three = sorted(job.id for job in served.studio.jobs.waiting())
    page.get_by_role("tab", name="Queue").click()
    page.hover('.dq-job:has-text("a three") [data-act=cancel]')
    page.mouse.down()
    served.studio.control.cancel(two)
    page.wait_for_selector('.dq-jobs .dq-job:nth-child(2):has-text("a three")')
    page.mouse.up()
    wait_until(lambda: not served.studio.jobs.waiting(), "the press was lost")
    assert served.studio.jobs.get(three).state == "cancelled"


def test_queue_paused_keeps_jobs_waiting_until_resumed(page: Any, served: Served) -> None:
    page.get_by_role("tab", name="Queue").click()
    page.click("#dq-queue-pause")
    page.wait_for_selector("#dq-queue-resume")
    page.get_by_role("tab", name="txt2img").click()
    generate(page, "a patient snail")
    page.wait_for_selector('.dq-waiting:has-text("paused")')
    page.get_by_role("tab", name="Queue").click()
    page.click("#dq-queue-resume")
    page.get_by_role("tab", name="txt2img").click()
    wait_for_state(page, "done")


RECIPE = (
    "a lighthouse in fog\nNegative prompt: blurry\nSteps: 24, Sampler: DPM++ 2M Karras, CFG scale: "
    "6.5, Seed: 18446744073709551615, Size: 192x256, Denoising strength: 0.4, Clip skip: 2, "
    "Hires upscale: 1.5, Hires upscaler: Lanczos, RNG: NV, Version: v1.10.1"
)


def test_paste_when_prompt_holds_a_recipe_fills_the_form_and_its_chips_override_the_settings(
    open_page: Callable[..., Any], served: Served
) -> None:
    page = open_page()
    write(page, RECIPE)
    page.click("#dq-paste")
    page.wait_for_function(
        "document.querySelector('#dq-prompt textarea')?.value === 'a lighthouse in fog'"
    )
    assert page.input_value("#dq-negative textarea") == "blurry"
    assert page.input_value("#dq-width input[type=number]") == "192"
    assert page.input_value("#dq-seed textarea, #dq-seed input") == "18446744073709551615"
    page.wait_for_selector("#dq-overrides")
    assert "Clip skip: 2" in page.inner_text("#dq-overrides")
    assert page.input_value("#dq-hires-denoising input[type=number]") == "0.4"

    page.click("#dq-hires input")
    page.click("#dq-generate")
    wait_for_state(page, "done")
    params = json.loads(served.studio.jobs.list(limit=1)[0].params_json)
    assert (params["clip_skip"], params["sampler"], params["hires"]) == (2, "DPM++ 2M", None)
    assert params["seed"] == 2**64 - 1


def test_png_info_when_picture_is_sent_or_dropped_shows_recipe_and_sends_it_back(
    open_page: Callable[..., Any], served: Served
) -> None:
    page = open_page()
    generate(page, "a green hill")
    wait_for_state(page, "done")
    page.click("#dq-send-png-info")
    page.wait_for_selector('#dq-png-info .dq-facts td:has-text("a green hill")')
    picture = served.studio.library.recent(1)[0]
    page.get_by_role("tab", name="txt2img").click()
    generate(page, "a blue hill")
    page.wait_for_selector("#dq-infotext pre:has-text('a blue hill')")
    page.get_by_role("tab", name="PNG Info").click()
    page.click("#dq-png-send-txt2img")
    page.wait_for_function(
        "document.querySelector('#dq-prompt textarea')?.value === 'a green hill'"
    )

    newest = served.studio.library.recent(1)[0]
    assert newest.path != picture.path
    page.get_by_role("tab", name="PNG Info").click()
    page.set_input_files("#dq-png-picture input[type=file]", str(newest.path))
    page.wait_for_selector('#dq-png-info .dq-facts td:has-text("a blue hill")')
    page.get_by_role("tab", name="txt2img").click()
    drop(page, "apple.json", '{"prompt": "a red apple", "cfgScale": 3, "steps": 9, "odd": 1}')
    page.wait_for_function(
        "document.querySelector('#dq-prompt textarea')?.value === 'a red apple'"
        " && document.querySelector('#dq-steps input[type=number]')?.value === '9'"
    )
    page.wait_for_selector('#dq-dropped:has-text("Not carried over: odd: 1")')

    def is_filled(prompt: str, steps: str) -> None:
        page.wait_for_function(
            "([prompt, steps]) => document.querySelector('#dq-prompt textarea')?.value === prompt"
            " && document.querySelector('#dq-steps input[type=number]')?.value === steps",
            arg=[prompt, steps],
        )

    page.get_by_role("tab", name="Queue").click()
    page.wait_for_selector("#dq-queue .dq-queuebox")
    drop(page, "pear.txt", "a pear\nSteps: 7, Sampler: Euler, Seed: 4", on="#dq-queue")
    is_filled("a pear", "7")
    assert page.get_by_role("tab", name="txt2img").get_attribute("aria-selected") == "true"
    page.fill("#dq-prompt textarea", "")
    page.focus("#dq-prompt textarea")
    paste(page, "a plum\nSteps: 6, Sampler: Euler, Seed: 4, Size: 64x64")
    is_filled("a plum", "6")


def drop(page: Any, name: str, text: str, on: str = "#dq-stage") -> None:
    """Let a file fall on the page, beside everything that takes files."""
    page.evaluate(
        """([name, text, on]) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([text], name));
          const drop = new DragEvent('drop', {dataTransfer, bubbles: true, cancelable: true});
          document.querySelector(on).dispatchEvent(drop);
        }""",
        [name, text, on],
    )


def paste(page: Any, text: str) -> None:
    """Paste a text where the cursor stands, as the keys would."""
    page.evaluate(
        """(text) => {
          const box = document.activeElement;
          const clipboardData = new DataTransfer();
          clipboardData.setData('text/plain', text);
          box.dispatchEvent(new ClipboardEvent('paste', {clipboardData, bubbles: true}));
          box.setRangeText(text, box.selectionStart, box.selectionEnd, 'end');
          box.dispatchEvent(new Event('input', {bubbles: true}));
        }""",
        text,
    )


def test_styles_when_saved_can_be_chosen_and_merged(page: Any, served: Served) -> None:
    write(page, "{prompt}, in watercolour")
    page.click("#dq-style-edit")
    page.fill("#dq-style-name input", "water")
    page.keyboard.press("Enter")
    page.click("#dq-style-save")
    wait_until(lambda: "water" in served.studio.styles.by_name(), "the style was not saved")
    write(page, "a duck")
    page.click("#dq-styles input")
    page.click('[role=listbox] [role=option]:has-text("water")')
    page.keyboard.press("Escape")
    page.click("#dq-style-apply")
    page.wait_for_function(
        "document.querySelector('#dq-prompt textarea')?.value === 'a duck, in watercolour'"
    )
    page.click("#dq-style-edit")
    page.fill("#dq-style-name input", "water")
    page.keyboard.press("Enter")
    page.click("#dq-style-delete")
    page.click("#dq-style-back")
    wait_until(lambda: "water" in served.studio.styles.by_name(), "the style did not come back")
    assert served.studio.styles.by_name()["water"].prompt == "{prompt}, in watercolour"


def test_settings_when_applied_are_kept(page: Any, served: Served) -> None:
    served.studio.options.set("jpeg_quality", 77)  # by the API, say
    page.get_by_role("tab", name="Settings").click()
    page.wait_for_function(
        "document.querySelector('#dq-option-jpeg_quality input')?.value === '77'"
    )
    page.fill("#dq-settings-search textarea, #dq-settings-search input", "jpeg_quality")
    page.wait_for_selector("#dq-option-samples_format", state="hidden")
    page.fill("#dq-option-jpeg_quality input", "91")
    page.click("#dq-settings-apply")
    wait_until(lambda: served.studio.options["jpeg_quality"] == 91, "the option did not change")
    saved = json.loads((served.folder / "config.json").read_text(encoding="utf-8"))
    assert saved["jpeg_quality"] == 91


def test_forever_when_chosen_repeats_until_interrupted(
    open_page: Callable[..., Any], served: Served
) -> None:
    page = open_page()
    page.click("#dq-forever input")
    generate(page, "a wheel")
    first = wait_until(lambda: served.studio.jobs.list(states=("running",)), "nothing runs")[0].id
    wait_until(lambda: served.studio.jobs.list(limit=1)[0].id > first, "it was not repeated")
    page.wait_for_selector(".dq-strip .dq-thumb")
    page.click("#dq-interrupt")
    wait_until(
        lambda: not served.studio.jobs.list(states=("running", "queued")), "it goes on and on"
    )


def test_swap_and_aspect_when_pressed_change_the_size(page: Any) -> None:
    page.click('[data-aspect="3:4"]')
    page.wait_for_function(
        "document.querySelector('#dq-height input[type=number]')?.value === '144'"
    )
    assert page.input_value("#dq-width input[type=number]") == "112"
    page.click("#dq-swap")
    page.wait_for_function(
        "document.querySelector('#dq-width input[type=number]')?.value === '144'"
    )


def test_two_tabs_of_one_browser_when_one_generates_both_show_it(
    page: Any, open_page: Callable[..., Any]
) -> None:
    second = open_page(context=page.context)
    asking = held(page, "**/queue/join*")
    generate(page, "a held twin")
    until_held(page, asking, 1)
    page.wait_for_timeout(1000)  # a slow machine: the other tab has to hear of it nevertheless
    let_go(page, "**/queue/join*", asking)
    second.wait_for_selector("#dq-preview")
    page.keyboard.press("Alt+Enter")  # it is held until it is skipped
    wait_for_state(page, "done")
    job = page.get_attribute(".dq-stagebox", "data-job")
    second.wait_for_selector(f'.dq-stagebox[data-state="done"][data-job="{job}"]')
    second.close()


def test_other_browser_when_somebody_generates_sees_nothing_of_it(
    page: Any, open_page: Callable[..., Any]
) -> None:
    other = open_page()
    generate(page, "a private thing")
    wait_for_state(page, "done")
    assert other.query_selector(".dq-stagebox") is None
    other.reload()
    other.wait_for_selector(READY)
    assert other.query_selector(".dq-stagebox") is None


def test_width_when_narrow_never_scrolls_sideways(open_page: Callable[..., Any]) -> None:
    page = open_page(width=390, height=844)
    page.mouse.wheel(0, 5000)
    page.click("#dq-hires input")
    page.click("#dq-seed-extra input")
    page.wait_for_selector("#dq-hires-upscaler")
    for width in (390, 1024):
        page.set_viewport_size({"width": width, "height": 844})
        for tab in ("txt2img", "img2img", "Restore", "PNG Info", "Queue", "Settings"):
            open_tab(page, tab)
            page.wait_for_timeout(500)
            assert_fits(page, width)


def open_tab(page: Any, name: str) -> None:
    """Choose a tab, on a narrow page from the menu of those that do not fit."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.first.is_visible():
        page.locator(".overflow-menu > button").first.click()
        page.locator(".overflow-dropdown button", has_text=name).first.click()
        return
    tab.first.click()


def assert_fits(page: Any, width: int) -> None:
    """Nothing that can be seen reaches beyond the page; Gradio measures tabs in a hidden copy."""
    reach = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.gradio-container *')]"
        ".filter(e => e.checkVisibility() && !e.closest('.dq-strip, .visually-hidden')"
        " && getComputedStyle(e).position !== 'absolute')"
        ".map(e => e.getBoundingClientRect().right))"
    )
    assert reach <= width + 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_chinese_browser_reads_chinese(open_page: Callable[..., Any]) -> None:
    page = open_page(locale="zh-CN")
    assert page.inner_text("#dq-generate") == "生成"
    assert "生成的图片会显示在这里" in page.inner_text("#dq-stage")


def test_language_when_another_is_chosen_then_page_and_server_speak_it_and_the_prompt_stays(
    open_page: Callable[..., Any],
) -> None:
    page = open_page()
    page.fill("#dq-prompt textarea", "a green whale")
    with page.expect_navigation():
        page.click("[data-language=zh]")
    page.wait_for_selector(READY)
    assert page.inner_text("#dq-generate") == "生成"
    assert "生成的图片会显示在这里" in page.inner_text("#dq-stage")
    assert page.input_value("#dq-prompt textarea") == "a green whale"
    again = open_page(context=page.context)
    assert again.inner_text("#dq-generate") == "生成"


def test_other_language_browser_reads_english_and_every_control_has_a_name(
    open_page: Callable[..., Any],
) -> None:
    page = open_page(locale="de-DE")
    assert page.inner_text("#dq-generate") == "Generate"
    page.click("#dq-hires input")
    page.click("#dq-seed-extra input")
    page.wait_for_timeout(600)
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, input, textarea, select')]
        .filter(e => e.checkVisibility() && !(e.innerText?.trim() || e.ariaLabel || e.title ||
            e.labels?.length || e.closest('label') || e.getAttribute('aria-labelledby')))
        .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert nameless == []


def test_markup_when_prompt_holds_html_is_shown_as_text(page: Any, served: Served) -> None:
    evil = "<img src=x onerror=window.hacked=1> ${7*7} {{8*8}} `${window.hacked=1}`"
    generate(page, evil)
    wait_for_state(page, "done")
    page.get_by_role("tab", name="Queue").click()
    page.wait_for_function(
        "(evil) => document.querySelector('.dq-jobtitle')?.innerText?.includes(evil)", arg=evil
    )
    assert page.evaluate("window.hacked") is None


def test_restart_when_page_is_open_says_so_and_comes_back(
    make_served: Callable[..., Served], open_page: Callable[..., Any]
) -> None:
    open_page.watched.is_outage_expected = True  # type: ignore[attr-defined]
    own = make_served()
    page = open_page(url=own.url)
    write(page, "kept over a restart")
    wait_until(
        lambda: any("kept over a restart" in text for text in own.studio.drafts.texts()),
        "the draft was not kept",
    )
    own.end()
    page.wait_for_selector("#dq-banner")
    page.fill("#dq-prompt textarea", "typed while it was away")
    page.wait_for_timeout(1100)
    own.begin()
    page.wait_for_selector("#dq-banner", state="detached")
    page.wait_for_function(
        "document.querySelector('#dq-prompt textarea')?.value === 'typed while it was away'"
    )
    generate(page, "after the restart")
    wait_for_state(page, "done")


def test_password_when_set_covers_page_and_own_routes(
    make_served: Callable[..., Served], browser: Any
) -> None:
    own = make_served("--gradio-auth", "ann:secret")
    context = browser.new_context()
    context.set_default_timeout(PATIENCE * 1000)
    answer = context.request.get(f"{own.url}ui/picture/1")
    assert answer.status == 401
    page = context.new_page()
    page.goto(own.url)
    page.fill("input[type=text], input[name=username]", "ann")
    page.fill("input[type=password]", "secret")
    page.get_by_role("button", name=re.compile("login|log in", re.I)).click()
    page.wait_for_selector(READY)
    generate(page, "a locked door")
    page.wait_for_function("document.querySelector('button.dq-view img')?.naturalWidth === 128")
    assert own.studio.jobs.list(limit=1)[0].user == "ann"
    context.close()


def test_no_checkpoint_tells_where_to_put_one(
    served: Served, open_page: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.studio.catalog, "checkpoints", lambda: ())
    page = open_page()
    assert "Stable-diffusion" in page.inner_text(".dq-path")
    generate(page, "anything")
    page.wait_for_selector("text=There is no checkpoint")


def test_forever_when_page_reloads_says_so_and_interrupt_ends_it(
    open_page: Callable[..., Any], served: Served
) -> None:
    page = open_page()
    page.click("#dq-forever input")
    generate(page, "a held chain")
    page.wait_for_selector('.dq-progress:has-text("repeats until stopped")')
    page.reload()
    page.wait_for_selector("#dq-forever input:checked")
    page.click("#dq-interrupt")
    wait_for_state(page, "cancelled")
    page.wait_for_selector("#dq-forever input:not(:checked)")
    assert not served.studio.jobs.list(states=("running", "queued"))


def test_forever_when_unticked_finishes_the_picture_and_ends(page: Any, served: Served) -> None:
    page.click("#dq-forever input")
    generate(page, "a held last one")
    page.wait_for_selector('.dq-progress:has-text("repeats until stopped")')
    page.click("#dq-forever input")
    page.wait_for_selector('.dq-progress:not(:has-text("repeats"))')
    served.let_on()
    wait_for_state(page, "done")
    assert not served.studio.jobs.list(states=("running", "queued"))


def test_escape_when_a_list_was_passed_by_tab_still_interrupts(page: Any) -> None:
    generate(page, "a held tab")
    page.wait_for_selector("#dq-preview")
    for field in ("#dq-styles input", "#dq-sampler input"):
        page.focus(field)
        page.keyboard.press("Tab")
        page.wait_for_selector("[role=listbox]", state="detached")
    page.focus("#dq-prompt textarea")
    page.keyboard.press("Escape")
    wait_for_state(page, "cancelled")


def test_form_when_size_and_seed_do_not_fit_corrects_them(page: Any, served: Served) -> None:
    page.fill("#dq-width input[type=number]", "131")
    page.fill("#dq-seed textarea, #dq-seed input", "lucky")
    generate(page, "a crooked frame")
    page.wait_for_selector("text=is no seed")
    wait_for_state(page, "done")
    params = json.loads(served.studio.jobs.list(limit=1)[0].params_json)
    assert params["width"] == 128
    assert page.input_value("#dq-width input[type=number]") == "128"
    assert page.input_value("#dq-seed textarea, #dq-seed input") == "-1"


@pytest.mark.parametrize("field", ["#dq-checkpoint input", "#dq-vae input"])
def test_top_row_when_name_is_unknown_keeps_the_last_one(
    page: Any, served: Served, field: str
) -> None:
    before = page.input_value(field)
    page.fill(field, "nonsense")
    page.keyboard.press("Tab")
    page.wait_for_function("([f, v]) => document.querySelector(f).value === v", arg=[field, before])
    assert served.studio.options["sd_vae"] == "Automatic"
    generate(page, "still painted")
    wait_for_state(page, "done")


def test_large_view_when_arrow_is_pressed_shows_the_next_and_closes(page: Any) -> None:
    page.fill("#dq-batch-count input[type=number]", "2")
    generate(page, "a pair")
    wait_for_state(page, "done")
    page.click("button.dq-view")
    first = page.get_attribute(".dq-large img", "src")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "(s) => (document.querySelector('.dq-large img')?.src ?? s) !== s", arg=first
    )
    page.wait_for_function("document.querySelector('.dq-large img')?.naturalWidth >= 128")
    page.click(".dq-close")
    page.wait_for_selector(".dq-large", state="detached")


def test_style_when_nameless_is_not_deleted_and_pencil_closes_the_editor(page: Any) -> None:
    page.click("#dq-style-edit")
    page.click("#dq-style-delete")
    page.wait_for_selector("text=Give the style a name first")
    page.click("#dq-style-edit")
    page.wait_for_selector("#dq-style-delete", state="hidden")


def test_settings_search_knows_group_titles_and_says_when_nothing_matches(page: Any) -> None:
    page.get_by_role("tab", name="Settings").click()
    search = "#dq-settings-search textarea, #dq-settings-search input"
    page.fill(search, "live previews")
    page.wait_for_selector("text=show_progress_every_n_steps")
    page.wait_for_selector("text=jpeg_quality", state="hidden")
    assert page.is_visible("text=show_progress_every_n_steps")
    page.fill(search, "zzzz")
    page.wait_for_selector("text=No setting matches")
    page.fill(search, "")
    page.wait_for_selector("#dq-settings-nothing", state="detached")


def test_stage_when_the_word_to_look_was_lost_shows_the_picture_nevertheless(page: Any) -> None:
    page.evaluate(
        "() => { const wake = document.getElementById('dq-wake');"
        " wake.click = () => { delete wake.click; document.body.dataset.lost = 'yes'; }; }"
    )
    generate(page, "a quiet lake")
    page.wait_for_selector("body[data-lost]")
    wait_for_state(page, "done")


LATE_END = """
(() => {
  const ask = window.fetch;
  window.streams = 0;
  window.fetch = async (...args) => {
    const answer = await ask(...args);
    if (!String(args[0].url || args[0]).includes('/queue/data')) return answer;
    window.streams += 1;
    const hold = async (chunk, out) => {
      const isEnd = new TextDecoder().decode(chunk).includes('close_stream');
      window.streams -= isEnd;
      if (isEnd && window.holdsEnds) {
        await new Promise((resolve) => { window.letGo = resolve; });
      }
      out.enqueue(chunk);
    };
    const held = answer.body.pipeThrough(new TransformStream({transform: hold}));
    return new Response(held, {status: answer.status, headers: answer.headers});
  };
})()
"""
"""A slow line: while ``holdsEnds``, the end of a stream of answers comes when it is let go."""


def test_press_when_the_stream_of_answers_is_just_ending_is_answered(
    page: Any, open_page: Callable[..., Any]
) -> None:
    page.context.add_init_script(LATE_END)
    other = open_page(context=page.context)
    other.wait_for_function("window.streams === 0")
    other.evaluate("window.holdsEnds = true")
    other.click("#dq-style-edit")
    other.wait_for_function("Boolean(window.letGo)")
    write(other, "a hill\nSteps: 20, Seed: 5, Size: 64x64, Model hash: 0123456789, Model: farAway")
    with other.expect_response("**/queue/join*"):
        other.click("#dq-paste")
    other.evaluate("() => { window.holdsEnds = false; window.letGo(); }")
    other.wait_for_selector("text=Not here, so yours stays: farAway")
    assert other.input_value("#dq-steps input[type=number]") == "20"


def test_paste_when_there_is_nothing_says_so(page: Any, served: Served) -> None:
    (served.folder / "params.txt").unlink(missing_ok=True)
    write(page, "")
    page.click("#dq-paste")
    page.wait_for_selector("text=There is no recipe to read yet")


def test_paste_when_model_is_not_here_names_it(page: Any) -> None:
    write(page, "a hill\nSteps: 20, Seed: 5, Size: 64x64, Model hash: 0123456789, Model: farAway")
    page.click("#dq-paste")
    page.wait_for_selector("text=Not here, so yours stays: farAway")


def test_phone_first_visit_shows_the_examples_and_keeps_generate_in_reach_when_scrolled(
    open_page: Callable[..., Any],
) -> None:
    page = open_page(width=390, height=844)
    chip = page.get_by_text("a castle at sunset").bounding_box()
    bar = page.locator(".dq-actions").bounding_box()
    assert chip["y"] + chip["height"] <= bar["y"]
    page.mouse.wheel(0, 900)
    page.wait_for_timeout(200)
    box = page.locator("#dq-generate").bounding_box()
    assert box["height"] >= 44
    assert 0 < box["y"] < 844 - box["height"] + 1
