"""The gallery of a studio: what was painted, added folders, history, trash, logins."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.library.gallery_files import painted
from tests.patience import wait_until
from tests.ui.serve import FAKE_WORKER
from webui.errors import LibraryError, ParamsError
from webui.params import ImageToImage, TextToImage
from webui.services.follow_ups import enlarge, parent_of, vary
from webui.services.gallery.history import compare, difference
from webui.services.resolve import TextToImageRequest
from webui.settings import read_settings
from webui.studio import Studio


def paint(studio: Studio, request: Any, client: str = "me") -> list[Any]:
    """Paint with the fake model process; the pictures as the gallery lists them."""
    job = studio.wait(studio.submit(request, client=client).id, 60)
    assert job.state == "done"
    studio.gallery.watch.catch_up()
    found = studio.gallery.pictures.find(sort="old").pictures
    return [picture for picture in found if picture.job == job.id]


def wish(prompt: str = "a hill", **values: Any) -> TextToImageRequest:
    return TextToImageRequest(prompt=prompt, width=64, height=64, steps=1, seed=5, **values)


@pytest.fixture
def running(studio: Studio) -> Studio:
    studio.supervisor.start()
    return studio


def ids(studio: Studio, text: str = "", **wanted: Any) -> set[int]:
    return set(studio.gallery.pictures.ids(text, **wanted).tolist())


def test_gallery_when_pictures_are_painted_then_knows_their_history(running: Studio) -> None:
    first, second = paint(running, wish(batch_count=2, grid=False, user="ann"))
    saved = running.library.get(second.image)
    (varied,) = paint(running, vary(parent_of(running, saved), 0.4, user="ann"))
    grown = enlarge(parent_of(running, running.library.get(varied.image)), user="ann")
    # the fake model process would paint the same file once more
    (large,) = paint(running, grown.model_copy(update={"prompt": "a larger hill"}))
    assert (first.kind, varied.kind, large.kind) == ("txt2img", "img2img", "upscale")
    deeds = running.gallery.deeds
    told = deeds.everything(large.id, "ann")["history"]
    assert [(one["id"], one["parent"]) for one in told] == [
        (second.id, None), (varied.id, second.id), (large.id, varied.id),
    ]  # fmt: skip
    assert ids(running, "hill kind:upscale", user="ann") == {large.id}
    assert ids(running, user="bob") == set() and len(ids(running)) == 4
    with pytest.raises(LibraryError):
        deeds.everything(large.id, "bob")
    with pytest.raises(LibraryError):
        deeds.do("trash", {"ids": [large.id]}, "bob")
    assert large.path.exists()

    again = running.gallery.paint_again(second.id, "ann")
    assert isinstance(again, TextToImage) and (again.seed, again.image_count) == (6, 1)
    (same,) = paint(running, again)
    assert same.path.read_bytes() == second.path.read_bytes() and same.id != second.id
    told = deeds.everything(same.id, "ann")
    assert told["replay"]["level"] in ("exact", "close") and told["same"] == []
    of_picture = running.gallery.paint_again(varied.id, "ann")
    assert isinstance(of_picture, ImageToImage) and of_picture.seed == int(varied.seed)

    def why(picture: Any) -> list[str]:
        return [one["key"] for one in deeds.everything(picture.id, "ann")["replay"]["reasons"]]

    assert "lacks_picture" not in why(varied)
    running.inputs.path(of_picture.init_images[0]).unlink()
    assert why(varied)[0] == "lacks_picture" and "lacks_picture" not in why(second)


def test_gallery_when_index_and_jobs_are_gone_then_stars_boards_and_owners_stay(
    running: Studio, tmp_path: Path
) -> None:
    (picture,) = paint(running, wish(user="ann"))
    folder = tmp_path / "other program"
    painted(folder / "old.png", "an old tower")
    deeds = running.gallery.deeds
    deeds.do("add-folder", {"folder": str(folder)}, "")
    running.gallery.watch.look_now()
    (old,) = ids(running, "tower")
    deeds.do("star", {"ids": [old, picture.id], "stars": 4}, "ann")
    deeds.do("make-board", {"name": "夜 景", "ids": [old]}, "ann")
    data = running.settings.folders.data
    running.stop()

    for path in (data / "data").glob("*.sqlite3*"):
        path.write_bytes(b"nothing but noise") if path.name == "gallery.sqlite3" else path.unlink()
    settings = read_settings(["--data-dir", str(data)], environ={})
    anew = Studio(settings, worker_command=FAKE_WORKER)
    try:
        anew.gallery.watch.catch_up()
        anew.gallery.watch.look_now()
        assert len(ids(anew, "stars:4", user="ann")) == 2
        (again,) = ids(anew, 'board:"夜 景"', user="ann")
        assert anew.gallery.pictures.get(again).path.name == "old.png"
        assert ids(anew, user="bob") == {again}, "the owner's picture is still the owner's alone"
    finally:
        anew.stop()


@pytest.fixture
def wall(studio: Studio, tmp_path: Path) -> Studio:
    for number in range(6):
        painted(tmp_path / "wall" / f"{number}.png", f"picture {number}", Seed=number)
    studio.gallery.deeds.do("add-folder", {"folder": str(tmp_path / "wall")}, "")
    studio.gallery.watch.catch_up()
    studio.gallery.watch.look_now()
    return studio


def test_trash_when_two_browsers_press_at_once_then_each_file_moves_once(wall: Studio) -> None:
    chosen, told = sorted(ids(wall))[:4], []
    deeds = wall.gallery.deeds

    def press() -> None:
        told.append(deeds.do("trash", {"ids": chosen}, ""))

    threads = [threading.Thread(target=press) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids(wall, place="trash") == set(chosen) and len(ids(wall)) == 2
    assert [answer["problems"] for answer in told] == [[], []]
    assert deeds.do("restore", {"ids": chosen}, "")["problems"] == []
    assert len(ids(wall)) == 6 and wall.gallery.watch.look_now().new == 0
    one = wall.gallery.pictures.get(chosen[0])
    assert deeds.do("trash", {"ids": [one.id]}, "")["problems"] == []
    kept = wall.gallery.pictures.get(one.id).path
    assert deeds.do("purge", {"ids": [one.id]}, "")["problems"] == []
    assert not kept.exists() and len(ids(wall)) == 5 and not ids(wall, place="trash")
    assert deeds.do("purge", {"ids": chosen[1:2]}, "")["problems"] == [], "only of the trash"
    assert wall.gallery.pictures.get(chosen[1]).path.exists()


def test_trash_when_the_disk_is_full_then_all_files_go_before_the_index_is_written(
    wall: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds, pictures = wall.gallery.deeds, wall.gallery.pictures
    chosen = sorted(ids(wall))[:3]
    assert deeds.do("trash", {"ids": chosen}, "")["problems"] == []
    files = [pictures.get(number).path for number in chosen]
    forget = pictures._store.forget

    def needs_room(numbers: list[int]) -> None:
        if any(file.exists() for file in files):
            raise LibraryError("The disk is full.")
        forget(numbers)

    monkeypatch.setattr(pictures._store, "forget", needs_room)
    assert deeds.do("purge", {"ids": chosen}, "")["problems"] == []
    assert ids(wall, place="trash") == set() and len(ids(wall)) == 3


def test_pictures_when_deleted_under_us_then_it_is_said_and_the_rest_goes_on(
    wall: Studio,
) -> None:
    gone, *others = sorted(ids(wall))
    deeds = wall.gallery.deeds
    wall.gallery.pictures.get(gone).path.unlink()
    with pytest.raises(LibraryError, match="moved or deleted"):
        deeds.picture(gone, "")
    with pytest.raises(LibraryError):
        deeds.thumb(gone, "")
    token = deeds.do("zip", {"ids": [gone, *others]}, "")["zip"]
    with zipfile.ZipFile(deeds.zip_file(token, "")) as archive:
        assert len(archive.namelist()) == 6 and "missing.txt" in archive.namelist()
    with pytest.raises(LibraryError):
        deeds.zip_file(token, "bob")
    told = deeds.do("trash", {"ids": [gone, others[0]]}, "")
    assert len(told["problems"]) == 1 and ids(wall, place="trash") == {others[0]}
    assert wall.gallery.watch.look_now().gone == 1


def test_boards_when_used_then_hold_pictures_and_names_are_told_apart(wall: Studio) -> None:
    deeds, (a, b, *_) = wall.gallery.deeds, sorted(ids(wall))
    board = deeds.do("make-board", {"name": " sea  side "}, "ann")["board"]
    assert deeds.do("make-board", {"name": "sea side"}, "ann")["board"] == board
    deeds.do("put-on-board", {"ids": [a, b], "board": board}, "ann")
    deeds.do("put-on-board", {"ids": [b], "board": board, "on": False}, "ann")
    place = f"board:{board}"
    assert ids(wall, place=place, user="ann") == {a}
    assert [one["name"] for one in deeds.places("ann")["boards"]] == ["sea side"]
    assert deeds.places("bob")["boards"] == []
    with pytest.raises(ParamsError, match="no board"):
        ids(wall, place=place, user="bob")
    deeds.do("rename-board", {"board": board, "name": "coast"}, "ann")
    for body in ({"board": board, "name": "  "}, {"board": 99, "name": "x"}):
        with pytest.raises(ParamsError):
            deeds.do("rename-board", body, "ann")
    deeds.do("delete-board", {"board": board}, "ann")
    assert deeds.places("ann")["boards"] == [] and len(ids(wall)) == 6


def test_folders_when_unfit_then_are_refused_and_when_removed_files_stay(
    wall: Studio, tmp_path: Path
) -> None:
    deeds = wall.gallery.deeds
    for folder in ("", str(tmp_path / "nowhere"), "/", str(wall.settings.folders.data)):
        with pytest.raises(ParamsError):
            deeds.do("add-folder", {"folder": folder}, "")
    places = deeds.places("")
    assert places["sources"] == [str(tmp_path / "wall")] and places["all"] == 6
    wall.gallery.watch.may_add = False
    with pytest.raises(ParamsError, match="no other machine"):
        deeds.do("add-folder", {"folder": str(tmp_path)}, "")
    deeds.do("remove-folder", {"folder": str(tmp_path / "wall")}, "")
    assert not ids(wall) and len(list((tmp_path / "wall").glob("*.png"))) == 6


def test_folder_when_it_comes_back_then_stars_and_boards_do_too(
    wall: Studio, tmp_path: Path
) -> None:
    deeds, folder = wall.gallery.deeds, {"folder": str(tmp_path / "wall")}
    a, b, c, *_ = sorted(ids(wall))
    names = {n: wall.gallery.pictures.get(n).path.name for n in (a, b, c)}
    deeds.do("star", {"ids": [a, c], "stars": 3}, "")
    deeds.do("make-board", {"name": "coast", "ids": [b]}, "")

    def found(text: str) -> list[str]:
        return [wall.gallery.pictures.get(n).path.name for n in sorted(ids(wall, text))]

    def away_and_back() -> None:
        deeds.do("remove-folder", folder, "")
        assert not ids(wall)
        deeds.do("add-folder", folder, "")
        wall.gallery.watch.look_now()

    away_and_back()
    assert found("stars:3") == [names[a], names[c]] and found("board:coast") == [names[b]]
    deeds.do("star", {"ids": sorted(ids(wall, "stars:3"))[:1], "stars": 0}, "")
    away_and_back()
    assert found("stars:3") == [names[c]], "what was taken away does not come back"


def test_look_when_asked_for_then_goes_on_in_the_background_and_can_be_stopped(
    studio: Studio, tmp_path: Path
) -> None:
    for number in range(400):
        painted(tmp_path / "many" / f"{number}.png", f"{number}", size=(8, 8))
    studio.gallery.watch.start()
    studio.gallery.deeds.do("add-folder", {"folder": str(tmp_path / "many")}, "")
    wait_until(lambda: len(ids(studio)) > 0, "nothing was found")
    assert studio.gallery.deeds.find("", text="kind:txt2img")["pictures"], "the page is answered"
    studio.gallery.watch.interrupt()
    wait_until(lambda: not studio.gallery.watch.is_looking, "it did not stop")
    studio.gallery.deeds.do("look", {}, "")
    wait_until(lambda: len(ids(studio)) == 400, "the rest was not found")


def test_find_when_asked_in_parts_then_gives_each_once(wall: Studio) -> None:
    deeds = wall.gallery.deeds
    parts = [deeds.find("", start=start, count=4) for start in (0, 4, 8)]
    assert [len(part["pictures"]) for part in parts] == [4, 2, 0]
    assert {one["id"] for part in parts for one in part["pictures"]} == ids(wall)
    before = parts[0]["generation"]
    assert deeds.do("star", {"ids": [], "stars": 1}, "")["generation"] > before
    for bad in ({"place": "moon"}, {"sort": "colour"}, {"text": "stars:x"}):
        with pytest.raises(ParamsError):
            deeds.find("", **bad)
    with pytest.raises(ParamsError):
        deeds.do("star", {"ids": "all"}, "")


def test_recipes_when_compared_then_differences_come_first() -> None:
    line = "Steps: {}, Sampler: Euler, Seed: 1, Size: 512x768"
    told = compare(f"a cat, grey\n{line.format(20)}", f"a cat, black, wet\n{line.format(30)}")
    assert (
        told["rows"][0] == ("Steps", "20", "30") and ("Size", "512x768", "512x768") in told["rows"]
    )
    assert [what for what, _ in told["prompt"]] == ["=", "-", "+"]


def test_difference_when_only_the_comma_differs_then_is_none() -> None:
    assert difference("a, b", "a, b, c") == [("=", "a, b"), ("+", " c")]
    assert difference("x", "x") == [("=", "x")]


def test_stars_when_a_new_index_cannot_take_them_are_taken_the_next_time(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, watch = studio.gallery.watch._store, studio.gallery.watch
    store.is_new = True
    with monkeypatch.context() as full:

        def remember(_: Any) -> None:
            raise LibraryError("The disk is full.")

        full.setattr(store, "remember", remember)
        with pytest.raises(LibraryError):
            watch.catch_up()
    assert store.is_new
    watch.catch_up()
    assert not store.is_new
