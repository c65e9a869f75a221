"""Every vector of the bucket cases: sizes, choices, cuts and steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webui.errors import ParamsError
from webui.params.training import TrainingOptions
from webui.params.training_data import Bucketing
from webui.training.buckets import (
    adjusted,
    check,
    count_batches,
    fit,
    shapes,
    size_conditioning,
    way_of_resizing,
)
from webui.training.steps import training_length

CASES: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "bucket-cases.json").read_text()
)


def _rule(settings: dict[str, Any]) -> Bucketing:
    return Bucketing(**settings)


@pytest.mark.parametrize(
    "case", [*CASES["cases"], *CASES["extra_cases"]], ids=lambda case: str(case["id"])
)
def test_fit_when_a_case_is_given_then_all_its_numbers_come_out(case: dict[str, Any]) -> None:
    picture = tuple(case["image"])
    found = fit(picture, adjusted(_rule(case["settings"]))[0])
    assert list(found.bucket) == case["bucket"]
    assert list(found.resized) == case["resized"]
    assert list(found.crop) == case["center_crop_offset_xy"]
    assert found.ratio_error == pytest.approx(case["ar_error"], abs=1e-8)
    assert [side // 8 for side in reversed(found.bucket)] == case["latent_hw"]
    assert way_of_resizing(picture, found.resized) == case["interpolation"]
    ltrb = size_conditioning(picture, found.bucket)
    assert ltrb == pytest.approx(case["size_conditioning_ltrb"], abs=1e-5)


@pytest.mark.parametrize("case", CASES["bucket_lists"], ids=str)
def test_shapes_when_listed_then_are_those_of_the_vectors(case: dict[str, Any]) -> None:
    rule = Bucketing(
        resolution=case["resolution"], enable_bucket=True, min_bucket_reso=case["min"],
        max_bucket_reso=case["max"], bucket_reso_steps=case["step"],
    )  # fmt: skip
    assert [list(size) for size in shapes(check(rule, "sdxl")[0])] == case["buckets"]


def test_check_when_limits_are_no_multiples_then_they_move_outwards_and_that_is_said() -> None:
    case = CASES["min_max_adjustment"][0]
    rule = Bucketing(
        enable_bucket=True, min_bucket_reso=case["min_in"], max_bucket_reso=case["max_in"],
        bucket_reso_steps=case["step"],
    )  # fmt: skip
    used, said = check(rule)
    assert (used.min_bucket_reso, used.max_bucket_reso) == (case["min_used"], case["max_used"])
    assert len(said) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_bucket_reso": 576}, "min_bucket_reso 576 must not exceed the smaller side of "
         "resolution (512)."),
        ({"max_bucket_reso": 448}, "max_bucket_reso 448 must not be less than the larger side "
         "(512)."),
        ({"bucket_reso_steps": 48}, "bucket_reso_steps: 48 does not fit SD1.5; use a multiple of "
         "64 (SDXL: 32)."),
        ({"enable_bucket": False, "resolution": (500, 512)}, 'resolution: "500,512" is not a '
         "size. Write one number (512) or width,height (512,768), each a multiple of 64."),
    ],
)  # fmt: skip
def test_check_when_sizes_do_not_go_together_then_says_which(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        check(Bucketing(**{"enable_bucket": True, **changes}))
    assert caught.value.message == message


@pytest.mark.parametrize("case", CASES["step_arithmetic"], ids=lambda case: case["id"])
def test_length_when_counted_then_is_that_of_the_vectors(case: dict[str, Any]) -> None:
    samples = {
        (int(w), int(h)): count
        for name, count in case["samples_per_bucket_with_repeats"].items()
        for w, h in [name.split("x")]
    }
    batches = count_batches(samples, case["train_batch_size"])
    options = TrainingOptions(
        max_train_epochs=case["max_train_epochs"],
        gradient_accumulation_steps=case["gradient_accumulation_steps"],
    )
    length = training_length(options, batches, case["processes"])
    assert batches == case["batches_per_epoch"]
    assert length.steps_per_epoch == case["optimizer_steps_per_epoch"]
    assert length.steps == case["max_train_steps"]
