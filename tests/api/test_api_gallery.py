"""The gallery over HTTP, for the page and for programs: each login its own."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from tests.library.gallery_files import painted
from tests.ui.serve import FAKE_WORKER
from tests.visitors import NamedVisitors
from webui.api.app import build_api
from webui.services.resolve import TextToImageRequest
from webui.settings import read_settings
from webui.studio import Studio
from webui.ui.routes import make_routes


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    flags = ["--data-dir", str(tmp_path / "data"), "--api", "--gradio-auth", "ann:1,bob:2"]
    studio = Studio(read_settings(flags, environ={}), worker_command=FAKE_WORKER)
    painted(tmp_path / "all" / "tower.png", "a tower")
    studio.gallery.deeds.do("add-folder", {"folder": str(tmp_path / "all")}, "")
    studio.supervisor.start()
    wish = TextToImageRequest(prompt="a hill", width=64, height=64, steps=1, seed=5, user="ann")
    studio.wait(studio.submit(wish).id, 60)
    studio.gallery.watch.catch_up()
    studio.gallery.watch.look_now()
    yield studio
    studio.stop()


def test_api_when_logins_are_set_then_each_finds_and_changes_its_own(studio: Studio) -> None:
    client = TestClient(build_api(studio), base_url="http://127.0.0.1")
    ann, bob = ("ann", "1"), ("bob", "2")
    path = "/danqing/v1/gallery"
    assert client.get(path).status_code == 401
    (hill,) = client.get(path, params={"text": "hill"}, auth=ann).json()["pictures"]
    assert client.get(path, params={"text": "hill"}, auth=bob).json()["total"] == 0
    assert client.get(path, auth=bob).json()["total"] == 1, "nobody's picture is everybody's"
    one = f"{path}/{hill['id']}"
    for address in (
        one,
        f"{one}/file",
        f"{one}/thumb",
        f"{path}/compare/{hill['id']}/{hill['id']}",
    ):
        assert client.get(address, auth=bob).status_code == 404, address
        assert client.get(address, auth=ann).status_code == 200, address
    assert Image.open(io.BytesIO(client.get(f"{one}/thumb", auth=ann).content)).format == "WEBP"
    body = {"ids": [hill["id"]], "stars": 5}
    assert client.post(f"{path}/star", json=body, auth=bob).status_code == 404
    assert client.post(f"{path}/star", json=body, auth=ann).status_code == 200
    assert client.get(one, auth=ann).json()["stars"] == 5
    assert client.post(f"{path}/star", json={"stars": 9}, auth=ann).status_code == 422
    assert client.post(f"{path}/fly", json={}, auth=ann).status_code == 404
    assert client.get(path, params={"text": "stars:x"}, auth=ann).status_code == 422

    assert client.post(f"{one}/again", auth=bob).status_code == 404
    job = client.post(f"{one}/again", auth=ann).json()["job"]
    assert studio.jobs.get(job).user == "ann"
    (tower,) = client.get(path, params={"text": "tower"}, auth=ann).json()["pictures"]
    assert client.post(f"{path}/{tower['id']}/again", auth=ann).status_code == 422
    told = client.post(f"{path}/zip", json={"ids": [tower["id"]]}, auth=ann).json()["zip"]
    assert client.get(f"{path}/zip/{told}", auth=bob).status_code == 404
    assert client.get(f"{path}/zip/{told}", auth=ann).content[:2] == b"PK"


def test_page_when_nobody_is_logged_in_then_no_picture_is_shown(studio: Studio) -> None:
    app = FastAPI()
    app.include_router(make_routes(studio, NamedVisitors(), []))  # type: ignore[arg-type]
    client = TestClient(app)
    (number,) = studio.gallery.pictures.ids("hill", user="ann").tolist()
    answers = {"find": 200, "places": 200, "state": 200, f"one/{number}": 200,
               f"file/{number}": 200, f"thumb/{number}": 200}  # fmt: skip
    for address, status in answers.items():
        assert client.get(f"/ui/gallery/{address}").status_code == 401, address
        assert client.get(f"/ui/gallery/{address}", headers={"user": "ann"}).status_code == status
    for address in (f"one/{number}", f"file/{number}", f"thumb/{number}"):
        told = client.get(f"/ui/gallery/{address}", headers={"user": "bob"})
        assert told.status_code in (404, 422), address
    assert client.post("/ui/gallery/do/trash", json={"ids": [number]}).status_code == 401
    assert studio.gallery.pictures.get(number).path.exists()
