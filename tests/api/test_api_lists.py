"""Lists, memory, png-info and the page's small questions."""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.clients import QUICK, MakeStudio, client_of
from tests.patience import wait_until
from webui.services.model_cards import Wanted
from webui.studio import Studio

SDAPI = "/sdapi/v1"


@pytest.mark.parametrize(
    "path",
    [
        "cmd-flags", "samplers", "schedulers", "upscalers", "latent-upscale-modes", "sd-models",
        "sd-vae", "sd-modules", "hypernetworks", "face-restorers", "realesrgan-models",
        "prompt-styles", "embeddings", "loras", "memory", "scripts", "script-info", "extensions",
    ],
)  # fmt: skip
def test_list_when_asked_answers(client: TestClient, path: str) -> None:
    answer = client.get(f"{SDAPI}/{path}")

    assert answer.status_code == 200 and answer.json() is not None


def test_samplers_when_listed_are_a1111s_twenty_in_order(client: TestClient) -> None:
    samplers = client.get(f"{SDAPI}/samplers").json()

    assert [s["name"] for s in samplers[:2]] == ["DPM++ 2M", "DPM++ SDE"] and len(samplers) == 20
    assert samplers[1]["options"] == {
        "scheduler": "karras", "second_order": True, "brownian_noise": True,
    }  # fmt: skip


def test_schedulers_when_listed_have_rho_and_labels(client: TestClient) -> None:
    by_name = {s["name"]: s for s in client.get(f"{SDAPI}/schedulers").json()}

    assert by_name["karras"]["default_rho"] == 7.0 and by_name["karras"]["label"] == "Karras"
    assert by_name["automatic"]["default_rho"] == -1 and by_name["automatic"]["aliases"] is None


def test_models_when_listed_have_a1111s_keys(client: TestClient) -> None:
    models = client.get(f"{SDAPI}/sd-models").json()

    (second,) = [m for m in models if m["model_name"] == "second"]
    assert set(second) == {"title", "model_name", "hash", "sha256", "filename", "config"}
    assert Path(second["filename"]).is_file()


def test_upscalers_when_listed_begin_with_the_plain_ones(client: TestClient) -> None:
    names = [u["name"] for u in client.get(f"{SDAPI}/upscalers").json()]

    assert names[:3] == ["None", "Lanczos", "Nearest"]


def test_new_checkpoint_when_refreshed_is_listed(
    client: TestClient, studio: Studio, starter_checkpoint: Path
) -> None:
    folder = studio.settings.folders.data / "models" / "Stable-diffusion" / "deep"
    folder.mkdir()
    shutil.copy(starter_checkpoint, folder / "third.safetensors")

    answer = client.post(f"{SDAPI}/refresh-checkpoints")

    names = [m["model_name"] for m in client.get(f"{SDAPI}/sd-models").json()]
    assert answer.status_code == 200 and answer.json() is None
    assert "deep_third" in names


@pytest.mark.parametrize("what", ["checkpoints", "vae", "embeddings", "loras"])
def test_refresh_when_asked_answers_null(client: TestClient, what: str) -> None:
    assert client.post(f"{SDAPI}/refresh-{what}").json() is None


@pytest.mark.parametrize("path", ["train/embedding"])
def test_missing_part_when_asked_answers_as_an_unknown_path(client: TestClient, path: str) -> None:
    answer = client.post(f"{SDAPI}/{path}", json={})
    unknown = client.post(f"{SDAPI}/no-such-path", json={})

    assert answer.status_code == unknown.status_code == 404
    assert answer.json() == unknown.json() and answer.json()["detail"] == "Not Found"


def test_wrong_method_when_used_is_405(client: TestClient) -> None:
    answer = client.get(f"{SDAPI}/txt2img")

    assert answer.status_code == 405 and answer.json()["detail"] == "Method Not Allowed"


@pytest.mark.parametrize("path", ["server-kill", "server-restart", "server-stop"])
def test_stopping_when_not_allowed_at_the_start_is_unknown(client: TestClient, path: str) -> None:
    assert client.post(f"{SDAPI}/{path}").status_code == 404


def test_restart_when_allowed_says_that_it_cannot(make_studio: MakeStudio) -> None:
    with client_of(make_studio("--api-server-stop")) as client:
        answer = client.post(f"{SDAPI}/server-restart")

    assert answer.status_code == 501 and "server-stop" in answer.json()["detail"]


def test_memory_when_the_worker_is_ready_asks_it(client: TestClient, studio: Studio) -> None:
    client.post(f"{SDAPI}/txt2img", json=QUICK)
    wait_until(lambda: studio.supervisor.running_job_id is None)

    memory = client.get(f"{SDAPI}/memory").json()

    assert memory["ram"]["total"] > memory["ram"]["used"] > 0
    assert memory["cuda"]["system"]["total"] == 7


def test_memory_and_unload_when_no_worker_lives_start_none(make_studio: MakeStudio) -> None:
    studio = make_studio(worker="tests.api.no_such_worker")
    wait_until(lambda: studio.supervisor.worker_pid is None and studio.supervisor.worker_starts > 2)
    starts = studio.supervisor.worker_starts
    with client_of(studio) as client:
        memory = client.get(f"{SDAPI}/memory").json()
        unload = client.post(f"{SDAPI}/unload-checkpoint").json()

    assert memory["cuda"] == {"error": "unavailable"} and unload == {}
    assert studio.supervisor.worker_starts == starts


def test_unload_and_reload_when_asked_answer_an_object(client: TestClient) -> None:
    assert client.post(f"{SDAPI}/unload-checkpoint").json() == {}
    assert client.post(f"{SDAPI}/reload-checkpoint").json() == {}


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_png_info_when_given_a_painted_picture_reads_its_recipe(
    client: TestClient, prefix: str
) -> None:
    image = client.post(f"{SDAPI}/txt2img", json=QUICK).json()["images"][0]

    answer = client.post(f"{SDAPI}/png-info", json={"image": prefix + image}).json()

    assert answer["info"].startswith("a boat")
    assert answer["parameters"]["Seed"] == "7" and answer["parameters"]["Prompt"] == "a boat"
    assert answer["parameters"]["Schedule type"] == "Automatic"  # a default of old recipes


def test_png_info_when_the_picture_has_no_recipe_holds_only_defaults(client: TestClient) -> None:
    image = client.post(
        f"{SDAPI}/txt2img", json={**QUICK, "override_settings": {"enable_pnginfo": False}}
    ).json()["images"][0]

    answer = client.post(f"{SDAPI}/png-info", json={"image": image}).json()

    assert answer["info"] == "" and answer["items"] == {}
    assert answer["parameters"]["Clip skip"] == "1" and "Seed" not in answer["parameters"]


@pytest.mark.parametrize(
    ("image", "status", "told"),
    [
        ("not a picture", 422, "Invalid encoded image"),
        ("", 422, "Invalid encoded image"),
        (base64.b64encode(b"GIF89a" + b"\0" * 40).decode(), 422, "Invalid encoded image"),
        ("http://127.0.0.1:1/x.png", 422, "Requests not allowed"),
        ("HTTPS://example.com/x.png", 422, "Requests not allowed"),
    ],
)
def test_png_info_when_the_picture_is_unusable_says_why(
    client: TestClient, image: str, status: int, told: str
) -> None:
    answer = client.post(f"{SDAPI}/png-info", json={"image": image})

    assert answer.status_code == status and told in answer.json()["detail"]


def test_png_info_when_the_picture_is_left_out_is_422(client: TestClient) -> None:
    answer = client.post(f"{SDAPI}/png-info", json={})

    assert answer.status_code == 422 and "image is missing" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path", ["ping", "quicksettings-hint", "profile-startup", "sysinfo", "sysinfo-download"]
)
def test_internal_question_when_asked_answers(client: TestClient, path: str) -> None:
    assert client.get(f"/internal/{path}").status_code == 200


def test_openapi_when_asked_describes_txt2img(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()

    body = schema["components"]["schemas"]["TextToImageBody"]["properties"]
    assert body["steps"]["default"] == 50 and "/sdapi/v1/txt2img" in schema["paths"]


def test_lists_when_names_of_files_are_no_text_tell_them_as_far_as_they_are(
    client: TestClient, studio: Studio
) -> None:
    models = studio.settings.folders.data / "models"
    kinds = {"Lora": "loras", "Stable-diffusion": "sd-models", "hypernetworks": "hypernetworks"}
    starter = studio.cards.find("checkpoint", Wanted("starter-emoji"))[0]
    for folder in kinds:
        (models / folder).mkdir(parents=True, exist_ok=True)
        ending = b".pt" if folder == "hypernetworks" else b".safetensors"
        try:
            os.link(starter.record.path, os.fsencode(models / folder) + b"/caf\xe9" + ending)
        except OSError:
            pytest.skip("this file system holds no such names, or no links")
    client.post(f"{SDAPI}/refresh-loras")

    for path in kinds.values():
        answer = client.get(f"{SDAPI}/{path}")
        assert answer.status_code == 200 and "caf" in answer.text
    titles = [model["title"] for model in client.get(f"{SDAPI}/sd-models").json()]
    (odd,) = (title for title in titles if title.startswith("caf"))
    changed = client.post(f"{SDAPI}/options", json={"sd_model_checkpoint": odd})
    assert changed.status_code == 200
    assert client.get(f"{SDAPI}/options").json()["sd_model_checkpoint"].startswith(odd[:4])


def test_cards_when_a1111s_page_asks_show_pictures_and_metadata_of_models_only(
    client: TestClient, studio: Studio, tmp_path: Path
) -> None:
    (card,) = studio.cards.find("lora", Wanted("starter-hedgehog"))
    folder = studio.settings.folders.data / "models" / "Lora"
    folder.mkdir(exist_ok=True)
    shutil.copy(card.record.path, folder / "mine.safetensors")
    Image.new("RGB", (8, 8)).save(folder / "mine.png")
    Image.new("RGB", (8, 8)).save(folder / "secret.png")
    assert client.post(f"{SDAPI}/refresh-loras").json() is None

    def thumb(name: str) -> int:
        at = {"filename": str(folder / name)}
        return client.get("/sd_extra_networks/thumb", params=at).status_code

    assert (thumb("mine.png"), thumb("secret.png"), thumb("../../config.json")) == (200, 404, 404)
    asked = {"page": "lora", "item": "mine"}
    told = client.get("/sd_extra_networks/metadata", params=asked).json()
    assert json.loads(told["metadata"]) == json.loads(studio.cards.metadata(card)) != {}
    assert client.get("/sd_extra_networks/metadata", params={**asked, "item": "?"}).json() == {}
