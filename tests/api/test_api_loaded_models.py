"""Unloading, loading again, looking again, and options that choose what is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.patience import wait_until
from webui.studio import Studio

SDAPI = "/sdapi/v1"


@pytest.fixture
def asked(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Questions to the model process, which is there and answers nothing."""
    heard: list[dict[str, Any]] = []
    wait_until(lambda: studio.supervisor.worker_pid is not None)

    def request(message: dict[str, Any], timeout: float = 1) -> dict[str, Any]:
        heard.append(message)
        return {"error": "CheckpointError: torn"} if len(heard) > 1 else {}

    monkeypatch.setattr(studio.supervisor, "request", request)
    return heard


def test_checkpoint_when_unloaded_and_reloaded_answers_an_empty_object(client: TestClient) -> None:
    for route in ("unload-checkpoint", "reload-checkpoint"):
        answer = client.post(f"{SDAPI}/{route}")
        assert (answer.status_code, answer.json()) == (200, {})


def test_reload_when_asked_loads_what_the_options_choose(
    client: TestClient, studio: Studio, asked: list[dict[str, Any]]
) -> None:
    vae = studio.settings.folders.data / "models" / "VAE" / "other.vae.safetensors"
    vae.parent.mkdir(parents=True, exist_ok=True)
    vae.write_bytes(b"x")
    assert client.post(f"{SDAPI}/refresh-vae").json() is None
    chosen = {
        "sd_model_checkpoint": "second", "sd_vae": vae.name, "fp8_storage": "enable",
        "sd_checkpoints_limit": 2, "sd_checkpoint_cache": 1, "sd_checkpoints_keep_in_cpu": False,
    }  # fmt: skip
    assert client.post(f"{SDAPI}/options", json=chosen).status_code == 200

    assert client.post(f"{SDAPI}/reload-checkpoint").status_code == 200
    (message,) = asked
    assert Path(message["checkpoint"]["path"]).name == "second.safetensors"
    assert Path(message["vae"]["path"]) == vae
    assert (message["fp8_storage"], message["cache_fp16_weight"]) == ("Enable", False)
    assert message["memory"] == {"checkpoints": 3, "vaes": 0, "idle_stay_on_device": True}

    torn = client.post(f"{SDAPI}/reload-checkpoint")
    assert torn.status_code >= 400 and "torn" in torn.text
    defaults = dict.fromkeys(chosen, None)
    client.post(f"{SDAPI}/options", json={**defaults, "sd_model_checkpoint": "starter-emoji"})


def test_files_when_they_came_or_went_are_seen_after_refreshing(
    client: TestClient, studio: Studio, starter_checkpoint: Path
) -> None:
    models = studio.settings.folders.data / "models"
    copy = models / "Stable-diffusion" / "third.safetensors"
    shutil.copy(starter_checkpoint, copy)
    vae = models / "VAE" / "new.vae.safetensors"
    vae.parent.mkdir(parents=True, exist_ok=True)
    vae.write_bytes(b"x")

    def listed() -> tuple[bool, bool]:
        checkpoints = client.get(f"{SDAPI}/sd-models").json()
        vaes = client.get(f"{SDAPI}/sd-vae").json()
        return (
            any(c["model_name"] == "third" for c in checkpoints),
            {"model_name": "new.vae.safetensors", "filename": str(vae)} in vaes,
        )

    for route in ("refresh-checkpoints", "refresh-vae"):
        answer = client.post(f"{SDAPI}/{route}")
        assert (answer.status_code, answer.json()) == (200, None)
    assert listed() == (True, True)
    copy.unlink(), vae.unlink()
    client.post(f"{SDAPI}/refresh-checkpoints")
    assert listed() == (False, False)


def test_options_when_set_decide_the_next_request(client: TestClient, studio: Studio) -> None:
    from webui.services.resolve import TextToImageRequest

    values = {"CLIP_stop_at_last_layers": 2, "sd_vae": "None", "sd_model_checkpoint": "second"}
    client.post(f"{SDAPI}/options", json=values)
    params = studio.resolve(TextToImageRequest())
    assert (params.clip_skip, params.vae) == (2, "None")  # type: ignore[union-attr]
    assert params.checkpoint == "second.safetensors"  # type: ignore[union-attr]
    client.post(f"{SDAPI}/options", json={"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic"})
