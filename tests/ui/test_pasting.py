"""From recipes to form values and chips, over a real studio's options and catalog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webui.errors import ParamsError
from webui.infotext import add_pairs
from webui.prompts.chinese.translate import in_english
from webui.prompts.styles import Style
from webui.services.resolve import TextToImageRequest
from webui.settings import read_settings
from webui.studio import Studio
from webui.ui import plots
from webui.ui.pasting import AS_PAINTED, has_recipe, paste, read_chips


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder: Path = tmp_path_factory.mktemp("data")
    made = Studio(read_settings(["--data-dir", str(folder)], environ={}))
    yield made
    made.stop()


def recipe(pairs: str, prompt: str = "a hill") -> str:
    return f"{prompt}\nSteps: 20, Seed: 5, RNG: NV, {pairs}"


def test_recipe_when_only_a_prompt_is_none() -> None:
    assert not has_recipe("a cat, sitting, at night")
    assert has_recipe(recipe("Size: 64x64"))


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ("Size: 640x832", {"width": 640, "height": 832}),
        ("Sampler: DPM++ 2M Karras", {"sampler": "DPM++ 2M", "schedule": "Automatic"}),
        ("Sampler: Euler a, Schedule type: Beta", {"sampler": "Euler a", "schedule": "Beta"}),
        ("Sampler: LMS Karras", {"sampler": "LMS", "schedule": "Karras"}),
        ("CFG scale: 6.5", {"cfg_scale": 6.5, "has_extra": False, "has_hires": False}),
        ("Variation seed: 7, Variation seed strength: 0.2",
         {"has_extra": True, "subseed": "7", "subseed_strength": 0.2}),
        ("Denoising strength: 0.4, Hires upscale: 1.5, Hires steps: 8",
         {"has_hires": True, "hires_denoising": 0.4, "hires_scale": 1.5, "hires_steps": 8}),
        ("Tiling: True", {"tiling": True}),
        ("CFG scale: lots", {"steps": 20}),
    ],
)  # fmt: skip
def test_paste_reads(studio: Studio, pairs: str, expected: dict[str, object]) -> None:
    values = paste(recipe(pairs), studio).values
    assert {name: values.get(name) for name in expected} == expected


def test_paste_when_seed_is_huge_keeps_every_digit(studio: Studio) -> None:
    assert paste("x\nSteps: 2, CFG scale: 7, Seed: 18446744073709551615", studio).values[
        "seed"
    ] == str(2**64 - 1)


@pytest.mark.parametrize(
    ("pairs", "chips"),
    [
        ("Size: 64x64", []),
        ("Clip skip: 2", ["Clip skip: 2"]),
        ("Clip skip: 1, ENSD: 31337", ["ENSD: 31337"]),
        ("Eta: 1", []),
        ("Discard penultimate sigma: True", ["Discard penultimate sigma: True"]),
        ("VAE: not-here.pt", []),
        ("Model hash: 0123456789", []),
        ("Emphasis: Sideways", []),
    ],
)
def test_chips_show_only_what_differs(studio: Studio, pairs: str, chips: list[str]) -> None:
    assert paste(recipe(pairs), studio).chips == chips


def test_chips_when_the_setting_agrees_are_not_shown(studio: Studio) -> None:
    studio.options.set("CLIP_stop_at_last_layers", 2)
    try:
        assert paste(recipe("Clip skip: 2"), studio).chips == []
        assert paste(recipe("CFG scale: 7"), studio).chips == ["Clip skip: 1"]
    finally:
        studio.options.set("CLIP_stop_at_last_layers", 1)


def test_chips_read_back_as_typed_options() -> None:
    chips = ["Clip skip: 2", "Eta: 0.5", "Pad conds: True", "RNG: CPU"]
    assert read_chips(chips) == {
        "CLIP_stop_at_last_layers": 2, "eta_ancestral": 0.5, "pad_cond_uncond": True,
        "randn_source": "CPU",
    }  # fmt: skip


@pytest.mark.parametrize("chip", ["Nonsense: 1", "Clip skip: two", "RNG: dice", "Clip skip"])
def test_chips_when_wrong_are_refused(chip: str) -> None:
    with pytest.raises(ParamsError, match="cannot be read"):
        read_chips([chip])


@pytest.mark.parametrize(
    ("choice", "prompt", "styles"),
    [
        ("Apply if any", "a hill", ["ink"]),
        ("Apply", "a hill", ["ink"]),
        ("Discard", "a hill", None),
        ("Ignore", "a hill, in ink", None),
    ],
)
def test_styles_in_a_recipe_follow_the_setting(
    studio: Studio, choice: str, prompt: str, styles: list[str] | None
) -> None:
    studio.styles.save(Style("ink", "in ink", ""))
    studio.options.set("infotext_styles", choice)
    values = paste(recipe("CFG scale: 7", "a hill, in ink"), studio).values
    assert (values["prompt"], values.get("styles")) == (prompt, styles)


def test_paste_when_other_checkpoints_are_here_fills_their_menus(studio: Studio) -> None:
    title = studio.checkpoint("starter-emoji").title
    values = paste(recipe(
        "Denoising strength: 0.4, Hires checkpoint: starter-emoji, Hires CFG Scale: 4, "
        "Refiner: starter-emoji, Refiner switch at: 0.6"
    ), studio).values  # fmt: skip

    assert (values["hires_checkpoint"], values["hires_cfg"]) == (title, 4.0)
    assert (values["has_refiner"], values["refiner_checkpoint"]) == (True, title)
    assert values["refiner_switch_at"] == 0.6


def test_paste_when_other_checkpoints_are_not_here_names_them_and_turns_them_off(
    studio: Studio,
) -> None:
    pasted = paste(recipe(
        "Denoising strength: 0.4, Hires checkpoint: far [0123456789], Refiner: away"
    ), studio)  # fmt: skip

    assert pasted.missing[-2:] == ["away", "far [0123456789]"]
    assert pasted.values["has_refiner"] is False
    assert pasted.values["hires_checkpoint"] == "Use same checkpoint"


def test_paste_when_there_are_no_other_checkpoints_closes_their_fields(studio: Studio) -> None:
    values = paste(recipe("CFG scale: 7"), studio).values

    assert (values["has_refiner"], values["hires_cfg"]) == (False, 0.0)
    assert values["hires_checkpoint"] == "Use same checkpoint"


def test_chips_when_the_refiner_works_otherwise_than_the_settings_say_so(studio: Studio) -> None:
    pairs = "Refiner: x, Hires refiner: both passes, Refiner switch by sampling steps: True"

    assert paste(recipe(pairs), studio).chips == [
        "Hires refiner: both passes", "Refiner switch by sampling steps: True",
    ]  # fmt: skip


SCRIPTS: list[dict[str, Any]] = [
    {"kind": "xyz", "x": {"axis": "Steps", "values": "2-4 (+2)"},
     "y": {"axis": "CFG Scale", "values": "5, 7"},
     "vary_seeds_x": True, "has_legend": False, "margin": 8},
    {"kind": "xyz", "y": {"axis": "Prompt S/R", "values": 'hill, "sea, at night", a: b'},
     "z": {"axis": "Sampler", "values": "Euler a, DPM++ 2M"}},
    {"kind": "matrix", "different_seeds": True, "delimiter": "space", "margin": 4},
    {"kind": "matrix", "prompt": "negative", "put_at_start": True},
    {"kind": "list", "text": 'a cat\n--prompt "a dog, \\"big\\"" --steps 4', "same_seed": True},
]  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_paste_when_it_is_the_recipe_of_a_sheet_then_the_script_stands_in_the_form_again(
    studio: Studio, script: dict[str, Any]
) -> None:
    request = TextToImageRequest(
        prompt="a hill | red, green | 水墨", negative_prompt="low | blurred", seed=5
    )
    planned = studio.plots.plans.plan(script, request)
    first = planned.cells[0]
    text = f"{first.prompt}\nNegative prompt: {first.negative_prompt}\nSteps: 20, Seed: 5, CFG: 7"
    found = paste(add_pairs(text, planned.pairs), studio)
    assert plots.read(found.values, studio.plots.plans) == script
    assert (found.values["prompt"], found.values["negative_prompt"]) == (
        request.prompt, request.negative_prompt,
    )  # fmt: skip
    assert not [line for line in found.left_out if not line.startswith("CFG")]


def test_paste_when_seeds_of_a_sheet_were_drawn_then_they_are_the_same_again(
    studio: Studio,
) -> None:
    pairs = 'Script: X/Y/Z plot, X Type: Seed, X Values: "-1,-1", Fixed X Values: "7, 9"'
    script = plots.read(paste(recipe(pairs), studio).values, studio.plots.plans)
    assert script == {"kind": "xyz", "x": {"axis": "Seed", "values": "7, 9"}}


def test_paste_when_a_sheet_has_axes_of_elsewhere_then_says_what_is_left_out(
    studio: Studio,
) -> None:
    pairs = (
        "Script: X/Y/Z plot, X Type: sampler, X Values: Euler, Y Type: [ControlNet] Model, "
        'Y Values: "a, b", Script options: "{\\"margin\\": \\"wide\\"}"'
    )
    found = paste(recipe(pairs), studio)
    script = plots.read(found.values, studio.plots.plans)
    assert script == {"kind": "xyz", "x": {"axis": "Sampler", "values": "Euler"}}
    assert found.left_out == [
        "Y Type: [ControlNet] Model", "Y Values: a, b", 'Script options: {"margin": "wide"}',
    ]  # fmt: skip
    for name in ("ADetailer", "Prompts from file or textbox"):
        other = paste(recipe(f"Script: {name}"), studio)
        assert other.left_out == [f"Script: {name}"] and other.values["script"] == "None"


@pytest.mark.parametrize("place", ["prompt", "negative", "hires"])
@pytest.mark.parametrize("text", ["a {red|blue} hill", "a __colours__ hill", "{2$$a|b}"])
def test_paste_when_a_painted_prompt_reads_as_choices_paints_it_as_it_stands(
    studio: Studio, text: str, place: str
) -> None:
    pairs = f'Hires upscale: 2, Denoising strength: 0.5, Hires prompt: "{text}"'
    written = {
        "prompt": recipe("Size: 64x64", text),
        "negative": recipe("Size: 64x64", f"a hill\nNegative prompt: {text}"),
        "hires": recipe(pairs),
    }[place]

    found = paste(written, studio)

    assert (
        found.chips.count(AS_PAINTED) == 1 and read_chips(found.chips)["dynamic_prompts"] is False
    )
    assert paste(recipe("Size: 64x64", "{{masterpiece}}, [a|b]"), studio).chips == []
    assert paste(recipe("Dynamic prompts: False"), studio).chips == [AS_PAINTED]
    studio.options.set("dynamic_prompts", False)
    try:
        assert AS_PAINTED not in paste(written, studio).chips
    finally:
        studio.options.set("dynamic_prompts", True)


CHINESE = [
    (("红色的苹果", ""), ("red apple", "")),
    (("红色的苹果", "模糊"), ("red apple", "blurry")),
    (("红色的苹果，没有叶子", ""), ("red apple", "leaf")),
    (("红色的苹果，没有叶子", "low quality"), ("red apple", "low quality, leaf")),
    (("red apple", "模糊"), ("red apple", "blurry")),
]


def _painted(typed: tuple[str, str], english: tuple[str, str]) -> str:
    labels = ("Chinese prompt", "Chinese negative prompt")
    return add_pairs(
        f"{english[0]}\nNegative prompt: {english[1]}\nSteps: 20, Seed: 5, CFG scale: 7",
        [(label, text) for label, text in zip(labels, typed, strict=True) if not text.isascii()],
    )


def _pasted(text: str, studio: Studio) -> tuple[str, str]:
    found = paste(text, studio)
    assert found.left_out == []
    return found.values["prompt"], found.values["negative_prompt"]


@pytest.mark.parametrize(("typed", "english"), CHINESE)
def test_paste_when_the_chinese_becomes_the_same_english_it_stands_in_the_form_again(
    studio: Studio, typed: tuple[str, str], english: tuple[str, str]
) -> None:
    assert in_english(*typed, studio.translate) == english
    assert _pasted(_painted(typed, english), studio) == typed


@pytest.mark.parametrize(("typed", "english"), CHINESE)
def test_paste_when_the_chinese_becomes_other_english_keeps_what_was_painted(
    studio: Studio, typed: tuple[str, str], english: tuple[str, str]
) -> None:
    edited = (f"{english[0]}, at night", f"{english[1]}, text")
    assert _pasted(_painted(typed, edited), studio) == edited
    studio.options.set("translate_chinese_prompts", False)
    try:
        assert _pasted(_painted(typed, english), studio) == english
    finally:
        studio.options.set("translate_chinese_prompts", True)
