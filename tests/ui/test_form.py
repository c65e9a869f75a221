"""The form's names: into requests, drafts and sizes. No browser."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from webui.errors import ParamsError
from webui.ui.form import DEFAULTS, Form, make_request, target_size
from webui.ui.painting_form import ASPECTS, aspect_size, corrections


def ask(**changed: Any) -> Any:
    return make_request({**DEFAULTS, **changed}, top_row={}, overrides={}, user="")


def test_form_and_defaults_name_the_same_fields() -> None:
    assert {f.name for f in dataclasses.fields(Form)} == set(DEFAULTS)


def test_request_when_extra_is_closed_ignores_its_fields() -> None:
    closed = ask(subseed="5", subseed_strength=0.4, seed_resize_from_w=256)
    assert (closed.subseed, closed.subseed_strength, closed.seed_resize_from_w) == (-1, 0.0, 0)
    opened = ask(has_extra=True, subseed="5", subseed_strength=0.4, seed_resize_from_w=256)
    assert (opened.subseed, opened.subseed_strength, opened.seed_resize_from_w) == ("5", 0.4, 256)


def test_request_when_hires_is_closed_has_none() -> None:
    assert ask(hires_scale=3.0).hires is None
    hires = ask(has_hires=True, hires_scale=3.0, hires_sampler="Euler").hires
    assert (hires.scale, hires.sampler, hires.schedule, hires.upscaler) == (
        3.0,
        "Euler",
        None,
        "Latent",
    )


def test_request_when_override_given_wins_over_the_top_row() -> None:
    wish = make_request(
        DEFAULTS, top_row={"CLIP_stop_at_last_layers": 1}, user="ann",
        overrides={"CLIP_stop_at_last_layers": 2},
    )  # fmt: skip
    assert wish.overrides == {"CLIP_stop_at_last_layers": 2}
    assert wish.clip_skip is None


@pytest.mark.parametrize("empty", [None, ""])
def test_request_when_number_was_emptied_takes_the_default(empty: Any) -> None:
    assert ask(steps=empty).steps == 20


def test_request_when_number_is_no_number_names_the_field() -> None:
    with pytest.raises(ParamsError) as caught:
        ask(steps="many")
    assert caught.value.field == "steps"


@pytest.mark.parametrize(
    ("changed", "size"),
    [
        ({"width": 512, "height": 640}, (1024, 1280)),
        ({"width": 512, "height": 640, "hires_resize_x": 768}, (768, 960)),
        ({"width": 512, "height": 640, "hires_resize_y": 960}, (768, 960)),
        ({"hires_resize_x": 700, "hires_resize_y": 900}, (696, 896)),
        ({"width": 136, "height": 136, "hires_scale": 1.55}, (208, 208)),
    ],
)
def test_target_size_follows_scale_or_sides(changed: dict[str, Any], size: tuple[int, int]) -> None:
    assert target_size({**DEFAULTS, **changed}) == size


@pytest.mark.parametrize("native", [128, 512, 1024])
@pytest.mark.parametrize("aspect", ASPECTS)
def test_aspect_size_keeps_area_and_shape(aspect: tuple[str, int, int], native: int) -> None:
    name, across, down = aspect
    width, height = aspect_size(name, native)
    assert (width % 8, height % 8) == (0, 0)
    assert width * height == pytest.approx(native * native, rel=0.12)
    assert width / height == pytest.approx(across / down, rel=0.12)


def test_corrections_round_sizes_to_8_and_replace_words_by_a_random_seed() -> None:
    form = {**DEFAULTS, "width": 500, "height": 515, "seed": "lucky", "subseed": " 7 "}
    assert corrections(form) == {"width": 504, "height": 512, "seed": "-1"}
    assert corrections({**DEFAULTS, "seed": "", "width": "wide"}) == {}


def test_request_when_the_second_pass_has_its_own_checkpoint_and_cfg_carries_them() -> None:
    same = ask(has_hires=True).hires
    assert (same.checkpoint, same.cfg_scale) == (None, None)
    own = ask(has_hires=True, hires_checkpoint="big [0123456789]", hires_cfg=3.5).hires
    assert (own.checkpoint, own.cfg_scale) == ("big [0123456789]", 3.5)


def test_request_when_the_refiner_is_closed_has_none() -> None:
    assert ask(refiner_checkpoint="fine").refiner_checkpoint is None
    opened = ask(has_refiner=True, refiner_checkpoint="fine", refiner_switch_at=0.6)
    assert (opened.refiner_checkpoint, opened.refiner_switch_at) == ("fine", 0.6)


@pytest.mark.parametrize("empty", [None, ""])
def test_request_when_the_refiner_is_open_and_empty_says_what_to_do(empty: Any) -> None:
    with pytest.raises(ParamsError, match="turn the refiner off"):
        ask(has_refiner=True, refiner_checkpoint=empty)
