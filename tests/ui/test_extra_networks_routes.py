"""How cards reach the page: ids only, in parts, for those who are logged in."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from tests.checkpoints.model_files import SomeFolders, write_raw
from tests.patience import wait_until
from tests.test_model_cards import lora, picture
from tests.visitors import NamedVisitors
from webui.checkpoints.catalog import Catalog, Record
from webui.options import Options
from webui.services.model_cards import ModelCards
from webui.ui.routes import make_routes


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    folder = tmp_path / "models" / "Lora"
    for number in range(150):
        lora(folder / f"set {number % 3}" / f"style {number:03d}.safetensors", number)
    lora(folder / "wide.safetensors", ss_base_model_version="sdxl_base_v1-0", ss_training="x")
    catalog = Catalog(SomeFolders((tmp_path / "models",)), tmp_path / "facts.sqlite3")
    wait_until(lambda: not catalog.is_busy())
    yield catalog
    catalog.close()


@pytest.fixture
def studio(catalog: Catalog, tmp_path: Path) -> Any:
    chosen = Record("checkpoint", "x.safetensors", tmp_path / "x", 1, 1, family="sd1")
    return SimpleNamespace(
        catalog=catalog, cards=ModelCards(catalog, tmp_path / "cache"), started_at=0,
        options=Options(tmp_path / "config.json"), current_checkpoint=lambda: chosen,
        refresh_models=catalog.refresh,
        library=SimpleNamespace(
            get=lambda number: SimpleNamespace(id=number, user={1: "ann", 2: "bob"}[number]),
            open=lambda number: picture("blue"),
        ),
        gallery=SimpleNamespace(deeds=None), extensions=None,
        extension_store=SimpleNamespace(turn=None, trash=None),
        settings=SimpleNamespace(folders=SimpleNamespace(data=tmp_path)),
    )  # fmt: skip


@pytest.fixture
def client(studio: Any) -> TestClient:
    app = FastAPI()
    app.include_router(make_routes(studio, NamedVisitors(), []))  # type: ignore[arg-type]
    return TestClient(app, headers={"user": "ann"})


def one(client: TestClient, name: str) -> dict[str, Any]:
    (card,) = client.get("/ui/cards/lora", params={"q": name}).json()["cards"]
    return card


def test_cards_when_asked_in_parts_come_in_order_with_folders_once(client: TestClient) -> None:
    first = client.get("/ui/cards/lora?count=60").json()
    second = client.get("/ui/cards/lora?count=9999&start=60").json()

    names = [card["name"] for card in (*first["cards"], *second["cards"])]
    assert names == sorted(names) and len(names) == first["total"] == 151
    assert len(first["cards"]) == 60 and first["unread"] == 0
    assert first["folders"] == [["set 0", 50], ["set 1", 50], ["set 2", 50]]
    assert second["folders"] is None


def test_state_when_files_or_the_checkpoint_change_is_another(
    client: TestClient,
    catalog: Catalog,
    studio: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def state() -> str:
        wait_until(lambda: not catalog.is_busy())
        listed = client.get("/ui/cards/lora?count=1").json()["state"]
        assert client.get("/ui/cards/lora/state").json() == {"state": listed}
        return listed

    states = [state()]
    assert state() == states[0]
    lora(tmp_path / "models/Lora/new.safetensors")
    catalog.refresh()
    states.append(state())
    monkeypatch.setattr(ModelCards, "unread", lambda self, kind: 3)
    states.append(state())
    other = Record("checkpoint", "y.safetensors", tmp_path / "y", 1, 1, family="sdxl")
    studio.current_checkpoint = lambda: other
    states.append(state())
    assert len(set(states)) == 4


def test_card_when_of_another_family_says_whose(client: TestClient) -> None:
    card = one(client, "wide")

    assert (card["fits"], card["made_for"], card["chosen_is"]) == (False, "SDXL", "SD1")
    assert one(client, "007")["fits"] is True


def test_notes_when_posted_are_saved_in_a1111s_words(client: TestClient, tmp_path: Path) -> None:
    card = one(client, "007")
    notes = {"activation": "ink", "weight": 0.7, "negative": "photo", "sd_version": "SD1"}
    told = client.post(f"/ui/card/{card['id']}/notes", json=notes).json()

    saved = json.loads((tmp_path / "models/Lora/set 1/style 007.json").read_text())
    assert (saved["activation text"], saved["preferred weight"]) == ("ink", 0.7)
    assert (told["trigger"], told["weight"], told["negative"]) == ("ink", 0.7, "photo")
    assert one(client, "007")["trigger"] == "ink"


def test_preview_when_uploaded_is_shown_and_lies_beside_the_file(
    client: TestClient, tmp_path: Path
) -> None:
    card = one(client, "007")
    assert card["thumb"] is None
    told = client.post(f"/ui/card/{card['id']}/preview", content=picture("red", "WEBP")).json()

    shown = client.get(f"/{told['thumb']}")
    assert shown.headers["content-type"] == "image/webp" and "immutable" in str(shown.headers)
    with Image.open(io.BytesIO(shown.content)) as image:
        assert image.size == (320, 480)
    assert (tmp_path / "models/Lora/set 1/style 007.preview.png").is_file()


def test_preview_when_a_painted_picture_is_used_must_be_ones_own(
    client: TestClient, tmp_path: Path
) -> None:
    at = f"/ui/card/{one(client, '007')['id']}/preview"
    saved = tmp_path / "models/Lora/set 1/style 007.preview.png"

    assert client.post(f"{at}?painted=2").status_code == 404 and not saved.exists()
    assert client.post(f"{at}?painted=1").json()["thumb"]
    with Image.open(saved) as image:
        assert image.format == "PNG" and image.getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ui/cards/vae", 404),
        ("GET", "/ui/cards/lora?sort=size", 404),
        ("GET", "/ui/cards/vae/state", 404),
        ("GET", "/ui/card/..%2F..%2Fconfig.json", 404),
        ("GET", "/ui/card/ffffffffffffffffffff/thumb", 404),
        ("POST", "/ui/card/ffffffffffffffffffff/notes", 404),
        ("POST", "/ui/card/{id}/preview", 422),
    ],
)
def test_requests_when_wrong_are_refused(
    client: TestClient, method: str, path: str, status: int
) -> None:
    path = path.replace("{id}", one(client, "007")["id"])
    body = {"json": {}} if path.endswith("notes") else {}

    assert client.request(method, path, **body).status_code == status


def test_notes_when_too_long_or_no_numbers_are_refused(client: TestClient) -> None:
    at = f"/ui/card/{one(client, '007')['id']}/notes"

    assert client.post(at, json={"notes": "x" * 30_000}).status_code == 422
    assert client.post(at, json={"weight": 1e9}).status_code == 422


def test_names_when_no_text_are_shown_as_far_as_they_are(
    client: TestClient, catalog: Catalog, tmp_path: Path
) -> None:
    odd = os.path.join(os.fsencode(tmp_path), b"models", b"Lora", b"odd \xff")
    try:
        os.makedirs(odd)
    except OSError:
        pytest.skip("this file system holds no such names")
    lora(Path(os.fsdecode(os.path.join(odd, b"ink \xff.safetensors"))))
    tensors = {"emb_params": {"dtype": "F32", "shape": [2, 768], "data_offsets": [0, 6144]}}
    embeddings = os.path.join(os.fsencode(tmp_path), b"models", b"embeddings")
    word = os.fsdecode(os.path.join(embeddings, b"word \xff.safetensors"))
    write_raw(Path(word), tensors, b"\0" * 6144)
    catalog.refresh()
    wait_until(lambda: not catalog.is_busy())
    card = one(client, "ink")

    assert card["folder"] == "odd \N{REPLACEMENT CHARACTER}"
    (embedding,) = client.get("/ui/cards/embedding").json()["cards"]
    assert embedding["tags"] == ["word \N{REPLACEMENT CHARACTER}"]
    told = client.get(f"/ui/card/{card['id']}").json()
    assert told["path"].endswith("ink \N{REPLACEMENT CHARACTER}.safetensors")
    saved = client.post(f"/ui/card/{card['id']}/notes", json={"notes": "x"})
    assert saved.json()["notes"]["notes"] == "x"


@pytest.mark.parametrize("path", ["cards/lora", "card/x", "card/x/thumb", "cards/refresh"])
def test_strangers_when_asking_get_nothing(client: TestClient, path: str) -> None:
    del client.headers["user"]
    method = "POST" if path.endswith("refresh") else "GET"

    assert client.request(method, f"/ui/{path}").status_code == 401


def test_cards_when_files_and_notes_are_hostile_are_shown_all_the_same(
    client: TestClient, catalog: Catalog, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "Lora"
    halves = {"ss_output_name": "half \ud83d", "modelspec.title": "t \ud800", "x": '{"y": NaN}'}
    lora(folder / "odd.safetensors", **halves)
    lora(folder / "odder.safetensors")
    long = "word " * 100_000
    (folder / "odder.json").write_text(json.dumps({"description": long, "notes": "half \udc00"}))
    catalog.refresh()
    wait_until(lambda: not catalog.is_busy())

    answer = client.get("/ui/cards/lora", params={"q": "odd"})
    assert answer.status_code == 200 and len(answer.content) < 4000
    odd, odder = answer.json()["cards"]
    assert client.get(f"/ui/card/{odd['id']}/metadata").json()["x"] == {"y": "NaN"}
    told = client.get(f"/ui/card/{odder['id']}").json()["notes"]
    assert (told["description"], told["notes"]) == (long.strip(), "half ?")


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "is damaged: it was cut: 8 of 16 bytes"),
        ("zh", "已损坏：它被截短了"),
    ],
)
def test_card_of_a_damaged_file_says_why_in_the_pages_language(
    client: TestClient, catalog: Catalog, tmp_path: Path, language: str, told: str
) -> None:
    header = {"a.lora_down.weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
    write_raw(tmp_path / "models" / "Lora" / "cut.safetensors", header, bytes(8))
    catalog.refresh()
    wait_until(lambda: not catalog.is_busy())
    client.headers["accept-language"] = language
    card = one(client, "cut")
    assert told in card["problem"] and card["problem"].startswith("cut.safetensors ")
    assert client.get(f"/ui/card/{card['id']}").json()["problem"] == card["problem"]


def test_notes_when_some_are_changed_keep_the_rest(client: TestClient) -> None:
    at = f"/ui/card/{one(client, '007')['id']}/notes"
    for changes in ({"activation": "ink"}, {"notes": "mine"}, {"weight": 0.5}):
        told = client.post(at, json=changes).json()["notes"]

    assert (told["activation"], told["notes"], told["weight"]) == ("ink", "mine", 0.5)
