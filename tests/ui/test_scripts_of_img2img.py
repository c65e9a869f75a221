"""Scripts, upscalers and guidance of img2img: what fields say, what recipes bring. No browser."""

from __future__ import annotations

from typing import Any

import pytest

from webui.params import MASKED_CONTENTS, Loopback, Outpaint
from webui.pipelines.way_recipe import way_pairs
from webui.services.resolve import ImageToImageRequest
from webui.studio import Studio
from webui.ui import img2img_panels, pasting
from webui.ui.img2img_form import (
    AS_IN_SETTINGS,
    CURVES,
    DEFAULTS,
    LOOPBACK,
    OUTPAINT_CONTENTS,
    OUTPAINTING,
    SD_UPSCALE,
    Source,
    has_mask,
    make_request,
)
from webui.ui.painting_form import NO_SCRIPT


def ask(**changed: Any) -> ImageToImageRequest:
    source = Source("a" * 64, (96, 64))
    return make_request({**DEFAULTS, **changed}, source, top_row={}, overrides={}, user="")


def recipe_of(studio: Studio, **changed: Any) -> str:
    """The recipe a script writes for these fields."""
    params: Any = studio.resolve(ask(**changed))
    pairs = {key: value for key, value in way_pairs(params).items() if value is not None}
    return "a hill\nSteps: 4, " + ", ".join(f"{key}: {value}" for key, value in pairs.items())


SCRIPTS: list[dict[str, Any]] = [
    {"script": LOOPBACK, "loops": 3, "final_denoising": 0.25, "loop_curve": "Lazy"},
    {
        "script": OUTPAINTING, "outpaint_sides": ["left", "down"], "outpaint_pixels": 96,
        "outpaint_blur": 12, "outpaint_content": "matched noise", "outpaint_noise_q": 1.5,
        "outpaint_color": 0.25,
    },
    {"script": SD_UPSCALE, "upscaler": "Nearest", "upscale_scale": 1.5, "upscale_overlap": 32},
]  # fmt: skip


@pytest.mark.parametrize("fields", SCRIPTS, ids=lambda fields: fields["script"])
def test_paste_when_a_script_was_used_then_its_fields_come_back(
    studio: Studio, fields: dict[str, Any]
) -> None:
    values = pasting.paste(recipe_of(studio, **fields), studio).values

    assert {name: values[name] for name in fields} == fields


def test_paste_when_sides_grew_differently_then_the_largest_counts(studio: Studio) -> None:
    text = "x\nSteps: 4, Outpaint left: 64, Outpaint up: 128, Outpaint down: 0"

    values = pasting.paste(text, studio).values

    assert (values["outpaint_sides"], values["outpaint_pixels"]) == (["left", "up"], 128)


def test_paste_when_there_was_no_script_then_none_is_chosen(studio: Studio) -> None:
    assert pasting.paste("x\nSteps: 4, Seed: 1, CFG scale: 7", studio).values["script"] == NO_SCRIPT


def test_paste_when_a_script_s_words_are_unknown_then_the_menus_stay(studio: Studio) -> None:
    text = "x\nSteps: 4, Outpaint left: 64, Outpaint content: dreams"
    assert "outpaint_content" not in pasting.paste(text, studio).values

    text = "x\nSteps: 4, Loops: 2, Denoising curve: wild"
    assert "loop_curve" not in pasting.paste(text, studio).values


def test_paste_when_a_picture_guided_then_its_strength_comes_back(studio: Studio) -> None:
    values = pasting.paste("x\nSteps: 4, Seed: 1, Image CFG scale: 1.8", studio).values
    assert values["image_cfg"] == 1.8


def test_menus_offer_what_the_params_know() -> None:
    assert set(CURVES) == set(Loopback.model_fields["curve"].annotation.__args__)  # type: ignore[union-attr]
    known = set(Outpaint.model_fields["content"].annotation.__args__)  # type: ignore[union-attr]
    assert set(OUTPAINT_CONTENTS) == known
    assert set(MASKED_CONTENTS) < known


def test_request_says_how_much_the_picture_guides_and_what_enlarges_it() -> None:
    request = ask(image_cfg=2.0, resize_upscaler="Nearest")
    assert (request.image_cfg_scale, request.upscaler) == (2.0, "Nearest")


@pytest.mark.parametrize("nothing", [AS_IN_SETTINGS, "", None])
def test_request_when_no_upscaler_is_chosen_then_the_settings_decide(
    studio: Studio, nothing: str | None
) -> None:
    studio.options.set("upscaler_for_img2img", "Nearest")
    params: Any = studio.resolve(ask(resize_upscaler=nothing))
    assert params.upscaler == "Nearest"


@pytest.mark.parametrize("script", [OUTPAINTING, SD_UPSCALE])
def test_note_when_script_and_mask_meet_then_it_says_so_in_both_languages(script: str) -> None:
    form = {**DEFAULTS, "script": script}
    for mode in ("inpaint", "inpaint_sketch", "inpaint_upload"):
        assert "mask" in img2img_panels.script_note({**form, "mode": mode}, "en")
    assert "蒙版" in img2img_panels.script_note({**form, "mode": "inpaint"}, "zh")
    for mode in ("img2img", "sketch", "batch"):
        assert img2img_panels.script_note({**form, "mode": mode}, "en") == ""


@pytest.mark.parametrize("script", [NO_SCRIPT, LOOPBACK])
def test_note_when_a_script_takes_masks_then_there_is_none(script: str) -> None:
    form = {**DEFAULTS, "script": script, "mode": "inpaint"}
    assert img2img_panels.script_note(form, "en") == ""


def test_has_mask_when_a_batch_has_a_folder_of_masks() -> None:
    form = {**DEFAULTS, "mode": "batch", "batch_mask_dir": "/masks"}
    assert has_mask({**form, "batch_source": "From directory"})
    assert not has_mask({**form, "batch_source": "Upload"})
