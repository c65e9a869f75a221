"""The ControlNet panel in a real browser: closed it asks for nothing; a picture, its map, a job."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.ui.conftest import READY, Served
from webui.params import TextToImage
from webui.torch_setup import prepare_torch

prepare_torch()

from tests.control_files import controlnet_for, write  # noqa: E402
from webui.checkpoints.load import load_part  # noqa: E402

pytestmark = pytest.mark.browser
CANNY = "control_v11p_starter_canny"
PANEL = '.dq-control[data-tab="txt2img"]'


def test_unit_when_filled_in_then_shows_its_map_survives_a_reload_and_paints(
    page: Any, served: Served, starter_checkpoint: Path
) -> None:
    folder = served.folder / "models" / "ControlNet"
    write(controlnet_for(load_part(starter_checkpoint, "unet")), folder / f"{CANNY}.safetensors")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    image = Image.new("RGB", (64, 64), "black")
    image.paste((255, 255, 255), (16, 16, 48, 48))
    file = io.BytesIO()
    image.save(file, "PNG")

    page.reload()
    page.wait_for_selector(READY)
    assert page.inner_text(f"{PANEL} .dq-ctl-badge") == ""
    assert not page.locator(f"{PANEL} select").count()
    assert not [url for url in asked if "/ui/controlnet/" in url]
    page.click(f"{PANEL} summary")
    page.click(f"{PANEL} .dq-ctl-model ~ button")  # the file came after the page
    page.set_input_files(
        f"{PANEL} input[name=image]",
        {"name": "box.png", "mimeType": "image/png", "buffer": file.getvalue()},
    )
    page.wait_for_selector(f"{PANEL} .dq-ctl-badge:has-text('1 on')")
    page.select_option(f"{PANEL} select[name=type]", "Canny")
    page.wait_for_selector(f"{PANEL} input[name=threshold_a][type=number]")
    page.fill(f"{PANEL} input[name=threshold_a][type=number]", "60")
    page.click(f"{PANEL} button:has-text('Preview the map')")
    page.wait_for_selector(f'{PANEL} img[alt="Map"][src^="blob:"]')
    page.click("#dq-generate")
    page.wait_for_selector('#dq-stage .dq-stagebox[data-state="done"] img')
    job = served.studio.jobs.list(limit=1)[0]
    params = served.studio.params_of(job)
    assert isinstance(params, TextToImage)
    (unit,) = params.control
    assert (unit.model, unit.module, unit.threshold_a) == (f"{CANNY}.safetensors", "canny", 60)
    page.reload()
    page.wait_for_selector(READY)
    page.wait_for_selector(f"{PANEL} .dq-ctl-badge:has-text('1 on')")
    page.click(f"{PANEL} summary")
    page.wait_for_selector(f"{PANEL} select[name=module]")
    assert page.input_value(f"{PANEL} select[name=module]") == "canny"
    assert page.input_value(f"{PANEL} input[name=threshold_a][type=number]") == "60"
    shutil.rmtree(folder)  # the server is other tests', too
    served.studio.catalog.refresh()
