"""The gallery's index follows the files: new, moved, changed, gone, back; and survives damage."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from tests.library.gallery_files import infotext, look, names, painted
from tests.patience import PATIENCE
from webui.errors import LibraryError
from webui.library.gallery import thumbs, trash
from webui.library.gallery.marks import Journal, Lasting
from webui.library.gallery.recipes import mark_of_file, read_picture
from webui.library.gallery.rows import GONE, TRASHED
from webui.library.gallery.store import GalleryStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[GalleryStore]:
    store = GalleryStore(tmp_path / "data" / "index.sqlite3")
    yield store
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs"
    for name in "abc":
        painted(folder / "2026-11-22" / f"{name}.png", f"picture {name}")
    return folder


def test_look_when_again_then_reads_nothing_twice(store: GalleryStore, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("no picture")
    first, second = look(store, folder), look(store, folder)
    assert (first.new, first.bad, first.is_whole) == (3, 1, True)
    assert (second.new, second.changed, second.files) == (0, 0, 4)


def test_look_when_files_move_then_stars_and_boards_go_along(
    store: GalleryStore, folder: Path
) -> None:
    look(store, folder)
    (picture,) = store.where("path LIKE '%a.png'")
    store.update([picture.id], stars=4)
    goal = folder / "best of" / "renamed.png"
    goal.parent.mkdir()
    picture.path.rename(goal)
    found = look(store, folder)
    assert (found.moved, found.new, found.gone) == (1, 0, 0)
    assert found.moves == [(picture.path, goal, folder)]
    again = store.get(picture.id)
    assert again and (again.path, again.stars) == (goal, 4)
    assert names(store, "folder:best") == ["renamed.png"]


def test_look_when_a_file_is_copied_then_both_are_listed(store: GalleryStore, folder: Path) -> None:
    look(store, folder)
    a = folder / "2026-11-22" / "a.png"
    (folder / "copy.png").write_bytes(a.read_bytes())
    assert look(store, folder).new == 1
    assert names(store, "picture a") == ["a.png", "copy.png"]


def test_look_when_a_file_changes_then_it_is_found_by_its_new_words(
    store: GalleryStore, folder: Path
) -> None:
    look(store, folder)
    (before,) = store.where("path LIKE '%a.png'")
    store.update([before.id], stars=2)
    painted(before.path, "quite another", size=(64, 64))
    assert look(store, folder).changed == 1
    assert names(store, "another") == ["a.png"] and names(store, "picture a") == []
    again = store.get(before.id)
    assert again and (again.height, again.stars) == (64, 2)


def test_look_when_files_are_gone_then_they_are_kept_for_their_return(
    store: GalleryStore, folder: Path
) -> None:
    look(store, folder)
    a = folder / "2026-11-22" / "a.png"
    data, stat = a.read_bytes(), a.stat()
    a.unlink()
    assert look(store, folder).gone == 1
    assert names(store) == ["b.png", "c.png"] and names(store, state=GONE) == ["a.png"]
    a.write_bytes(data)
    os.utime(a, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert look(store, folder).back == 1
    assert names(store) == ["a.png", "b.png", "c.png"]


def test_look_when_a_disk_is_not_there_then_nothing_counts_as_gone(
    store: GalleryStore, folder: Path
) -> None:
    look(store, folder)
    folder.rename(folder.with_name("elsewhere"))
    assert look(store, folder).gone == 0 and len(names(store)) == 3


def test_look_when_interrupted_then_goes_on_the_next_time(
    store: GalleryStore, folder: Path
) -> None:
    for number in range(100):
        painted(folder / f"{number // 50}" / f"{number}.png", f"more {number}", size=(8, 8))
    first = look(store, folder, steps=3)
    assert 0 < first.new < 103 and not first.is_whole
    second = look(store, folder)
    assert first.new + second.new == 103 and second.is_whole


def test_trash_when_restored_then_the_file_is_where_it_was_or_beside(folder: Path) -> None:
    a = folder / "2026-11-22" / "a.png"
    a.with_suffix(".txt").write_text("recipe")
    data = a.read_bytes()
    kept = trash.move_to_trash(a, folder)
    assert not a.exists() and not a.with_suffix(".txt").exists()
    assert trash.home_of(kept, folder) == a
    painted(a, "somebody was faster")
    back = trash.move_back(kept, a, folder)
    assert back.name == "a-1.png" and back.read_bytes() == data
    assert back.with_suffix(".txt").read_text() == "recipe"


def test_trash_when_asked_for_foreign_files_then_refuses(folder: Path, tmp_path: Path) -> None:
    foreign = painted(tmp_path / "private" / "x.png", "x")
    (folder / "link.png").symlink_to(foreign)
    for path in (foreign, folder / "link.png"):
        with pytest.raises(LibraryError, match="outside"):
            trash.move_to_trash(path, folder)
    with pytest.raises(LibraryError, match="not in the trash"):
        trash.delete_for_good(folder / "2026-11-22" / "a.png", folder)
    assert foreign.exists()


def test_index_when_made_anew_then_the_trash_is_known_as_trash(
    store: GalleryStore, folder: Path
) -> None:
    a = folder / "2026-11-22" / "a.png"
    trash.move_to_trash(a, folder)
    look(store, folder)
    (picture,) = store.where("state = ?", (TRASHED,))
    assert picture.home == a and names(store) == ["b.png", "c.png"]


def test_index_when_damaged_while_open_then_begins_anew(store: GalleryStore, folder: Path) -> None:
    look(store, folder)
    store._db._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(store.path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    store.path.write_bytes(bytes(data))
    store._db.close()
    store._db = type(store._db)(store.path, LibraryError)
    with pytest.raises(LibraryError, match="made anew"):
        store.search("picture")
    assert store.put_aside and store.put_aside.exists() and names(store) == []
    assert look(store, folder).new == 3 and names(store, "picture a") == ["a.png"]


@pytest.mark.parametrize("content", [b"no database at all " * 500, b""])
def test_index_when_the_file_is_no_database_then_a_new_one_is_made(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "index.sqlite3"
    path.write_bytes(content)
    store = GalleryStore(path)
    assert names(store) == [] and bool(store.put_aside) == bool(content)
    store.close()


def test_index_when_a_newer_version_wrote_it_then_it_is_put_aside_whole(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite3"
    GalleryStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO migrations VALUES ('gallery 99', 0)")
    db.close()
    store = GalleryStore(path)
    assert store.put_aside and "newer" in store.put_aside.name
    with sqlite3.connect(store.put_aside) as kept:
        assert kept.execute("SELECT 1 FROM migrations WHERE name = 'gallery 99'").fetchone()
    kept.close()
    store.close()


def test_journal_when_lines_are_damaged_then_the_others_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "marks.jsonl")
    kept = Lasting(5, "ann", "p" * 32, (("", "夜景"),))
    journal.add([("m1", Lasting(1)), ("m2", kept)])
    journal.add([("m1", Lasting(3))])
    with open(tmp_path / "marks.jsonl", "ab") as file:
        file.write(b'{"mark": "m3"}\n\xff\xfe\n{"mark": "m2", "stars"')
    assert journal.read() == {"m1": Lasting(3), "m2": kept}


def test_journal_when_much_is_replaced_then_it_is_written_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "marks.jsonl")
    journal.add([("m1", Lasting(n % 6)) for n in range(1200)] + [("m1", Lasting(2))])
    journal.shorten()
    assert len((tmp_path / "marks.jsonl").read_text().splitlines()) == 1
    assert journal.read() == {"m1": Lasting(2)}


def test_mark_when_the_file_moves_stays_and_when_its_end_changes_differs(tmp_path: Path) -> None:
    a = painted(tmp_path / "a.png", "a", size=(300, 300))
    mark = mark_of_file(a)
    b = a.rename(tmp_path / "b.png")
    assert mark_of_file(b) == mark
    data = bytearray(b.read_bytes())
    data[-20] ^= 1
    b.write_bytes(bytes(data))
    assert mark_of_file(b) != mark


def test_recipes_when_other_programs_wrote_them_then_are_read(tmp_path: Path) -> None:
    graph = {
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 7, "steps": 12, "cfg": 6.5, "sampler_name": "euler", "scheduler": "normal",
            "denoise": 1, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0],
            "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "night.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {
            "width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a comfy chair",
                                                        "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "rain", "clip": ["4", 1]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    }  # fmt: skip
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", json.dumps(graph))
    path = tmp_path / "ComfyUI_00001_.png"
    Image.new("RGB", (64, 64)).save(path, pnginfo=info)
    recipe = read_picture(path).recipe
    assert (recipe.prompt, recipe.negative_prompt, recipe.steps) == ("a comfy chair", "rain", 12)
    assert (recipe.sampler, recipe.seed, recipe.model) == ("Euler", "7", "night")


def test_kind_when_a_recipe_tells_it_is_known(tmp_path: Path) -> None:
    strength = {"Denoising strength": 0.5}
    for number, (pairs, kind) in enumerate(
        (
            ({}, "txt2img"),
            ({**strength, "Hires upscale": 2}, "txt2img"),
            ({**strength, "Hires resize": "128x96"}, "txt2img"),
            ({**strength, "First pass size": "0x0"}, "txt2img"),
            (strength, "img2img"),
            ({**strength, "Mask blur": 4}, "inpaint"),
            ({**strength, "SD upscale overlap": 64}, "upscale"),
            ({"Postprocess upscale by": 4}, "upscale"),
        )
    ):
        path = painted(tmp_path / f"{number}.png", "a hill", **pairs)  # type: ignore[arg-type]
        assert read_picture(path).recipe.kind == kind, pairs


def test_recipes_when_a_text_stands_behind_the_pixels_then_no_pixel_is_decoded(
    tmp_path: Path,
) -> None:
    image = Image.new("RGB", (32, 32))
    image.save(tmp_path / "plain.png")
    data = (tmp_path / "plain.png").read_bytes()
    end = data.index(b"IEND") - 4
    text = b"parameters\0" + infotext("behind").encode("latin-1")
    chunk = len(text).to_bytes(4, "big") + b"tEXt" + text + b"\0\0\0\0"
    pixels = data.index(b"IDAT") + 4
    no_pixels = data[:pixels] + bytes(end - pixels - 4) + data[end - 4 : end]
    path = tmp_path / "late.png"
    path.write_bytes(no_pixels + chunk + data[end:])
    assert read_picture(path).recipe.prompt == "behind"


def test_small_copy_when_two_want_it_at_once_is_written_by_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, at_work, most = threading.Barrier(2, timeout=PATIENCE), [], []

    def made(_: Path) -> bytes:
        both.wait()
        return b"small"

    def write(path: Path, data: bytes) -> None:
        at_work.append(path)
        most.append(len(at_work))
        time.sleep(0.02)
        at_work.pop()

    monkeypatch.setattr(thumbs, "small", made)
    monkeypatch.setattr(thumbs, "write_whole", write)
    kept = thumbs.Thumbs(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(kept.of, ["m", "m"], [tmp_path, tmp_path])) == [b"small"] * 2
    assert most == [1, 1]
