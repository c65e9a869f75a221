"""Videos on the Restore tab: with the real worker and ffmpeg, and where ffmpeg is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.films import make_film, needs_ffmpeg
from tests.test_first_picture import Server, any_free_port, running
from tests.ui.conftest import READY, Served
from tests.ui.test_restore_in_browser import open_tab
from webui import video

pytestmark = pytest.mark.browser
STAGE, GO = "#dq-rst-stage", "#dq-rst-generate"


def drop(page: Any, file: Path) -> None:
    page.set_input_files("#dq-rst-drop input[type=file]", str(file))
    page.wait_for_selector("#dq-rst-listed .dq-videos li")


def test_video_when_ffmpeg_is_missing_then_page_says_how_to_get_it_until_it_is_there(
    make_served: Callable[..., Served], open_page: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    real = video._which
    monkeypatch.setattr(video, "_which", lambda name: None)
    served = make_served()
    page = open_page(url=served.url)
    open_tab(page)
    (tmp_path / "home.mp4").write_bytes(b"a video, as far as anybody can tell without ffmpeg")
    assert page.locator(GO).is_enabled()
    drop(page, tmp_path / "home.mp4")
    page.wait_for_selector("#dq-rst-plan .dq-needs-video")
    told = page.inner_text("#dq-rst-plan .dq-needs-video")
    for word in ("ffmpeg, ffprobe", "winget install ffmpeg", "brew install", "apt install"):
        assert word in told
    page.wait_for_selector(f"{GO}:disabled")
    monkeypatch.setattr(video, "_which", lambda name: real(name) or "/bin/true")
    page.click("#dq-rst-again")
    page.wait_for_selector(f"{GO}:enabled")
    assert page.locator("#dq-rst-plan .dq-needs-video").count() == 0
    page.click("#dq-rst-clear")
    page.wait_for_function("!document.querySelector('#dq-rst-listed .dq-videos')")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("data"), any_free_port(), has_page=True) as server:
        yield server


def made_files(server: Server) -> set[Path]:
    """What was restored so far."""
    folder = server.data / "outputs" / "extras-images"
    return {file for file in folder.rglob("*") if file.suffix in (".png", ".mp4")}


@needs_ffmpeg
def test_video_is_restored_by_the_real_worker_plays_and_can_be_downloaded_after_a_reload(
    server: Server, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    before = made_files(server)
    page = open_page(url=server.base + "/")
    open_tab(page)
    drop(page, make_film(tmp_path / "home.mp4", size="64x48", seconds=1, more=("-c:a", "aac")))
    assert "25 frames" in page.inner_text("#dq-rst-listed")
    page.locator("#dq-rst-what label", has_text="Only the picture").click()
    page.click(GO)
    page.wait_for_selector(f"{STAGE} video")
    page.reload()
    page.wait_for_selector(READY)
    open_tab(page)
    page.wait_for_function(
        f"(() => {{ const v = document.querySelector('{STAGE} video');"
        " return v && v.readyState >= 1 && v.videoWidth === 128 })()"
    )
    assert "128×96 · 25 frames" in page.inner_text(STAGE)
    assert "Postprocess upscaler: Lanczos" in page.inner_text("#dq-rst-infotext pre")
    with page.expect_download() as download:
        page.click(f"{STAGE} .dq-film-line a")
    (file,) = made_files(server) - before
    assert download.value.suggested_filename == file.name
    assert Path(download.value.path()).read_bytes() == file.read_bytes()
    found = video.probe(file, video.find_programs())
    assert (found.rate, found.sound) == (25, ("aac",))
    assert not any((server.data / "cache" / "videos").iterdir())


@needs_ffmpeg
def test_video_when_interrupted_on_the_page_then_its_first_part_plays(
    server: Server, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    before = made_files(server)
    page = open_page(url=server.base + "/")
    open_tab(page)
    drop(page, make_film(tmp_path / "long.mp4", size="640x360", seconds=40, sound=False))
    page.locator("#dq-rst-what label", has_text="Only the picture").click()
    page.click(GO)
    page.wait_for_function(f"/frame [1-9]/.test(document.querySelector('{STAGE}')?.innerText)")
    page.click("#dq-rst-interrupt")
    page.wait_for_selector(f"{STAGE} video")
    told = page.inner_text(STAGE)
    assert "first part" in told and "Stopped: the video holds the first" in told
    (file,) = made_files(server) - before
    assert 0 < video.probe(file, video.find_programs()).frames < 1000


def test_video_that_is_none_is_refused_at_once_by_name(
    make_served: Callable[..., Served], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    if video.missing_programs():
        pytest.skip("ffmpeg is not installed on this machine")
    served = make_served()
    page = open_page(url=served.url)
    open_tab(page)
    (tmp_path / "letter.mp4").write_text("dear grandmother")
    page.set_input_files("#dq-rst-drop input[type=file]", str(tmp_path / "letter.mp4"))
    page.wait_for_selector(".toast-wrap")
    told = page.inner_text(".toast-wrap")
    assert "letter.mp4: This file is no video that ffmpeg can read" in told
    assert page.locator("#dq-rst-listed .dq-videos").count() == 0
