"""A second checkpoint that takes over: when it does, with which prompts, what it leaves alone."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.pipelines.conftest import Ear
from tests.pipelines.two_models import Two, TwoModels
from webui.checkpoints.load import load_checkpoint
from webui.params import Hires, Refiner, Sampling, build
from webui.pipelines.conditioning import PromptEncoder
from webui.pipelines.painting import noise_table
from webui.pipelines.runs import run_class
from webui.pipelines.takeover import Takeover, continued_latents
from webui.samplers.noise import ImageNoise


def refiner(switch_at: float, **more: Any) -> Refiner:
    return Refiner(checkpoint="other", switch_at=switch_at, **more)


@pytest.mark.parametrize("by_steps", [False, True])
def test_refiner_when_it_never_takes_over_changes_nothing(two: Two, by_steps: bool) -> None:
    refined = two(refiner=refiner(1, by_steps=by_steps))

    assert np.array_equal(refined.array, two().array)
    assert "other" not in refined.shelf.asked


@pytest.mark.parametrize("by_steps", [False, True])
@pytest.mark.parametrize("pad", [False, True])
def test_refiner_when_it_takes_over_at_once_paints_all_of_it(
    two: Two, by_steps: bool, pad: bool
) -> None:
    sampling = Sampling(pad_cond_uncond=pad)
    prompt = ", ".join(["a very small red apple"] * 20)
    refined = two(refiner=refiner(0, by_steps=by_steps), sampling=sampling, prompt=prompt)

    assert np.array_equal(
        refined.array, two(checkpoint="other", sampling=sampling, prompt=prompt).array
    )


def test_refiner_when_it_takes_over_halfway_paints_something_else(two: Two) -> None:
    halfway, first, last = (two(**v).array for v in (
        {"refiner": refiner(0.5)}, {}, {"checkpoint": "other"},
    ))  # fmt: skip

    assert not np.array_equal(halfway, first) and not np.array_equal(halfway, last)


@pytest.mark.parametrize(
    ("by_steps", "switch_at", "first_call"),
    [(True, 0.5, 3), (True, 0.51, 4), (True, 1 / 6, 1), (False, 0.5, 3), (False, 0.801, 5)],
)
def test_refiner_when_its_share_is_done_takes_over_at_that_call(
    two: Two,
    starter: Any,
    bent_model: Any,
    monkeypatch: pytest.MonkeyPatch,
    by_steps: bool,
    switch_at: float,
    first_call: int,
) -> None:
    called: list[str] = []
    for name, model in (("first", starter), ("other", bent_model)):
        real = model.unet.forward

        def told(*args: Any, name: str = name, real: Any = real, **more: Any) -> Any:
            called.append(name)
            return real(*args, **more)

        monkeypatch.setattr(model.unet, "forward", told)

    two(sampler="Euler", schedule="SGM Uniform", refiner=refiner(switch_at, by_steps=by_steps))

    assert called == ["first"] * first_call + ["other"] * (6 - first_call)


@pytest.mark.parametrize(
    ("timestep", "is_due"), [(999, False), (200, False), (199, True), (0, True)]
)
def test_takeover_when_asked_by_noise_level_counts_training_steps_from_999(
    starter: Any, timestep: int, is_due: bool
) -> None:
    table = noise_table(build("txt2img", {}), starter)
    takeover = Takeover(0.8, False, lambda cond: pytest.fail("nobody may load anything here"))
    sigma = table.sigmas[timestep].expand(2) * 1.0001

    assert takeover.is_due(5, 20, sigma, table) is is_due


@pytest.mark.parametrize(
    ("hires", "hires_pass", "pairs"),
    [
        (None, "second pass", ["own>refiner"]),
        ({}, "second pass", ["own>refiner"]),
        ({"checkpoint": "large"}, "first pass", ["own>large", "own>refiner"]),
        ({"checkpoint": "large"}, "second pass", ["own>large", "large>refiner"]),
        ({"checkpoint": "large", "upscaler": "Lanczos"}, "both passes",
         ["own>refiner", "large>refiner"]),
    ],
)  # fmt: skip
def test_checkpoints_when_they_go_on_with_latents_of_others_are_told_in_pairs(
    hires: Any, hires_pass: str, pairs: list[str]
) -> None:
    asked = Refiner(checkpoint="refiner", hires_pass=hires_pass)  # type: ignore[arg-type]
    params: Any = build("txt2img", {"checkpoint": "own", "refiner": asked, "hires": hires})
    assert [f"{one}>{other}" for one, other in continued_latents(params)] == pairs


def test_refiner_when_it_takes_over_leaves_the_noise_of_ancestral_samplers_alone(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[torch.Tensor] = []
    real = ImageNoise.__call__

    def told(self: ImageNoise, *args: Any) -> torch.Tensor:
        drawn.append(real(self, *args))
        return drawn[-1]

    monkeypatch.setattr(ImageNoise, "__call__", told)
    two(refiner=refiner(0.5), batch_size=2)
    refined, drawn[:] = list(drawn), []
    two(batch_size=2)

    assert len(drawn) == 5  # every step but the last
    assert all(torch.equal(a, b) for a, b in zip(refined, drawn, strict=True))


def test_refiner_when_there_are_more_batches_begins_each_with_the_first_checkpoint(
    two: Two,
) -> None:
    together = two(refiner=refiner(0.5), batch_count=2)
    apart = two(refiner=refiner(0.5), seed=2)

    assert np.array_equal(together.array[1], apart.array[0])


@pytest.mark.parametrize(
    ("hires_pass", "asked"),
    [
        ("first pass", ["first", "other", "first"]),
        ("second pass", ["first", "other"]),
        ("both passes", ["first", "other", "first", "other"]),
    ],
)
def test_refiner_with_hires_acts_in_the_passes_that_are_named(
    two: Two, hires_pass: str, asked: list[str]
) -> None:
    refined = two(
        refiner=refiner(0.5, hires_pass=hires_pass),
        hires=Hires(denoising_strength=0.7, steps=4, scale=1.5),
    )

    assert refined.shelf.order == asked
    assert refined.ear.pictures[0].image.size == (96, 96)


def test_refiner_when_the_prompt_has_a_schedule_goes_on_in_it(two: Two) -> None:
    prompt = "a [red:blue:0.5] apple"

    assert not np.array_equal(
        two(refiner=refiner(0.3), prompt=prompt).array,
        two(refiner=refiner(0.3), prompt="a red apple").array,
    )


def test_refiner_when_tiling_is_on_tiles_too_and_both_models_are_left_as_they_were(
    two: Two, starter: Any, bent_model: Any
) -> None:
    tiled = two(refiner=refiner(0), tiling=True, steps=8)

    assert np.array_equal(tiled.array, two(checkpoint="other", tiling=True, steps=8).array)
    for model in (starter, bent_model):
        modes = {m.padding_mode for m in model.unet.modules() if isinstance(m, torch.nn.Conv2d)}
        assert modes == {"zeros"}


def test_interrupt_when_the_refiner_is_brought_in_keeps_the_last_estimate(two: Two) -> None:
    def stops(ear: Ear) -> bool:
        return len([s for s in ear.steps if s[2] == "sampling"]) >= 3

    ear = two(Ear(stop_after=stops), refiner=refiner(0.5, by_steps=True), prompt="never 52").ear

    assert len(ear.pictures) == 1
    assert max(step for _, step, stage in ear.steps if stage == "sampling") == 3


def test_first_model_when_the_refiner_is_brought_in_is_held_by_nobody(
    starter_checkpoint: Path, bent_model: Any, tokenizer: Any
) -> None:
    """Memory for one model is enough: the first can go before the second is loaded."""
    alive: list[bool] = []

    class OneAtATime(TwoModels):
        loaded_name = ""

        def model(self, checkpoint: str) -> Any:
            if checkpoint != self.loaded_name:
                before = weakref.ref(self.loaded) if self.loaded else lambda: None
                self.loaded = None
                gc.collect()
                alive.append(before() is not None)
                self.loaded = load_checkpoint(starter_checkpoint)
                self.loaded_name = checkpoint
            return self.loaded

        def encoder(self, model: Any) -> PromptEncoder:
            return model.extras.setdefault("encoder", PromptEncoder(model, tokenizer))

    params = build("txt2img", {
        "width": 64, "height": 64, "steps": 4, "prompt": "a cat", "checkpoint": "first",
        "refiner": refiner(0.5), "batch_count": 2, "tiling": True,
    })  # fmt: skip
    ear = Ear()
    run_class(params)(params, OneAtATime(None, None), ear).paint()  # type: ignore[arg-type]

    assert alive == [False] * 4 and len(ear.pictures) == 2
