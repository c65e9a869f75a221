"""The canvas in a real browser: drawing, taking back, zooming, and what survives a reload."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from tests.patience import wait_until
from tests.test_first_picture import Server, any_free_port, running
from tests.ui.conftest import READY, Served
from webui.ui import canvas

pytestmark = pytest.mark.browser
TAB, CANVAS = "#dq-tabs [role=tab]", "#dq-i2i-canvas-inpaint"
GROUND = (200, 180, 40)


def draft_of(served: Served) -> dict[str, Any]:
    """The newest img2img draft on the server."""
    rows = served.studio.drafts._db.read(
        "SELECT form FROM drafts WHERE tab = 'img2img' ORDER BY saved_at DESC LIMIT 1"
    )
    return json.loads(rows[0]["form"]) if rows else {}


def drawing_in(served: Served, field: str) -> canvas.Drawing | None:
    return canvas.read(draft_of(served).get(field))


def picture(folder: Path, name: str = "in.png", size: tuple[int, int] = (128, 128)) -> str:
    image = Image.new("RGB", size, GROUND)
    image.paste((30, 90, 160), (16, 16, 48, 48))
    path = folder / name
    image.save(path)
    return str(path)


def open_tab(page: Any, mode: str) -> None:
    page.locator(TAB, has_text="img2img").first.click()
    page.wait_for_selector("#dq-i2i-mode input")
    page.locator(f"#dq-i2i-mode label:has(input[value={mode}])").click()
    name = {"img2img": "picture"}.get(mode, mode).replace("_", "-")
    page.wait_for_selector(f"#dq-i2i-canvas-{name} .dq-canvas-view")


def put(page: Any, file: str, selector: str = CANVAS) -> None:
    page.set_input_files(f"{selector} input[type=file]", file)
    page.wait_for_selector(f"{selector} [data-tool=remove]:enabled")


def drag(
    page: Any, start: tuple[float, float], end: tuple[float, float], where: str = CANVAS
) -> None:
    """Draw a line, in shares of the canvas."""
    view = page.locator(f"{where} .dq-canvas-view")
    view.hover()  # waits until it stands still
    box = view.bounding_box()

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return box["x"] + box["width"] * point[0], box["y"] + box["height"] * point[1]

    page.mouse.move(*at(start))
    page.mouse.down()
    page.mouse.move(*at(end), steps=6)
    page.mouse.up()


NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""The canvas is drawn with the next frame."""


def colour_at(page: Any, x: float, y: float, where: str = CANVAS) -> list[int]:
    """What the screen shows at a share of the canvas."""
    page.mouse.move(0, 0)
    page.evaluate(NEXT_FRAME)
    return page.evaluate(
        """([where, x, y]) => {
          const screen = document.querySelector(`${where} .dq-canvas-screen`);
          const at = [screen.width * x, screen.height * y].map(Math.round);
          return [...screen.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3);
        }""",
        [where, x, y],
    )


def until_colour(page: Any, x: float, y: float, wanted: list[int], where: str = CANVAS) -> None:
    wait_until(lambda: colour_at(page, x, y, where) == wanted, lambda: colour_at(page, x, y, where))


def until_masked(page: Any, x: float, y: float) -> list[int]:
    """What the mask looks like there."""
    wait_until(lambda: colour_at(page, x, y)[2] > GROUND[2] + 60, lambda: colour_at(page, x, y))
    return colour_at(page, x, y)


def test_mask_when_drawn_can_be_erased_undone_and_redone(
    page: Any, served: Served, tmp_path: Path
) -> None:
    open_tab(page, "inpaint")
    put(page, picture(tmp_path))
    drag(page, (0.45, 0.5), (0.55, 0.5))
    masked = until_masked(page, 0.5, 0.5)
    page.click(f"{CANVAS} [data-tool=eraser]")
    drag(page, (0.45, 0.5), (0.55, 0.5))
    until_colour(page, 0.5, 0.5, list(GROUND))
    page.click(f"{CANVAS} [data-tool=undo]")
    until_colour(page, 0.5, 0.5, masked)
    page.focus(f"{CANVAS} .dq-canvas-view")
    page.keyboard.press("Control+z")
    until_colour(page, 0.5, 0.5, list(GROUND))
    page.click(f"{CANVAS} [data-tool=redo]")
    until_colour(page, 0.5, 0.5, masked)
    page.click(f"{CANVAS} [data-tool=wipe]")
    wait_until(lambda: (d := drawing_in(served, "inpaint")) and not d.strokes, "the mask was kept")


def test_view_when_zoomed_draws_where_the_pointer_is(
    page: Any, served: Served, tmp_path: Path
) -> None:
    open_tab(page, "inpaint")
    put(page, picture(tmp_path))
    for _ in range(4):
        page.click(f"{CANVAS} [data-tool=zoom-in]")
    drag(page, (0.5, 0.5), (0.52, 0.5))
    until_masked(page, 0.5, 0.5)
    page.click(f"{CANVAS} [data-tool=hand]")
    drag(page, (0.5, 0.5), (0.7, 0.5))
    until_masked(page, 0.7, 0.5)
    page.click(f"{CANVAS} [data-tool=fit]")
    until_masked(page, 0.5, 0.5)
    kept = wait_until(lambda: (d := drawing_in(served, "inpaint")) and d.strokes, "not kept")
    alpha = served.studio.inputs.image(kept).getchannel("A")
    left, top, right, bottom = alpha.getbbox()
    assert 40 < left < 64 < right < 90 and 40 < top < 64 < bottom < 90


def test_sketch_when_colour_is_chosen_paints_with_it(
    page: Any, served: Served, tmp_path: Path
) -> None:
    where = "#dq-i2i-canvas-sketch"
    open_tab(page, "sketch")
    put(page, picture(tmp_path), where)
    page.fill(f"{where} input[type=color]", "#00c864")
    drag(page, (0.45, 0.5), (0.55, 0.5), where)
    until_colour(page, 0.5, 0.5, [0, 200, 100], where)
    page.fill("#dq-i2i-prompt textarea", "a leaf")
    earlier = {job.id for job in served.studio.jobs.list(limit=500)}
    page.click("#dq-i2i-generate")

    def new_jobs() -> list[Any]:
        return [j for j in served.studio.jobs.list(limit=500) if j.id not in earlier]

    job = wait_until(new_jobs, "no job")[0]
    params = served.studio.params_of(job)
    assert params.kind == "img2img" and params.inpaint is None
    assert served.studio.inputs.image(params.init_images[0]).getpixel((64, 64)) == (0, 200, 100)


def test_drawing_when_page_is_reloaded_is_there_again_and_replaced_picture_comes_back(
    page: Any, served: Served, tmp_path: Path
) -> None:
    open_tab(page, "inpaint")
    put(page, picture(tmp_path))
    drag(page, (0.45, 0.5), (0.55, 0.5))
    masked = until_masked(page, 0.5, 0.5)
    first = wait_until(lambda: (d := drawing_in(served, "inpaint")) and d.strokes and d, "not kept")
    page.reload()
    page.wait_for_selector(READY)
    page.locator(TAB, has_text="img2img").first.click()
    page.wait_for_selector("#dq-i2i-mode input[value=inpaint]:checked")
    page.wait_for_selector(f"{CANVAS} [data-tool=remove]:enabled")
    until_colour(page, 0.5, 0.5, masked)
    put(page, picture(tmp_path, "other.png", (96, 128)))
    page.wait_for_selector("#dq-i2i-earlier .dq-thumb")
    page.click("#dq-i2i-earlier .dq-thumb")
    wait_until(lambda: drawing_in(served, "inpaint") == first, "it was not brought back")
    until_colour(page, 0.5, 0.5, masked)


def test_generate_when_pressed_right_after_a_stroke_uses_it(
    page: Any, served: Served, tmp_path: Path
) -> None:
    before = len(served.studio.jobs.list(limit=500))
    open_tab(page, "inpaint")
    put(page, picture(tmp_path))
    drag(page, (0.45, 0.5), (0.55, 0.5))
    page.evaluate("document.querySelector('#dq-i2i-generate').click()")
    wait_until(lambda: len(served.studio.jobs.list(limit=500)) == before + 1, "not asked for")
    params = served.studio.params_of(served.studio.jobs.list(limit=1)[0])
    assert served.studio.inputs.image(params.inpaint.mask).convert("L").getpixel((64, 64)) == 255


def test_generate_when_nothing_is_there_says_what_is_missing(
    page: Any, served: Served, tmp_path: Path
) -> None:
    open_tab(page, "inpaint")
    page.click("#dq-i2i-generate")
    page.wait_for_selector("text=There is no picture to begin with.")
    put(page, picture(tmp_path))
    page.click("#dq-i2i-generate")
    page.wait_for_selector("text=Nothing is masked.")


def test_file_when_it_is_no_picture_is_refused_on_the_canvas(
    page: Any, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    open_page.watched.is_outage_expected = True  # type: ignore[attr-defined]  # the 422 is logged
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")
    open_tab(page, "img2img")
    page.set_input_files("#dq-i2i-canvas-picture input[type=file]", str(bad))
    page.wait_for_selector(".dq-canvas-problem")


def test_picture_when_copied_goes_to_the_other_canvas(
    page: Any, served: Served, tmp_path: Path
) -> None:
    open_tab(page, "img2img")
    put(page, picture(tmp_path), "#dq-i2i-canvas-picture")
    page.click("#dq-i2i-copies [data-mode=inpaint]")
    page.wait_for_selector(f"{CANVAS} [data-tool=remove]:enabled")
    assert page.is_checked("#dq-i2i-mode input[value=inpaint]")


def test_width_when_narrow_never_scrolls_sideways(open_page: Callable[..., Any]) -> None:
    page = open_page(width=390, height=844)
    page.locator(TAB, has_text="img2img").first.click()
    for mode in ("inpaint_sketch", "batch"):
        page.locator(f"#dq-i2i-mode label:has(input[value={mode}])").click()
        for width in (1024, 390):
            page.set_viewport_size({"width": width, "height": 844})
            page.wait_for_timeout(400)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def pictures_in(data: Path) -> list[Path]:
    found = (data / "outputs" / "img2img-images").rglob("*.png")
    return [file for file in found if "grid" not in file.name]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path / "server", any_free_port(), has_page=True) as server:
        yield server


def test_inpainting_with_the_real_model_leaves_the_rest_alone(
    server: Server, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    file = picture(tmp_path)
    page = open_page(url=server.base + "/")
    open_tab(page, "inpaint")
    put(page, file)
    drag(page, (0.47, 0.5), (0.53, 0.5))
    page.fill("#dq-i2i-steps input[type=number]", "4")
    page.fill("#dq-i2i-prompt textarea", "a red apple")
    page.click("#dq-i2i-generate")
    page.wait_for_selector('#dq-i2i-stage .dq-stagebox[data-state="done"]')
    made = wait_until(lambda: pictures_in(server.data), "no picture was saved")[0]
    after = Image.open(io.BytesIO(made.read_bytes())).convert("RGB")
    changed = ImageChops.difference(Image.open(file).convert("RGB"), after).getbbox()
    assert changed is not None, "nothing was painted"
    left, top, right, bottom = changed
    assert left > 24 and top > 24 and right < 104 and bottom < 104
