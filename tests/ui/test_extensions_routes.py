"""The Extensions tab's routes: what they answer, and that they refuse where others reach them."""

from __future__ import annotations

import ast
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.ui.raised_texts import ROOT, _numbered, _read
from tests.ui.serve import FAKE_WORKER
from webui.api.app import build_api
from webui.settings import read_settings
from webui.studio import Studio
from webui.ui.extension_texts import PROBLEMS_ZH
from webui.ui.extensions_routes import make_store_routes
from webui.ui.said import in_language

OPEN = ("--listen", "--gradio-auth", "ann:one", "--api-auth", "ann:one")
STORE = "/extension-store"


def studio_with(folder: Path, *flags: str) -> Studio:
    settings = read_settings(["--data-dir", str(folder), *flags], environ={})
    return Studio(settings, worker_command=FAKE_WORKER)


def client_of(studio: Studio) -> TestClient:
    app = FastAPI()
    app.include_router(make_store_routes(studio))
    return TestClient(app)


@pytest.fixture
def studio(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Studio]:
    made = studio_with(tmp_path, *getattr(request, "param", ()))
    yield made
    made.stop()


def zipped() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as made:
        made.writestr("extension.toml", "api = 1\nversion = '7'")
        made.writestr("web.py", "from webui.hookspecs import hook\n@hook\ndef tabs(): return []\n")
    return data.getvalue()


def test_zip_when_sent_then_shown_put_in_listed_and_removed(studio: Studio) -> None:
    with client_of(studio) as client:
        shown = client.post(f"{STORE}/upload?name=ripple.zip", content=zipped()).json()
        assert (shown["name"], shown["version"], shown["packages"]["new"]) == ("ripple", "7", {})

        put = client.post(f"{STORE}/apply", json={"token": shown["token"]})
        assert put.json() == {"name": "ripple"}
        told = client.get(STORE).json()
        ripple = next(one for one in told["extensions"] if one["name"] == "ripple")
        assert ripple["state"] == "on" and ripple["can_remove"] and not ripple["can_update"]
        assert told["allowed"] and not all(one["can_remove"] for one in told["extensions"])

        assert client.post(f"{STORE}/apply", json={"token": shown["token"]}).status_code == 422
        saved = client.post(f"{STORE}/states/save", json={"name": "With it: 1/2"}).json()
        gone = client.post(f"{STORE}/remove", json={"name": "ripple"}).json()
        assert Path(gone["path"]).is_dir()

        (missing,) = client.post(f"{STORE}/states/compare", json={"name": saved["id"]}).json()[
            "changes"
        ]
        assert (missing["folder"], missing["name"]) == ("ripple", "")
        told = client.get(STORE).json()
        assert [one["name"] for one in told["states"]] == ["With it: 1/2"]
        assert [one["folder"] for one in told["trash"]] == ["ripple"]
        back = {"name": told["trash"][0]["id"]}
        assert client.post(f"{STORE}/trash/restore", json=back).status_code == 200
        assert client.post(f"{STORE}/states/delete", json={"name": saved["id"]}).json() == {}
        told = client.get(STORE).json()
        assert (told["states"], told["trash"], told["waiting"]) == ([], [], [])


@pytest.mark.parametrize(
    "studio",
    [OPEN, ("--share", "--gradio-auth", "ann:one"), ("--cors-allow-origins", "https://a.example")],
    indirect=True,
)
def test_store_when_others_reach_the_server_then_every_route_refuses(studio: Studio) -> None:
    named, address = {"name": "cfg_rescale"}, {"url": "https://example.org/a/b"}
    with client_of(studio) as client:
        bodies = {
            "fetch": address, "index": address, "update": named, "roll-back": named,
            "remove": named, "apply": {"token": "x"}, "cfg_rescale/install.py": {"prints": ""},
            "version": {**named, "commit": "x"}, "check": None, "packages": named,
            "trash/restore": named, "trash/delete": named, "states/save": named,
        }  # fmt: skip
        for path, body in bodies.items():
            answer = client.post(f"{STORE}/{path}", json=body)
            assert answer.status_code == 403, (path, answer.text)
            assert "enable-insecure-extension-access" in answer.json()["detail"]
        assert client.post(f"{STORE}/upload?name=x.zip", content=zipped()).status_code == 403
        assert client.get(STORE).json()["allowed"] is False
    assert not (studio.settings.folders.data / "extensions/.incoming").exists()


@pytest.mark.parametrize("studio", [(*OPEN, "--enable-insecure-extension-access")], indirect=True)
def test_store_when_others_reach_it_and_the_flag_is_given_then_answers(studio: Studio) -> None:
    with client_of(studio) as client:
        shown = client.post(f"{STORE}/upload?name=ripple.zip", content=zipped())
        assert shown.status_code == 200, shown.text
        private = client.post(f"{STORE}/fetch", json={"url": "https://192.168.0.1/a/b"})
        assert private.status_code != 200 and "private network" in private.json()["detail"]
    assert "--enable-insecure-extension-access" not in studio.settings.ignored


def test_api_when_listed_then_nothing_of_it_installs(studio: Studio) -> None:
    paths = [getattr(route, "path", "") for route in build_api(studio).routes]
    assert paths and not [path for path in paths if "store" in path or "install" in path]


def test_problems_when_chinese_then_are_those_that_the_source_tells() -> None:
    there: set[str] = set()
    for room in ("extensions", "services/extensions"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, (ast.JoinedStr, ast.Constant)):
                    there |= {_numbered(text) for text in _read(node, {})}
    assert set(PROBLEMS_ZH) - there == set(), "nobody says these any more"
    (known,) = [one for one in PROBLEMS_ZH if one.startswith("It has neither")]
    assert in_language(known.format("web.py", "model.py"), "zh").startswith(
        "它既没有 web.py 也没有"
    )


def test_store_when_the_page_is_chinese_then_problems_are_too(studio: Studio) -> None:
    folder = studio.settings.folders.data / "extensions" / "bare"
    folder.mkdir(parents=True)
    (folder / "extension.toml").write_text("api = 1")
    studio.refresh_extensions()
    with client_of(studio) as client:
        told = client.get(STORE, headers={"Accept-Language": "zh-CN"}).json()["extensions"]
    assert [one["why"] for one in told if one["name"] == "bare"] == [
        "它既没有 web.py 也没有 model.py，无可加载。"
    ]
