"""The Train tab below the page: what its fields come to and what it shows."""

from __future__ import annotations

import dataclasses
import json
import string
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from tests.describing.small_describers import write_tagger
from tests.training.pictures import GREEN, picture
from webui.errors import CheckpointNotFoundError, ParamsError
from webui.jobs.live import LiveJob
from webui.jobs.store import Job
from webui.params import CaptionPictures, TrainingOptions, TrainLora
from webui.services.training.jobs import states_folder
from webui.services.training.states import state_place
from webui.services.training.trainings import (
    KIND,
    TrainedFile,
    files_of,
    foresee,
    go_on,
    history_of,
    losses_of,
    pictures_told,
    samples_in,
)
from webui.settings import read_settings
from webui.studio import Studio
from webui.training.dataset_doctor import examine
from webui.training.notices import SENTENCES, Notice
from webui.training.presets import MEMORIES, SUBJECTS, Wish, preset
from webui.training.steps import STATE_FACTS
from webui.ui import queue_tab, said, train_faces, train_stage, train_use, train_view, train_words
from webui.ui.session import Visitor
from webui.ui.train_foretell import class_field, plan_html
from webui.ui.train_form import (
    DEFAULTS,
    changes_from,
    choice,
    make_request,
    sets_of,
    toml_of,
    usual_memory,
    with_option,
)
from webui.ui.train_option_texts import OPTION_TEXTS
from webui.ui.train_texts import NOTICES_ZH, TRAIN_LABELS, TRAIN_TEXTS

EVIL = "<script>\"'&"
UI = Path(train_view.__file__).parent


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(read_settings(["--data-dir", str(tmp_path)], environ={}))
    yield made
    made.stop()


def _form(studio: Studio, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """The form with a set of three pictures."""
    sets = sets_of(studio, "")
    sets.make("小明 set")
    files = [picture(tmp_path / f"{at}.png", (128, 96), caption="me") for at in range(3)]
    sets.add("小明 set", [*files, *(f.with_suffix(".txt") for f in files)])
    return {**DEFAULTS, "set_name": "小明 set", "word": "小明", **changes}


def _names(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_texts_when_said_then_exist_in_both_languages_with_the_same_names() -> None:
    for english, chinese in (*TRAIN_TEXTS.values(), *TRAIN_LABELS.values(), *OPTION_TEXTS.values()):
        assert english.strip() and chinese.strip() and _names(english) == _names(chinese)
    assert set(NOTICES_ZH) == set(SENTENCES)
    assert all(_names(NOTICES_ZH[code]) == _names(SENTENCES[code]) for code in SENTENCES)


@pytest.mark.parametrize("code", sorted(set(SENTENCES) - {"bucket_adjusted"}))
def test_notice_when_the_worker_said_it_then_chinese_pages_have_it_in_chinese(code: str) -> None:
    values = {name: f"a.b (c) {at}" for at, name in enumerate(sorted(_names(SENTENCES[code])))}
    notice = Notice(code, values)
    assert said.in_language(str(notice), "en") == str(notice)
    assert said.in_language(str(notice), "zh") == train_view.notice_text(notice, "zh")
    assert said.in_language(f"{notice} And more.", "zh") == f"{notice} And more."


def test_plan_when_values_are_taken_another_way_then_chinese_pages_say_so_in_chinese(
    studio: Studio, tmp_path: Path
) -> None:
    changes = json.dumps(
        {"xformers": True, "min_bucket_reso": 100, "num_cpu_threads_per_process": 2}
    )
    form = _form(studio, tmp_path, changes=changes)
    chosen = choice(form, studio, sets_of(studio, ""))
    html = plan_html(studio, form, chosen, "zh")
    assert "这里不使用 xformers：使用 torch 自带的注意力实现，速度相同。" in html
    assert "这里不使用 num_cpu_threads_per_process：CPU 核心会自动分配。" in html
    assert "min_bucket_reso：100 不是 64 的倍数，改用 64。" in html
    assert " is " not in html


def test_texts_when_made_then_are_all_used() -> None:
    code = "".join(p.read_text("utf-8") for p in UI.glob("*.py") if not p.name.endswith("texts.py"))
    built = ("section_", "stage_", "mark_", "plan_from_", "faces_", "tick_", "describe_rule_")
    code = code.replace("'", '"')
    spare = [key for key in TRAIN_TEXTS if f'"{key}"' not in code and not key.startswith(built)]
    assert spare == []


def test_options_when_listed_then_each_has_a_field_and_words() -> None:
    assert set(OPTION_TEXTS) == set(TrainingOptions.model_fields)
    options = TrainingOptions(text_encoder_lr=(1e-5,), resolution=(512, 768), flip_aug=True)
    html = train_view.options_view(options, {"flip_aug": True}, ["unet_lr"], "zh")
    for name in TrainingOptions.model_fields:
        assert html.count(f'data-option="{name}"') == 1
    assert 'value="512,768"' in html and 'value="1e-05"' in html
    assert 'data-option="flip_aug" checked' in html
    assert html.count("dq-changed") == 1 and html.count("dq-wrong") == 1


def test_class_pictures_when_another_set_is_chosen_then_all_of_them_join_in_under_their_own_word(
    studio: Studio, tmp_path: Path
) -> None:
    form = _form(studio, tmp_path)
    sets = sets_of(studio, "")
    sets.make("dogs")
    sets.add("dogs", [picture(tmp_path / f"d{at}.png", colour=GREEN) for at in range(5)])
    assert choice({**form, "class_set": "小明 set"}, studio, sets).options.reg_data_dir == ""
    options = choice({**form, "class_set": "dogs"}, studio, sets).options
    plan = foresee(studio, options).plan
    reg = [entry for entry in plan.entries() if entry.subset.is_reg]
    assert len(reg) == 5 and {entry.caption for entry in reg} == {"dogs"}, "not the new word"
    assert plan.count(is_reg=True) == plan.count(is_reg=False)
    told = class_field(["小明 set", "dogs"], "小明 set", "gone", "zh")
    assert told["choices"] == [("无", ""), "dogs"] and told["value"] == "" and told["visible"]
    assert not class_field(["小明 set"], "小明 set", "", "en")["visible"]


def test_sheet_when_prompts_are_known_then_each_row_is_named_and_else_it_is_shown_as_well(
    tmp_path: Path,
) -> None:
    (tmp_path / "sample").mkdir()
    for row in ("00", "01"):
        (tmp_path / f"sample/a_e000002_{row}_20260101000000_1.png").touch()
    options = TrainingOptions(sample_prompts=f"a {EVIL}", sample_weights=(1.0, 0.6))
    rows = train_stage.sheet_rows(options)
    assert rows == [f"a {EVIL} × 1", f"a {EVIL} × 0.6"]
    html = train_stage.sheet(1, samples_in(tmp_path), rows, "en")
    assert html.count("dq-trn-row-title") == 2 and EVIL not in html and "× 0.6" in html
    gone = train_stage.sheet_rows(TrainingOptions(sample_prompts=str(tmp_path / "gone.txt")))
    assert gone == []
    assert train_stage.sheet(1, samples_in(tmp_path), gone, "en").count("<img") == 2


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_preset_when_chosen_then_is_a_training_that_nothing_is_wrong_with(
    subject: str, memory: str, family: str
) -> None:
    from webui.training.buckets import check
    from webui.training.checks import find_problems

    side = 1024 if family == "sdxl" else 512
    values = preset(Wish("xm", subject, memory, family, pictures=20, native_side=side))
    options = TrainingOptions.model_validate({**values, "pretrained_model_name_or_path": "x"})
    device = "cpu" if memory == "cpu" else "cuda"
    found = find_problems(options, family=family, device=device)
    assert [problem.message for problem in found if problem.is_error] == []
    assert check(options, family)[1] == []
    assert options.repeats >= 1


@pytest.mark.parametrize(
    ("told", "size"),
    [
        ({}, "cpu"), ({"device": "cpu"}, "cpu"), ({"device": "cuda:0"}, "8"),
        ({"device": "cuda:0", "memory_bytes": int(5.8 * 2**30)}, "6"),
        ({"device": "cuda:0", "memory_bytes": int(11.6 * 2**30)}, "12"),
        ({"device": "cuda:0", "memory_bytes": int(23.5 * 2**30)}, "24"),
    ],
)  # fmt: skip
def test_memory_when_the_card_has_told_of_it_then_that_of_the_preset(
    studio: Studio, told: dict[str, Any], size: str
) -> None:
    studio.worker_facts = told
    assert usual_memory(studio) == size


def test_card_when_the_model_process_tells_of_itself_then_how_much_memory_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from webui.torch_setup import mend_torchvision

    mend_torchvision()
    from webui.model_process.painter import Painter

    painter = Painter.__new__(Painter)
    painter._device = torch.device("cuda:0")
    facts = SimpleNamespace(total_memory=24 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: facts)
    assert painter.memory_bytes() == 24 * 2**30
    painter._device = torch.device("cpu")
    assert painter.memory_bytes() == 0


def test_choice_when_made_then_pictures_word_and_own_options_count(
    studio: Studio, tmp_path: Path
) -> None:
    changes = with_option(with_option("{}", "network_dim", "7"), "flip_aug", "true")
    form = _form(studio, tmp_path, changes=changes)
    chosen = choice(form, studio, sets_of(studio, ""))
    options = chosen.options
    assert (options.network_dim, options.flip_aug, options.output_name) == (7, True, "小明")
    assert Path(options.train_data_dir).name == "小明 set" and options.trigger_words == "小明"
    assert options.resolution == (128, 128)  # what the starter checkpoint was trained at
    assert options.repeats == 13  # 400 steps without a card: 3 pictures, 10 epochs
    assert with_option(changes, "network_dim", "") == '{"flip_aug": true}'
    with pytest.raises(ParamsError, match="No option is called"):
        with_option("{}", "__class__", "1")


def test_captions_when_chinese_then_translated_as_long_as_prompts_are(
    studio: Studio, tmp_path: Path
) -> None:
    sets, form = sets_of(studio, ""), _form(studio, tmp_path, word="xm")
    assert not choice(form, studio, sets).options.translate_captions, "nothing to translate"
    assert choice({**form, "word": "小明"}, studio, sets).options.translate_captions
    sets.write_captions("小明 set", {"1.png": "红色大衣"})
    assert choice(form, studio, sets).options.translate_captions
    studio.options.set("translate_chinese_prompts", False)
    assert not choice(form, studio, sets).options.translate_captions


def test_toml_when_written_and_read_then_gives_the_same_options(
    studio: Studio, tmp_path: Path
) -> None:
    chosen = choice(_form(studio, tmp_path), studio, sets_of(studio, ""))
    changes, told = changes_from(toml_of(chosen), studio.settings)
    again = choice(_form(studio, tmp_path, changes=changes), studio, sets_of(studio, ""))
    assert again.options == chosen.options and told == ()
    with pytest.raises(ParamsError, match="This is no TOML"):
        changes_from("a = [", studio.settings)
    assert '"netwrok_dim" is unknown' in changes_from("netwrok_dim = 4", studio.settings)[1][0]


@pytest.mark.parametrize("name", ["train_data_dir", "output_dir", "resume", "dataset_config"])
def test_paths_when_others_reach_the_page_then_are_refused(
    studio: Studio, tmp_path: Path, name: str
) -> None:
    form = _form(studio, tmp_path, changes=json.dumps({name: "/etc"}))
    choice(form, studio, sets_of(studio, ""))  # a page of this machine alone may
    flags = ["--data-dir", str(tmp_path / "o"), "--listen", "--gradio-auth", "a:b"]
    shared = read_settings(flags, environ={})
    from webui.ui.train_form import refuse_paths

    with pytest.raises(ParamsError, match=f"{name} names files of the machine"):
        refuse_paths({name: "/etc"}, shared)
    kept, told = changes_from(f'{name} = "/etc"\nnetwork_dim = 3', shared)
    assert json.loads(kept) == {"network_dim": 3} and name in told[0]


def test_prompts_when_others_reach_the_page_then_may_not_be_a_file(tmp_path: Path) -> None:
    from webui.ui.train_form import refuse_paths

    flags = ["--data-dir", str(tmp_path), "--listen", "--gradio-auth", "a:b"]
    shared = read_settings(flags, environ={})
    refuse_paths({"sample_prompts": "a cat --w 64\na dog"}, shared)
    with pytest.raises(ParamsError):
        refuse_paths({"sample_prompts": "/home/me/secret.txt"}, shared)


def test_sets_when_logins_differ_then_are_apart(studio: Studio) -> None:
    sets_of(studio, "").make("everybody")
    sets_of(studio, "anna").make("mine")
    assert sets_of(studio, "anna").names() == ["mine"]
    assert sets_of(studio, "ben").names() == []
    assert sets_of(studio, "").names() == ["everybody"]
    assert sets_of(studio, "").make("@anna") == "anna"  # which is no login's folder
    for other in ("anna.", "@anna", "an/na", "Anna", "anna "):
        assert sets_of(studio, other).names() == [], f"{other} sees anna's pictures"
        sets_of(studio, other).make("of another")
    assert sets_of(studio, "anna").names() == ["mine"]


def test_request_when_something_is_missing_then_says_what(studio: Studio, tmp_path: Path) -> None:
    sets = sets_of(studio, "")
    with pytest.raises(ParamsError, match="There are no pictures"):
        make_request(choice(DEFAULTS, studio, sets), studio, "", "en")
    params = make_request(choice(_form(studio, tmp_path), studio, sets), studio, "", "en")
    folder = Path(params.options.output_dir)
    assert folder.parent == tmp_path / "training" / "runs" and folder.name.endswith(" 小明")


def test_plan_when_shown_then_tells_steps_memory_and_that_time_is_unknown(
    studio: Studio, tmp_path: Path
) -> None:
    chosen = choice(_form(studio, tmp_path), studio, sets_of(studio, ""))
    foresight = foresee(studio, chosen.options)
    assert foresight.estimate is not None and foresight.estimate.length.steps == 390
    html = train_view.plan_view(foresight, [EVIL], [EVIL], "en")
    assert "390 steps" in html and "MB of memory" in html and "known after the first" in html
    assert "<script" not in html and html.count("&lt;script&gt;") == 2
    assert str(tmp_path) not in html


def test_set_when_shown_then_names_and_words_are_escaped_and_faults_marked(
    studio: Studio, tmp_path: Path
) -> None:
    form = _form(studio, tmp_path)
    sets = sets_of(studio, "")
    sets.write_captions("小明 set", {"0.png": EVIL})
    report = examine(foresee(studio, choice(form, studio, sets).options).plan)
    html = train_view.set_view("小明 set", sets.pictures("小明 set"), report, "zh")
    html += train_view.report_view(report, "zh")
    assert "<script" not in html and "与 0.png 重复" in html
    assert "ui/train/picture/%E5%B0%8F%E6%98%8E%20set/0.png" in html


def test_report_when_shown_then_pictures_are_cut_and_words_mixed_as_a_batch_has_them(
    studio: Studio, tmp_path: Path
) -> None:
    form = _form(studio, tmp_path, changes='{"keep_tokens": 1, "caption_prefix": "xm,"}')
    sets = sets_of(studio, "")
    sets.write_captions("小明 set", {"0.png": f"hat, coat, {EVIL}", "1.png": "", "2.png": ""})
    plan = foresee(studio, choice(form, studio, sets).options).plan
    report = examine(plan)
    assert {use.words.partition(", ")[0] for use in report.uses} == {"xm"}
    assert sorted(report.uses[0].words.split(", ")) == sorted(["xm", "hat", "coat", EVIL])
    html = train_view.report_view(report, "en", "小明 set")
    assert html.count('style="aspect-ratio:') == 3 and EVIL not in html
    width, height = report.uses[0].entry.fit.bucket
    assert f"aspect-ratio:{width}/{height}" in html and f"{width}×{height}" in html
    assert "<img" not in train_view.report_view(report, "zh"), "of another folder"


def test_faces_when_found_then_are_told_and_cut_only_until_a_picture_changes(
    studio: Studio, tmp_path: Path
) -> None:
    _form(studio, tmp_path)
    sets = sets_of(studio, "")
    job = train_faces.ask(studio, sets, "小明 set", client="me", user="")
    assert "Looking for faces in 3" in train_faces.view(
        job, "小明 set", sets.pictures("小明 set"), "en"
    )
    boxes = {"0.png": [[56, 30, 72, 60]], "1.png": [[2, 30, 12, 44]], "2.png": []}
    done = dataclasses.replace(
        job, state="done", result={"faces": boxes}, finished_at=time.time() + 5
    )
    html = train_faces.view(done, "小明 set", sets.pictures("小明 set"), "en")
    assert "1 of 3 pictures show one face" in html
    assert "at the edge" in html and "no face" in html and html.count('data-act="cut"') == 1
    found = train_faces.suggestions(done, sets.pictures("小明 set"))
    assert train_faces.cut(sets, "小明 set", found) == 1
    with Image.open(sets.picture("小明 set", "1.png")) as image:
        assert image.size == (45, 45)
    sets.make("other")
    sets.add("other", [tmp_path / "1.png"])
    assert train_faces.suggestions(done, sets.pictures("other")) == {}, "these were not looked at"
    long_ago = dataclasses.replace(done, finished_at=1.0)
    assert train_faces.suggestions(long_ago, sets.pictures("小明 set")) == {}
    views = queue_tab.render(studio, Visitor("me"), "zh")
    assert "在 3 张图片中查找人脸" in views


def test_set_when_shown_then_pictures_can_be_ticked_by_fault_and_by_tag(
    studio: Studio, tmp_path: Path
) -> None:
    form = _form(studio, tmp_path)
    sets = sets_of(studio, "")
    report = examine(foresee(studio, choice(form, studio, sets).options).plan)
    html = train_view.set_view("小明 set", sets.pictures("小明 set"), report, "en")
    assert html.count("data-pick=") == 3 and html.count('data-marks="copy') == 2
    told = train_view.report_view(report, "en")
    assert 'data-choose="mark" data-value="copy">Tick copies <b>2</b>' in told
    assert 'data-choose="tag" data-value="me">me <b>3</b>' in told


def test_tags_when_changed_then_of_the_ticked_pictures_or_of_all(
    studio: Studio, tmp_path: Path
) -> None:
    _form(studio, tmp_path)
    sets = sets_of(studio, "")

    def change(picked: list[str], **fields: str) -> list[str]:
        train_words.change_tags(sets, "小明 set", {"fields": fields, "picked": picked})
        return [picture.caption for picture in sets.pictures("小明 set")]

    assert change(["1.png"], add="hat") == ["me", "hat, me", "me"]
    assert change([], replace="me", by="xm, boy") == ["xm, boy", "hat, xm, boy", "xm, boy"]
    assert change(["0.png", "1.png"], remove="boy, hat") == ["xm", "xm", "xm, boy"]
    assert change([], add="") == ["xm", "xm", "xm, boy"]


def test_tools_when_no_tagger_is_there_then_files_and_folders_are_named(
    studio: Studio, tmp_path: Path
) -> None:
    for language in ("en", "zh"):
        html = train_words.tools_view(studio, language)
        assert "selected_tags.csv" in html and "models/BLIP" in html and "describe" not in html
    write_tagger(studio.settings.folders.own_models / "taggers" / "wd<3")
    html = train_words.tools_view(studio, "zh")
    assert "wd&lt;3 · 标签" in html and 'data-act="describe"' in html


def test_describing_when_asked_then_a_job_for_the_ticked_pictures(
    studio: Studio, tmp_path: Path
) -> None:
    _form(studio, tmp_path)
    sets = sets_of(studio, "")

    def ask(picked: list[str], **fields: str) -> Job:
        data = {"picked": picked, "fields": {"describer": "wd", "rule": "before", **fields}}
        return train_words.ask(studio, sets, "小明 set", data, "xm", client="me", user="")

    job = ask(["2.png"], threshold="0.5", prefix="true")
    params = studio.params_of(job)
    assert isinstance(params, CaptionPictures)
    assert [Path(path).name for path in params.pictures] == ["2.png"]
    assert (params.prefix, params.rule, params.threshold) == ("xm", "before", 0.5)
    everyone = studio.params_of(ask([], prefix="false"))
    assert isinstance(everyone, CaptionPictures)
    assert len(everyone.pictures) == 3 and everyone.prefix == ""
    with pytest.raises(ParamsError, match="threshold"):
        ask([], threshold="2")
    with pytest.raises(ParamsError, match="no pictures"):
        ask(["gone.png"])

    assert "0 of 1 pictures" in train_words.progress_view(studio, job, "en")
    done = dataclasses.replace(job, state="done", result={"written": 7}, warnings=("a < b",))
    html = train_words.progress_view(studio, done, "zh")
    assert "已写入 7 条标签" in html and "a &lt; b" in html
    assert "为 3 张图片打标" in queue_tab.render(studio, Visitor("me"), "zh")
    with pytest.raises(CheckpointNotFoundError, match='No tagger or captioner is called "wd"'):
        studio.job_files.for_job(job)
    folder = write_tagger(studio.settings.folders.own_models / "taggers" / "wd")
    message = studio.job_files.for_job(job)["describer"]
    assert message == {"kind": "tagger", "folder": str(folder)}


# A training that ran


def test_training_when_it_left_a_state_then_it_can_go_on_from_there(
    studio: Studio, tmp_path: Path
) -> None:
    options = TrainingOptions(output_name="xm", output_dir=str(tmp_path / "run"))
    job = studio.submit(TrainLora(options=options), client="me")
    studio.control.cancel(job.id)
    assert 'data-act="go-on"' not in train_stage.render(studio, Visitor("me"), None, "en")
    with pytest.raises(ParamsError, match="no longer there"):
        go_on(studio, studio.jobs.get(job.id), client="me")
    state = state_place(states_folder(studio.settings.folders), job.id)
    state.mkdir(parents=True)
    (state / STATE_FACTS).write_text("{}")
    assert 'data-act="go-on"' in train_stage.render(studio, Visitor("me"), None, "en")

    again = studio.params_of(go_on(studio, studio.jobs.get(job.id), client="me"))

    assert isinstance(again, TrainLora)
    assert (again.options.resume, again.options.output_dir) == (str(state), options.output_dir)
    studio.options.set("training_states_kept", 0)
    assert studio.tidying.trainings() == 0 and state.exists()


def with_metadata(file: bytes, told: dict[str, str]) -> bytes:
    """A safetensors file that tells something else of itself."""
    size = int.from_bytes(file[:8], "little")
    head = json.dumps({**json.loads(file[8 : 8 + size]), "__metadata__": told}).encode()
    return len(head).to_bytes(8, "little") + head + file[8 + size :]


def _run(studio: Studio, tmp_path: Path) -> tuple[int, Path]:
    """A finished training with a history, samples and files, as the worker leaves them."""
    chosen = choice(_form(studio, tmp_path), studio, sets_of(studio, ""))
    params = make_request(chosen, studio, "", "en")
    folder = Path(params.options.output_dir)
    lines: list[dict[str, Any]] = [
        {"step": s, "epoch": 1, "loss": 1 / s, "average_loss": 2 / s, "rates": {}}
        for s in range(1, 9)
    ]
    for epoch, name in ((1, "小明-000001"), (2, "小明")):
        lines.append({"kind": "file", "step": 4 * epoch, "epoch": epoch, "file": f"{name}.x"})
        picture(folder / "sample" / f"小明_e{epoch:06d}_00_20260101000000_1.png")
        picture(folder / "sample" / f"小明_e{epoch:06d}_01_20260101000000_1.png")
    starter = next((Path(__file__).parents[2] / "models" / "Lora").glob("*.safetensors"))
    for line in lines:
        if "file" in line:
            line["file"] = line["file"].replace(".x", ".safetensors")
            dirs = {"小明 set": {"n_repeats": 7, "img_count": 3}}
            told = {"ss_dataset_dirs": json.dumps(dirs)}
            (folder / line["file"]).write_bytes(with_metadata(starter.read_bytes(), told))
    lines.append({"kind": "validation", "step": 8, "epoch": 2, "loss": 0.5})
    text = "\n".join(map(json.dumps, lines))
    (folder / "小明-history.jsonl").write_text(f"{text}\n{{broken", encoding="utf-8")
    return studio.submit(params, client="me").id, folder


@pytest.mark.parametrize("name", ["../../x", "a/b", ""])
def test_training_when_its_options_cannot_be_then_is_not_queued(
    studio: Studio, tmp_path: Path, name: str
) -> None:
    changes = {"output_name": name} if name else {"network_dim": 4, "clip_skip": 13}
    form = _form(studio, tmp_path, changes=json.dumps(changes))
    chosen = choice(form, studio, sets_of(studio, ""))
    with pytest.raises(ParamsError, match=r"clip_skip: 13|cannot be a file name"):
        make_request(chosen, studio, "", "en")


def test_history_when_read_then_losses_and_files_come_out(studio: Studio, tmp_path: Path) -> None:
    job_id, folder = _run(studio, tmp_path)
    params = studio.params_of(studio.jobs.get(job_id))
    assert isinstance(params, TrainLora)
    history = history_of(folder, params.options)
    assert losses_of(history)[-1] == (8, 0.125, 0.25)
    files = files_of(folder, params.options, history)
    assert [(f.path.name, f.epoch, f.is_last) for f in files] == [
        ("小明-000001.safetensors", 1, False), ("小明.safetensors", 2, True),
    ]  # fmt: skip


def test_stage_when_a_training_is_there_then_shows_curve_sheet_and_files(
    studio: Studio, tmp_path: Path
) -> None:
    assert "Trainings appear here" in train_stage.render(studio, Visitor("me"), None, "en")
    job_id, _ = _run(studio, tmp_path)
    html = train_stage.render(studio, Visitor("me"), None, "en")
    assert "waits in the queue, place 1" in html and 'data-act="pause"' in html
    assert 'class="dq-mean"' in html and 'class="dq-held"' in html
    assert html.count(f"ui/train/sample/{job_id}/") == 8  # two epochs, two prompts, a link each
    assert html.count('data-act="use"') == 2
    assert train_stage.is_active(studio, Visitor("me"))
    assert "Training “小明”" in queue_tab.render(studio, Visitor("me"), "en")
    studio.control.pause_job(job_id)
    html = train_stage.render(studio, Visitor("me"), None, "zh")
    assert "已暂停，将从第 8 步继续" in html and 'data-act="resume"' in html
    studio.control.resume_job(job_id)
    view = studio.view(job_id)
    taken = dataclasses.replace(view, job=dataclasses.replace(view.job, state="running"))
    assert "Preparing" in train_stage._state(taken, [], "en")  # no word from its worker yet
    studio.control.cancel(job_id)
    assert "stopped at step 8" in train_stage.render(studio, Visitor("me"), None, "en")


def test_files_when_one_is_of_a_stop_in_an_epoch_then_it_is_named_by_its_step(
    tmp_path: Path,
) -> None:
    options = TrainingOptions(output_name="小明")
    names = (("小明-000001", 1, 40), ("小明-step00000041", 2, 41), ("小明", 2, 80))
    files = []
    for name, epoch, step in names:
        path = tmp_path / f"{name}.safetensors"
        path.touch()
        files.append(TrainedFile(path, epoch, step, is_last=name == "小明"))
    html = train_stage._files(1, files, options, "en")
    assert [part.partition("</b>")[0] for part in html.split("<b>")[1:]] == [
        "epoch 1", "41 steps", "the last",
    ]  # fmt: skip


def test_report_when_pictures_are_kept_back_then_they_are_looked_over_as_well(
    studio: Studio, tmp_path: Path
) -> None:
    form = _form(studio, tmp_path, changes='{"validation_split": 0.4}')
    plan = foresee(studio, choice(form, studio, sets_of(studio, "")).options).plan
    assert len(list(plan.entries())) == 2 and len(examine(plan).pictures) == 3


def test_stage_when_of_another_login_then_is_not_seen(studio: Studio, tmp_path: Path) -> None:
    chosen = choice(_form(studio, tmp_path), studio, sets_of(studio, ""))
    studio.submit(make_request(chosen, studio, "anna", "en"), client="anna/x")
    assert train_stage.trainings(studio, Visitor("ben/y", "ben")) == []
    assert len(train_stage.trainings(studio, Visitor("anna/z", "anna"))) == 1
    assert studio.jobs.list(kinds=(KIND,))[0].user == "anna"


def test_live_when_training_then_tells_step_speed_and_time_left() -> None:
    told = {"epoch": 2, "epochs": 5, "average_loss": 0.1, "rates": {"unet": 1e-4},
            "steps_per_second": 0.5, "eta_seconds": 600, "memory_bytes": 2e9,
            "step": 30, "steps": 120}  # fmt: skip
    live = LiveJob(1, 0.0, step=30, steps=120, stage="training", training=told)
    html = train_stage._live(live, "en")
    for text in ("step 30 of 120", "epoch 2 of 5", "10 min left", "2.0 s per step", "2.0 GB",
                 "width:25%"):  # fmt: skip
        assert text in html
    live = LiveJob(1, 0.0, step=0, steps=2, stage="sampling", training=told)
    html = train_stage._live(live, "en")
    assert "width:25%" in html and "0/2" in html, "what is done stays done"


def test_card_when_an_epoch_is_chosen_then_lies_in_the_gallery_with_words_and_picture(
    studio: Studio, tmp_path: Path
) -> None:
    job_id, folder = _run(studio, tmp_path)
    name = train_use.use_file(studio, studio.jobs.get(job_id), 0, "en")
    lora = tmp_path / "models" / "Lora" / f"{name}.safetensors"
    assert lora.read_bytes() == (folder / "小明-000001.safetensors").read_bytes()
    notes = json.loads(lora.with_suffix(".json").read_text("utf-8"))
    assert notes["activation text"] == "小明"
    assert "3 pictures, 4 steps, epoch 1" in notes["notes"]
    assert str(tmp_path) not in notes["notes"]
    assert lora.with_name(f"{name}.preview.png").is_file()
    assert studio.catalog.find_lora(name).path == lora
    assert train_use.use_file(studio, studio.jobs.get(job_id), 0, "en") == f"{name}-2"
    with pytest.raises(ParamsError, match="no longer there"):
        train_use.use_file(studio, studio.jobs.get(job_id), 9, "en")


def test_card_when_its_set_is_gone_then_still_tells_how_many_pictures_it_was_made_from(
    studio: Studio, tmp_path: Path
) -> None:
    job_id, _ = _run(studio, tmp_path)
    sets_of(studio, "").remove("小明 set")
    name = train_use.use_file(studio, studio.jobs.get(job_id), 0, "zh")
    notes = (tmp_path / "models" / "Lora" / f"{name}.json").read_text("utf-8")
    assert "3 张图片" in json.loads(notes)["notes"]


def test_pictures_when_a_file_tells_of_several_datasets_then_each_folder_counts_once(
    tmp_path: Path,
) -> None:
    one = {"image_dir": "a", "metadata_file": "", "img_count": 8, "is_reg": False}
    others = [{**one, "image_dir": "b", "img_count": 2}, {**one, "image_dir": "c", "is_reg": True}]
    told = {"ss_datasets": json.dumps([{"subsets": [one, *others]}, {"subsets": [one]}])}
    file = tmp_path / "a.safetensors"
    starter = next((Path(__file__).parents[2] / "models" / "Lora").glob("*.safetensors"))
    file.write_bytes(with_metadata(starter.read_bytes(), told))
    assert pictures_told(file) == 10
    file.write_bytes(with_metadata(starter.read_bytes(), {"ss_datasets": "[3]"}))
    assert pictures_told(file) == 0


def test_options_when_taken_over_then_places_stay_behind(studio: Studio, tmp_path: Path) -> None:
    job_id, _ = _run(studio, tmp_path)
    kept = train_use.options_again(studio.params_of(studio.jobs.get(job_id)))
    assert kept["network_dim"] == 16
    assert not {"train_data_dir", "output_dir", "pretrained_model_name_or_path"} & set(kept)
