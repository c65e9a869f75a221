"""Getting weights on the page: what the lists show, what the buttons do."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints.file_server import File, FileServer, serving
from tests.patience import wait_until
from tests.ui.conftest import Served
from webui.checkpoints.download.fetch import Wanted
from webui.checkpoints.download.hubs import Notes, Offer
from webui.checkpoints.download.telling import State
from webui.checkpoints.known_weights import BY_NAME, KNOWN
from webui.services.downloads import Download
from webui.studio import Studio
from webui.ui import models_cards, restore_cards
from webui.ui.models_get import use
from webui.ui.restore_form import DEFAULTS, make_plan

EVIL = "<script>\"'&"
ASSETS = Path(models_cards.__file__).parent / "assets"


def a_download(**how: Any) -> Download:
    values: dict[str, Any] = {
        "id": 3, "title": "net", "known": "", "wanted": Wanted(("https://x.org/a",), "checkpoint"),
        "notes": None, "stage": "running", "error": None, "path": "", "state": None,
    }  # fmt: skip
    return Download(**{**values, **how})


def test_list_when_searched_then_every_word_counts(studio: Studio) -> None:
    everything = models_cards.catalog(studio, "", "", "en")
    assert everything.count("<li") == len(KNOWN)
    found = models_cards.catalog(studio, "SDXL fp16", "", "en")
    assert found.count("<li") == 1 and "SDXL VAE fp16 fix" in found
    assert models_cards.catalog(studio, "", "embedding", "en").count("<li") == 1
    assert "Nothing of that name" in models_cards.catalog(studio, "no such thing", "", "en")


def test_list_when_a_file_is_there_then_says_so_in_place_of_the_button(studio: Studio) -> None:
    known = BY_NAME["Stable Diffusion 1.5"]
    assert 'data-act="get"' in models_cards.catalog(studio, known.name, "checkpoint", "zh")
    folder = studio.settings.folders.own_models / "Stable-diffusion"
    folder.mkdir(parents=True)
    (folder / known.file).write_bytes(b"x")
    everything = models_cards.catalog(studio, "", "", "zh")
    assert "另有作者的附加条件" in everything and "author" not in everything
    assert "not stated" not in everything
    shown = models_cards.catalog(studio, "v1-5-pruned", "", "zh")
    assert "已有" in shown and "data-act" not in shown


@pytest.mark.parametrize("language", ["en", "zh"])
def test_lists_when_they_hold_markup_then_escape_it(studio: Studio, language: str) -> None:
    wanted = Wanted(("https://x.org/a",), "lora", EVIL)
    html = "".join([
        models_cards.catalog(studio, EVIL, "", language),
        models_cards.choices([Offer(EVIL, wanted, Notes(base=EVIL))] * 2, language),
        models_cards.downloads(
            [
                a_download(title=EVIL, stage="failed", error={"message": EVIL, "hint": EVIL}),
                a_download(title=EVIL, stage="done", path=EVIL),
                a_download(state=State("fetching", 1, 2, 1.0, EVIL, EVIL)),
            ],
            language,
        ),
        models_cards.keys_line([EVIL], language),
    ])  # fmt: skip
    assert "<script" not in html and html.count("&lt;script&gt;") >= 9


def test_choices_when_shown_then_styled_by_one_sheet_alone() -> None:
    wanted = Wanted(("https://x.org/a",), "lora", "a")
    html = models_cards.choices([Offer("a", wanted), Offer("b", wanted)], "en")
    names = {name for found in re.findall(r'class="([^"]+)"', html) for name in found.split()}
    assert "dq-getoffers" in names
    sheets = [path.read_text("utf-8") for path in ASSETS.glob("*.css")]
    for name in names:
        rules = [re.findall(rf"(?m)^\.{name}\s*[,{{]", sheet) for sheet in sheets]
        assert sum(map(bool, rules)) <= 1, f"two sheets style {name}, for different things"


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (
            {
                "state": State(
                    "fetching", 10**6, 4 * 10**6, 10**6, "hf-mirror.com", "huggingface.co"
                )
            },
            ("1.0 MB of 4.0 MB", "1.0 MB/s", "3 s left", "a mirror of huggingface.co", "width:25%"),
        ),
        ({"state": State("asking")}, ("asking which source",)),
        ({"state": State("waiting", 0, 9, host="x", wait_seconds=7.2)}, ("asks for 7 s",)),
        ({"stage": "interrupted", "kept_bytes": 5 * 10**8}, ("restart", "500.0 MB", "Go on")),
        ({"stage": "done", "path": "/m/a"}, ("It lies in /m/a", "Use it now")),
        ({"stage": "failed", "error": {"message": "No.", "hint": "Yes."}}, ("No. Yes.", "again")),
        ({"stage": "waiting"}, ("waits for its turn", "Stop")),
    ],
)
def test_download_when_shown_then_tells_how_far_and_what_can_be_done(
    how: dict[str, Any], told: tuple[str, ...]
) -> None:
    html = models_cards.downloads([a_download(**how)], "en")
    for text in told:
        assert text in html


def test_download_when_nobody_knows_what_it_is_then_a_person_chooses() -> None:
    error = {"code": "unknown_kind", "message": "what is it", "hint": ""}
    html = models_cards.downloads([a_download(stage="failed", error=error)], "zh")
    assert 'data-act="resume" data-id="3" data-kind="lora"' in html and "重试" not in html
    html = models_cards.downloads([a_download(stage="failed", error={"code": "download"})], "zh")
    assert "data-kind" not in html and "重试" in html


def test_use_when_a_checkpoint_has_come_then_it_is_painted_with(
    studio: Studio, starter_checkpoint: Path
) -> None:
    folder = studio.settings.folders.own_models / "Stable-diffusion"
    folder.mkdir(parents=True)
    path = folder / "fresh.safetensors"
    shutil.copy(starter_checkpoint, path)
    studio.catalog.refresh()
    name = use(studio, a_download(stage="done", path=str(path)))
    assert name.startswith("fresh.safetensors")
    current = studio.current_checkpoint()
    assert current is not None and current.path == path


def test_restore_when_weights_are_only_on_a_hub_then_a_button_downloads_them(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {**DEFAULTS, "what": "both"}
    models = studio.settings.folders.models[0]
    html = restore_cards.plan_view(make_plan(form, studio), models, "en")
    assert 'data-act="download"' in html and 'data-name="GFPGAN v1.4"' in html
    coming = a_download(known="GFPGAN v1.4")
    monkeypatch.setattr(studio.downloads, "all", lambda: [coming])
    html = restore_cards.plan_view(make_plan(form, studio), models, "en")
    assert 'data-name="GFPGAN v1.4"' not in html and "being downloaded" in html


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(FileServer()) as made:
        yield made


@pytest.mark.browser
def test_page_when_a_link_is_pasted_then_fetched_shown_and_used(
    make_served: Callable[..., Served],
    open_page: Callable[..., Any],
    server: FileServer,
    starter_checkpoint: Path,
) -> None:
    served = make_served()  # of its own: the checkpoint that is chosen here goes away again
    page = open_page(url=served.url)
    data = starter_checkpoint.read_bytes()
    small = data.replace(rb"\"resolution\": 128,", rb"\"resolution\":  64,")
    assert data != small and len(data) == len(small)
    data = small
    name = f"fetched-{time.time_ns()}.safetensors"
    server.files[f"/{name}"] = File(data)
    page.get_by_role("tab", name="Models", exact=True).click()
    page.wait_for_selector("#dq-get-catalog li")
    page.fill("#dq-get-link textarea, #dq-get-link input", server.url(f"/{name}"))
    page.click("#dq-get-go")
    row = page.locator("#dq-get-running li", has_text=name)
    row.get_by_role("button", name="Use it now").click()
    wait_until(
        lambda: str(served.studio.options["sd_model_checkpoint"]).startswith(name),
        "it was not chosen",
    )
    wait_until(
        lambda: page.input_value("#dq-width input[type=number]") == "64", "its size was not taken"
    )
    path = served.studio.settings.folders.own_models / "Stable-diffusion" / name
    assert path.read_bytes() == data
    row.get_by_role("button", name="Remove").click()
    row.wait_for(state="detached")
    assert path.exists()
