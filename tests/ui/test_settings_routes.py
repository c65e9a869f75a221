"""The settings as the page asks for them: sentences, changes, resets, steps back, start values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.api.clients import client_of
from tests.ui.serve import FAKE_WORKER
from webui.options import OPTIONS
from webui.services.forms.presets import OWN_TO_A_PICTURE
from webui.services.forms.start_values import FIELDS, start_values
from webui.settings import read_settings
from webui.studio import Studio
from webui.ui import draft
from webui.ui.option_texts import option_texts
from webui.ui.page import Page, build_page
from webui.ui.settings_routes import make_settings_routes
from webui.ui.start_fields import fitting

OF_ONE_JOB = OWN_TO_A_PICTURE - {"seed", "subseed", "has_extra", "mode"} | {"overrides"}
"""Pictures, folders, and what is otherwise than in the settings."""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    made = made_studio(tmp_path_factory.mktemp("settings"))
    yield made
    made.stop()


def made_studio(folder: Path, *flags: str) -> Studio:
    settings = read_settings(["--data-dir", str(folder), *flags], environ={})
    return Studio(settings, worker_command=FAKE_WORKER)


@pytest.fixture(scope="module")
def page(studio: Studio) -> Page:
    return build_page(studio)[1]


@pytest.fixture
def client(studio: Studio, page: Page) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(make_settings_routes(studio, [page.txt2img, page.img2img]))
    with TestClient(app) as client:
        yield client
        client.post("/settings", json={"values": dict.fromkeys(CHANGED)})


CHANGED = ("jpeg_quality", "eta_ancestral", "txt2img/steps", "img2img/denoising", "txt2img/sampler")


def change(client: TestClient, **values: Any) -> dict[str, Any]:
    named = {name.replace("__", "/"): value for name, value in values.items()}
    answer = client.post("/settings", json={"values": named})
    assert answer.status_code == 200, answer.text
    return answer.json()


def step(client: TestClient, by: int) -> dict[str, Any]:
    return client.post("/settings/step", json={"by": by}).json()


def test_every_option_has_a_sentence_in_both_languages() -> None:
    texts = option_texts()

    assert set(texts) == {option.key for option in OPTIONS}
    for key, text in texts.items():
        assert text.sentence.endswith(".") and len(text.sentence.split()) >= 5, key
        assert text.chinese_sentence.endswith("。") and len(text.chinese_sentence) >= 6, key
        assert text.chinese_label.strip(), key


def test_settings_when_asked_for_tell_all_they_are(client: TestClient) -> None:
    english = client.get("/settings").json()
    chinese = client.get("/settings", headers={"Accept-Language": "zh-CN"}).json()
    items = {item["key"]: item for group in english["groups"] for item in group["items"]}

    live = {o.key for o in OPTIONS if o.is_live} - {"sd_model_checkpoint", "sd_vae"}
    assert live - set(items) == {"CLIP_stop_at_last_layers"}
    quality = items["jpeg_quality"]
    assert quality["kind"] == "number" and (quality["minimum"], quality["maximum"]) == (1, 100)
    assert quality["says"] == option_texts()["jpeg_quality"].sentence
    assert items["txt2img/sampler"]["kind"] == "choice"
    assert "Euler a" in items["txt2img/sampler"]["choices"]
    assert items["img2img/denoising"]["maximum"] == 1
    assert [group["title"] for group in chinese["groups"]] != [
        g["title"] for g in english["groups"]
    ]
    says = {i["key"]: i["says"] for g in chinese["groups"] for i in g["items"]}
    assert says["jpeg_quality"] == option_texts()["jpeg_quality"].chinese_sentence


def test_every_field_but_pictures_and_panels_can_have_a_start_value(page: Page) -> None:
    for parts in (page.txt2img, page.img2img):
        fields = parts.form.by_name().items()
        drawn_by_scripts = {name for name, part in fields if isinstance(part, gr.HTML)}
        assert set(FIELDS[parts.tab]) == {n for n, _ in fields} - drawn_by_scripts - OF_ONE_JOB


def test_change_when_taken_back_is_as_before_also_for_another_page(
    client: TestClient, studio: Studio
) -> None:
    change(client, jpeg_quality=55, txt2img__steps=33)
    change(client, eta_ancestral=0.5)

    assert "Eta" in step(client, -1)["said"]
    assert (studio.options["eta_ancestral"], studio.options["jpeg_quality"]) == (1.0, 55)
    again = client.get("/settings").json()  # a page that was opened anew
    assert again["undo"] and again["redo"] and again["values"]["txt2img/steps"] == 33
    step(client, -1)
    assert studio.options["jpeg_quality"] == 80
    assert "txt2img/steps" not in client.get("/settings").json()["values"]
    assert step(client, 1)["values"]["jpeg_quality"] == 55
    assert start_values(studio.settings.folders.data, "txt2img")["steps"] == 33
    saved = json.loads((studio.settings.folders.data / "config.json").read_text("utf-8"))
    assert saved["jpeg_quality"] == 55


def test_change_by_the_api_can_be_taken_back_on_the_page(
    client: TestClient, studio: Studio
) -> None:
    change(client, eta_ancestral=0.25)
    with client_of(studio) as api:
        api.post("/sdapi/v1/options", json={"jpeg_quality": 61})

    step(client, -1)

    assert (studio.options["jpeg_quality"], studio.options["eta_ancestral"]) == (80, 0.25)


def test_setting_when_reset_has_its_default(client: TestClient, studio: Studio) -> None:
    change(client, jpeg_quality=55, txt2img__sampler="Euler a")
    told = change(client, jpeg_quality=None, txt2img__sampler=None)

    assert told["values"]["jpeg_quality"] == 80
    assert "txt2img/sampler" not in told["values"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"jpeg_quality": 101}, {"jpeg_quality": ""}, {"eta_ancestral": "NaN"},
        {"txt2img/steps": 0}, {"txt2img/steps": 2.5}, {"txt2img/sampler": "Euler z"},
        {"txt2img/none": 1}, {"img2img/picture": "x"}, {"restore/what": "x"}, {"no_such": 1},
        {"sd_model_checkpoint": "x"}, {"img2img/denoising": 1.01}, {"send_seed": False},
    ],
)  # fmt: skip
def test_change_when_one_value_is_wrong_changes_nothing(
    client: TestClient, wrong: dict[str, Any]
) -> None:
    before = client.get("/settings").json()["values"]

    answer = client.post(
        "/settings", json={"values": {"txt2img/steps": 7, **wrong, "tiling": True}}
    )

    assert answer.status_code == 422
    assert next(iter(wrong)) in answer.json()["detail"]
    assert client.get("/settings").json()["values"] == before


def test_start_values_when_wrong_in_the_file_are_left_out(
    client: TestClient, studio: Studio, page: Page
) -> None:
    file = studio.settings.folders.data / "ui-config.json"
    file.write_text(
        json.dumps({
            "txt2img/Sampling steps/value": "many", "txt2img/Sampling method/value": "Euler z",
            "txt2img/Width/value": 99999, "txt2img/tile_overlap/value": 64,
            "txt2img/Hires. fix/value": True, "txt2img/Script/value": ["None"],
        })
    )  # fmt: skip
    try:
        fresh = draft.restore(page.txt2img, studio, "a browser that was never here")
    finally:
        file.unlink()

    form = page.txt2img.form
    assert fresh[form.tile_overlap]["value"] == 64 and fresh[form.has_hires]["value"] is True
    assert form.steps not in fresh
    assert "value" not in fresh.get(form.sampler, {}) and fresh[form.width]["value"] < 99999


def test_settings_when_frozen_cannot_be_changed(tmp_path: Path) -> None:
    studio = made_studio(tmp_path, "--freeze-settings", "--hide-ui-dir-config")
    app = FastAPI()
    app.include_router(make_settings_routes(studio, []))
    with TestClient(app) as client:
        told = client.get("/settings").json()
        answer = client.post("/settings", json={"values": {"jpeg_quality": 5}})
        hidden = client.post("/settings", json={"values": {"outdir_samples": "/tmp/x"}})

    assert told["frozen"] and "outdir_samples" not in told["values"]
    assert answer.status_code >= 400 and "--freeze-settings" in answer.json()["detail"]
    assert hidden.status_code == 422 and studio.options["jpeg_quality"] == 80
    studio.stop()


def test_values_of_a_preset_of_another_version_are_taken_as_far_as_they_fit(
    studio: Studio, page: Page
) -> None:
    foreign = {
        "sampler": "Euler z", "schedule": "Karras", "steps": 10_000, "cfg_scale": float("nan"),
        "styles": [{}], "width": "640", "gone": 1, "script": ["None"], "plot_xyz": "{}",
    }  # fmt: skip

    assert fitting(page.txt2img, studio, foreign) == {
        "schedule": "Karras", "width": 640, "gone": 1, "plot_xyz": "{}",
    }  # fmt: skip
