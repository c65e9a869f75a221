"""A wish becomes a complete request: every open question answered once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from webui.errors import ParamsError
from webui.options import OPTION_DEFAULTS, Options
from webui.params import DrawnTexts, Hires, Refiner, TextToImage, from_json
from webui.prompts.chinese.dictionary import our_words
from webui.prompts.chinese.translate import Translated, translate
from webui.prompts.styles import Style
from webui.services.extensions.room import ExtensionRoom
from webui.services.follow_ups import again
from webui.services.resolve import (
    MAX_RANDOM_SEED,
    Known,
    TextToImageRequest,
    draw_seed,
    resolve,
)
from webui.studio import BUILT_IN_EXTENSIONS

OIL = Style("oil", "oil painting of {prompt}", "photo")


def resolved(options: dict[str, Any] | None = None, **wish: Any) -> TextToImage:
    return resolve(
        TextToImageRequest(**wish),
        {**OPTION_DEFAULTS, **(options or {})},
        Known(find_checkpoint=lambda alias: f"found-{alias}", styles={"oil": OIL}),
    )


def test_resolve_when_everything_is_open_takes_the_options() -> None:
    options = {"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": "foo", "tiling": True}

    params = resolved(options)

    assert (params.clip_skip, params.checkpoint, params.tiling) == (2, "found-foo", True)
    assert 0 <= params.seed <= MAX_RANDOM_SEED and 0 <= params.subseed <= MAX_RANDOM_SEED


def test_resolve_when_the_wish_says_otherwise_takes_the_wish() -> None:
    params = resolved({"CLIP_stop_at_last_layers": 2}, clip_skip=1, checkpoint="bar", seed=7)

    assert (params.clip_skip, params.checkpoint, params.seed) == (1, "found-bar", 7)


def test_styles_when_chosen_are_merged_and_comments_cut() -> None:
    params = resolved(prompt="a fox # note", styles=("oil", "unknown"))

    assert params.prompt == "oil painting of a fox"
    assert params.negative_prompt == "photo"
    assert params.styles == ("oil", "unknown")


def test_comments_when_switched_off_stay() -> None:
    assert resolved({"enable_prompt_comments": False}, prompt="a # b").prompt == "a # b"
    styled = resolved({"enable_prompt_comments": False}, prompt="a # b", styles=("oil",))
    assert styled.prompt == "oil painting of a # b"


USUAL = {"sd_lora": "ink", "extra_networks_default_multiplier": 0.7}
BOTH = {**USUAL, "sd_hypernetwork": "ink"}


@pytest.mark.parametrize(
    ("prompt", "off", "wanted"),
    [
        ("a fox", False, "a fox<lora:ink:0.7>"),
        ("a fox <lora:oil:1>", False, "a fox <lora:oil:1><lora:ink:0.7>"),
        ("a fox <lora:ink:1>", False, "a fox <lora:ink:1>"),
        ("a fox", True, "a fox"),
    ],
)
def test_usual_lora_when_chosen_is_in_every_prompt_once(
    prompt: str, off: bool, wanted: str
) -> None:
    params = resolved(USUAL, prompt=prompt, disable_extra_networks=off, hires=Hires(prompt=prompt))

    assert params.prompt == wanted
    assert params.hires is not None and params.hires.prompt == wanted
    empty = resolved(USUAL, prompt=prompt, hires=Hires())
    assert empty.hires is not None and empty.hires.prompt == ""


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("a", "a<hypernet:ink:0.7><lora:ink:0.7>"),
        ("<hypernet:ink>", "<hypernet:ink><lora:ink:0.7>"),
    ],
)
def test_usual_hypernetwork_when_chosen_is_in_every_prompt_once(prompt: str, wanted: str) -> None:
    assert resolved(BOTH, prompt=prompt).prompt == wanted


def test_hires_prompts_when_given_get_the_styles_and_empty_ones_stay_empty() -> None:
    params = resolved(prompt="a fox", styles=("oil",), hires=Hires(prompt="a cat"))

    assert params.hires is not None
    assert (params.hires.prompt, params.hires.negative_prompt) == ("oil painting of a cat", "")


@pytest.mark.parametrize(
    "sampler, schedule, found",
    [
        ("DPM++ 2M Karras", None, ("DPM++ 2M", "Automatic")),
        ("LMS Karras", None, ("LMS", "Karras")),
        ("Euler a", "exponential", ("Euler a", "Exponential")),
        ("Euler SGMUniform", None, ("Euler", "SGM Uniform")),
        (None, None, ("Euler", "Automatic")),
    ],
)
def test_sampler_when_written_as_in_old_pictures_is_understood(
    sampler: str | None, schedule: str | None, found: tuple[str, str]
) -> None:
    params = resolved(sampler=sampler, schedule=schedule)

    assert (params.sampler, params.schedule) == found


@pytest.mark.parametrize("name", ["nonsense", "DPM++ 2M foo", "euler a", "DPM++ 2MKarras"])
def test_sampler_when_unknown_is_an_error_with_the_names_there_are(name: str) -> None:
    with pytest.raises(ParamsError, match=r"Sampler not found.*Euler a"):
        resolved(sampler=name)


@pytest.mark.parametrize("seed", [-1, "", None, "abc", "-1", float("nan")])
def test_seed_when_open_or_unreadable_is_drawn(seed: Any) -> None:
    assert 0 <= draw_seed(seed) <= MAX_RANDOM_SEED
    assert len({draw_seed(seed) for _ in range(8)}) > 1


def test_seed_when_given_as_text_is_a_number() -> None:
    assert draw_seed("41") == 41


@pytest.mark.parametrize(
    "sampler, eta", [("Euler a", 0.7), ("DDIM", 0.2), ("DDIM CFG++", 0.2), ("DPM++ 2M SDE", 0.7)]
)
def test_eta_when_open_follows_the_option_of_its_kind(sampler: str, eta: float) -> None:
    options = {"eta_ancestral": 0.7, "eta_ddim": 0.2}

    assert resolved(options, sampler=sampler).sampling.eta == eta
    assert resolved(options, sampler=sampler, eta=0.5).sampling.eta == 0.5


@pytest.mark.parametrize("bad", [{"samples_format": "bmp"}, {"s_churn": "much"}, {"rho": -1}])
def test_option_when_it_cannot_be_used_is_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ParamsError):
        resolved(bad)


def test_jpeg_when_chosen_is_jpg_and_subfolders_can_be_off() -> None:
    output = resolved({"samples_format": "jpeg", "save_to_dirs": False}).output

    assert (output.format, output.directory_pattern) == ("jpg", "")


def test_extra_noise_of_the_second_pass_when_open_is_the_options() -> None:
    options = {"img2img_extra_noise": 0.25}

    assert resolved(options, hires=Hires()).hires.extra_noise == 0.25  # type: ignore[union-attr]
    own = resolved(options, hires=Hires(extra_noise=0.0)).hires
    assert own is not None and own.extra_noise == 0.0


def test_extra_noise_of_the_second_pass_when_the_option_is_out_of_range_is_refused() -> None:
    with pytest.raises(ParamsError, match="extra_noise"):
        resolved({"img2img_extra_noise": 99}, hires=Hires())


def test_other_checkpoints_when_named_are_looked_up() -> None:
    params = resolved(
        {"refiner_switch_by_sample_steps": True, "hires_fix_refiner_pass": "first pass"},
        hires=Hires(checkpoint="big"), refiner_checkpoint="fine", refiner_switch_at=0.4,
    )  # fmt: skip

    assert params.other_checkpoints == ("found-fine", "found-big")
    assert params.refiner == Refiner(
        checkpoint="found-fine", switch_at=0.4, by_steps=True, hires_pass="first pass"
    )


Drawn = Callable[..., TextToImage]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExtensionRoom]:
    """The extensions that come with the program, and a wildcard file."""
    data = tmp_path_factory.mktemp("data")
    (data / "wildcards").mkdir()
    (data / "wildcards" / "colour.txt").write_text("red\ngreen\nblue\n", encoding="utf-8")
    room = ExtensionRoom(
        built_in=BUILT_IN_EXTENSIONS, folders=(), options=Options(data / "config.json"),
        notes=data / "notes", models=(), data=data,
    )  # fmt: skip
    yield room
    room.close()


@pytest.fixture
def drawn(room: ExtensionRoom) -> Drawn:
    def make(
        warnings: list[str] | None = None, options: dict[str, Any] | None = None, **wish: Any
    ) -> TextToImage:
        warn = (warnings if warnings is not None else []).append
        return resolve(
            TextToImageRequest(**{"seed": 7, **wish}),
            {**OPTION_DEFAULTS, **(options or {})},
            Known(lambda alias: f"found-{alias}", {"oil": OIL}, draw=room.drawing({}, warn)),
        )  # type: ignore[return-value]

    return make


def test_wildcards_when_there_are_several_pictures_are_drawn_by_the_seed_of_each(
    drawn: Drawn,
) -> None:
    together = drawn(
        prompt="{a|b} __colour__", styles=("oil",), negative_prompt="x", batch_count=3, batch_size=2
    )

    each = [together.of_picture(i) for i in range(6)]
    assert len({one.prompt for one in each}) > 2
    assert all(one.negative_prompt == "x, photo" for one in each)
    for index, one in enumerate(each):
        alone = drawn(prompt="{a|b} __colour__", styles=("oil",), seed=7 + index)
        assert one.prompt == alone.prompt
        assert one.drawn == DrawnTexts(template="oil painting of {a|b} __colour__")
    assert together.prompt == each[0].prompt
    assert from_json(together.to_json()) == together


def test_wildcards_when_a_second_pass_has_the_same_template_become_the_same_text(
    drawn: Drawn,
) -> None:
    wish = {"prompt": "{a|b|c|d}", "negative_prompt": "{e|f}", "batch_count": 4}
    params = drawn(**wish, hires=Hires(prompt="{a|b|c|d}", negative_prompt="{e|f}!"))

    for index in range(4):
        one = params.of_picture(index)
        assert one.hires is not None and one.hires.prompt == one.prompt
        assert one.hires.negative_prompt == f"{one.negative_prompt}!"
    assert set("abcd") >= set(params.prompts)


def test_wildcards_when_all_combinations_are_wanted_come_in_turn(drawn: Drawn) -> None:
    params = drawn(prompt="{a|b} __colour__", combinatorial=True, batch_size=4, batch_count=9)

    assert (params.batch_size, params.batch_count) == (1, 6)
    assert [params.of_picture(i).prompt for i in range(6)] == [
        "a red", "a green", "a blue", "b red", "b green", "b blue",
    ]  # fmt: skip
    with pytest.raises(ParamsError, match="1,024 combinations"):
        drawn(prompt="{a|b}" * 10, combinatorial=True)
    plain = drawn(prompt="a", combinatorial=True, batch_size=4)
    assert (plain.prompt, plain.drawn, plain.image_count) == ("a", None, 1)
    twice = drawn(prompt="{a|b}", combinatorial=True, hires=Hires(prompt="{a|b}"))
    assert [twice.of_picture(i).hires.prompt for i in (0, 1)] == ["a", "b"]  # type: ignore[union-attr]


def test_wildcards_when_there_is_too_much_to_draw_say_so(
    drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = sys.modules["danqing_extensions.dynamic_prompts.texts"]
    monkeypatch.setattr(texts, "MOST_DRAWS", 500)

    assert drawn(prompt="{|}" * 40, batch_count=10).image_count == 10
    with pytest.raises(ParamsError, match="too many choices"):
        drawn(prompt="{|}" * 40, batch_count=20)


def test_wildcards_when_unknown_or_switched_off_stay_as_typed(
    drawn: Drawn, room: ExtensionRoom
) -> None:
    warnings: list[str] = []

    assert drawn(warnings, prompt="{a|a} __colours__").prompt == "a __colours__"
    assert len(warnings) == 1 and "__colours__" in warnings[0]
    plain = drawn(options={"dynamic_prompts": False}, prompt="{a|b}")
    assert plain.prompt == "{a|b}" and plain.drawn is None
    room.enable("dynamic_prompts", False)
    try:
        plain = drawn(warnings, prompt="{a|b} __colour__", combinatorial=True, batch_count=3)
    finally:
        room.enable("dynamic_prompts", True)
    assert (plain.prompt, plain.drawn, plain.image_count) == ("{a|b} __colour__", None, 3)
    assert len(warnings) == 1


def test_pictures_when_they_have_their_own_prompts_keep_them_alone(drawn: Drawn) -> None:
    together = drawn(prompt="{a|b|c|d|e|f}", batch_count=5)

    alone = again(together, 3, 10)

    assert isinstance(alone, TextToImage) and alone.image_count == 1
    assert alone.of_picture(0).prompt == together.of_picture(3).prompt == alone.prompt


def test_prompt_when_chinese_is_painted_in_english_and_kept_as_it_was_typed() -> None:
    words = our_words()
    params = _resolved_chinese(lambda text: translate(text, words))
    assert params.prompt == "a red apple on yellow background, <lora:国风:1>"
    assert params.negative_prompt == "bad hands, person"
    assert params.chinese_prompt == "一个黄色背景上的红苹果，没有人，<lora:国风:1>"
    assert params.chinese_negative_prompt == "坏手"
    untouched = _resolved_chinese(Translated)
    assert untouched.prompt == params.chinese_prompt and untouched.chinese_prompt == ""


def _resolved_chinese(tell: Callable[[str], Translated]) -> TextToImage:
    request = TextToImageRequest(
        prompt="一个黄色背景上的红苹果，没有人，<lora:国风:1>", negative_prompt="坏手"
    )
    return resolve(request, OPTION_DEFAULTS, Known(str, translate=tell))  # type: ignore[return-value]
