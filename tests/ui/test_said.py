"""What rooms say in English, on Chinese pages: the table against the source, and the lookup."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from tests.ui.raised_texts import raised_texts
from webui.errors import ParamsError
from webui.ui import cards, said
from webui.ui.said import error_in_language, in_language


def _table() -> dict[str, str]:
    return said.json.loads(said.FILE.read_text("utf-8"))


def test_texts_when_raised_then_have_chinese() -> None:
    raised, table = raised_texts(), set(_table())
    assert raised - table == set(), "add their Chinese to webui/ui/said_zh.json"
    assert table - raised == set(), "nobody says these any more"


def test_table_holds_no_single_word_for_a_name_may_be_one() -> None:
    assert [english for english in _table() if " " not in english] == []


def test_templates_when_chinese_then_hold_the_same_values_and_no_other() -> None:
    for english, chinese in _table().items():
        gaps = re.compile(r"\{\d\}")
        assert sorted(gaps.findall(english)) == sorted(gaps.findall(chinese)), english
        assert re.search(r"[\u4e00-\u9fff，。：]", chinese), english


def test_sentence_of_every_template_is_told_by_its_own_chinese() -> None:
    def filled(template: str) -> str:
        return re.sub(r"\{(\d)\}", r"value \1;", template)

    told = {english: in_language(filled(english), "zh") for english in _table()}
    wanted = {english: filled(chinese) for english, chinese in _table().items()}
    assert {english: text for english, text in told.items() if text != wanted[english]} == {}


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("Choose another picture.", "请选择另一张图片。"),
        ("There is no board {0} {x}.", "没有画板 {0} {x}。"),
        ("ControlNet 2: There is no board a: b.", "ControlNet 2：没有画板 a: b。"),
        (
            "A picture of 8x8 did not fit into the memory of cpu, even alone. Tried in vain: the "
            "VAE in tiles, the networks that are not at work in main memory.",
            "8x8 的图片即使单独绘制也放不进 cpu 的显存。"
            "已试过但无效：分块运行 VAE、把未在工作的网络放到内存。",
        ),
        (
            "The extension a was left out: process: It tried to end the program, which was not "
            "done.",
            "扩展 a 已被排除：process：它试图结束程序，已被阻止。",
        ),
        ("There is no board none yet, or.", "没有画板 none yet, or。"),
        (
            "No source gives the file. a.org cannot be reached (x). b.org does not have this file "
            "(HTTP 404).",
            "没有来源提供该文件。无法连接 a.org（x）。b.org 没有这个文件（HTTP 404）。",
        ),
        ("[Errno 13] Permission denied: '/x'", "[Errno 13] Permission denied: '/x'"),
        ("a.png: There is no board a: b.", "a.png：没有画板 a: b。"),
        ("a.png: Choose another picture. Own words.", "a.png: Choose another picture. Own words."),
        (
            "ddp_timeout is not used here: processes average their gradients in one piece and wait "
            "for each other for a day.",
            "这里不使用 ddp_timeout：各进程一次性平均全部梯度，最多互相等待一天。",
        ),
        (
            '"netwrk_dim" is unknown and was left out. Did you mean "network_dim"?',
            "不认识“netwrk_dim”，已忽略。您是指“network_dim”吗？",
        ),
        ('"zzz" is unknown and was left out.', "不认识“zzz”，已忽略。"),
        (
            "<lora:big> was not applied: 0 of its 18 layers fit starter (SD 1.x). It was made for "
            "SDXL; choose a LoRA or a checkpoint of the same family.",
            "<lora:big> 未被应用：它的 18 层中只有 0 层适合 starter (SD 1.x)。它是为 SDXL 制作的；"
            "请选择同一系列的 LoRA 或模型。",
        ),
        (
            "<lora:x:1:a> was left out. There is no board a. Choose another picture.",
            "已忽略 <lora:x:1:a>。没有画板 a。请选择另一张图片。",
        ),
    ],
)
def test_sentence_when_known_is_said_in_chinese_with_its_own_values(
    english: str, chinese: str
) -> None:
    assert in_language(english, "zh") == chinese
    assert in_language(english, "en") == english


def test_failed_job_is_told_in_chinese_from_its_row_and_its_values_are_escaped() -> None:
    error = {
        "message": "There is no board <b>.",
        "hint": "Choose another picture.",
        "code": "library",
    }
    html = cards.failure_card(error, 1, "zh")
    assert "没有画板 &lt;b&gt;。" in html and "Choose another picture." not in html
    assert "训练正在等待。" in cards.warnings_list(["The training waits."], "zh")


def test_refused_request_when_of_the_page_is_answered_in_its_language() -> None:
    app = FastAPI()

    @app.exception_handler(HTTPException)
    async def before(_request: object, err: HTTPException) -> said.Response:
        return said.Response(str(err.detail), err.status_code)

    app.add_exception_handler(HTTPException, said.error_answer(before))  # type: ignore[arg-type]

    @app.get("/ui/x")
    @app.get("/sdapi/x")
    def refuse() -> None:
        try:
            raise ParamsError("There is no board a.", "Choose another picture.")
        except ParamsError as err:
            raise HTTPException(422, str(err)) from err

    client = TestClient(app)
    zh, en = {"Accept-Language": "zh-CN"}, {"Accept-Language": "en"}
    assert client.get("/ui/x", headers=zh).text == "没有画板 a。 请选择另一张图片。"
    assert client.get("/ui/x", headers=en).text == "There is no board a. Choose another picture."
    assert client.get("/sdapi/x", headers=zh).text == "There is no board a. Choose another picture."
    assert error_in_language(ParamsError("Own words."), "zh") == "Own words."
