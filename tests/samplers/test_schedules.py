from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from webui.errors import ParamsError
from webui.samplers.names import SCHEDULES
from webui.samplers.options import ScheduleOptions
from webui.samplers.schedules import (
    ALMOST_ZERO_ALPHA,
    NoiseTable,
    downcast_alphas_cumprod,
    make_sigmas,
    stable_diffusion_alphas_cumprod,
    timestep_schedule,
    unipc_sigmas,
    zero_terminal_snr,
)

TABLE = NoiseTable.stable_diffusion()
PLAIN = ScheduleOptions()


def levels(label: str, steps: int, sampler: str = "Euler", **options: float | bool) -> list[float]:
    return make_sigmas(TABLE, label, sampler, steps, ScheduleOptions(**options)).tolist()


@pytest.mark.parametrize(
    ("label", "steps", "expected"),
    [
        ("Uniform", 5, [14.6146, 4.0861, 1.6156, 0.6951, 0.0292, 0]),
        ("Automatic", 5, [14.6146, 4.0861, 1.6156, 0.6951, 0.0292, 0]),
        ("Normal", 5, [14.6146, 4.0861, 1.6156, 0.6951, 0.0292, 0]),
        ("Karras", 5, [14.6146, 4.7965, 1.2741, 0.2480, 0.0292, 0]),
        ("Exponential", 5, [14.6146, 3.0890, 0.6529, 0.1380, 0.0292, 0]),
        ("Polyexponential", 5, [14.6146, 3.0890, 0.6529, 0.1380, 0.0292, 0]),
        ("SGM Uniform", 5, [14.6146, 5.0924, 2.2797, 1.1629, 0.5712, 0]),
        ("KL Optimal", 5, [14.6146, 2.6329, 1.2948, 0.7116, 0.3356, 0.0292]),
        ("Simple", 5, [14.6146, 5.0878, 2.2765, 1.1606, 0.5693, 0]),
        ("DDIM", 5, [5.1344, 2.2929, 1.1682, 0.5741, 0.0413, 0]),
        ("Beta", 5, [14.6146, 12.0523, 7.3219, 2.5915, 0.0292, 0]),
        ("Align Your Steps", 5, [14.615, 3.2269, 1.396, 0.51, 0.029, 0]),
        ("Uniform", 8, [14.6146, 6.6780, 3.5221, 2.0606, 1.2768, 0.7913, 0.4397, 0.0292, 0]),
        ("Karras", 8, [14.6146, 7.9029, 4.0277, 1.9104, 0.8289, 0.3211, 0.1072, 0.0292, 0]),
        ("Beta", 8, [14.6146, 13.5770, 11.4518, 8.7596, 5.8842, 3.1920, 1.0668, 0.0292, 0]),
        ("DDIM", 8, [7.3718, 4.1167, 2.5109, 1.6237, 1.0760, 0.6984, 0.4022, 0.0413, 0]),
    ],
)
def test_make_sigmas_equals_the_check_values(label: str, steps: int, expected: list[float]) -> None:
    assert levels(label, steps) == pytest.approx(expected, abs=1e-4)


def test_make_sigmas_when_sdxl_uses_its_own_align_your_steps() -> None:
    sigmas = make_sigmas(TABLE, "Align Your Steps", "Euler", 5, PLAIN, is_sdxl=True)
    assert sigmas.tolist() == pytest.approx([14.615, 2.8678, 0.862, 0.2982, 0.029, 0], abs=1e-4)


def test_make_sigmas_when_ddim_does_not_divide_has_more_levels_than_asked() -> None:
    assert len(levels("DDIM", 30)) == 32


@pytest.mark.parametrize("label", [s.label for s in SCHEDULES])
@pytest.mark.parametrize("steps", [1, 2, 3, 20, 150])
def test_make_sigmas_always_descends(label: str, steps: int) -> None:
    sigmas = levels(label, steps)
    assert all(a > b for a, b in pairwise(sigmas))
    assert len(sigmas) >= steps + 1


@pytest.mark.parametrize("label", [s.label for s in SCHEDULES])
def test_make_sigmas_when_no_steps_is_a_single_zero(label: str) -> None:
    assert levels(label, 0) == [0.0]


@pytest.mark.parametrize(("sampler", "always"), [("DPM2", False), ("DPM2", True), ("Euler", True)])
def test_make_sigmas_when_discarding_drops_the_penultimate_of_one_more(
    sampler: str, always: bool
) -> None:
    longer = levels("Karras", 6)
    found = levels("Karras", 5, sampler, always_discard_next_to_last_sigma=always)
    assert found == longer[:-2] + longer[-1:]


def test_make_sigmas_when_limits_are_given_uses_them() -> None:
    sigmas = levels("Karras", 5, sigma_min=0.5, sigma_max=8.0)
    assert (sigmas[0], sigmas[-2]) == pytest.approx((8.0, 0.5))


def test_make_sigmas_when_old_karras_limits_are_a_tenth_and_ten() -> None:
    sigmas = levels("Karras", 5, use_old_karras_scheduler_sigmas=True)
    assert (sigmas[0], sigmas[-2]) == pytest.approx((10.0, 0.1))


def test_make_sigmas_when_rho_is_one_karras_is_linear() -> None:
    steps = torch.tensor(levels("Karras", 5, rho=1.0)[:-1]).diff()
    assert torch.allclose(steps, steps[0].expand(4), atol=1e-5)


def test_make_sigmas_when_beta_shapes_are_one_is_linear() -> None:
    steps = torch.tensor(levels("Beta", 5, beta_dist_alpha=1.0, beta_dist_beta=1.0)[:-1]).diff()
    assert torch.allclose(steps, steps[0].expand(4), atol=1e-5)


def test_make_sigmas_when_lcm_walks_every_twentieth_level() -> None:
    sigmas = torch.tensor(levels("Automatic", 50, "LCM"))
    assert torch.allclose(sigmas[:-1], TABLE.sigmas[19::20].flip(0), rtol=1e-4)


@pytest.mark.parametrize(
    ("label", "steps", "options", "field"),
    [
        ("Karas", 5, {}, "scheduler"),
        ("Karras", -1, {}, "steps"),
        ("Karras", 5, {"sigma_min": 20.0}, "sigma_min"),
        ("Karras", 5, {"sigma_min": -1.0}, "sigma_min"),
        ("Karras", 5, {"sigma_max": math.inf}, "sigma_min"),
    ],
)
def test_make_sigmas_when_impossible_names_the_field(
    label: str, steps: int, options: dict[str, float], field: str
) -> None:
    with pytest.raises(ParamsError) as caught:
        levels(label, steps, **options)
    assert caught.value.field == field


def test_noise_table_has_the_known_ends() -> None:
    assert (TABLE.sigma_min, TABLE.sigma_max) == pytest.approx((0.0291675, 14.6146), rel=1e-4)


def test_timesteps_and_sigmas_convert_both_ways() -> None:
    timesteps = torch.tensor([0.0, 0.4, 17.25, 500.5, 998.9, 999.0])
    assert torch.allclose(TABLE.sigma_to_t(TABLE.t_to_sigma(timesteps)), timesteps, atol=2e-3)


def test_sigma_to_t_when_outside_the_table_stays_at_its_ends() -> None:
    assert TABLE.sigma_to_t(torch.tensor([1e-6, 900.0])).tolist() == [0.0, 999.0]


def test_sigma_to_t_keeps_the_shape() -> None:
    assert TABLE.sigma_to_t(torch.ones(2, 3)).shape == (2, 3)


def test_sigma_to_t_when_quantized_is_the_nearest_trained_step() -> None:
    table = NoiseTable.stable_diffusion(quantize=True)
    between = TABLE.t_to_sigma(torch.tensor([10.3, 10.7, 500.0]))
    assert table.sigma_to_t(between).tolist() == [10.0, 11.0, 500.0]


def test_every_keeps_the_timesteps_of_its_entries() -> None:
    coarse = TABLE.every(20)
    assert len(coarse) == 50
    assert coarse.sigma_to_t(coarse.sigmas).tolist() == list(range(19, 1000, 20))
    assert torch.allclose(coarse.t_to_sigma(torch.tensor([19.0, 999.0])), coarse.sigmas[[0, -1]])


def test_zero_terminal_snr_ends_almost_without_signal() -> None:
    alphas = stable_diffusion_alphas_cumprod()
    shifted = zero_terminal_snr(alphas)
    assert float(shifted[-1]) == pytest.approx(ALMOST_ZERO_ALPHA)
    assert float(shifted[0]) == pytest.approx(float(alphas[0]))
    assert bool((shifted.diff() < 0).all())
    assert NoiseTable(shifted).sigma_max == pytest.approx(4518.76, rel=1e-4)


def test_downcast_rounds_through_half_precision() -> None:
    alphas = stable_diffusion_alphas_cumprod()
    rounded = downcast_alphas_cumprod(alphas)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, alphas.half().float())
    assert not torch.equal(rounded, alphas)


def test_timestep_schedule_counts_up_from_one() -> None:
    assert timestep_schedule(8, PLAIN) == [1, 126, 251, 376, 501, 626, 751, 876]
    assert len(timestep_schedule(30, PLAIN)) == 31
    discarding = ScheduleOptions(always_discard_next_to_last_sigma=True)
    assert timestep_schedule(7, discarding) == timestep_schedule(8, PLAIN)
    assert timestep_schedule(5000, PLAIN)[-2:] == [999, 999]


@pytest.mark.parametrize("skip_type", ["time_uniform", "time_quadratic", "logSNR"])
def test_unipc_sigmas_run_from_the_first_timestep_to_zero(skip_type: str) -> None:
    sigmas = unipc_sigmas(TABLE, 10, 999, skip_type)  # type: ignore[arg-type]
    assert len(sigmas) == 11
    assert (sigmas[0], sigmas[-1]) == pytest.approx((TABLE.sigma_max, TABLE.sigma_min), rel=1e-4)
    assert sigmas == sorted(sigmas, reverse=True)


def test_unipc_sigmas_when_log_snr_are_a_geometric_row() -> None:
    sigmas = unipc_sigmas(TABLE, 10, 999, "logSNR")
    ratios = [b / a for a, b in pairwise(sigmas)]
    assert ratios == pytest.approx([ratios[0]] * 10)
