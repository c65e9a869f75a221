"""Noise, losses, learning rates, steps and tokens against the specification's numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.small_training import options_of
from webui.checkpoints.load import alphas_cumprod
from webui.errors import ParamsError
from webui.training.losses import batch_loss, huber_width, pixel_errors, snr_of, weighed
from webui.training.network_args import side_weights
from webui.training.noise import draw_noise, draw_timesteps, make_noisy
from webui.training.rates import rate_factor
from webui.training.steps import Due, Length, file_stem, training_length
from webui.training.texts import joined_rows, rows_of

KEPT = alphas_cumprod()


def at(*timesteps: int) -> torch.Tensor:
    return torch.tensor(timesteps)


def test_snr_when_asked_then_the_known_values() -> None:
    found = snr_of(KEPT, at(0, 100, 500, 999)).tolist()
    assert found == pytest.approx([1175.47, 8.45389, 0.381850, 0.00468192], rel=1e-4)


@pytest.mark.parametrize(
    ("is_v", "expected"), [(False, [0.004254, 0.591443, 1.0]), (True, [0.004250, 0.528883, None])]
)
def test_min_snr_when_five_then_the_known_weights(is_v: bool, expected: list[float | None]) -> None:
    options = options_of(min_snr_gamma=5, v_parameterization=is_v)
    found = weighed(torch.ones(3), snr_of(KEPT, at(0, 100, 200)), options).tolist()
    for value, wanted in zip(found, expected, strict=True):
        assert wanted is None or value == pytest.approx(wanted, abs=1e-6)


def test_weights_when_of_v_then_each_formula_holds() -> None:
    snr = torch.tensor([8.0, 5000.0])
    like = options_of(v_parameterization=True, scale_v_pred_loss_like_noise_pred=True)
    assert weighed(torch.ones(2), snr, like).tolist() == pytest.approx([8 / 9, 1000 / 1001])
    extra = options_of(v_pred_like_loss=0.5)
    assert weighed(torch.ones(2), snr, extra).tolist() == pytest.approx([1.5625, 1.5005])
    even = options_of(debiased_estimation_loss=True)
    assert weighed(torch.ones(2), snr, even).tolist() == pytest.approx([8**-0.5, 1000**-0.5])


def test_huber_when_scheduled_then_width_and_errors_follow() -> None:
    snr_options = options_of(loss_type="smooth_l1", huber_schedule="snr", huber_c=0.1)
    sigma = ((1 - KEPT[500]) / KEPT[500]).sqrt()
    width = huber_width(at(500), KEPT, snr_options)
    assert float(width) == pytest.approx(0.9 / (1 + float(sigma)) ** 2 + 0.1)
    still = options_of(loss_type="huber", huber_schedule="constant", huber_scale=2.0)
    found = pixel_errors(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), at(5), KEPT, still)
    assert float(found) == pytest.approx(2 * 0.2 * (math.sqrt(1 + 0.04) - 0.2), abs=1e-6)
    falling = options_of(huber_schedule="exponential")
    assert float(huber_width(at(500), KEPT, falling)) == pytest.approx(math.sqrt(0.1), rel=1e-5)


def test_loss_when_masked_and_weighed_then_only_the_rest_counts() -> None:
    prediction, target = torch.ones(2, 4, 2, 2), torch.zeros(2, 4, 2, 2)
    masks = torch.zeros(2, 1, 4, 4)
    masks[:, :, :, :2] = 1
    loss = batch_loss(prediction, target, at(1, 1), (1.0, 0.5), KEPT, options_of(), masks)
    assert float(loss) == pytest.approx((0.5 + 0.25) / 2)


def test_noise_when_offset_and_pyramid_then_it_differs_as_meant() -> None:
    latents = torch.zeros(64, 4, 16, 16)

    def draw(**changed: Any) -> torch.Tensor:
        return draw_noise(latents, options_of(**changed), torch.Generator().manual_seed(1))

    assert draw(noise_offset=2.0).mean(dim=(2, 3)).std() == pytest.approx(2.0, rel=0.1)
    assert draw().mean(dim=(2, 3)).std() == pytest.approx(1 / 16, rel=0.1)
    pyramid = draw(multires_noise_iterations=8, multires_noise_discount=0.5)
    assert pyramid.std() == pytest.approx(1.0, rel=1e-3)
    assert pyramid.mean(dim=(2, 3)).std() > 2 * draw().mean(dim=(2, 3)).std()
    shifted = draw_noise(
        torch.full_like(latents, 3.0), options_of(noise_offset=0.0, adaptive_noise_scale=1.0),
        torch.Generator().manual_seed(1),
    )  # fmt: skip
    assert shifted.mean(dim=(2, 3)).std() == pytest.approx(3.0, rel=0.1)


def test_noisy_when_made_then_target_is_noise_or_v() -> None:
    latents = torch.full((1, 4, 2, 2), 0.5)
    for is_v in (False, True):
        options = options_of(min_timestep=500, max_timestep=500, v_parameterization=is_v)
        noised = make_noisy(latents, KEPT, options, torch.Generator().manual_seed(3))
        signal, spread = KEPT[500].sqrt(), (1 - KEPT[500]).sqrt()
        noise = (noised.latents - signal * latents) / spread
        wanted = signal * noise - spread * latents if is_v else noise
        assert torch.allclose(noised.target, wanted, atol=1e-5)
        assert noised.timesteps.tolist() == [500]


def test_timesteps_when_drawn_then_inside_the_range() -> None:
    options = options_of(min_timestep=10, max_timestep=12)
    found = draw_timesteps(100, options, torch.Generator().manual_seed(0))
    assert set(found.tolist()) == {10, 11}


@pytest.mark.parametrize(
    ("changed", "step", "factor"),
    [
        ({"lr_scheduler": "linear"}, 250, 0.833333),
        ({"lr_scheduler": "cosine"}, 250, 0.933013),
        ({"lr_scheduler": "cosine"}, 550, 0.5),
        ({"lr_scheduler": "cosine_with_restarts", "lr_scheduler_num_cycles": 3}, 250, 0.5),
        ({"lr_scheduler": "polynomial", "lr_scheduler_power": 2}, 250, 0.694750),
        ({"lr_scheduler": "constant_with_warmup"}, 50, 0.5),
        ({"lr_scheduler": "inverse_sqrt"}, 400, 0.5),
        ({"lr_scheduler": "cosine_with_min_lr", "lr_scheduler_min_lr_ratio": 0.1}, 1000, 0.1),
        ({"lr_scheduler": "warmup_stable_decay", "lr_decay_steps": 0.2}, 900, 0.5),
        ({"lr_scheduler": "warmup_stable_decay", "lr_decay_steps": 0.2}, 700, 1.0),
        ({"lr_scheduler": "piecewise_constant", "lr_warmup_steps": 0,
          "lr_scheduler_args": ("step_rules='1:10,0.1:20,0.01'",)}, 15, 0.1),
    ],
)  # fmt: skip
def test_rate_when_scheduled_then_the_known_factor(
    changed: dict[str, Any], step: int, factor: float
) -> None:
    options = options_of(**{"lr_warmup_steps": 100, **changed})
    assert rate_factor(options, 1000, 1e-4)(step) == pytest.approx(factor, abs=2e-6)


def test_rate_when_warm_up_is_a_share_then_of_all_steps() -> None:
    options = options_of(lr_scheduler="linear", lr_warmup_steps=0.1)
    assert rate_factor(options, 1000, 1.0)(100) == 1.0
    assert rate_factor(options, 1000, 1.0)(50) == 0.5


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"lr_scheduler": "constant", "lr_warmup_steps": 10}, "has no warm-up"),
        ({"lr_scheduler": "linear", "lr_warmup_steps": 100}, r"\(100\) is not less than the 100"),
        ({"lr_scheduler": "cosin"}, 'Did you mean "cosine"'),
    ],
)
def test_rate_when_it_cannot_be_then_told(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParamsError, match=sentence):
        rate_factor(options_of(**changed), 100, 1.0)


def test_steps_when_counted_then_those_of_the_vectors(project: Path) -> None:
    vectors = project / "tests" / "data" / "bucket-cases.json"
    for case in json.loads(vectors.read_text(encoding="utf-8"))["step_arithmetic"]:
        options = options_of(
            max_train_epochs=case["max_train_epochs"],
            gradient_accumulation_steps=case["gradient_accumulation_steps"],
        )
        found = training_length(options, case["batches_per_epoch"], case["processes"])
        assert found.steps_per_epoch == case["optimizer_steps_per_epoch"], case["id"]
        assert found.steps == case["max_train_steps"], case["id"]


def test_steps_when_no_epochs_are_given_then_the_last_is_cut_short() -> None:
    options = options_of(max_train_epochs=None, max_train_steps=25)
    assert training_length(options, 10) == Length(10, 25, 3)


def test_due_when_files_are_many_then_the_right_one_goes() -> None:
    options = options_of(
        save_every_n_epochs=2, save_last_n_epochs=2, save_every_n_steps=10, save_last_n_steps=25
    )
    due = Due.of(options, Length(1, 100, 100))
    assert [due.outdated_epoch(e) for e in (2, 4, 6)] == [None, None, 2]
    assert [due.outdated_step(s) for s in (20, 30, 40, 50)] == [None, None, 10, 20]
    ratio = Due.of(options_of(save_n_epoch_ratio=4), Length(1, 10, 10))
    assert ratio.epochs == 2


def test_names_when_without_an_output_name_then_kohyas() -> None:
    plain = options_of(output_name="")
    assert [file_stem(plain), file_stem(plain, epoch=2), file_stem(plain, step=100)] == [
        "last", "epoch-000002", "at-step00000100",
    ]  # fmt: skip


@pytest.mark.parametrize(("rows", "length"), [(1, 77), (2, 152), (3, 227)])
def test_rows_when_joined_then_one_start_and_one_end(rows: int, length: int) -> None:
    numbers = torch.arange(rows * 77.0).view(1, rows, 77, 1)
    joined = joined_rows(numbers)[0, :, 0].tolist()
    assert len(joined) == length
    assert joined[0] == 0 and joined[-1] == rows * 77 - 1
    if rows > 1:
        assert joined[75:77] == [75, 78], "the first row's last word, the second row's first"


def test_rows_when_the_text_is_long_then_cut_into_pieces_with_marks() -> None:
    start, end = 1, 2
    tokens = list(range(10, 100))
    first, second = rows_of(tokens, 2, start, end, end)
    assert first == [start, *tokens[:75], end] and second[:16] == [start, *tokens[75:90]]
    assert second[16:] == [end] * 61
    zero_first, zero_second, zero_third = rows_of(tokens, 3, start, end, 0)
    assert zero_first[-1] == end, "neither end nor filler stood before the last"
    assert zero_second[16] == end and zero_second[-1] == 0
    assert zero_third[:3] == [start, end, 0]


def test_side_weights_when_a_curve_then_from_the_outer_block_on() -> None:
    assert side_weights("down", "linear+0.5", 3) == [0.5, 1.0, 1.5]
    assert side_weights("down", "cosine", 3) == pytest.approx([1, 0.5**0.5, 0], abs=1e-9)
    with pytest.raises(ParamsError, match="2 numbers; 3 are needed"):
        side_weights("up", "1,2", 3)
