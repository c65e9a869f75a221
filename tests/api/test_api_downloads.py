"""Weights over the API: known ones, links, stopping, going on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.checkpoints.file_server import File, FileServer, serving, weights
from tests.patience import wait_until
from webui.api.app import build_api
from webui.studio import Studio

DOWNLOADS = "/danqing/v1/downloads"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(FileServer()) as made:
        yield made


def test_download_when_begun_stopped_and_resumed_then_comes(
    studio: Studio, server: FileServer
) -> None:
    server.files["/a.safetensors"] = file = File(weights(0.5), pause=0.1)
    client = TestClient(build_api(studio), base_url="http://127.0.0.1")
    body = {"link": server.url("/a.safetensors"), "kind": "lora"}
    number = client.post(DOWNLOADS, json=body).json()["id"]
    (listed,) = client.get(DOWNLOADS).json()
    assert listed["id"] == number and listed["kind"] == "lora"

    def state() -> str:
        return client.get(DOWNLOADS).json()[0]["state"]

    wait_until(lambda: client.get(DOWNLOADS).json()[0]["done_bytes"] > 0)
    client.post(f"{DOWNLOADS}/{number}/stop")
    wait_until(lambda: state() == "stopped")
    file.pause = 0
    client.post(f"{DOWNLOADS}/{number}/resume")
    wait_until(lambda: state() == "done")
    path = studio.settings.folders.own_models / "Lora" / "a.safetensors"
    assert client.get(DOWNLOADS).json()[0]["path"] == str(path)
    assert path.read_bytes() == file.data
    assert client.delete(f"{DOWNLOADS}/{number}").json() == {}
    assert client.get(DOWNLOADS).json() == [] and path.exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"name": "x", "link": "https://y"}, 422),
        ({"link": "https://example.org/x.pt", "kind": "sandwich"}, 422),
        ({"name": "no such weights"}, 404),
        ({"link": "file:///etc/passwd"}, 422),
    ],
)
def test_download_when_asked_for_wrongly_then_refused(
    studio: Studio, body: dict[str, str], status: int
) -> None:
    client = TestClient(build_api(studio), base_url="http://127.0.0.1")
    assert client.post(DOWNLOADS, json=body).status_code == status
    assert client.get(DOWNLOADS).json() == []


def test_known_weights_when_listed_then_with_licence_and_hash(studio: Studio) -> None:
    found = (
        TestClient(build_api(studio), base_url="http://127.0.0.1")
        .get("/danqing/v1/known-weights")
        .json()
    )
    by_name = {one["name"]: one for one in found}
    assert by_name["Stable Diffusion 1.5"]["sha256"].startswith("6ce0161689")
    assert "non-commercial" in by_name["CodeFormer"]["licence"]
