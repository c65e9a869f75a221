"""What helps with writing prompts: lists of tags, offers, tokens, and the routes the page asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from webui.options import Options
from webui.prompts.chinese.dictionary import Dictionary
from webui.prompts.chunks import EmbeddingTable, count_tokens
from webui.prompts.styles import Style
from webui.prompts.token_view import look_at_tokens
from webui.prompts.tokenizer import ClipTokenizer
from webui.services.extensions.room import ExtensionRoom
from webui.services.forms.completion import Completion
from webui.services.forms.presets import Presets
from webui.services.forms.tag_index import TagIndex
from webui.studio import BUILT_IN_EXTENSIONS
from webui.ui.presets_routes import make_presets_routes
from webui.ui.words_routes import make_words_routes

TAGS = """\
1girl,0,6000000,"1girls,sole_female"
long_hair,0,4000000,
hatsune_miku,4,100000,"miku"
fate_(series),3,90000,
:d,0,300000,
hair_long,0,5,
bad line
"""


@pytest.fixture
def tags(tmp_path: Path) -> TagIndex:
    folder = tmp_path / "tags"
    folder.mkdir()
    (folder / "danbooru.csv").write_text(TAGS, encoding="utf-8")
    (folder / "zh.csv").write_text("1girl,一个女孩\nhatsune_miku,0,初音未来\n", encoding="utf-8")
    (folder / "broken.csv").write_bytes(b'\x00,\xff"\n"open,quote\n')
    return TagIndex([folder, tmp_path / "none"])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("1gi", [("1girl", "")]),
        ("HAIR", [("hair_long", ""), ("long_hair", "")]),
        ("long h", [("long_hair", "")]),
        ("long_h", [("long_hair", "")]),
        ("sole", [("1girl", "sole_female")]),
        ("初音", [("hatsune_miku", "初音未来")]),
        ("女孩", [("1girl", "一个女孩")]),
        ("series", [("fate_(series)", "")]),
        ("fate (s", [("fate_(series)", "")]),
        ("nothing", []),
        (" ", []),
    ],
)
def test_tags_when_part_of_a_name_is_typed_are_found(
    tags: TagIndex, wanted: str, expected: list[tuple[str, str]]
) -> None:
    assert [(f.tag.name, f.alias) for f in tags.find(wanted, 5)] == expected


def test_tags_when_many_fit_come_most_used_first_and_no_more_than_asked(tmp_path: Path) -> None:
    rows = [f"tag_{n},0,{n * 7919 % 100_003}" for n in range(30_000)]
    (tmp_path / "a.csv").write_text("\n".join(rows))

    found = [f.tag.count for f in TagIndex([tmp_path]).find("tag", 18)]

    assert len(found) == 18 and found == sorted(found, reverse=True)
    assert found[0] == max(n * 7919 % 100_003 for n in range(30_000))


@pytest.fixture
def studio(tags: TagIndex, tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "wildcards").mkdir()
    (tmp_path / "wildcards" / "colour.txt").write_text("red\ngreen\n")
    files = {"lora": ["inkwash", "more ink"], "embedding": ["EasyNegative"], "hypernetwork": []}
    options = Options(tmp_path / "config.json")
    extensions = ExtensionRoom(
        built_in=BUILT_IN_EXTENSIONS, folders=(), options=options, notes=tmp_path / "notes",
        models=(), data=tmp_path,
    )  # fmt: skip
    styles = {"1girl portrait": Style("1girl portrait", "photo of {prompt}, 1girl")}
    tokenizer = ClipTokenizer.load()
    yield SimpleNamespace(
        completion=Completion(tags), extensions=extensions, options=options,
        chinese=Dictionary(tmp_path / "chinese"),
        styles=SimpleNamespace(by_name=lambda: styles),
        catalog=SimpleNamespace(
            records=lambda kind: [SimpleNamespace(stem=stem) for stem in files[kind]]
        ),
        presets=Presets(tmp_path / "presets.json"),
        current_checkpoint=lambda: SimpleNamespace(name="a/foo.safetensors", stem="foo"),
        tokens=SimpleNamespace(
            example=lambda text, is_negative: extensions.drawn_once(text, "prompt"),
            as_counted=lambda text, *told: text,
            look=lambda text, **how: look_at_tokens(text, tokenizer, **how),
        ),
    )  # fmt: skip
    extensions.close()


@pytest.fixture
def client(studio: Any) -> TestClient:
    app = FastAPI()
    app.include_router(make_words_routes(studio))
    app.include_router(make_presets_routes(studio))
    return TestClient(app)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("<ink", ["<lora:inkwash:1>", "<lora:more ink:1>"]),
        ("<lora:more", ["<lora:more ink:1>"]),
        ("<hypernet:ink", []),
        ("__col", ["__colour__"]),
        ("easy", ["EasyNegative"]),
        ("1gir", ["photo of , 1girl", "1girl"]),
        ("fate", [r"fate \(series\)"]),
        (":d", [":d"]),
        ("", []),
    ],
)
def test_offers_when_typing_are_what_may_follow(
    client: TestClient, typed: str, expected: list[str]
) -> None:
    told = client.get("/words/complete", params={"q": typed}).json()["offers"]

    assert [offer["text"] for offer in told] == expected


def test_chinese_when_typed_is_completed_from_the_dictionary_too(
    client: TestClient, studio: Any, tmp_path: Path
) -> None:
    def offered(typed: str) -> list[tuple[str, str]]:
        told = client.get("/words/complete", params={"q": typed}).json()["offers"]
        return [(offer["name"], offer["note"]) for offer in told]

    assert offered("苹")[0] == ("apple", "苹果")
    assert ("green apple", "青苹果") in offered("苹")
    assert offered("没有") == [], "it says nothing by itself"

    (tmp_path / "chinese").mkdir()
    (tmp_path / "chinese" / "mine.csv").write_text("苹果机,computer (old)\n女孩儿,1girl\n", "utf-8")
    assert ("computer (old)", "苹果机") in offered("苹")
    assert [name for name, _ in offered("女孩")].count("1girl") == 1, "the tag's own row is enough"


def test_prompt_when_looked_at_tells_combinations_and_what_is_wrong(
    client: TestClient, tmp_path: Path
) -> None:
    (tmp_path / "wildcards" / "round.txt").write_text("__round__")

    def look(text: str) -> dict[str, Any]:
        return client.post("/words/look", json={"text": text}).json()

    assert look("a cat")["count"] == 1
    told = look("{a|b|c} __colour__ __nope__ # {d|e}")
    assert (told["count"], told["problem"]) == (6, "")
    assert told["notes"] == [{"en": "no wildcard file: __nope__", "zh": "没有通配符文件：__nope__"}]
    assert "__round__ → __round__" in look("__round__")["problem"]
    assert look("{a|b}" * 100)["is_more"]


def test_wildcards_when_their_extension_is_off_are_plain_text(
    client: TestClient, studio: Any
) -> None:
    assert client.get("/words/keys").json()["draws"]
    studio.extensions.enable("dynamic_prompts", False)

    assert not client.get("/words/keys").json()["draws"]
    assert client.get("/words/complete", params={"q": "__col"}).json()["offers"] == []
    told = client.post("/words/look", json={"text": "{a|b} __colour__"}).json()
    assert (told["count"], told["notes"], told["problem"]) == (1, [], "")
    tokens = client.post("/words/tokens", json={"text": "{red|blue}"}).json()
    assert not tokens["drawn"] and len(tokens["texts"][0]["chunks"][0]) == 5


def test_tokens_when_shown_are_the_words_with_their_weights(client: TestClient) -> None:
    def tokens(text: str, **more: Any) -> list[dict[str, Any]]:
        return client.post("/words/tokens", json={"text": text, **more}).json()["texts"]

    (told,) = tokens("a (cat:1.3) extraordinarily 猫 <lora:x:1>")
    words = [(row[0], row[2], row[3]) for row in told["chunks"][0]]
    assert words == [
        ("a", 1, True), ("cat", 1.3, True), ("extraordin", 1, False), ("arily", 1, True),
        ("", 1, False), ("", 1, False), ("猫", 1, True),
    ]  # fmt: skip
    assert [len(c) for c in tokens("cat " * 100)[0]["chunks"]] == [75, 25]
    assert [len(c) for c in tokens("cat BREAK dog")[0]["chunks"]] == [1, 1]
    assert [t["until"] for t in tokens("[cat:dog:0.5]", steps=10)] == [5, 10]
    assert len(tokens("cat AND dog")) == 2


def test_tokens_when_counted_and_shown_are_as_many() -> None:
    tokenizer = ClipTokenizer.load()
    table = EmbeddingTable({"easynegative": 8}, tokenizer)

    for text in ("", "a cat", "easynegative, (dog)", "cat, " * 60, "a BREAK b"):
        (seen,) = look_at_tokens(text, tokenizer, embeddings=table)
        *full, last = [len(chunk) for chunk in seen.chunks]
        assert 75 * len(full) + last == count_tokens(text, tokenizer, embeddings=table)[0]
    (seen,) = look_at_tokens("easynegative", tokenizer, embeddings=table)
    assert {(t.text, t.is_embedding) for t in seen.chunks[0]} == {("easynegative", True)}


def test_presets_when_exported_and_brought_in_are_there_again(client: TestClient) -> None:
    body = json.dumps({"presets": {"mine": {"steps": 9}}})

    assert client.post("/presets/import", content=body).json() == {"names": ["mine"]}
    assert ["mine", True] in client.get("/presets").json()["presets"]
    assert json.loads(client.get("/presets/export").text)["presets"] == {"mine": {"steps": 9}}
    assert client.post("/presets/import", content="{}").status_code == 422
    assert client.post("/presets/delete", json={"name": "mine"}).status_code == 200
    assert client.post("/presets/delete", json={"name": "mine"}).status_code == 409
