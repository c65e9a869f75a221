from __future__ import annotations

import csv
import os
import sqlite3
import time
import zipfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from tests.library.painting import FLAT, facts, painted
from webui.errors import LibraryError, SettingsError
from webui.library.library import Library, NameRules, SmallCopyRule
from webui.params import Output
from webui.pictures import read_infotext


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# Saving


def test_a_picture_is_written_where_a1111_writes_it(library: Library, outputs: Path) -> None:
    data = painted()
    saved = library.save_image(1, 0, data, facts(), Output(), outputs)
    assert saved.path == outputs / datetime.now().strftime("%Y-%m-%d") / "00000-41.png"
    assert saved.path.read_bytes() == data
    assert (saved.width, saved.height, saved.seed, saved.format) == (16, 8, 41, "png")
    assert (saved.kind, saved.index, saved.is_saved, saved.warning) == ("image", 0, True, None)
    assert names(outputs) == [str(saved.path.relative_to(outputs))]


def test_pictures_are_numbered_in_their_folder(library: Library, outputs: Path) -> None:
    outputs.mkdir(parents=True)
    (outputs / "00041-old.png").touch()
    for index in range(3):
        library.save_image(1, index, painted(), facts(seed=index), FLAT, outputs)
    assert names(outputs) == ["00041-old.png", "00042-0.png", "00043-1.png", "00044-2.png"]


def test_a_name_taken_meanwhile_is_never_overwritten(library: Library, outputs: Path) -> None:
    library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    (outputs / "00001-41.png").write_bytes(b"somebody else's")
    second = library.save_image(1, 1, painted(), facts(), FLAT, outputs)
    assert second.path.name == "00002-41.png"
    assert (outputs / "00001-41.png").read_bytes() == b"somebody else's"


@pytest.mark.parametrize("picture_format", ["png", "jpg", "webp", "avif"])
def test_the_extension_is_that_of_the_bytes(
    library: Library, outputs: Path, picture_format: str
) -> None:
    data = painted(picture_format=picture_format)
    saved = library.save_image(1, 0, data, facts(), FLAT, outputs)
    assert saved.path.suffix == f".{picture_format}"
    assert saved.format == picture_format
    assert library.open(saved.id) == data


def test_what_is_no_picture_is_refused(library: Library, outputs: Path) -> None:
    with pytest.raises(LibraryError, match="no PNG"):
        library.save_image(1, 0, b"<html>", facts(), FLAT, outputs)
    assert library.images_of(1) == []


def test_unicode_names_are_kept(library: Library, outputs: Path) -> None:
    output = Output(filename_pattern="[prompt_spaces]", directory_pattern="画/[styles]")
    named = facts(prompt="雾中的灯塔 🎨 " * 40, styles=("水墨",))
    saved = library.save_image(1, 0, painted(), named, output, outputs)
    assert saved.path.parent == outputs / "画" / "水墨"
    assert saved.path.name.startswith("00000-雾中的灯塔 🎨")
    assert library.open(saved.id) == painted()


@pytest.mark.parametrize("pattern", ["../../../etc", "/etc", "..\\..", "[date]/../../.."])
def test_no_pattern_leads_out_of_the_output_folder(
    library: Library, outputs: Path, pattern: str
) -> None:
    output = Output(directory_pattern=pattern, filename_pattern="../../x[seed]")
    saved = library.save_image(1, 0, painted(), facts(), output, outputs)
    assert saved.path.resolve().is_relative_to(outputs.resolve())


def test_without_number_a_picture_replaces_the_one_of_an_earlier_job(
    library: Library, outputs: Path
) -> None:
    output = replace_output(add_number=False)
    first = library.save_image(1, 0, painted("red"), facts(), output, outputs)
    second = library.save_image(2, 0, painted("blue"), facts(), output, outputs)
    assert first.path == second.path == outputs / "41.png"
    assert library.images_of(1) == []
    assert library.open(second.id) == painted("blue")


def test_without_number_pictures_of_one_job_do_not_replace_each_other(
    library: Library, outputs: Path
) -> None:
    output = replace_output(add_number=False)
    for index, colour in enumerate(("red", "blue")):
        library.save_image(1, index, painted(colour), facts(), output, outputs)
    assert names(outputs) == ["41-1.png", "41.png"]
    assert [library.open(p.id) for p in library.images_of(1)] == [painted("red"), painted("blue")]


def replace_output(**changes: object) -> Output:
    return Output(**{**FLAT.model_dump(), **changes})


def test_the_recipe_is_written_beside_the_picture_when_asked(
    library: Library, outputs: Path
) -> None:
    saved = library.save_image(1, 0, painted(), facts(), replace_output(save_text=True), outputs)
    text = saved.path.with_suffix(".txt").read_text(encoding="utf-8")
    assert text == "a cat\nSteps: 1, Seed: 41\n"


@pytest.mark.parametrize("how", [{}, {"save_text": True}], ids=str)
def test_a_caption_is_written_beside_the_picture_in_the_place_of_the_recipe(
    library: Library, outputs: Path, how: dict[str, object]
) -> None:
    said = facts(caption="ein Frosch, 青蛙")
    saved = library.save_image(1, 0, painted(), said, replace_output(**how), outputs)
    text = saved.path.with_suffix(".txt").read_text(encoding="utf-8")
    assert text == "ein Frosch, 青蛙\n"
    kept = library.save_image(2, 0, painted(), said, replace_output(save=False), outputs)
    assert not kept.path.with_suffix(".txt").exists()


def test_params_txt_holds_the_first_recipe_of_the_last_job(
    library: Library, outputs: Path, tmp_path: Path
) -> None:
    for index in range(2):
        library.save_image(1, index, painted(), facts(seed=index), FLAT, outputs)
    text = (tmp_path / "data" / "params.txt").read_text(encoding="utf-8")
    assert text == "a cat\nSteps: 1, Seed: 0"


def test_params_txt_is_not_written_without_history(tmp_path: Path, outputs: Path) -> None:
    library = Library(tmp_path / "data", tmp_path / "db", has_history=False)
    library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    assert not (tmp_path / "data" / "params.txt").exists()
    library.close()


def test_the_job_timestamp_is_the_same_for_all_pictures_of_a_job(
    library: Library, outputs: Path
) -> None:
    output = replace_output(filename_pattern="[job_timestamp]")
    first = library.save_image(1, 0, painted(), facts(), output, outputs)
    time.sleep(1.1)
    second = library.save_image(1, 1, painted(), facts(), output, outputs)
    assert first.path.stem.split("-")[1] == second.path.stem.split("-")[1]


def test_the_image_hash_is_that_of_the_pixels(library: Library, outputs: Path) -> None:
    import hashlib

    output = replace_output(filename_pattern="[Image_Hash<10>]")
    saved = library.save_image(1, 0, painted("blue"), facts(), output, outputs)
    digest = hashlib.sha256(bytes([0, 0, 255]) * 16 * 8).hexdigest()
    assert saved.path.stem == f"00000-{digest[:10]}"


def test_prompt_words_in_a_name_are_as_many_as_the_request_says(
    library: Library, outputs: Path
) -> None:
    output = replace_output(filename_pattern="[prompt_words]", prompt_words=2)
    named = facts(prompt="a lighthouse in fog")
    saved = library.save_image(1, 0, painted(), named, output, outputs)
    assert saved.path.stem == "00000-a lighthouse"


def test_the_installations_name_rules_are_followed(tmp_path: Path, outputs: Path) -> None:
    library = Library(tmp_path / "data", tmp_path / "db", name_rules=NameRules(max_length=3))
    output = replace_output(filename_pattern="[prompt]")
    saved = library.save_image(1, 0, painted(), facts(prompt="abcdef"), output, outputs)
    assert saved.path.stem == "00000-abc"
    library.close()


def test_seeds_beyond_63_bits_are_kept(library: Library, outputs: Path) -> None:
    saved = library.save_image(1, 0, painted(), facts(seed=2**64 - 1), FLAT, outputs)
    assert library.get(saved.id).seed == 2**64 - 1


# Running again


def test_a_job_that_runs_again_writes_the_same_files(library: Library, outputs: Path) -> None:
    first = library.save_image(1, 0, painted("red"), facts(), FLAT, outputs)
    again = library.save_image(1, 0, painted("blue"), facts(), FLAT, outputs)
    assert (again.id, again.path) == (first.id, first.path)
    assert names(outputs) == ["00000-41.png"]
    assert [library.open(p.id) for p in library.images_of(1)] == [painted("blue")]


def test_a_picture_cut_short_by_a_crash_is_not_shown_and_is_written_anew(
    library: Library, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webui.library import files

    class Killed(BaseException):
        pass

    def die(path: Path, data: bytes) -> None:
        path.with_name(f"{path.stem}.tmp").write_bytes(data[:10])
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(files, "write_whole", die)
        library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    assert library.images_of(1) == [] and library.recent() == []
    saved = library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    assert names(outputs) == [saved.path.name] == ["00000-41.png"]
    assert library.open(saved.id) == painted()


def test_the_library_remembers_after_a_restart(tmp_path: Path, outputs: Path) -> None:
    first = Library(tmp_path / "data", tmp_path / "db")
    saved = first.save_image(1, 0, painted(), facts(steps=9), FLAT, outputs)
    first.close()
    second = Library(tmp_path / "data", tmp_path / "db")
    assert second.get(saved.id) == saved
    assert second.get(saved.id).facts["steps"] == 9
    second.close()


# Grids


def test_a_grid_holds_the_jobs_pictures_and_the_first_recipe(
    library: Library, outputs: Path
) -> None:
    for index, colour in enumerate(("red", "lime", "blue", "white")):
        library.save_image(1, index, painted(colour), facts(seed=index), FLAT, outputs)
    grid = library.save_grid(1, facts(seed=3), FLAT, outputs.parent / "grids")
    assert grid is not None
    assert grid.path == outputs.parent / "grids" / "grid-0000.png"
    assert (grid.kind, grid.width, grid.height) == ("grid", 32, 16)
    with Image.open(grid.path) as sheet:
        assert sheet.mode == "RGB" and sheet.size == (32, 16)
        assert sheet.getpixel((20, 4)) == (0, 255, 0) and sheet.getpixel((4, 12)) == (0, 0, 255)
    assert read_infotext(grid.path)[0] == "a cat\nSteps: 1, Seed: 0"
    assert [p.kind for p in library.images_of(1)] == ["image"] * 4 + ["grid"]


def test_one_picture_makes_no_grid(library: Library, outputs: Path) -> None:
    library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    assert library.save_grid(1, facts(), FLAT, outputs) is None


def test_a_grid_is_drawn_without_a_picture_that_was_deleted(
    library: Library, outputs: Path
) -> None:
    saved = [library.save_image(1, i, painted(), facts(), FLAT, outputs) for i in range(3)]
    saved[1].path.unlink()
    grid = library.save_grid(1, facts(), FLAT, outputs, has_long_name=True)
    assert grid is not None and (grid.width, grid.height) == (32, 8)
    assert grid.path.name == "grid-0000-41.png"


# Looking


def test_pictures_are_found_by_job_path_and_age(library: Library, outputs: Path) -> None:
    mine = library.save_image(1, 1, painted(), facts(), FLAT, outputs, client="mine")
    first = library.save_image(1, 0, painted(), facts(), FLAT, outputs, client="mine")
    other = library.save_image(2, 0, painted(), facts(), FLAT, outputs, client="other")
    assert library.images_of(1) == [first, mine]
    assert library.recent() == [other, first, mine]
    assert library.recent(limit=1) == [other]
    assert library.recent(client="mine") == [first, mine]
    assert library.by_path(other.path) == other
    assert library.by_path(outputs / ".." / outputs.name / other.path.name) == other
    assert library.by_path(outputs / "nothing.png") is None


def test_a_picture_moved_away_is_said_to_be_gone(library: Library, outputs: Path) -> None:
    saved = library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    saved.path.rename(outputs / "elsewhere.png")
    assert not library.get(saved.id).is_there
    with pytest.raises(LibraryError, match="moved or deleted") as caught:
        library.open(saved.id)
    assert caught.value.path == str(saved.path)


def test_an_unknown_picture_is_said_to_be_unknown(library: Library) -> None:
    with pytest.raises(LibraryError, match="No picture has the number 9"):
        library.open(9)


def test_a_link_out_of_the_output_folder_is_not_followed(
    library: Library, outputs: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(painted("black"))
    saved = library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    saved.path.unlink()
    saved.path.symlink_to(secret)
    with pytest.raises(LibraryError, match="outside"):
        library.open(saved.id)


@pytest.mark.parametrize("target", ["../../../secret.png", "config.json"])
def test_a_row_that_was_tampered_with_opens_nothing_else(
    library: Library, outputs: Path, tmp_path: Path, target: str
) -> None:
    saved = library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    path = outputs / target
    path.write_bytes(b"secret")
    with sqlite3.connect(tmp_path / "data" / "data" / "danqing.sqlite3") as db:
        db.execute("UPDATE images SET path = ?", (str(path),))
    with pytest.raises(LibraryError, match="outside"):
        library.open(saved.id)


def test_an_output_folder_that_is_a_link_works(library: Library, tmp_path: Path) -> None:
    (tmp_path / "big-disk").mkdir()
    link = tmp_path / "outputs"
    link.symlink_to(tmp_path / "big-disk")
    saved = library.save_image(1, 0, painted(), facts(), FLAT, link)
    assert library.open(saved.id) == painted()
    assert names(tmp_path / "big-disk") == ["00000-41.png"]


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(SettingsError, match="cannot be opened"):
        Library(tmp_path, tmp_path / "db")


# Zip, Save button, small copies


def test_a_zip_holds_the_pictures_under_names_of_their_own(library: Library, outputs: Path) -> None:
    first = library.save_image(1, 0, painted("red"), facts(), FLAT, outputs / "a")
    second = library.save_image(1, 1, painted("blue"), facts(), FLAT, outputs / "b")
    path = library.zip([first.id, second.id, first.id])
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["00000-41.png", "00000-41 (2).png"]
        assert archive.read("00000-41 (2).png") == painted("blue")


def test_a_zip_says_what_is_missing(library: Library, outputs: Path) -> None:
    saved = library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    with zipfile.ZipFile(library.zip([saved.id, 99])) as archive:
        assert "99" in archive.read("missing.txt").decode()


def test_a_zip_of_nothing_is_refused_and_leaves_nothing(library: Library, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="none could be read"):
        library.zip([99])
    assert names(tmp_path / "data" / "cache") == []


def test_old_zips_are_cleared_away(library: Library, outputs: Path) -> None:
    saved = library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    old = library.zip([saved.id])
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    new = library.zip([saved.id])
    assert new.exists() and not (old.exists() and old != new)
    assert len(list(new.parent.iterdir())) == 1


def test_the_save_button_copies_and_logs(library: Library, outputs: Path, tmp_path: Path) -> None:
    described = facts(
        prompt='a "cat", 猫\nsecond line', negative_prompt="text", steps=9, cfg_scale=6.5,
        sampler="Euler a", model_name="harbour", model_hash="0a1b",
    )  # fmt: skip
    saved = library.save_image(1, 0, painted(), described, FLAT, outputs)
    copies = [library.save_copy(saved.id) for _ in range(2)]
    folder = tmp_path / "data" / "log" / "images"
    assert [copy.parent for copy in copies] == [folder, folder]
    assert copies[0].name.startswith("00000-41-a _cat_, 猫_second line")
    assert copies[1].name.startswith("00001-")
    assert copies[0].read_bytes() == painted()
    with (folder / "log.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2
    assert lines[0] == {
        "prompt": 'a "cat", 猫\nsecond line', "seed": "41", "width": "16", "height": "8",
        "sampler": "Euler a", "cfgs": "6.5", "steps": "9", "filename": copies[0].name,
        "negative_prompt": "text", "sd_model_name": "harbour", "sd_model_hash": "0a1b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "rule", "expected"),
    [
        ((40, 20), SmallCopyRule(max_side=20), (20, 10)),
        ((40, 20), SmallCopyRule(max_megabytes=0), (40, 20)),
        ((40, 20), SmallCopyRule(), None),
    ],
)
def test_very_large_pictures_get_a_small_copy(
    library: Library, outputs: Path, size: tuple[int, int], rule: SmallCopyRule,
    expected: tuple[int, int] | None,
) -> None:  # fmt: skip
    library.save_image(1, 0, painted(size=size), facts(), FLAT, outputs, small_copy=rule)
    small = outputs / "00000-41.jpg"
    assert small.exists() == (expected is not None)
    if expected is not None:
        with Image.open(small) as image:
            assert image.size == expected
        assert read_infotext(small)[0] == "a cat\nSteps: 1, Seed: 41"


def test_the_small_copy_of_a_jpeg_does_not_replace_it(library: Library, outputs: Path) -> None:
    rule = SmallCopyRule(max_megabytes=0)
    data = painted(picture_format="jpg")
    saved = library.save_image(1, 0, data, facts(), FLAT, outputs, small_copy=rule)
    assert saved.path.read_bytes() == data
    assert names(outputs) == ["00000-41-small.jpg", "00000-41.jpg"]


# Pictures that were not to be saved


UNSAVED = Output(save=False)


def test_an_unsaved_picture_is_kept_aside_for_whoever_asked(
    library: Library, outputs: Path, tmp_path: Path
) -> None:
    saved = library.save_image(1, 0, painted(), facts(), UNSAVED, outputs)
    assert not outputs.exists()
    assert saved.path.parent == tmp_path / "data" / "cache" / "results"
    assert not saved.is_saved
    assert library.open(saved.id) == painted()
    assert library.recent(saved_only=True) == [] and library.recent() == [saved]


def test_unsaved_pictures_go_when_they_are_too_old(
    library: Library, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    old = library.save_image(2, 0, painted(), facts(), UNSAVED, outputs)
    later = time.time() + 3 * 24 * 3600
    monkeypatch.setattr("webui.library.library.time.time", lambda: later)
    assert library.purge_results() == 1
    assert not old.path.exists() and kept.path.exists()
    assert library.images_of(2) == [] and library.images_of(1) == [kept]


def test_unsaved_pictures_go_when_they_are_too_many_the_oldest_first(
    library: Library, outputs: Path
) -> None:
    saved = [library.save_image(j, 0, painted(), facts(), UNSAVED, outputs) for j in range(1, 5)]
    limit = sum(picture.size_bytes for picture in saved[2:])
    assert library.purge_results(max_bytes=limit, min_age_seconds=0) == 2
    assert [picture.path.exists() for picture in saved] == [False, False, True, True]


def test_a_picture_just_handed_back_is_never_cleared_away(library: Library, outputs: Path) -> None:
    saved = library.save_image(1, 0, painted(), facts(), UNSAVED, outputs)
    assert library.purge_results(max_bytes=0) == 0
    assert saved.path.exists()


def test_saving_clears_away_now_and_then(
    library: Library, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    monkeypatch.setattr(library, "purge_results", lambda: calls.append(1))
    for job in range(60):
        library.save_image(job, 0, painted(), facts(), UNSAVED, outputs)
    assert 2 <= len(calls) <= 4


def test_an_unsaved_picture_of_a_job_that_runs_again_is_replaced(
    library: Library, outputs: Path
) -> None:
    first = library.save_image(1, 0, painted("red"), facts(), UNSAVED, outputs)
    again = library.save_image(1, 0, painted("blue"), facts(), UNSAVED, outputs)
    assert replace(again, created_at=0) == replace(
        first, created_at=0, size_bytes=len(painted("blue"))
    )
    assert names(first.path.parent) == [first.path.name]
