"""Our own routes: files out of files, through the queue and the real model process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from safetensors import safe_open

from tests.api.clients import client_of
from tests.patience import wait_until
from webui.studio import Studio

TOOLS = "/danqing/v1/file-tools"
END_STATES = ("done", "failed", "cancelled")


def ended(client: TestClient, answer: dict[str, Any]) -> dict[str, Any]:
    def now() -> dict[str, Any] | None:
        found = client.get(f"{TOOLS}/jobs/{answer['job']}").json()
        return found if found["state"] in END_STATES else None

    return wait_until(now)


def test_files_when_made_by_the_real_worker_are_in_the_catalog(real_studio: Studio) -> None:
    studio = real_studio
    folder = studio.settings.folders.data / "models" / "Stable-diffusion"
    evil = b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R."
    (folder / "evil.ckpt").write_bytes(evil)
    studio.catalog.refresh()
    with client_of(studio) as client:
        body = {"primary": "second", "secondary": "starter-emoji.safetensors", "multiplier": 0.5}
        merged = ended(client, client.post(f"{TOOLS}/merge-checkpoints", json=body).json())
        assert merged["state"] == "done", merged["error"]
        name = "0.5(second) + 0.5(starter-emoji).safetensors"
        assert merged["files"] == [str(folder / name)]
        assert studio.catalog.find_checkpoint(name).problem == ""
        with safe_open(merged["files"][0], "pt") as file:
            recipe = json.loads(file.metadata()["sd_merge_recipe"])
        assert recipe["secondary_model_hash"]

        again = ended(client, client.post(f"{TOOLS}/merge-checkpoints", json=body).json())
        assert again["state"] == "failed" and "exists already" in again["error"]["message"]

        body = {"name": "evil.ckpt"}
        refused = ended(client, client.post(f"{TOOLS}/convert-model", json=body).json())
        assert refused["error"]["details"]["wishes"] == [
            {"deed": "run_program", "call": "os.system('true')"}
        ]
        info = client.get("/danqing/v1/model-info", params={"name": name, "hashes": True}).json()
        assert (info["family"], info["format"]) == ("sd1", "safetensors")
        assert info["dtypes"]["F16"] == info["parameters"] - 77 and len(info["sha256"]) == 64
        assert info["metadata"]["sd_merge_recipe"]
        info = client.get("/danqing/v1/model-info", params={"name": "evil.ckpt"}).json()
        assert info["wishes"][0]["call"] == "os.system('true')" and info["problem"]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("merge-checkpoints", {"primary": "second"}, 422),
        ("merge-checkpoints", {"primary": "nothing", "interpolation": "No interpolation"}, 404),
        ("merge-checkpoints", {"primary": "second", "secondary": "second", "multiplier": 2}, 422),
        ("convert-model", {"name": "second", "custom_name": "../../evil"}, 422),
        ("convert-model", {"name": "second", "custom_name": "/etc/evil"}, 422),
        ("convert-model", {"name": "x", "model_kind": "lora", "pruning": "no-ema"}, 422),
        ("txt2img", {"prompt": "x"}, 404),
        ("merge-loras", {"loras": [{"name": "starter-hedgehog", "weight": "nan"}]}, 422),
    ],
)
def test_wishes_when_they_cannot_be_fulfilled_are_refused_before_they_are_queued(
    client: TestClient, studio: Studio, kind: str, body: dict[str, Any], status: int
) -> None:
    before = studio.jobs.counts()
    answer = client.post(f"{TOOLS}/{kind}", json=body)
    assert answer.status_code == status, answer.text
    assert studio.jobs.counts() == before


def test_wish_that_lacks_a_field_is_told_which(client: TestClient) -> None:
    answer = client.post(f"{TOOLS}/merge-checkpoints", json={"secondary": "x"}).json()
    assert answer["detail"] == "primary is missing. Give it a value."


def test_jobs_of_other_kinds_are_not_shown(client: TestClient, studio: Studio) -> None:
    painted = studio.submit(studio.resolve(_request()), origin="api")
    assert client.get(f"{TOOLS}/jobs/{painted.id}").status_code == 404
    assert client.post(f"{TOOLS}/jobs/{painted.id}/cancel").status_code == 404
    assert client.get("/danqing/v1/nothing").status_code == 404


def _request() -> Any:
    from webui.services.resolve import TextToImageRequest

    return TextToImageRequest(prompt="x", steps=1, width=64, height=64)
