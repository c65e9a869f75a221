"""Recipes: A1111's keys in A1111's order, and only those that matter."""

from __future__ import annotations

from typing import Any

import pytest

from webui.infotext import parse_infotext
from webui.params import Hires, Refiner, Sampling, TextToImage
from webui.pipelines.recipe import ModelFacts, write_recipe

MODEL = ModelFacts("harbour_v2", "0a1b2c3d4e" + "0" * 54)


def recipe(show: dict[str, bool] | None = None, model: ModelFacts = MODEL, **values: Any) -> str:
    params = TextToImage(**{"prompt": "a lighthouse", "seed": 41, **values})
    return write_recipe(params, model, index=0, seed=41, subseed=7, show=show or {})


def keys(text: str) -> list[str]:
    return [pair.split(":")[0] for pair in text.splitlines()[-1].split(", ")]


def test_recipe_when_plain_has_the_keys_every_picture_has() -> None:
    assert recipe() == (
        "a lighthouse\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.0, Seed: 41, "
        "Size: 512x512, Model hash: 0a1b2c3d4e, Model: harbour_v2, RNG: NV, Version: Danqing 0.1.0"
    )


def test_recipe_when_everything_is_asked_keeps_the_order() -> None:
    text = recipe(
        negative_prompt="blurry",
        sampler="Euler a",
        subseed_strength=0.3,
        seed_resize_from_w=256,
        seed_resize_from_h=256,
        clip_skip=2,
        eta_noise_seed_delta=31337,
        tiling=True,
        emphasis="No norm",
        prompt="(a:1.2)",
        hires=Hires(scale=1.5, steps=8, sampler="Euler", prompt="other, prompt"),
        sampling=Sampling(eta=0.5, s_min_uncond=2.0),
        model=ModelFacts("m", None, "v.pt", "f" * 64),
    )

    assert text.startswith("(a:1.2)\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, ")
    assert keys(text.replace("other, prompt", "other")) == [
        "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model", "VAE hash",
        "VAE", "Variation seed", "Variation seed strength", "Seed resize from",
        "Denoising strength", "Clip skip", "ENSD", "RNG", "Tiling", "Hires sampler", "Hires prompt",
        "Hires upscale", "Hires steps", "Hires upscaler", "Emphasis", "Eta", "NGMS", "Version",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "values, absent",
    [
        ({"sampler": "Euler", "sampling": Sampling(eta=0.3)}, "Eta"),
        ({"sampler": "Euler", "eta_noise_seed_delta": 5}, "ENSD"),
        ({"randn_source": "GPU"}, "RNG"),
        ({"emphasis": "Ignore"}, "Emphasis"),
        ({"seed_resize_from_w": 64}, "Seed resize from"),
    ],
    ids=str,
)
def test_recipe_when_a_setting_has_no_effect_leaves_it_out(
    values: dict[str, Any], absent: str
) -> None:
    assert absent not in parse_infotext(recipe(**values)).params


@pytest.mark.parametrize(
    "sampler, schedule, written",
    [
        ("DPM++ 2M", "Automatic", "Karras"),
        ("Euler a", "Automatic", "Automatic"),
        ("DPM++ 2M", "Exponential", "Exponential"),
    ],
)
def test_schedule_when_automatic_is_written_as_what_it_stands_for(
    sampler: str, schedule: str, written: str
) -> None:
    text = recipe(sampler=sampler, schedule=schedule)

    assert parse_infotext(text).params["Schedule type"] == written


def test_recipe_when_facts_are_not_wanted_hides_them() -> None:
    hidden = {"model_name": False, "model_hash": False, "version": False, "user": True}

    found = parse_infotext(recipe(show=hidden, user="li")).params
    assert not {"Model", "Model hash", "Version"} & set(found)
    assert found["User"] == "li"


OTHERS = {
    "folder/fine.safetensors": ModelFacts("fine", "f" * 64),
    "large.ckpt": ModelFacts("large", None),
}


def written(**values: Any) -> dict[str, str]:
    params = TextToImage(**{"prompt": "a lighthouse", **values})
    text = write_recipe(params, MODEL, index=0, seed=1, subseed=2, show={}, others=OTHERS)
    return parse_infotext(text).params


def test_recipe_when_a_refiner_takes_over_names_it_and_the_moment() -> None:
    refiner = Refiner(checkpoint="folder/fine.safetensors", switch_at=0.8)

    found = written(refiner=refiner)

    assert (found["Refiner"], found["Refiner switch at"]) == ("fine [ffffffffff]", "0.8")
    assert not {"Hires refiner", "Refiner switch by sampling steps"} & set(found)


@pytest.mark.parametrize(
    ("hires_pass", "hires", "wanted"),
    [
        ("first pass", Hires(), "first pass"),
        ("both passes", Hires(), "both passes"),
        ("second pass", Hires(), None),
        ("first pass", None, None),
    ],
)
def test_recipe_when_the_refiners_pass_is_not_the_usual_one_names_it(
    hires_pass: Any, hires: Hires | None, wanted: str | None
) -> None:
    refiner = Refiner(checkpoint="large.ckpt", by_steps=True, hires_pass=hires_pass)

    found = written(refiner=refiner, hires=hires)

    assert found.get("Hires refiner") == wanted
    assert (found["Refiner"], found["Refiner switch by sampling steps"]) == ("large", "True")


def test_recipe_when_the_refiner_never_takes_over_leaves_it_out() -> None:
    found = written(refiner=Refiner(checkpoint="large.ckpt", switch_at=1))

    assert not [key for key in found if "efiner" in key]


def test_recipe_when_the_second_pass_has_a_checkpoint_and_cfg_names_them_first() -> None:
    hires = Hires(
        checkpoint="folder/fine.safetensors", cfg_scale=4.5, sampler="Euler", extra_noise=0.2
    )
    found = written(hires=hires)

    assert [key for key in found if key.startswith(("Hires", "Extra"))] == [
        "Hires checkpoint", "Hires CFG Scale", "Hires sampler", "Hires upscale", "Hires upscaler",
        "Extra noise",
    ]  # fmt: skip
    assert (found["Hires checkpoint"], found["Hires CFG Scale"]) == ("fine [ffffffffff]", "4.5")
    assert found["Extra noise"] == "0.2"


def test_recipe_when_the_prompt_was_drawn_has_its_text_and_the_template() -> None:
    drawn = {"template": "a {red, round|blue} hat", "prompts": ["a red, round hat", "a blue hat"]}
    params = TextToImage.model_validate({"seed": 1, "batch_count": 2, "drawn": drawn})

    text = write_recipe(params, MODEL, index=1, seed=2, subseed=0, show={})

    read = parse_infotext(text)
    assert read.prompt == "a blue hat"
    assert read.params["Template"] == "a {red, round|blue} hat"
    assert "Negative Template" not in read.params
