"""The merger and the tools: fields to requests, and what is shown of jobs and files."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from safetensors.torch import save_file

from tests.patience import wait_until
from tests.ui.conftest import Served
from webui.checkpoints.pickle_wishes import WORDS
from webui.checkpoints.report import FileReport, report_on
from webui.errors import CheckpointNotFoundError, ParamsError
from webui.jobs.store import Job
from webui.params import (
    FILE_TOOL_KINDS,
    AnyFileTool,
    BakeLoras,
    ConvertModel,
    MergeCheckpoints,
    MergeLoras,
    build,
)
from webui.studio import JobView, Studio
from webui.ui.models_tools import draw_merger
from webui.ui.models_tools_form import LORA_ROWS, file_choices, make_request
from webui.ui.models_tools_view import job_card, report_card, tool_title
from webui.ui.texts import TEXTS

EVIL = b"\x80\x02cos\nsystem\nX\x0a\0\0\0curl <evil\x85R."


def defaults_of_merger() -> dict[str, Any]:
    import gradio as gr

    with gr.Blocks():
        return {name: field.value for name, field in draw_merger().fields.items()}


def request(tool: str, form: dict[str, Any], studio: Studio) -> Any:
    return make_request(tool, form, studio, "en", user="")


def test_merger_when_untouched_asks_for_what_a1111_does_by_default(studio: Studio) -> None:
    form = {**defaults_of_merger(), "primary": "starter-emoji", "secondary": "starter-emoji"}
    params = request("merge", form, studio)
    assert params == MergeCheckpoints(
        primary="starter-emoji.safetensors", secondary="starter-emoji.safetensors"
    )
    assert (params.multiplier, params.interpolation) == (0.3, "Weighted sum")
    with pytest.raises(ParamsError, match=r"needs a tertiary model \(C\)"):
        request("merge", {**form, "interpolation": "Add difference"}, studio)
    with pytest.raises(ParamsError, match="no regular expression"):
        request("merge", {**form, "discard_weights": "("}, studio)
    with pytest.raises(ParamsError, match="readable JSON"):
        request("merge", {**form, "metadata_json": "{"}, studio)
    with pytest.raises(ParamsError, match="Choose a file first"):
        request("merge", {**form, "primary": None}, studio)
    with pytest.raises(CheckpointNotFoundError, match="'gone'"):
        request("merge", {**form, "primary": "gone"}, studio)


def test_convert_when_it_is_no_checkpoint_leaves_pruning_alone(studio: Studio) -> None:
    form = {
        "model_kind": "lora", "name": "starter-hedgehog", "precision": "fp16",
        "pruning": "ema-only", "layout": "diffusers", "custom_name": "sub/small",
    }  # fmt: skip
    wanted = {"name": "starter-hedgehog.safetensors", "precision": "fp16"}
    assert request("convert", form, studio) == ConvertModel(
        model_kind="lora", custom_name="sub/small", **wanted
    )


@pytest.mark.parametrize(
    "name",
    ["../up", "/root", "a/../b", "a:b", "x\ny", "dir/", ".hidden", "dir./x", "a\u202eb", "a\u2028b",
     "a\x7fb", "CON", "dir/nul.old", "com1"],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a file"):
        ConvertModel(name="x", custom_name=name)


@pytest.mark.parametrize("name", ["", "模型/新的", "console", "0.7(a) + 0.3(b)", "v1.5", "😀"])
def test_names_that_people_give_are_taken(name: str) -> None:
    assert ConvertModel(name="x", custom_name=name).custom_name == name


@pytest.mark.parametrize(
    "wish",
    [
        {"discard_weights": "a{99999999999999999999}"},
        {"metadata_json": "[" * 100_000},
        {"metadata_json": r'{"a": "\ud800"}'},
        {"metadata_json": "[1]"},
    ],
    ids=["giant repetition", "deep JSON", "half a character", "no object"],
)
def test_merge_when_a_field_is_absurd_is_refused_in_words(wish: dict[str, str]) -> None:
    with pytest.raises(ParamsError, match=r"regular expression|readable JSON|JSON object"):
        build("merge-checkpoints", {"primary": "a", "secondary": "b", **wish})


def test_loras_when_a_checkpoint_is_chosen_go_into_it(studio: Studio) -> None:
    form: dict[str, Any] = {"into": "", "dim": 8, "precision": "keep", "custom_name": ""}
    for n in range(LORA_ROWS):
        form |= {f"lora_{n}": "", f"weight_{n}": 1.0}
    with pytest.raises(ParamsError, match="at least one LoRA"):
        request("loras", form, studio)
    form |= {"lora_1": "starter-hedgehog", "weight_1": 0.5}
    found = [{"name": "starter-hedgehog.safetensors", "weight": 0.5}]
    assert request("loras", form, studio) == MergeLoras(loras=found, dim=8)
    form["into"] = "starter-emoji"
    assert request("loras", form, studio) == BakeLoras(
        loras=found, checkpoint_name="starter-emoji.safetensors"
    )


def test_everything_shown_has_its_words() -> None:
    for key in (*(f"deed_{deed}" for deed in WORDS), *(f"tool_{k}" for k in FILE_TOOL_KINDS)):
        assert all(TEXTS[key]), key
    assert len(FILE_TOOL_KINDS) == len(get_args(AnyFileTool))
    for deed, words in WORDS.items():
        assert TEXTS[f"deed_{deed}"][0] == words


def failed(error: dict[str, Any]) -> JobView:
    job = Job(
        id=3, task_id="t", kind="convert-model", params_json="{}", state="failed", priority=0,
        attempts=1, created_at=0, started_at=0, finished_at=0, origin="page", user="", client="",
        repeat_json=None, error=error, warnings=(), result=None, cancel_requested=False,
    )  # fmt: skip
    return JobView(job, None, 0, ())


@pytest.mark.parametrize(("language", "words"), [("en", "run a program"), ("zh", "运行程序")])
def test_refused_file_is_told_about_in_plain_words(language: str, words: str) -> None:
    wish = {"deed": "run_program", "call": "os.system('<b>')"}
    error = {"message": "refused", "hint": "", "details": {"wishes": [wish]}}
    html = job_card(failed(error), "Convert x", language)
    assert words in html and "os.system(&#x27;&lt;b&gt;&#x27;)" in html


def test_report_tells_facts_or_what_a_refused_file_wanted(studio: Studio) -> None:
    folder = studio.settings.folders.data / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    (folder / "evil.ckpt").write_bytes(EVIL)
    save_file({"x": torch.ones(2, 3)}, folder / "odd.safetensors", {"note": '{"a": "<i>"}'})
    studio.catalog.refresh()
    names = [name for _, name in file_choices(studio, "checkpoint")]
    assert {"evil.ckpt", "odd.safetensors", "starter-emoji.safetensors"} <= set(names)
    evil = report_on(studio.catalog.find_checkpoint("evil.ckpt"), studio.catalog, has_hashes=False)
    assert evil.problem and [w["call"] for w in evil.wishes] == ["os.system('curl <evil')"]
    assert report_card(evil, "en").count("os.system(&#x27;curl &lt;evil&#x27;)") == 1, "said once"
    odd = studio.catalog.find_checkpoint("odd.safetensors")
    html = report_card(report_on(odd, studio.catalog, has_hashes=True), "zh")
    assert "F32 2 × 3" in html and "&lt;i&gt;" in html and "<i>" not in html
    assert len(report_on(odd, studio.catalog, has_hashes=True).record.sha256 or "") == 64


def test_report_of_metadata_that_has_no_end_stays_readable(studio: Studio) -> None:
    record = studio.catalog.find_checkpoint("starter-emoji")
    deep = {f"deep {depth}": "[" * depth + "]" * depth for depth in (900, 9000)}
    many = {f"key {number:04}": "" for number in range(500)}
    metadata = {**deep, "a": "x" * 90_000, "b" * 900: "odd name", **many}
    html = report_card(FileReport(record, metadata=metadata), "en")
    assert "… (90,000)" in html and "… and 104 more" in html and "b" * 150 + "…" in html
    assert len(html) < 100_000


@pytest.mark.browser
def test_merge_when_pressed_shows_the_new_file(page: Any, served: Served) -> None:
    folder = served.studio.settings.folders.data / "models" / "Stable-diffusion"
    page.locator("#dq-tabs [role=tab]", has_text="Models").first.click()
    page.locator("[role=tab]", has_text="Checkpoint Merger").first.click()
    for menu in ("#dq-merge-a", "#dq-merge-b"):
        page.locator(f"{menu} input").click()
        page.locator("[role=option]", has_text="starter-emoji").first.click()
    page.click("#dq-merge-go")
    try:
        page.wait_for_selector("#dq-merge-stage .dq-path")
        assert "made of others.safetensors" in page.inner_text("#dq-merge-stage")
        page.locator("#dq-merge-a input").click()  # the menus know the new file by themselves
        there = page.locator("[role=option]", has_text="made of others")
        wait_until(there.count, "not in the menu")
    finally:  # other tests share this server
        (folder / "made of others.safetensors").unlink(missing_ok=True)
        served.studio.catalog.refresh()
    job = served.studio.jobs.list(kinds=FILE_TOOL_KINDS, limit=1)[0]
    params = served.studio.params_of(job)
    assert isinstance(params, MergeCheckpoints)
    assert tool_title(params, "en") == "Merge starter-emoji + starter-emoji"
