"""Settings and the queue, as hands use them: one page, opened anew in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from tests.patience import wait_until
from tests.ui.conftest import READY, Served
from webui.services.resolve import ImageToImageRequest
from webui.ui import canvas

pytestmark = pytest.mark.browser


NOTE_FORMS = "() => { window.danqingFormsChanged = () => { window.wereFormsAsked = true; }; }"


def test_settings_are_taken_back_after_a_reload_and_a_waiting_inpainting_is_edited(
    make_served: Callable[..., Served], open_page: Callable[..., Any]
) -> None:
    served = make_served()
    studio = served.studio
    studio.supervisor.pause()
    page = open_page(url=served.url)

    page.get_by_role("tab", name="Settings").click()
    page.fill("#dq-option-jpeg_quality input", "500")
    page.click("#dq-settings-apply")
    page.wait_for_selector(".dq-set-line:has-text('1 – 100')")
    page.fill("#dq-option-jpeg_quality input", "64")
    page.evaluate(NOTE_FORMS)
    page.click("#dq-settings-apply")
    wait_until(lambda: studio.options["jpeg_quality"] == 64, "the option did not change")
    page.wait_for_selector("text=Changed and saved")
    assert not page.evaluate("window.wereFormsAsked")  # this option says nothing of them
    page.reload()
    page.wait_for_selector(READY)
    page.get_by_role("tab", name="Settings").click()
    page.evaluate(NOTE_FORMS)
    page.click("#dq-settings-undo:not(:disabled)")
    wait_until(lambda: studio.options["jpeg_quality"] == 80, "the option was not taken back")
    page.wait_for_function(
        "document.querySelector('#dq-option-jpeg_quality input')?.value === '80'"
    )
    page.wait_for_function("window.wereFormsAsked")

    keys = [studio.inputs.keep_image(Image.new("RGB", (64, 64), c)) for c in ("green", "white")]
    client = next(iter(wait_until(lambda: _clients(studio), "the page kept no draft")))
    wish = {"prompt": "a pond", "seed": 5, "width": 64, "height": 64, "steps": 2}
    job = studio.submit(
        ImageToImageRequest.model_validate(
            {**wish, "init_images": keys[:1], "inpaint": {"mask": keys[1], "blur_x": 9}}
        ),
        client=client,
    )
    page.get_by_role("tab", name="Queue").click()
    page.click(f".dq-job[data-job='{job.id}'] [data-act=edit]")
    box = page.locator("#dq-i2i-prompt textarea")
    box.wait_for(state="visible")
    page.wait_for_function("document.querySelector('#dq-i2i-prompt textarea')?.value === 'a pond'")
    page.wait_for_selector("#dq-i2i-canvas-mask-upload canvas, #dq-i2i-canvas-mask-upload img")
    box.fill("a lake")
    page.click("#dq-i2i-generate")
    wait_until(lambda: not studio.jobs.get(job.id).is_paused, "the job was not replaced")
    params = studio.params_of(studio.jobs.get(job.id))
    assert (params.prompt, params.inpaint.mask, params.inpaint.blur_x) == ("a lake", keys[1], 9)
    kept = wait_until(
        lambda: studio.drafts.load(client, "img2img").get("mask_upload"), "the mask was not kept"
    )
    assert canvas.read(kept).picture == keys[1]


def _clients(studio: Any) -> list[str]:
    rows = studio.drafts._db.read("SELECT DISTINCT client FROM drafts")
    return [row["client"] for row in rows]
