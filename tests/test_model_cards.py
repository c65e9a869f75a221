"""Models as cards: what is found, in which order, what a click writes, what is noted."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.checkpoints.model_files import SomeFolders, write_raw
from tests.patience import wait_until
from webui.built_in_extensions.dynamic_prompts.templates import is_template
from webui.checkpoints.catalog import Catalog, Record
from webui.checkpoints.embeddings import EmbeddingFacts
from webui.checkpoints.sidecars import Beside, Notes
from webui.errors import CheckpointError, CheckpointNotFoundError
from webui.prompts.comments import cut_comments
from webui.prompts.networks import cut_networks
from webui.services import model_cards
from webui.services.model_cards import Card, ModelCards, Wanted, root_names

HEADER = {"x.lora_up.weight": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}


def lora(path: Path, made: int = 0, **metadata: str) -> Path:
    metadata = {"ss_base_model_version": "sd_v1", **metadata}
    write_raw(path, {"__metadata__": metadata, **HEADER}, b"\0" * 8)
    os.utime(path, (made, made))
    return path


def picture(colour: str, format: str = "PNG") -> bytes:
    packed = io.BytesIO()
    Image.new("RGB", (640, 960), colour).save(packed, format)
    return packed.getvalue()


def mean_colour(data: bytes | None) -> tuple[int, ...]:
    assert data is not None
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "WEBP" and image.size == (320, 480)
        return tuple(
            round(c / 32) * 32 for c in image.convert("RGB").resize((1, 1)).getpixel((0, 0))
        )  # type: ignore[union-attr]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "Lora"
    tags = json.dumps({"10_x": {"Ink Wash": 9, "1girl": 3}})
    lora(folder / "b.safetensors", 300, ss_tag_frequency=tags, ss_output_name="Brush")
    lora(folder / "style" / "C.safetensors", 100, ss_output_name="twice")
    lora(folder / "style" / "old" / "a.safetensors", 200, ss_output_name="twice")
    return folder


@pytest.fixture
def catalog(folder: Path, tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(SomeFolders((tmp_path / "models",)), tmp_path / "facts.sqlite3")
    wait_until(lambda: not catalog.is_busy())
    yield catalog
    catalog.close()


@pytest.fixture
def cards(catalog: Catalog, tmp_path: Path) -> ModelCards:
    return ModelCards(catalog, tmp_path / "cache")


def stems(found: tuple[Card, ...]) -> str:
    return " ".join(card.record.stem for card in found)


def one(cards: ModelCards, search: str = "b.safetensors") -> Card:
    (found,) = cards.find("lora", Wanted(search))
    return found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), "a b C"),
        (Wanted(sort="modified"), "C a b"),
        (Wanted(sort="modified", is_reversed=True), "b a C"),
        (Wanted(sort="path"), "b C a"),
        (Wanted(folder="style"), "a C"),
        (Wanted(folder="sty"), ""),
        (Wanted("INK girl"), "b"),
        (Wanted("old/"), "a"),
        (Wanted("brush"), "b"),
        (Wanted("nothing of that kind"), ""),
    ],
)
def test_cards_when_wanted_are_found_in_order(
    cards: ModelCards, wanted: Wanted, found: str
) -> None:
    assert stems(cards.find("lora", wanted)) == found


def test_cards_when_searched_by_hash_are_found(
    cards: ModelCards, catalog: Catalog, folder: Path
) -> None:
    digest = "ab12" * 16
    lora(folder / "hashed.safetensors", sshs_model_hash=digest)
    catalog.refresh()
    wait_until(lambda: not catalog.is_busy())

    assert stems(cards.find("lora", Wanted(digest[:12]))) == "hashed"


def test_folders_when_listed_count_what_lies_below(cards: ModelCards) -> None:
    assert cards.folders("lora") == [("style", 2), ("style/old", 1)]


def test_cards_when_files_come_and_go_follow_after_a_refresh(
    cards: ModelCards, catalog: Catalog, folder: Path
) -> None:
    gone = one(cards)
    gone.record.path.unlink()
    lora(folder / "new.safetensors")
    catalog.refresh()

    assert stems(cards.find("lora", Wanted())) == "a C new"
    with pytest.raises(CheckpointNotFoundError):
        cards.get(gone.id)
    assert cards.get(one(cards, "new").id).record.stem == "new"


def test_cards_when_folders_are_looked_at_again_are_made_anew_only_where_something_changed(
    cards: ModelCards, catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {card.record.stem: card for card in cards.find("lora", Wanted())}
    made: list[str] = []
    read_notes = model_cards.read_notes

    def remember(record: Record, there: Beside) -> Notes:
        made.append(record.stem)
        return read_notes(record, there)

    monkeypatch.setattr(model_cards, "read_notes", remember)
    catalog.refresh()
    assert {card.record.stem: card for card in cards.find("lora", Wanted())} == before
    assert made == []
    (folder / "b.txt").write_text("Of bamboo.")
    (folder / "style" / "C.webp").write_bytes(b"x")
    catalog.refresh()
    assert stems(cards.find("lora", Wanted("bamboo"))) == "b" and sorted(made) == ["C", "b"]
    (folder / "b.txt").unlink()
    catalog.refresh()
    assert cards.find("lora", Wanted("bamboo")) == ()


def test_ids_when_seen_tell_no_path_and_stay(cards: ModelCards, catalog: Catalog) -> None:
    card = one(cards)
    again = ModelCards(catalog, Path("elsewhere"))

    assert len(card.id) == 20 and card.id.isalnum()
    assert again.get(card.id).record == card.record, "without having been listed before"


def test_words_when_written_name_that_file_alone(
    cards: ModelCards, catalog: Catalog, folder: Path
) -> None:
    lora(folder / "z" / "b.safetensors", ss_output_name="none")
    catalog.refresh()
    wait_until(lambda: not catalog.is_busy())
    words = {c.record.name: cards.words(c)[0] for c in cards.find("lora", Wanted())}

    assert words == {
        "style/C.safetensors": "C", "style/old/a.safetensors": "a", "b.safetensors": "Brush",
        "z/b.safetensors": "b",
    }  # fmt: skip
    for card in cards.find("lora", Wanted()):
        for preferred in ("Alias from file", "Filename"):
            for word in cards.words(card, preferred):
                assert catalog.find_lora(word).path == card.record.path
    names = cards.words(one(cards, "Brush"), "Filename")
    assert names == ["b.safetensors", "Brush"], "b means another file"


@pytest.mark.parametrize(
    "stem", ["na:me 1", "key=value", "ink #2", "a>b", "<i>", "two\nlines", "{a|b}", "a__b__c"]
)
def test_words_when_a_tag_cannot_hold_a_name_are_ones_that_it_can(
    cards: ModelCards, catalog: Catalog, folder: Path, stem: str
) -> None:
    for place in ("x", "y"):
        lora(folder / place / f"{stem}.safetensors")
    lora(folder / "z" / f"{stem} once.safetensors")
    hypernetwork = folder.parent / "hypernetworks" / f"{stem}.pt"
    hypernetwork.parent.mkdir()
    hypernetwork.write_bytes(b"x")
    catalog.refresh()
    wait_until(lambda: not catalog.is_busy())

    for card in (c for c in cards.find("lora", Wanted()) if stem in c.record.stem):
        for word in cards.words(card):
            assert not is_template(word)
            _, (mention,) = cut_networks(cut_comments(f"a <lora:{word}:0.5> b"))
            assert mention.positional == (word, "0.5")
            assert catalog.find_lora(word).path == card.record.path
    (card,) = cards.find("hypernetwork", Wanted())
    assert catalog.find("hypernetwork", cards.words(card)[0]).path == hypernetwork


def test_fit_when_families_differ_says_both(cards: ModelCards) -> None:
    card = one(cards)
    sdxl = Record("checkpoint", "x", Path("x"), 1, 1, family="sdxl")

    assert cards.fit(card, sdxl).is_fitting is False
    assert (cards.fit(card, sdxl).made_for, cards.fit(card, sdxl).chosen) == ("SD1", "SDXL")
    for fitting in (Record("checkpoint", "x", Path("x"), 1, 1, family=f) for f in ("sd1", "")):
        assert cards.fit(card, fitting).is_fitting
    assert cards.fit(card, None).is_fitting


def test_hypernetworks_when_for_another_text_do_not_fit(
    cards: ModelCards, catalog: Catalog, folder: Path
) -> None:
    import torch

    path = folder.parent / "hypernetworks" / "oil.pt"
    path.parent.mkdir()
    torch.save({2048: ({"linear.0.weight": torch.zeros(2, 2)},) * 2}, path)
    catalog.refresh()
    wait_until(lambda: not catalog.is_busy())
    (card,) = cards.find("hypernetwork", Wanted())
    fits = [
        cards.fit(card, Record("checkpoint", "x", Path("x"), 1, 1, family=family)).is_fitting
        for family in ("sdxl", "sd1")
    ]

    assert card.badge == "SDXL" and fits == [True, False]


def test_family_when_noted_wins_over_the_file(cards: ModelCards) -> None:
    changed = cards.note(one(cards), {"sd_version": "SDXL"})

    assert (changed.badge, changed.record.family) == ("SDXL", "sd1")


def test_embeddings_when_for_another_width_do_not_fit(
    cards: ModelCards, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = {"emb_params": {"dtype": "F32", "shape": [2, 1024], "data_offsets": [0, 8192]}}
    write_raw(tmp_path / "models" / "embeddings" / "easy.safetensors", tensors, b"\0" * 8192)
    catalog.refresh()
    wait_until(lambda: not catalog.is_busy())
    (card,) = cards.find("embedding", Wanted())
    chosen = Record("checkpoint", "x", Path("x"), 1, 1, family="sd1")
    monkeypatch.setattr(catalog, "text_width", lambda record: 768)

    assert catalog.embedding_facts(card.record) == EmbeddingFacts("easy", 2, 1024)
    assert (cards.words(card), card.badge) == (["easy"], "SD2")
    assert not cards.fit(card, chosen).is_fitting
    monkeypatch.setattr(catalog, "text_width", lambda record: 1024)
    assert cards.fit(card, chosen).is_fitting


def test_thumb_when_asked_is_small_and_kept_until_the_picture_changes(
    cards: ModelCards, tmp_path: Path, folder: Path, catalog: Catalog
) -> None:
    assert cards.thumb(one(cards)) is None
    (folder / "b.jpg").write_bytes(picture("red", "JPEG"))
    catalog.refresh()
    red = cards.thumb(one(cards))
    (folder / "b.jpg").unlink()

    assert mean_colour(red) == (256, 0, 0) and cards.thumb(one(cards)) == red, "the copy is kept"
    changed = cards.picture(one(cards), Image.new("RGB", (640, 960), "blue"))
    assert mean_colour(cards.thumb(changed)) == (0, 0, 256)
    assert len(list((tmp_path / "cache").rglob("*.webp"))) == 1
    assert (folder / "b.preview.png").read_bytes().startswith(b"\x89PNG")


def test_thumbs_when_many_are_asked_for_are_made_a_few_at_a_time(
    cards: ModelCards, catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        lora(folder / f"p{number:02d}.safetensors").with_suffix(".png").write_bytes(picture("red"))
    catalog.refresh()
    small, lock, now, most = model_cards._small, threading.Lock(), [0], [0]

    def count(source: str | bytes) -> bytes:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        data = small(source)
        with lock:
            now[0] -= 1
        return data

    monkeypatch.setattr(model_cards, "_small", count)
    with ThreadPoolExecutor(12) as browsers:
        made = list(browsers.map(cards.thumb, cards.find("lora", Wanted("p"))))

    assert all(made) and len(made) == 12 and most[0] == model_cards.MADE_AT_ONCE


def test_thumb_when_only_the_metadata_holds_a_picture_is_that(
    cards: ModelCards, catalog: Catalog, folder: Path
) -> None:
    held = "data:image/png;base64," + base64.b64encode(picture("lime")).decode()
    lora(folder / "t.safetensors", **{"modelspec.thumbnail": held})
    lora(folder / "u.safetensors", **{"modelspec.thumbnail": "data:image/svg+xml;base64,PHN2Zz4="})
    catalog.refresh()
    wait_until(lambda: not catalog.is_busy())

    assert mean_colour(cards.thumb(one(cards, "t.safe"))) == (0, 256, 0)
    assert cards.has_picture(one(cards, "u.safe")) and cards.thumb(one(cards, "u.safe")) is None


def test_pictures_when_they_cannot_be_read_are_tried_once(
    cards: ModelCards, catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "b.preview.png").write_bytes(b"<svg onload=alert(1)>")
    catalog.refresh()
    card = one(cards)
    assert cards.has_picture(card) and cards.thumb(card) is None
    with monkeypatch.context() as patch:
        patch.setattr(model_cards, "_small", None)
        assert not cards.has_picture(card) and cards.thumb(card) is None
    (folder / "b.preview.png").write_bytes(picture("red"))
    catalog.refresh()

    assert cards.has_picture(one(cards)) and mean_colour(cards.thumb(one(cards))) == (256, 0, 0)


@pytest.mark.parametrize(
    ("description", "note"),
    [
        ("<p>So<b>ft</b> &amp; wet</p><script>x()</script><ul><li>ink</li></ul>", "Soft & wet ink"),
        ("a < b, <lora:x:1>\nand more", "a < b, <lora:x:1> and more"),
        ("<p>a <b>nice</b> one, cut <b", "a nice one, cut <b"),
    ],
)
def test_note_when_a_site_wrote_html_is_plain(
    cards: ModelCards, description: str, note: str
) -> None:
    assert cards.note(one(cards), {"description": description}).note == note


def test_notes_when_saved_are_found_and_shown(cards: ModelCards) -> None:
    card = cards.note(one(cards), {"activation": "Bamboo", "weight": 0.6, "notes": "for skies"})

    assert (card.trigger, card.notes.weight) == ("Bamboo", 0.6)
    assert one(cards, "bamboo skies").id == card.id


def test_notes_when_many_write_at_once_are_all_kept(
    cards: ModelCards, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_notes, is_free = model_cards.write_notes, threading.Lock()

    def write_slowly(record: Record, changes: Mapping[str, str | float]) -> None:
        assert is_free.acquire(blocking=False), "another one reads or writes the same file"
        time.sleep(0.01)
        write_notes(record, changes)
        is_free.release()

    monkeypatch.setattr(model_cards, "write_notes", write_slowly)
    card = one(cards)
    with ThreadPoolExecutor(3) as people:
        list(people.map(lambda key: cards.note(card, {key: key}), ("notes", "activation")))

    noted = json.loads((folder / "b.json").read_text())
    assert noted == {"notes": "notes", "activation text": "activation"}


def test_notes_when_the_folder_is_read_only_say_so(
    cards: ModelCards, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(CheckpointError, match=r"b\.json cannot be written: Permission denied"):
        cards.note(one(cards), {"notes": "x"})


@pytest.mark.parametrize(
    ("roots", "names"),
    [
        (["/a/models/Lora"], [""]),
        (["/a/models/Lora", "/a/models/LyCORIS"], ["Lora", "LyCORIS"]),
        (["/a/main/models/Lora", "/b/webui/models/Lora"], ["main", "webui"]),
        (["/b/Comfy/models/loras", "/b/webui/models/Lora"], ["loras", "Lora"]),
        (
            ["/b/webui/models/Lora", "/b/webui/models/LyCORIS", "/c/models/Lora"],
            ["webui · Lora", "webui · LyCORIS", "c · Lora"],
        ),
        (
            ["/a/x/models/Lora", "/b/x/models/Lora"],
            ["a › x › models › Lora", "b › x › models › Lora"],
        ),
    ],
)
def test_roots_when_several_are_told_apart(roots: list[str], names: list[str]) -> None:
    assert [root_names(roots)[root] for root in roots] == names
