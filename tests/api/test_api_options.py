"""Reading and changing options."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.clients import QUICK, MakeStudio, client_of
from tests.patience import wait_until
from webui.errors import ParamsError
from webui.option_values import checked_value
from webui.options import OPTIONS as DECLARED
from webui.studio import Studio

OPTIONS = "/sdapi/v1/options"


def test_option_when_changed_is_seen_and_saved(client: TestClient, studio: Studio) -> None:
    before = client.get(OPTIONS).json()["send_seed"]

    answer = client.post(OPTIONS, json={"send_seed": not before})

    assert answer.status_code == 200 and answer.json() is None
    assert client.get(OPTIONS).json()["send_seed"] is (not before)
    saved = json.loads((studio.settings.folders.data / "config.json").read_text())
    assert saved["send_seed"] is (not before)


def test_options_when_sent_back_whole_change_nothing(client: TestClient) -> None:
    before = client.get(OPTIONS).json()

    assert client.post(OPTIONS, json=before).status_code == 200
    assert without_hash(client.get(OPTIONS).json()) == without_hash(before)


def test_checkpoint_when_set_by_any_alias_is_told_by_its_title(client: TestClient) -> None:
    assert client.post(OPTIONS, json={"sd_model_checkpoint": "second"}).status_code == 200

    def told() -> bool:  # the title gets its hash meanwhile, so both are asked until they agree
        title = client.get(OPTIONS).json()["sd_model_checkpoint"]
        titles = [model["title"] for model in client.get("/sdapi/v1/sd-models").json()]
        return title.startswith("second.safetensors") and title in titles

    wait_until(told)


@pytest.mark.parametrize(
    ("values", "status", "error"),
    [
        ({"send_size": False, "sd_model_checkpoint": "missing"}, 404, "RuntimeError"),
        ({"send_size": False, "no_such_option": 1}, 422, "KeyError"),
        ({"send_size": False, "jpeg_quality": "best"}, 422, "ParamsError"),
        ({"send_size": False, "CLIP_stop_at_last_layers": 99}, 422, "ParamsError"),
        ({"send_size": False, "randn_source": "dice"}, 422, "ParamsError"),
        ({"send_size": False, "live_previews_image_format": "bmp"}, 422, "ParamsError"),
        ({"send_size": False, "show_progress_type": "Psychic"}, 422, "ParamsError"),
        ({"send_size": False, "worker_idle_minutes": -1}, 422, "ParamsError"),
        ({"send_size": False, "img_downscale_threshold": "-0.5"}, 422, "ParamsError"),
        ({"send_size": False, "img_downscale_threshold": "nan"}, 422, "ParamsError"),
        ({"send_size": False, "directories_max_prompt_words": -2}, 422, "ParamsError"),
        ({"send_size": False, "target_side_length": -4000}, 422, "ParamsError"),
        ({"send_size": False, "sd_vae": "nope.vae"}, 404, "CheckpointNotFoundError"),
        ({"send_size": False, "sd_vae": ""}, 404, "CheckpointNotFoundError"),
    ],
)
def test_options_when_one_is_wrong_change_nothing(
    client: TestClient, values: dict[str, Any], status: int, error: str
) -> None:
    before = without_hash(client.get(OPTIONS).json())

    answer = client.post(OPTIONS, json=values)

    assert answer.status_code == status and answer.json()["error"] == error
    assert without_hash(client.get(OPTIONS).json()) == before


LIMITS = [
    (option.key, limit, step)
    for option in DECLARED
    if not option.api_restricted
    for limit, step in ((option.minimum, -1), (option.maximum, 1))
    if limit is not None
]


@pytest.mark.parametrize(("key", "limit", "step"), LIMITS)
def test_number_when_at_its_limit_is_taken_and_beyond_it_is_refused(
    client: TestClient, key: str, limit: float, step: int
) -> None:
    at, beyond = (client.post(OPTIONS, json={key: value}) for value in (limit, limit + step))
    client.post(OPTIONS, json={key: None})

    assert at.status_code == 200, at.text
    assert beyond.status_code == 422 and key in beyond.json()["detail"]


def test_number_that_requests_may_not_change_has_its_limits_too() -> None:
    for option in DECLARED:
        if option.api_restricted and option.minimum is not None:
            assert checked_value(option.key, option.minimum) == option.minimum
            with pytest.raises(ParamsError, match=option.key):
                checked_value(option.key, option.minimum - 1)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_number_when_not_finite_is_refused(client: TestClient, value: str) -> None:
    answer = client.post(OPTIONS, json={"eta_noise_seed_delta": value, "sigma_max": value})

    assert answer.status_code == 422


def test_limits_when_declared_hold_the_default() -> None:
    for option in DECLARED:
        if option.minimum is not None:
            assert option.default >= option.minimum
        if option.maximum is not None:
            assert option.default <= option.maximum


def without_hash(options: dict[str, Any]) -> dict[str, Any]:
    """The options without what the background adds by itself: the checkpoint's hash."""
    checkpoint = options["sd_model_checkpoint"].partition(" [")[0]
    return {**options, "sd_model_checkpoint": checkpoint, "sd_checkpoint_hash": ""}


def test_choice_when_in_capitals_is_stored_as_declared(client: TestClient) -> None:
    answer = client.post(OPTIONS, json={"live_previews_image_format": "PNG", "sd_vae": "None"})
    present = client.get(OPTIONS).json()
    client.post(OPTIONS, json={"live_previews_image_format": None, "sd_vae": None})

    assert answer.status_code == 200
    assert present["live_previews_image_format"] == "png" and present["sd_vae"] == "None"
    assert client.get(OPTIONS).json()["sd_vae"] == "Automatic"


def test_vae_when_its_file_is_gone_can_be_sent_back(client: TestClient, studio: Studio) -> None:
    studio.options.set("sd_vae", "gone.safetensors")
    try:
        assert client.post(OPTIONS, json=client.get(OPTIONS).json()).status_code == 200
    finally:
        studio.options.set("sd_vae", "Automatic")


def test_checkpoint_when_broken_is_refused_with_the_reason(make_studio: MakeStudio) -> None:
    studio = make_studio()
    folder = studio.settings.folders.data / "models" / "Stable-diffusion"
    (folder / "torn.safetensors").write_bytes(b"\xff" * 64)
    with client_of(studio) as client:
        client.post("/sdapi/v1/refresh-checkpoints")
        wait_until(lambda: studio.catalog.find_checkpoint("torn").problem)
        before = client.get(OPTIONS).json()
        answer = client.post(OPTIONS, json={"sd_model_checkpoint": "torn", "send_size": False})
        after = client.get(OPTIONS).json()

    reason = studio.catalog.find_checkpoint("torn").problem
    assert answer.status_code == 422 and reason in answer.json()["detail"]
    assert without_hash(after) == without_hash(before)


def test_restricted_option_when_sent_is_left_alone(client: TestClient) -> None:
    assert client.post(OPTIONS, json={"api_forbid_local_requests": False}).status_code == 200
    assert client.get(OPTIONS).json()["api_forbid_local_requests"] is True


def test_options_when_frozen_cannot_be_changed(make_studio: MakeStudio) -> None:
    with client_of(make_studio("--freeze-settings")) as client:
        answer = client.post(OPTIONS, json={"send_seed": False})

    assert answer.status_code == 403 and answer.json()["error"] == "AssertionError"


def test_paths_when_hidden_are_left_alone(make_studio: MakeStudio) -> None:
    with client_of(make_studio("--hide-ui-dir-config")) as client:
        client.post(OPTIONS, json={"outdir_samples": "/tmp/elsewhere", "send_seed": False})
        options = client.get(OPTIONS).json()

    assert options["outdir_samples"] == "" and options["send_seed"] is False


def test_option_when_set_is_used_by_the_next_request(client: TestClient) -> None:
    client.post(OPTIONS, json={"CLIP_stop_at_last_layers": "3"})
    try:
        answer = client.post("/sdapi/v1/txt2img", json=QUICK)
    finally:
        client.post(OPTIONS, json={"CLIP_stop_at_last_layers": None})

    assert json.loads(answer.json()["info"])["clip_skip"] == 3
    assert client.get(OPTIONS).json()["CLIP_stop_at_last_layers"] == 1


def test_flags_when_shown_have_no_passwords(make_studio: MakeStudio) -> None:
    studio = make_studio("--api-auth", "me:secret-word", "--medvram")
    with client_of(studio) as client:
        client.auth = ("me", "secret-word")
        answer = client.get("/sdapi/v1/cmd-flags")
        sysinfo = client.get("/internal/sysinfo")

    assert answer.json()["medvram"] is True and answer.json()["api"] is True
    assert answer.json()["data_dir"] == str(studio.settings.folders.data)
    assert "secret-word" not in answer.text and "secret-word" not in sysinfo.text
