"""Texts, cards, settings and the fence: what can be judged without a browser."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from webui.errors import ParamsError
from webui.option_values import checked
from webui.options import OPTIONS, Option
from webui.params import LATENT_UPSCALE_MODES, PLAIN_UPSCALERS
from webui.preprocessors import names
from webui.samplers.names import SCHEDULES
from webui.services.forms.presets import SHIPPED_FILE
from webui.ui import cards, settings_tab, wiring
from webui.ui.form import SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULE
from webui.ui.quicksettings import NO_FILE
from webui.ui.session import load_secret
from webui.ui.texts import TEXTS, named, say, value_name
from webui.ui.value_texts import VALUE_TEXTS, VALUES_ZH

UI = Path(cards.__file__).parent


def names_in(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("key", TEXTS)
def test_text_has_both_languages_with_the_same_names(key: str) -> None:
    english, chinese = TEXTS[key]
    assert english.strip() and chinese.strip()
    assert names_in(english) == names_in(chinese)


def test_texts_are_all_used() -> None:
    """Said by a part of the page or by its scripts; that a table holds it is no use of it."""
    parts = [p for p in UI.glob("*.py") if not p.stem.endswith("texts")]
    code = "".join(p.read_text("utf-8") for p in (*parts, *UI.glob("assets/*.js")))
    begun = tuple(re.findall(r"""["'`]([a-z]\w*_)(?:\$?\{|['"`] \+)""", code))  # f"state_{…}"
    begun += ("gradio_",)  # by what Gradio calls them (assets/page.js)
    ended = tuple(re.findall(r"""\}(_[a-z]\w*)["'`]""", code))  # f"{tool}_title"
    quoted = set(re.findall(r"""["'`](\w+)["'`]""", code))
    explained = {f"{key}_long": key for key in TEXTS}  # what a short word means, shown beside it
    spare = {key for key in TEXTS if explained.get(key, key) not in quoted} - set(VALUE_TEXTS)
    assert [k for k in sorted(spare) if not (k.startswith(begun) or k.endswith(ended))] == []


NAMES = {
    "GPU", "CPU", "NV", "bh1", "bh2", "vary_coeff", "logSNR", "CodeFormer", "GFPGAN",
    "RestoreFormer", "TAESD", "png", "jpg", "jpeg", "webp", "avif", "Karras", "Align Your Steps",
    "DDIM", "Beta", "Lanczos",
}  # fmt: skip
"""Values that are the same in every language: of methods, devices and kinds of files."""


def test_values_of_menus_when_they_are_words_have_chinese_names() -> None:
    of_options = {choice for option in OPTIONS if option.is_live for choice in option.choices}
    of_menus = {
        *(schedule.label for schedule in SCHEDULES), *LATENT_UPSCALE_MODES, *PLAIN_UPSCALERS,
        *NO_FILE, SAME_SAMPLER, SAME_SCHEDULE, SAME_CHECKPOINT, names.NONE,
        *json.loads(SHIPPED_FILE.read_text("utf-8"))["presets"],
    }  # fmt: skip
    assert set(VALUES_ZH) == (of_options | of_menus) - NAMES
    assert value_name("Automatic", "zh").startswith("自动")
    assert value_name("Automatic", "en") == value_name("Automatic", "de") == "Automatic"
    assert [value for _, value in named(["Automatic", "Karras"])] == ["Automatic", "Karras"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_cards_escape_what_they_show(language: str) -> None:
    evil = "<script>\"'&"
    line = cards.JobLine(1, "failed", evil, evil, evil, error={"message": evil, "hint": evil})
    html = "".join(
        [
            cards.job_list([line], language),
            cards.failure_card({"message": evil, "hint": evil, "code": evil}, 1, language),
            cards.infotext_view(evil, language),
            cards.facts_table([(evil, evil)]),
            cards.warnings_list([evil], language),
            cards.no_checkpoint_card(evil, language),
            cards.empty_card(language, [evil]),
        ]
    )
    assert "<script" not in html
    assert html.count("&lt;script&gt;&quot;&#x27;&amp;") >= 12


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (200, "3 min"), (9000, "2.5 h")]
)
def test_duration_is_told_in_fitting_units(seconds: float, text: str) -> None:
    assert cards.duration(seconds, "en") == text


def test_settings_show_every_live_option_once() -> None:
    assert {o.key for o in settings_tab.shown()} | set(settings_tab.IN_THE_TOP_ROW) == {
        o.key for o in OPTIONS if o.is_live
    }
    for option in OPTIONS:
        assert settings_tab.group_of(option.key) in settings_tab.GROUPS


@pytest.mark.parametrize(
    ("option", "value", "read"),
    [
        (Option("a", True, "A"), False, False),
        (Option("a", 3, "A"), 5.0, 5),
        (Option("a", 1.0, "A"), 2, 2.0),
        (Option("a", [], "A"), " x, ,y ", ["x", "y"]),
        (Option("a", None, "A"), "", None),
        (Option("a", "b", "A", ("b", "c")), "c", "c"),
        (Option("a", ["b"], "A", ("b", "c")), ["c", "b"], ["c", "b"]),
        (Option("a", ["b"], "A", ("b", "c")), [], []),
        (Option("a", ["b"], "A", ("b", "c")), None, ["b"]),
    ],
)
def test_setting_is_read_as_its_own_type(option: Option, value: Any, read: Any) -> None:
    found = checked(option, value)
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        (Option("a", 3, "A"), ""),
        (Option("a", 3, "A"), 3.5),
        (Option("a", 3, "A", minimum=3), 2),
        (Option("a", 0.5, "A", maximum=1), "1.01"),
        (Option("a", [], "A"), [{}]),
        (Option("a", [], "A"), 5),
        (Option("a", "", "A"), "x" * 20_001),
        (Option("a", "b", "A", ("b",)), "z"),
        (Option("a", ["b"], "A", ("b",)), ["b", "z"]),
    ],
)
def test_setting_when_wrong_is_refused(option: Option, value: Any) -> None:
    with pytest.raises(ParamsError) as caught:
        checked(option, value)
    assert caught.value.field == "a"


def test_fence_when_handler_fails_shows_it_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda text, **_: shown.append(text))

    def known(_values: dict) -> None:
        raise ParamsError("Steps <b> were 0.", "Ask for more.")

    def unknown(_values: dict) -> None:
        raise KeyError("secret detail")

    assert wiring.fence(known)({}) == gr.skip()
    assert wiring.fence(unknown)({}) == gr.skip()
    assert shown[0] == "Steps &lt;b&gt; were 0. Ask for more."
    assert "secret detail" not in shown[1]
    report_id = shown[1].split("report id ")[1].rstrip(").")
    assert report_id in caplog.text
    assert "secret detail" in caplog.text


def test_warning_when_the_program_said_it_comes_in_the_language_of_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[tuple[str, str]] = []
    for kind in ("Warning", "Info"):
        monkeypatch.setattr(gr, kind, lambda text, title, **_: shown.append((text, title)))
    wiring.show_warning("<a>.png: Choose another picture.")
    monkeypatch.setattr(wiring, "language_of", lambda _request: "zh")
    wiring.show_warning("<a>.png: Choose another picture.")
    wiring.show_warning("请先填写样式名称。")
    wiring.show_info("已保存。")
    assert shown == [
        ("&lt;a&gt;.png: Choose another picture.", "Warning"),
        ("&lt;a&gt;.png：请选择另一张图片。", "警告"),
        ("请先填写样式名称。", "警告"),
        ("已保存。", "提示"),
    ]


def test_warnings_of_several_files_are_one_message_that_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[tuple[str, Any]] = []
    monkeypatch.setattr(gr, "Warning", lambda text, duration, **_: shown.append((text, duration)))
    wiring.show_warnings([])
    wiring.show_warnings(["<a>.png", "<b>.png"])
    assert shown == [("&lt;a&gt;.png<br>&lt;b&gt;.png", None)]


def test_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    first = load_secret(tmp_path)
    assert len(first) >= 40
    assert load_secret(tmp_path) == first
    assert (tmp_path / "page-secret").stat().st_mode & 0o077 == 0


def test_say_fills_in_values() -> None:
    assert say("step_of", "zh", step=3, steps=20) == "第 3/20 步"


@pytest.mark.parametrize(("code", "offers"), [("params", False), ("device_memory", True)])
def test_failed_job_offers_the_same_again_only_where_that_can_help(code: str, offers: bool) -> None:
    error = {"code": code, "message": "m", "hint": "h"}
    assert ('data-act="retry"' in cards.failure_card(error, 1, "en")) is offers
    line = cards.JobLine(1, "failed", "t", "f", "w", error=error)
    assert ('data-act="retry"' in cards.job_line(line, "en")) is offers
    assert "可以这样做：" in cards.failure_card(error, 1, "zh")
