"""Painting with the starter: what comes out, in which order, and how it stops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.pipelines.conftest import Ear
from webui.errors import DeviceMemoryError, JobError, ParamsError
from webui.params import LATENT_UPSCALE_MODES, PLAIN_UPSCALERS, Hires, Sampling
from webui.pipelines import painting
from webui.pipelines.hires import LATENT_MODES
from webui.pipelines.moments import Moments
from webui.pipelines.upscaling import PLAIN
from webui.samplers.names import SAMPLERS

SAMPLER_NAMES = [info.name for info in SAMPLERS]


def pixels(picture: Any) -> np.ndarray:
    return np.asarray(picture.image, dtype=int)


def test_paint_when_two_batches_of_two_numbers_pictures_and_counts_seeds(painted: Any) -> None:
    ear = painted(batch_size=2, batch_count=2, seed=10)

    assert [p.index for p in ear.pictures] == [0, 1, 2, 3]
    assert [p.seed for p in ear.pictures] == [10, 11, 12, 13]
    assert all(p.image.size == (64, 64) for p in ear.pictures)


def test_paint_when_variation_is_asked_keeps_the_seed_and_counts_subseeds(painted: Any) -> None:
    ear = painted(batch_size=2, subseed=5, subseed_strength=0.5)

    assert [(p.seed, p.subseed) for p in ear.pictures] == [(1, 5), (1, 6)]
    assert not np.array_equal(pixels(ear.pictures[0]), pixels(ear.pictures[1]))


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_paint_with_every_sampler_gives_a_picture_that_is_not_noise(
    painted: Any, sampler: str
) -> None:
    (picture,) = painted(
        sampler=sampler, steps=8, prompt="a cat on a blue background", cfg_scale=5
    ).pictures

    steps = np.abs(np.diff(pixels(picture), axis=1)).mean()
    assert steps < 25  # neighbouring pixels of noise differ by about 60


def test_paint_when_half_exists_paints_only_the_rest(painted: Any) -> None:
    ear = painted(batch_count=3, have={0, 2})

    assert [p.index for p in ear.pictures] == [1]


def test_picture_when_painted_in_a_resumed_job_is_the_same(painted: Any) -> None:
    whole = painted(batch_count=2)
    rest = painted(batch_count=2, have={0})

    assert np.array_equal(pixels(whole.pictures[1]), pixels(rest.pictures[0]))


def test_interrupt_when_painting_keeps_the_unfinished_picture_and_ends(painted: Any) -> None:
    ear = painted(Ear(stop_after=lambda e: len(e.steps) >= 2), steps=20, batch_count=3)

    assert len(ear.pictures) == 1
    assert max(step for _, step, stage in ear.steps if stage == "sampling") == 2


def test_skip_when_painting_goes_on_with_the_next_batch(painted: Any) -> None:
    ear = painted(Ear(is_skip=True), steps=6, batch_count=2)

    assert [p.index for p in ear.pictures] == [0, 1]
    sampled = [(batch, step) for batch, step, stage in ear.steps if stage == "sampling"]
    assert max(step for batch, step in sampled if batch == 0) == 2
    assert max(step for batch, step in sampled if batch == 1) == 6


def test_out_of_memory_when_batch_is_too_large_paints_in_halves_with_the_same_result(
    painted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = [painted(seed=1 + i).pictures[0] for i in range(3)]
    real = painting.sample

    def fits_one(sampler: str, denoiser: Any, first_noise: torch.Tensor, *args: Any, **more: Any):
        if first_noise.shape[0] > 1:
            raise torch.OutOfMemoryError("full")
        return real(sampler, denoiser, first_noise, *args, **more)

    monkeypatch.setattr(painting, "sample", fits_one)
    ear = painted(batch_size=3)

    assert [p.index for p in ear.pictures] == [0, 1, 2]
    assert all(
        np.array_equal(pixels(a), pixels(b)) for a, b in zip(apart, ear.pictures, strict=True)
    )
    assert "smaller groups" in ear.warnings[0]


def test_out_of_memory_when_one_picture_is_too_large_says_what_to_do(
    painted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **more: Any) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(painting, "sample", full)

    with pytest.raises(DeviceMemoryError, match=r"64x64.*smaller size"):
        painted()


def test_tiling_when_on_makes_opposite_edges_meet_and_ends_with_the_job(painted: Any) -> None:
    plain = pixels(painted(steps=10, seed=3).pictures[0])
    tiled = pixels(painted(steps=10, seed=3, tiling=True).pictures[0])
    again = pixels(painted(steps=10, seed=3).pictures[0])

    assert np.abs(tiled[:, 0] - tiled[:, -1]).mean() < 12
    assert not np.array_equal(plain, tiled)
    assert np.array_equal(plain, again)


@pytest.mark.parametrize(
    "upscaler", ["Latent", "Latent (bicubic antialiased)", "Latent (nearest-exact)", "Lanczos"]
)
def test_hires_when_scaled_by_two_doubles_the_size(painted: Any, upscaler: str) -> None:
    ear = painted(hires=Hires(upscaler=upscaler, denoising_strength=0.5, steps=2))

    assert ear.pictures[0].image.size == (128, 128)
    assert sum(stage == "hires" for _, _, stage in ear.steps) == 2


def test_hires_when_strength_is_zero_only_enlarges(painted: Any) -> None:
    ear = painted(hires=Hires(denoising_strength=0))

    assert ear.pictures[0].image.size == (128, 128)
    assert not any(stage == "hires" for _, _, stage in ear.steps)


def test_hires_when_both_sides_are_set_cuts_to_them(painted: Any) -> None:
    ear = painted(hires=Hires(resize_x=128, resize_y=64, denoising_strength=0.3, steps=1))

    assert ear.pictures[0].image.size == (128, 64)


def test_upscaler_names_when_offered_are_those_the_second_pass_knows() -> None:
    assert tuple(LATENT_MODES) == LATENT_UPSCALE_MODES
    assert set(PLAIN) == set(PLAIN_UPSCALERS)


def test_hires_when_upscaler_is_unknown_names_it(painted: Any) -> None:
    with pytest.raises(ParamsError, match="could not find upscaler named Magic"):
        painted(hires=Hires(upscaler="Magic"))


@pytest.mark.parametrize(
    "changed",
    [
        {"cfg_scale": 1.0},
        {"negative_prompt": "blue"},
        {"clip_skip": 2},
        {"prompt": "(a red apple:1.5)"},
        {"prompt": "a red apple AND a cat :0.5"},
        {"prompt": "a [red:blue:0.5] apple"},
        {"eta_noise_seed_delta": 31337, "sampler": "Euler a"},
        {"seed_resize_from_w": 96, "seed_resize_from_h": 96},
        {"sampling": Sampling(s_min_uncond=20, s_min_uncond_all=True)},
        {"sampling": Sampling(skip_early_cond=0.6)},
        {"sampling": Sampling(sd_noise_schedule="Zero Terminal SNR")},
        {"randn_source": "CPU"},
        {"schedule": "Exponential"},
    ],
    ids=str,
)
def test_setting_when_changed_changes_the_picture(painted: Any, changed: dict[str, Any]) -> None:
    base = {k: v for k, v in changed.items() if k == "sampler"}

    assert not np.array_equal(
        pixels(painted(**base).pictures[0]), pixels(painted(**changed).pictures[0])
    )


def test_long_prompt_when_negative_is_short_needs_no_padding(painted: Any) -> None:
    long_prompt = ", ".join(["a very small red apple"] * 30)

    assert painted(prompt=long_prompt).pictures[0].image.size == (64, 64)
    padded = painted(prompt=long_prompt, sampling=Sampling(pad_cond_uncond=True))
    assert padded.pictures[0].image.size == (64, 64)


def test_gpu_numbers_when_there_is_no_gpu_are_computed(painted: Any) -> None:
    assert np.array_equal(
        pixels(painted(randn_source="GPU").pictures[0]),
        pixels(painted(randn_source="NV").pictures[0]),
    )


def test_networks_when_mentioned_are_told_once_and_do_not_stop_the_painting(painted: Any) -> None:
    ear = painted(prompt="a cat <lora:ink:0.5> <lora:ink:1> <hypernet:oil:1>", steps=1)

    assert len(ear.pictures) == 1
    assert ["lora:ink" in w for w in ear.warnings] == [True, False]
    assert "hypernet:oil" in ear.warnings[1]


def test_interrupt_when_prompts_are_being_encoded_makes_no_picture(painted: Any) -> None:
    ear = painted(Ear(stop_after=lambda e: True), prompt="never encoded before 7391")

    assert ear.pictures == [] and not any(stage == "sampling" for _, _, stage in ear.steps)


@pytest.mark.parametrize(
    ("dtype", "remedy"), [(torch.float16, "--no-half"), (torch.float32, "another checkpoint")]
)
def test_broken_numbers_when_the_network_makes_them_fail_with_a_remedy(
    painted: Any,
    starter: Any,
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    remedy: str,
) -> None:
    def broken(inputs: torch.Tensor, *_: Any, **more: Any) -> tuple[torch.Tensor]:
        return (inputs * float("nan"),)

    monkeypatch.setattr(starter.unet, "forward", broken)
    monkeypatch.setattr(starter, "dtype", dtype)

    with pytest.raises(JobError, match=rf"broken values.*{remedy}"):
        painted(steps=2)


def test_prompts_when_each_picture_has_its_own_paint_what_each_paints_alone(
    painted: Any,
) -> None:
    texts = ["a red apple", "a red apple", "a blue boat"]
    own = {"template": "{a red apple|a blue boat}", "prompts": texts}

    together = painted(seed=5, batch_size=3, drawn=own)

    for index, picture in enumerate(together.pictures):
        (alone,) = painted(seed=5 + index, prompt=texts[index]).pictures
        assert alone.image.tobytes() == picture.image.tobytes()


LONG = "a red apple" + ", red" * 80
HIRES = {"scale": 1.5, "denoising_strength": 0.6, "upscaler": "Latent"}


@pytest.mark.parametrize(
    ("texts", "more", "groups"),
    [
        (["a red apple", "a blue boat", "a [red:green:2] hat"], {}, [2, 1]),
        (["a red [apple:boat:2] AND sky:0.5", "a blue [hat:cat:2] AND sea:0.5"], {}, [2]),
        (["a red apple AND sky", "a blue boat AND sea:0.5"], {}, [1, 1]),
        (["a red apple", LONG, LONG.replace("red", "blue")], {}, [1, 2]),
        (["a red apple", LONG], {"sampling": {"pad_cond_uncond": True}}, [1, 1]),
        ([LONG, LONG.replace("red", "blue")], {"sampling": {"pad_cond_uncond": True}}, [2]),
        (["a red apple <lora:x:1>", "a blue boat"], {}, [1, 1]),
        (["a red apple", "a blue boat"], {"hires": HIRES}, [2]),
        (
            ["a red apple", "a blue boat"],
            {"tiled_diffusion": {"tile_width": 64, "overlap": 16}, "width": 96},
            [2],
        ),
    ],
)
def test_texts_when_they_differ_in_their_words_alone_are_painted_at_once_as_each_alone(
    painted: Any,
    monkeypatch: pytest.MonkeyPatch,
    texts: list[str],
    more: dict[str, Any],
    groups: list[int],
) -> None:
    real, found = painting.PaintingRun._group, []

    def group(run: Any, batch: int, indices: list[int]) -> Any:
        found.append(len(indices))
        return real(run, batch, indices)

    monkeypatch.setattr(painting.PaintingRun, "_group", group)
    negatives = ["dark"] * (len(texts) - 1) + ["a fog"]
    own = {"prompts": texts, "negative_prompts": negatives, **_second_texts(texts, more)}
    together = painted(seed=5, steps=3, batch_size=len(texts), drawn=own, **more).pictures
    assert found == groups

    for index, (text, negative) in enumerate(zip(texts, negatives, strict=True)):
        hires = {"prompt": f"{text}, large"} if "hires" in more else None
        values = {**more, "hires": {**HIRES, **hires}} if hires else more
        wish = {"prompt": text, "negative_prompt": negative, **values}
        (alone,) = painted(seed=5 + index, steps=3, **wish).pictures
        largest = np.abs(pixels(alone) - pixels(together[index])).max()
        assert largest <= 1, "as far as any two batches differ"


def _second_texts(texts: list[str], more: dict[str, Any]) -> dict[str, Any]:
    return {"hires_prompts": [f"{text}, large" for text in texts]} if "hires" in more else {}


def test_texts_when_an_extension_joins_are_shown_to_it_one_at_a_time(painted: Any) -> None:
    told: list[tuple[str, int]] = []

    class Listening(Moments):
        sees_texts = True

        def after_conditioning(self, conditioning: Any) -> Any:
            told.append(("conditioning", len(conditioning.negative.at(0))))
            return conditioning

    with pytest.MonkeyPatch.context() as joined:
        joined.setattr(painting.PaintingRun, "moments", Listening())
        painted(steps=1, batch_size=2, drawn={"prompts": ["a red apple", "a blue boat"]})
    assert told == [("conditioning", 1)] * 2
