"""Folders, dataset and metadata files: what is found, and what is said when they are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.training.pictures import options, picture
from webui.errors import DatasetError, ParamsError, WebUIError
from webui.params.training_data import DatasetOptions
from webui.training.dataset_folders import parse_folder_name, suggested_repeats
from webui.training.dataset_metadata import metadata
from webui.training.dataset_plan import PicturePlan, balanced_repeats, make_plan


def _codes(plan: PicturePlan) -> set[str]:
    return {notice.code for notice in plan.notices}


def _error(folder: Path, **changes: object) -> WebUIError:
    with pytest.raises(WebUIError) as caught:
        make_plan(options(folder, **changes))
    return caught.value


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("6_sks_dog", (6, "sks_dog")), ("10_我的 猫", (10, "我的 猫")), ("12", (12, "")),
        ("0_x", None), ("-3_x", None), ("x_10", None), ("1.5_x", None), ("10 x", None),
    ],
)  # fmt: skip
def test_folder_name_when_parsed_then_repeats_and_words(
    name: str, parsed: tuple[int, str] | None
) -> None:
    assert parse_folder_name(name) == parsed


def test_folders_when_mixed_then_named_ones_are_used_and_the_others_are_named(
    tmp_path: Path,
) -> None:
    picture(tmp_path / "2_b c" / "x.PNG", caption="bee")
    picture(tmp_path / "10_我的 猫" / "y.png")
    picture(tmp_path / "10_我的 猫" / "deeper" / "z.png")
    picture(tmp_path / "notes" / "n.png")
    picture(tmp_path / "loose.png")
    plan = make_plan(options(tmp_path))
    assert [(e.caption, e.repeats, e.has_caption) for e in plan.entries()] == [
        ("我的 猫", 10, False), ("bee", 2, True),
    ]  # fmt: skip
    assert _codes(plan) == {"folder_loose", "folder_skipped", "caption_missing"}
    assert plan.batches_per_epoch == 12


def test_folder_when_it_holds_the_pictures_then_is_asked_for_repeats(tmp_path: Path) -> None:
    folder = tmp_path / "mychar"
    for at in range(3):
        picture(folder / f"{at}.png")
    err = _error(folder)
    assert err.message == (
        f'train_data_dir: "{folder}" holds 3 images but no folder named like "10_mychar". Give the '
        "repeats here (suggested 7) to use it as one concept, or choose the parent folder."
    )
    plan = make_plan(options(folder, repeats=4))
    assert plan.batches_per_epoch == 12 and _codes(plan) == {"folder_is_subset", "caption_missing"}
    assert [suggested_repeats(n) for n in (10, 11, 51, 101)] == [7, 5, 3, 1]
    named = folder.rename(tmp_path / "5_mychar")
    assert make_plan(options(named)).batches_per_epoch == 15


def test_folders_when_missing_or_empty_then_says_which_and_why(tmp_path: Path) -> None:
    gone = tmp_path / "no"
    assert _error(gone).message == f'train_data_dir: the folder "{gone}" does not exist.'
    (tmp_path / "x" / "photos").mkdir(parents=True)
    err = _error(tmp_path / "x")
    assert isinstance(err, ParamsError) and err.field == "train_data_dir"
    assert err.message.startswith(f'train_data_dir: no images found in "{tmp_path / "x"}" (looked')
    assert 'skipped folders: photos because their names do not start with a number and "_"' in (
        err.message
    )


def test_broken_files_when_met_then_each_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "3_x"
    picture(folder / "good.png", caption="x")
    (folder / "text.png").write_text("no picture", encoding="utf-8")
    (folder / "empty.jpg").write_bytes(b"")
    err = _error(tmp_path)
    assert isinstance(err, DatasetError)
    assert str(err) == (
        '"empty.jpg" cannot be read as an image (the file is empty). Remove it, or tick "skip '
        'broken images". (2 such files)'
    )
    plan = make_plan(options(tmp_path, skip_broken=True))
    assert [e.photograph.path.name for e in plan.entries()] == ["good.png"]
    assert [Path(err.file).name for err in plan.broken] == ["empty.jpg", "text.png"]
    assert len(make_plan(options(tmp_path), goes_on=True).broken) == 2


def test_captions_when_of_another_ending_then_it_is_suspected(tmp_path: Path) -> None:
    for at in range(6):
        picture(tmp_path / "1_me" / f"{at}.png", caption="words")
    plan = make_plan(options(tmp_path, caption_extension=".caption"))
    told = " ".join(str(notice) for notice in plan.notices)
    assert '6 of 6 images in "1_me" have no ".caption" caption (first: 0.png, 1.png' in told
    assert 'They use "me".' in told and 'There are 6 ".txt" files' in told


def test_captions_when_empty_or_not_utf8_then_a_notice_or_an_error(tmp_path: Path) -> None:
    picture(tmp_path / "1_me" / "a.png", caption="")
    plan = make_plan(options(tmp_path))
    assert '"a.txt" is empty; "me" is used instead.' in map(str, plan.notices)
    (tmp_path / "1_me" / "a.txt").write_bytes(b"\xff")
    assert _error(tmp_path).message == '"a.txt" is not UTF-8 text (byte 0).'


def test_pictures_when_turned_by_their_camera_then_measured_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "1_x").mkdir()
    Image.new("RGB", (128, 64)).save(tmp_path / "1_x" / "a.jpg", exif=exif)
    (entry,) = make_plan(options(tmp_path)).entries()
    assert entry.photograph.size == (64, 128)


def test_pictures_when_smaller_than_a_step_then_named(tmp_path: Path) -> None:
    picture(tmp_path / "1_x" / "a.png", (40, 80), caption="x")
    message = _error(tmp_path, enable_bucket=True, bucket_no_upscale=True).message
    assert message == (
        '"a.png" is 40x80, smaller than bucket_reso_steps (64). Remove it or switch '
        "bucket_no_upscale off."
    )


def test_reg_pictures_when_few_or_many_then_are_made_as_many(tmp_path: Path) -> None:
    assert balanced_repeats([1, 1, 1], 7) == [3, 2, 2]
    assert balanced_repeats([2, 2, 2], 3) == [2, 2, 0]
    assert balanced_repeats([5], 0) == [0]
    picture(tmp_path / "a" / "2_me" / "a.png", caption="me")
    for at in range(3):
        picture(tmp_path / "r" / "1_person" / f"{at}.png")
    plan = make_plan(options(tmp_path / "a", reg_data_dir=str(tmp_path / "r")))
    assert (plan.count(is_reg=False), plan.count(is_reg=True)) == (2, 2)
    told = {notice.code: str(notice) for notice in plan.notices}
    assert told["reg_unused"].startswith("1 of 3 class images are never used")
    assert "2 times as many steps" in told["reg_doubles"]


def test_notices_when_settings_waste_work_then_say_so(tmp_path: Path) -> None:
    picture(tmp_path / "1_x" / "a.png", colour=(1, 2, 3, 100), caption="one, two")
    plan = make_plan(
        options(
            tmp_path, train_batch_size=2, shuffle_caption=True, keep_tokens=2,
            caption_dropout_every_n_epochs=1, min_bucket_reso=70, max_bucket_reso=120,
            enable_bucket=True,
        )
    )  # fmt: skip
    assert _codes(plan) == {
        "alpha_dropped", "bucket_adjusted", "bucket_small", "caption_dropped_always",
        "keep_tokens_all",
    }  # fmt: skip


def test_config_when_read_then_each_value_comes_from_the_nearest_level(tmp_path: Path) -> None:
    picture(tmp_path / "a b" / "a.png", caption="cat, dog")
    picture(tmp_path / "人" / "b.png")
    file = tmp_path / "数据.toml"
    file.write_text(
        f"""
        [general]
        caption_extension = ".txt"
        keep_tokens = 1
        [[datasets]]
        resolution = 64
        batch_size = 4
        keep_tokens = 2
          [[datasets.subsets]]
          image_dir = {json.dumps(str(tmp_path / "a b"))}
          custom_attributes = {{mood = "calm", year = 3}}
          num_repeats = 10
          keep_tokens = 3
          [[datasets.subsets]]
          is_reg = true
          image_dir = {json.dumps(str(tmp_path / "人"), ensure_ascii=False)}
          class_tokens = "1girl"
        [[datasets]]
        resolution = [128, 64]
          [[datasets.subsets]]
          image_dir = {json.dumps(str(tmp_path / "a b"))}
        """,
        encoding="utf-8",
    )
    plan = make_plan(options(tmp_path, dataset_config=str(file), train_batch_size=3))
    first, second = plan.datasets
    assert [subset.keep_tokens for subset in first.options.subsets] == [3, 2]
    assert (first.options.batch_size, second.options.batch_size) == (4, 3)
    assert [e.caption for e in first.entries] == ["cat, dog", "1girl"]
    assert second.options.resolution == (128, 64) and second.options.subsets[0].keep_tokens == 1
    assert _codes(plan) >= {"dataset_config_wins", "bucket_small", "custom_attributes"}
    assert '"a b" (mood, year) are not used' in " ".join(map(str, plan.notices))
    facts = metadata(plan)
    assert "ss_bucket_info" not in facts
    told = json.loads(facts["ss_datasets"])
    assert [d["num_train_images"] for d in told] == [10, 1]
    assert [[s["img_count"] for s in d["subsets"]] for d in told] == [[1, 1], [1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[datasets]]\n[[datasets.subsets]]\nimage_dir = "a"\nnum_repeat = 2',
         'datasets[0].subsets[0]: unknown key "num_repeat" (did you mean "num_repeats"?).'),
        ('[general]\nbatchsize = 1\n[[datasets]]',
         'general: unknown key "batchsize" (did you mean "batch_size"?).'),
        ("[general]\nkeep_tokens = 1", "dataset_config: there is no [[datasets]] in it."),
        ("[[datasets]]\nbatch_size = 1",
         "datasets[0]: there is no [[datasets.subsets]] in it."),
        ("[[datasets]]\n[[datasets.subsets]]\nnum_repeats = 1",
         "datasets[0].subsets[0]: image_dir is missing."),
        ('[[datasets]]\n[[datasets.subsets]]\nimage_dir = "a"\nnum_repeats = "many"',
         "datasets[0].subsets[0]: num_repeats was 'many';"),
        ('[[datasets]]\n[[datasets.subsets]]\nimage_dir = "a"\n[[datasets.subsets]]\n'
         'metadata_file = "m"', "datasets[0]: some subsets have a metadata_file and some have"),
        ("[[datasets", 'dataset_config: "d.toml" is not readable: '),
    ],
)  # fmt: skip
def test_config_when_wrong_then_says_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "d.toml").write_text(text, encoding="utf-8")
    err = _error(tmp_path, dataset_config=str(tmp_path / "d.toml"))
    assert err.message.startswith(message)


def test_config_when_a_folder_comes_twice_then_the_second_is_not_used(tmp_path: Path) -> None:
    picture(tmp_path / "p" / "a.png", caption="x")
    subset = {"image_dir": str(tmp_path / "p"), "caption_extension": "txt"}
    dataset = DatasetOptions.model_validate({"resolution": 64, "subsets": [subset, subset]})
    plan = make_plan(options(tmp_path), [dataset])
    assert plan.batches_per_epoch == 1 and _codes(plan) == {"folder_twice"}
    assert make_plan(options(tmp_path), [dataset, dataset]).batches_per_epoch == 2


def test_metadata_file_when_given_then_captions_and_tags_are_joined(tmp_path: Path) -> None:
    picture(tmp_path / "p" / "a.png")
    picture(tmp_path / "p" / "b.png")
    facts = {"a": {"caption": "a cat", "tags": "cat, sitting"}, str(tmp_path / "p" / "b.png"): {}}
    (tmp_path / "m.json").write_text(json.dumps(facts), encoding="utf-8")
    lines = [{"image_path": "a.png", "caption": "a cat", "tags": "cat, sitting"}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    chosen = {"in_json": str(tmp_path / "m.json"), "dataset_repeats": 2}
    plan = make_plan(options(tmp_path / "p", **chosen))
    assert [(e.caption, e.repeats) for e in plan.entries()] == [("a cat,cat, sitting", 2), ("", 2)]
    plan = make_plan(options(tmp_path / "p", in_json=str(tmp_path / "m.jsonl")))
    assert [e.caption for e in plan.entries()] == ["a cat,cat, sitting"]
    (tmp_path / "m.jsonl").write_text('{"image_path": "gone.png"}', encoding="utf-8")
    assert '"gone.png" in "m.jsonl": there is no such picture.' in str(
        _error(tmp_path / "p", in_json=str(tmp_path / "m.jsonl"))
    )
    (tmp_path / "m.json").write_text("[]", encoding="utf-8")
    assert '"m.json" is no metadata file' in str(_error(tmp_path / "p", **chosen))


def test_metadata_when_told_then_counts_buckets_and_tags_but_no_path(tmp_path: Path) -> None:
    picture(tmp_path / "3_me" / "a.png", caption="Cat, dog")
    picture(tmp_path / "3_me" / "b.png", (128, 64), caption="cat")
    facts = metadata(make_plan(options(tmp_path)))
    assert facts["ss_num_train_images"] == "6" and facts["ss_resolution"] == "(64, 64)"
    assert json.loads(facts["ss_tag_frequency"]) == {"3_me": {"cat": 2, "dog": 1}}
    assert json.loads(facts["ss_dataset_dirs"]) == {"3_me": {"n_repeats": 3, "img_count": 2}}
    info = json.loads(facts["ss_bucket_info"])
    assert info["buckets"] == {"0": {"resolution": [64, 64], "count": 6}}
    assert info["mean_img_ar_error"] == pytest.approx(0.5)
    assert not any(str(tmp_path) in value for value in facts.values())
    assert "ss_tag_frequency" not in metadata(make_plan(options(tmp_path)), has_tags=False)
