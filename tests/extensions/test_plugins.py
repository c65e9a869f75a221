"""Who is asked, in which order, and what may be answered."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from webui.errors import ExtensionError, ParamsError
from webui.extensions.fence import Fence, within_time
from webui.extensions.plugins import Plugins
from webui.hookspecs import hook


def joined(**functions: Any) -> SimpleNamespace:
    return SimpleNamespace(**{name: hook(function) for name, function in functions.items()})


@pytest.fixture
def plugins() -> Plugins:
    return Plugins("web", Fence(within_time))


def test_change_when_several_join_then_each_gets_the_answer_before_it(plugins: Plugins) -> None:
    plugins.add("b", joined(rewrite_prompt=lambda text: text + "b"))
    plugins.add("a", joined(rewrite_prompt=lambda text, which: f"{text}a{which[0]}"))
    plugins.add("c", joined(rewrite_prompt=lambda text: None))
    assert plugins.change("rewrite_prompt", "-", which="prompt", values={}) == "-apb"


def test_change_when_one_wants_to_be_first_or_last_then_it_is(plugins: Plugins) -> None:
    late = SimpleNamespace(rewrite_prompt=hook(trylast=True)(lambda text: text + "late"))
    early = SimpleNamespace(rewrite_prompt=hook(tryfirst=True)(lambda text: text + "early "))
    plugins.add("a", late)
    plugins.add("z", early)
    plugins.add("m", joined(rewrite_prompt=lambda text: text + "m "))
    assert plugins.change("rewrite_prompt", "", which="prompt", values={}) == "early m late"


def test_change_when_only_some_act_then_others_are_not_asked(plugins: Plugins) -> None:
    plugins.add("a", joined(rewrite_prompt=lambda text, values: text + values["x"]))
    plugins.add("b", joined(rewrite_prompt=lambda text: text + "b"))
    own = {"a": {"values": {"x": "1"}}}
    assert plugins.change("rewrite_prompt", "-", own, which="prompt") == "-1"


def test_change_when_the_answer_does_not_fit_then_it_is_not_taken(plugins: Plugins) -> None:
    plugins.add("a", joined(rewrite_prompt=lambda text: 5))
    plugins.add("b", joined(rewrite_prompt=lambda text: text + "b"))
    assert plugins.change("rewrite_prompt", "-", which="prompt", values={}) == "-b"
    assert "str is needed" in plugins.fence.troubles("a")[0].message


def test_list_when_the_answer_is_no_list_then_it_is_told(plugins: Plugins) -> None:
    plugins.add("a", joined(forms=lambda: "no"))
    plugins.add("b", joined(forms=lambda: [1, 2]))
    assert plugins.list("forms") == [("b", 1), ("b", 2)]
    assert "a list is needed" in plugins.fence.troubles("a")[0].message


def test_list_when_an_item_is_of_another_kind_then_the_others_are_taken(plugins: Plugins) -> None:
    plugins.add("a", joined(prompt_offers=lambda typed: [typed, 5]))
    assert plugins.list("prompt_offers", None, str, typed="x", values={}) == [("a", "x")]
    assert "holds a int" in plugins.fence.troubles("a")[0].message


def test_refusal_when_the_moment_allows_none_then_is_a_failure(plugins: Plugins) -> None:
    def refuse(**_: Any) -> None:
        raise ParamsError("No.")

    plugins.add(
        "a", joined(rewrite_prompt=lambda text: refuse(), draw_prompts=lambda texts: refuse())
    )
    assert plugins.change("rewrite_prompt", "-", which="prompt", values={}) == "-"
    assert len(plugins.fence.troubles("a")) == 1
    with pytest.raises(ParamsError, match="No"):
        plugins.change("draw_prompts", ("-",))
    assert len(plugins.fence.troubles("a")) == 1


def test_plugin_when_it_was_left_out_then_is_not_asked(plugins: Plugins) -> None:
    plugins.add("a", joined(rewrite_prompt=lambda text: text + "a"))
    plugins.fence.record("a", "rewrite_prompt", "enough", is_fatal=True)
    assert plugins.change("rewrite_prompt", "-", which="prompt", values={}) == "-"


@pytest.mark.parametrize(
    ("plugin", "told"),
    [
        (joined(before_everything=lambda: None), "before_everything"),
        (joined(rewrite_prompt=lambda text, weather: text), "weather"),
        (SimpleNamespace(rewrite_prompt=lambda text: text), "no function is marked"),
        (SimpleNamespace(rewrite_prompt=hook(wrapper=True)(lambda text: (yield))), "wrapper"),
    ],
)
def test_add_when_hooks_do_not_fit_then_is_refused_and_nothing_changes(
    plugins: Plugins, plugin: Any, told: str
) -> None:
    with pytest.raises(ExtensionError, match=told):
        plugins.add("a", plugin)
    assert plugins.names == ()
    plugins.add("a", joined(rewrite_prompt=lambda text: text + "good"))
    assert plugins.change("rewrite_prompt", "", which="prompt", values={}) == "good"


def test_remove_when_done_then_only_the_others_are_asked(plugins: Plugins) -> None:
    plugins.add("a", joined(rewrite_prompt=lambda text: text + "a"))
    plugins.add("b", joined(rewrite_prompt=lambda text: text + "b"))
    plugins.remove("a")
    assert plugins.change("rewrite_prompt", "", which="prompt", values={}) == "b"
    assert not plugins.joins("rewrite_prompt", {"a"})
