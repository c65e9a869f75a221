"""Sets of photographs in the data folder: names, copies, words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.pictures import picture
from webui.errors import ParamsError
from webui.services.training.sets import TrainingSets, clean_name, words_of_name


def _set(tmp_path: Path) -> TrainingSets:
    sets = TrainingSets(tmp_path / "sets")
    sets.make("me")
    files = [picture(tmp_path / f"{n}.png", caption=c) for n, c in (("a", "me, smile"), ("b", ""))]
    sets.add("me", [*files, tmp_path / "a.txt"])
    return sets


@pytest.mark.parametrize(
    ("text", "name"),
    [("小明 的照片", "小明 的照片"), ("../../etc", "etc"), ("a/b\\c:d", "a b c d"), ("...", ""),
     ("x" * 200, "x" * 80), ("  a\n b ", "a b"), ("@anna", "anna")],
)  # fmt: skip
def test_name_when_cleaned_then_leads_to_no_other_folder(text: str, name: str) -> None:
    assert clean_name(text) == name


@pytest.mark.parametrize("name", ["", "..", "../me", "me/", "other", "/etc"])
def test_set_when_named_wrongly_then_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParamsError, match=r"no set of pictures named .*There are: me"):
        _set(tmp_path).folder(name)


@pytest.mark.parametrize("file", ["../me/a.png", "c.png", ".."])
def test_picture_when_named_wrongly_then_refused(tmp_path: Path, file: str) -> None:
    with pytest.raises(ParamsError, match="has no picture"):
        _set(tmp_path).picture("me", file)


def test_adding_when_files_are_mixed_then_good_ones_are_copied_and_bad_ones_named(
    tmp_path: Path,
) -> None:
    sets = _set(tmp_path)
    own = picture(tmp_path / "new" / "a.PNG", colour=(1, 2, 3))
    (tmp_path / "broken.jpg").write_bytes(b"x")
    (tmp_path / "notes.pdf").write_bytes(b"x")
    told = sets.add("me", [own, tmp_path / "broken.jpg", tmp_path / "notes.pdf"])
    assert told.pictures == 1 and own.exists()
    assert told.bad[0].startswith('"broken.jpg" cannot be read as an image')
    assert told.bad[1] == '"notes.pdf" is no picture.'
    assert [p.path.name for p in sets.pictures("me")] == ["a 2.png", "a.png", "b.png"]
    assert [p.caption for p in sets.pictures("me")] == ["", "me, smile", ""]


def test_picture_when_its_name_is_long_then_can_still_be_named(tmp_path: Path) -> None:
    sets = _set(tmp_path)
    sets.add("me", [picture(tmp_path / f"{'长' * 70} {n}.png") for n in "ab"])
    sets.add("me", [tmp_path / f"{'长' * 70} a.png"])
    for found in sets.pictures("me"):
        assert sets.picture("me", found.path.name) == found.path


def test_words_when_they_come_later_then_go_to_the_picture_of_their_name(tmp_path: Path) -> None:
    sets = _set(tmp_path)
    (tmp_path / "b.txt").write_text("me, forest", encoding="utf-8")
    (tmp_path / "c.txt").write_text("nobody", encoding="utf-8")
    told = sets.add("me", [tmp_path / "b.txt", tmp_path / "c.txt"])
    assert (told.pictures, told.captions) == (0, 1)
    assert told.bad == ['"c.txt" belongs to no picture of this set.']
    assert [p.caption for p in sets.pictures("me")] == ["me, smile", "me, forest"]


def test_tags_when_changed_for_all_then_captions_are_written(tmp_path: Path) -> None:
    sets = _set(tmp_path)
    assert sets.change_tags("me", add="me", remove="smile") == 2
    assert [p.caption for p in sets.pictures("me")] == ["me", "me"]
    assert sets.change_tags("me", replace=("me", "xm, 1girl"), only=["a.png"]) == 1
    assert [p.caption for p in sets.pictures("me")] == ["xm, 1girl", "me"]
    assert sets.change_tags("me", add="me") == 1
    assert sets.write_captions("me", {"a.png": " two\nlines "}) == 1
    assert sets.pictures("me")[0].caption == "two lines"


def test_words_when_missing_then_come_from_file_names(tmp_path: Path) -> None:
    sets = _set(tmp_path)
    picture(tmp_path / "red_coat-street 03.png")
    sets.add("me", [tmp_path / "red_coat-street 03.png"])
    assert sets.caption_from_names("me", "xm") == 2
    assert [p.caption for p in sets.pictures("me")] == ["me, smile", "xm", "xm, red coat street"]


@pytest.mark.parametrize(
    ("stem", "words"),
    [("IMG_20250101_1234", "xm"), ("微信图片_2025", "xm"), ("海边 2", "xm, 海边"), ("xm", "xm"),
     ("P1", "xm"), ("DSC01234 (copy)", "xm")],
)  # fmt: skip
def test_file_name_when_a_camera_made_it_then_says_nothing(stem: str, words: str) -> None:
    assert words_of_name(stem, "xm") == words


def test_taking_out_when_asked_then_words_go_too_and_a_whole_set_can_go(tmp_path: Path) -> None:
    sets = _set(tmp_path)
    assert sets.take_out("me", ["a.png"]) == 1
    assert [p.name for p in sorted(sets.folder("me").iterdir())] == ["b.png"]
    sets.remove("me")
    assert sets.names() == []
