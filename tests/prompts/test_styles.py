from __future__ import annotations

import json
from pathlib import Path

import pytest

from webui.errors import ParamsError, PromptSyntaxError, SettingsError
from webui.prompts.styles import Style, StyleFiles, apply_styles, extract_styles, read_styles


def write(file: Path, text: str) -> Path:
    file.write_bytes(text.encode("utf-8"))
    return file


def files_in(folder: Path, *names: str) -> StyleFiles:
    return StyleFiles.from_settings(folder, names)


# Merging


def test_apply_styles_when_placeholder_occurs_twice_fills_both() -> None:
    assert apply_styles("cat", ["{prompt} and {prompt}"]) == "cat and cat"


def test_apply_styles_when_prompt_is_empty_adds_no_separator() -> None:
    assert apply_styles("", ["oil"]) == "oil"
    assert apply_styles(" ", ["{prompt}, oil"]) == ", oil"


def test_apply_styles_when_none_is_chosen_changes_nothing() -> None:
    assert apply_styles("  a # b ", []) == "  a # b "


def test_apply_styles_cuts_comments_before_they_swallow_the_style() -> None:
    assert apply_styles("a fox # mine", ["oil # theirs", "dim"]) == "a fox, oil, dim"


def test_apply_styles_when_comments_are_off_keeps_hashes() -> None:
    assert apply_styles("#1 fox", ["no #2"], should_cut_comments=False) == "#1 fox, no #2"


def test_apply_styles_when_placeholders_double_without_end_refuses() -> None:
    with pytest.raises(PromptSyntaxError):
        apply_styles("a fox", ["{prompt} {prompt}"] * 64)


def test_extract_styles_undoes_apply_in_the_order_applied() -> None:
    styles = [
        Style("oil", "oil paint", "photo"),
        Style("frame", "portrait of {prompt}, studio", ""),
        Style("empty"),
        Style("other", "not there", ""),
    ]
    chosen = [styles[1], styles[0]]
    prompt = apply_styles("a fox", [s.prompt for s in chosen])
    negative = apply_styles("blurry", [s.negative_prompt for s in chosen])
    assert extract_styles(prompt, negative, styles) == (["frame", "oil"], "a fox", "blurry")


def test_extract_styles_when_only_the_prompt_fits_finds_nothing() -> None:
    style = Style("oil", "oil paint", "photo")
    found = extract_styles("a fox, oil paint", "blurry", [style])
    assert found == ([], "a fox, oil paint", "blurry")


def test_extract_styles_when_both_ends_share_letters_does_not_use_them_twice() -> None:
    assert extract_styles("aba", "", [Style("s", "ab{prompt}ba")])[0] == []


def test_extract_styles_when_style_repeats_finds_it_once() -> None:
    assert extract_styles("a, oil, oil", "", [Style("s", "oil")]) == (["s"], "a, oil", "")


# Files


def test_read_styles_of_a1111_file_reads_mark_quotes_spaces_and_comments(tmp_path: Path) -> None:
    file = write(
        tmp_path / "styles.csv",
        "\ufeffname,prompt,negative_prompt\r\n"
        '#note,"not a style",\r\n'
        'oil, "oil paint, ""thick""",photo\r\n'
        '水墨,"ink\nwash",\r\n'
        "short,only a prompt\r\n",
    )
    assert read_styles(file) == [
        Style("oil", 'oil paint, "thick"', "photo"),
        Style("水墨", "ink\nwash", ""),
        Style("short", "only a prompt", ""),
    ]


def test_read_styles_of_old_two_column_file_takes_text_as_prompt(tmp_path: Path) -> None:
    file = write(tmp_path / "styles.csv", "name,text\noil,oil paint\n")
    assert read_styles(file) == [Style("oil", "oil paint", "")]


def test_read_styles_of_fooocus_file_reads_its_list(tmp_path: Path) -> None:
    entries = [
        {"name": "SAI Anime", "prompt": "anime {prompt}", "negative_prompt": "photo"},
        {"name": "bare"},
        {"prompt": "nameless"},
        "nonsense",
    ]
    file = write(tmp_path / "sdxl_styles.json", json.dumps(entries))
    assert read_styles(file) == [Style("SAI Anime", "anime {prompt}", "photo"), Style("bare")]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"one,two\na,b\n"])
def test_read_styles_when_file_is_no_style_file_says_so(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "styles.csv"
    file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        read_styles(file)
    assert str(file) in str(caught.value)


def test_style_files_when_one_is_broken_still_give_the_others(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"\xff\xfe\x00")
    write(tmp_path / "good.csv", "name,prompt,negative_prompt\noil,oil paint,\n")
    assert list(files_in(tmp_path, "bad.csv", "good.csv").by_name()) == ["oil"]


def test_style_files_when_there_are_several_show_dividers_in_lists_only(tmp_path: Path) -> None:
    write(tmp_path / "one.csv", "name,prompt,negative_prompt\na,1,\n")
    write(tmp_path / "two.csv", "name,prompt,negative_prompt\na,2,\nb,3,\n")
    styles = files_in(tmp_path, "*.csv")
    names = [style.name for style in styles.entries()]
    assert names == [" ONE ".center(40, "-"), "a", " TWO ".center(40, "-"), "b"]
    assert styles.by_name() == {"a": Style("a", "2", ""), "b": Style("b", "3", "")}


def test_save_keeps_comments_foreign_columns_and_a_backup(tmp_path: Path) -> None:
    before = "name,prompt,negative_prompt,source\n#note,kept,,\noil,old,,web\n"
    file = write(tmp_path / "styles.csv", before)
    styles = files_in(tmp_path)
    styles.save(Style("oil", "new, thick", "photo"))
    styles.save(Style("ink", "墨"))
    assert file.read_bytes().startswith(b"\xef\xbb\xbfname")
    assert file.read_text(encoding="utf-8-sig").splitlines() == [
        "name,prompt,negative_prompt,source",
        "#note,kept,,",
        'oil,"new, thick",photo,web',
        "ink,墨,,",
    ]
    assert "old" not in (tmp_path / "styles.csv.bak").read_text(encoding="utf-8-sig")
    assert styles.by_name()["ink"] == Style("ink", "墨", "")


def test_save_when_first_makes_the_file_and_keeps_the_old_one_after(tmp_path: Path) -> None:
    styles = files_in(tmp_path)
    styles.save(Style("a", "1"))
    first = (tmp_path / "styles.csv").read_bytes()
    styles.save(Style("b", "2"))
    assert (tmp_path / "styles.csv.bak").read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["styles.csv", "styles.csv.bak"]


def test_save_of_a_known_style_changes_the_file_that_holds_it(tmp_path: Path) -> None:
    write(tmp_path / "one.csv", "name,prompt,negative_prompt\n")
    write(tmp_path / "two.csv", "name,text\na,2\n")
    files_in(tmp_path, "one.csv", "two.csv").save(Style("a", "new", "neg"))
    assert read_styles(tmp_path / "two.csv") == [Style("a", "new", "neg")]
    assert read_styles(tmp_path / "one.csv") == []


def test_save_into_an_unreadable_file_leaves_it_alone(tmp_path: Path) -> None:
    (tmp_path / "styles.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError):
        files_in(tmp_path).save(Style("a", "1"))
    assert (tmp_path / "styles.csv").read_bytes() == b"\xff\xfe\x00"


@pytest.mark.parametrize("name", ["", "  ", "#x", " ONE ".center(40, "-")])
def test_save_when_the_name_would_not_come_back_refuses(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParamsError):
        files_in(tmp_path).save(Style(name, "1"))
    assert not (tmp_path / "styles.csv").exists()


def test_delete_removes_the_style_from_every_file(tmp_path: Path) -> None:
    write(tmp_path / "one.csv", "name,prompt,negative_prompt\na,1,\n#a,kept,\n")
    write(tmp_path / "two.csv", "name,prompt,negative_prompt\na,2,\nb,3,\n")
    styles = files_in(tmp_path, "one.csv", "two.csv")
    assert styles.delete("a")
    assert list(styles.by_name()) == ["b"]
    assert "#a,kept" in (tmp_path / "one.csv").read_text(encoding="utf-8-sig")
    assert not styles.delete("a")


def test_style_files_when_a_file_changes_outside_read_it_again(tmp_path: Path) -> None:
    styles = files_in(tmp_path)
    assert styles.by_name() == {}
    write(tmp_path / "styles.csv", "name,prompt,negative_prompt\na,1,\n")
    assert list(styles.by_name()) == ["a"]
    write(tmp_path / "styles.csv", "name,prompt,negative_prompt\nlonger,1,\n")
    assert list(styles.by_name()) == ["longer"]


def test_styles_when_lists_of_fooocus_are_dropped_into_a_folder_are_read(tmp_path: Path) -> None:
    styles = StyleFiles.from_settings(tmp_path, (), (tmp_path / "Fooocus",))
    assert styles.by_name() == {}

    for place, name in (("styles", "mine"), ("Fooocus/sdxl_styles", "sai-anime")):
        (tmp_path / place).mkdir(parents=True)
        entries = [{"name": name, "prompt": "anime {prompt}", "negative_prompt": "photo"}]
        (tmp_path / place / "sdxl.json").write_text(json.dumps(entries))

    assert list(styles.by_name()) == ["mine", "sai-anime"]
    styles.save(Style("mine", "other"))
    assert styles.by_name()["mine"].prompt == "other", "what people write wins over a list"
