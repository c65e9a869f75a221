"""Every stepping rule against known truth: where it ends, how fast it gets better, what spread."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from tests.samplers.gaussian_truth import GaussianDenoiser, NoiseTape, exact_end, karras_levels
from webui.samplers.lcm import lcm
from webui.samplers.lms import multistep_weights
from webui.samplers.restart import restart_steps
from webui.samplers.rules import RULES
from webui.samplers.schedules import NoiseTable
from webui.samplers.unipc import moment

SIGMA_MAX, SIGMA_MIN = 10.0, 0.1

ORDERS = {
    "DPM++ 2M": 2,
    "DPM++ SDE": 2,
    "DPM++ 2M SDE": 2,
    "DPM++ 2M SDE Heun": 2,
    "DPM++ 2S a": 2,
    "DPM++ 3M SDE": 2,
    "Euler a": 1,
    "Euler": 1,
    "LMS": 2.2,  # fourth order inside, but begun with an Euler step
    "Heun": 2,
    "DPM2": 2,
    "DPM2 a": 2,
    "DPM fast": 2,  # third order inside, but the last steps are lower
    "DDIM": 1,
    "DDIM CFG++": 1,
    "PLMS": 2,
    "UniPC": 2,  # fourth order inside, but the last steps are lower
}

STOCHASTIC = [name for name, rule in RULES.items() if "eta" in rule.knobs]


def walk(
    name: str, latents: Tensor, sigmas: list[float], noise: NoiseTape | None = None, **knobs: Any
) -> Tensor:
    rule = RULES[name]
    keywords = {**rule.fixed, **knobs}
    if "eta" in rule.knobs:
        keywords.setdefault("eta", 0.0)
    if name == "DPM fast":
        keywords["steps"] = len(sigmas) - 1
    return rule.step(
        GaussianDenoiser(), latents, sigmas, None, noise=noise or NoiseTape(), **keywords
    )


def error(name: str, steps: int, **knobs: Any) -> float:
    latents = torch.randn(1, 1, 4, 4, dtype=torch.float64, generator=_seeded(3)) * SIGMA_MAX
    sigmas = karras_levels(steps + 1, SIGMA_MAX, SIGMA_MIN)
    end = walk(name, latents, sigmas, **knobs)
    return float((end - exact_end(latents, sigmas)).abs().max())


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_error_falls_at_the_known_order(name: str, order: float) -> None:
    coarse, fine = error(name, 96), error(name, 192)
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.5)
    assert fine < (0.02 if order == 1 else 3e-4)


@pytest.mark.parametrize("variant", ["bh1", "bh2", "vary_coeff"])
@pytest.mark.parametrize("order", [1, 2])
def test_unipc_without_lowering_is_one_order_above_its_predictor(variant: str, order: int) -> None:
    knobs = {"variant": variant, "order": order, "lower_order_final": False}
    rate = math.log2(error("UniPC", 96, **knobs) / error("UniPC", 192, **knobs))
    assert rate == pytest.approx(order + 1, abs=0.4)


@pytest.mark.parametrize("variant", ["bh1", "bh2", "vary_coeff"])
def test_unipc_when_third_order_is_far_more_exact(variant: str) -> None:
    knobs = {"variant": variant, "order": 3, "lower_order_final": False}
    assert error("UniPC", 48, **knobs) < 5e-5


@pytest.mark.parametrize("sigma_min", [0.1, 0.03])
def test_dpm_adaptive_when_no_noise_ends_near_the_truth(sigma_min: float) -> None:
    latents = torch.randn(3, 1, 8, 8, generator=_seeded(3)) * SIGMA_MAX
    end = walk("DPM adaptive", latents, [SIGMA_MAX, sigma_min])
    assert torch.allclose(end, exact_end(latents, [SIGMA_MAX, sigma_min]), rtol=0.05)


def test_multistep_weights_integrate_cubics_exactly() -> None:
    nodes, end = [3.0, 4.5, 7.0, 11.0], 1.5
    weights = multistep_weights(nodes, end)
    for power in range(4):
        integral = (end ** (power + 1) - nodes[0] ** (power + 1)) / (power + 1)
        quadrature = sum(w * node**power for w, node in zip(weights, nodes, strict=True))
        assert quadrature == pytest.approx(integral)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_fresh_noise_keeps_the_spread_of_the_data(name: str) -> None:
    start = torch.randn(4, 4, 32, 32, dtype=torch.float64, generator=_seeded(1))
    sigmas = karras_levels(120, SIGMA_MAX, SIGMA_MIN)
    latents = start * math.sqrt(1 + SIGMA_MAX**2)
    end = walk(name, latents, sigmas, NoiseTape(5), eta=1.0)
    assert float(end.std()) == pytest.approx(math.sqrt(1 + SIGMA_MIN**2), rel=0.03)
    assert abs(float((end * start).mean())) < 0.25  # the first noise is all but forgotten


@pytest.mark.parametrize("name", STOCHASTIC)
def test_more_noise_forgets_more_of_the_start(name: str) -> None:
    start = torch.randn(2, 4, 32, 32, dtype=torch.float64, generator=_seeded(1))
    sigmas = karras_levels(60, SIGMA_MAX, SIGMA_MIN)
    kept = [
        float((walk(name, start * 10.05, sigmas, NoiseTape(5), eta=eta) * start).mean())
        for eta in (0.0, 0.3, 1.0)
    ]
    assert kept[0] == pytest.approx(1, abs=0.06)
    assert kept[0] > kept[1] + 0.02 > kept[2] + 0.04


@pytest.mark.parametrize("name", ["Euler", "Heun", "DPM2"])
def test_churn_keeps_the_spread_and_adds_noise(name: str) -> None:
    start = torch.randn(4, 4, 32, 32, dtype=torch.float64, generator=_seeded(1))
    sigmas = karras_levels(240, SIGMA_MAX, SIGMA_MIN)
    latents = start * math.sqrt(1 + SIGMA_MAX**2)
    end = walk(name, latents, sigmas, NoiseTape(5), s_churn=40.0)
    assert float(end.std()) == pytest.approx(1, rel=0.06)
    assert float((end * start).mean()) < 0.6


@pytest.mark.parametrize("name", ["Euler", "Heun", "DPM2"])
def test_churn_outside_its_limits_changes_nothing_but_still_draws(name: str) -> None:
    latents = torch.randn(1, 4, 4, 4, generator=_seeded(1)) * 10
    sigmas, tape = karras_levels(10, 10.0, 0.1), NoiseTape()
    churned = walk(name, latents, sigmas, tape, s_churn=40.0, s_tmin=100.0)
    assert torch.equal(churned, walk(name, latents, sigmas))
    assert tape.plays == 9


def test_restart_when_few_steps_is_heun() -> None:
    latents = torch.randn(1, 4, 4, 4, generator=_seeded(1)) * 10
    sigmas = [*karras_levels(19, 10.0, 0.1), 0.0]
    assert torch.equal(walk("Restart", latents, sigmas), walk("Heun", latents, sigmas))


@pytest.mark.parametrize("steps", [30, 60])
def test_restart_keeps_the_spread_of_the_data(steps: int) -> None:
    start = torch.randn(4, 4, 32, 32, generator=_seeded(1))
    end = walk("Restart", start * 14.6, [*karras_levels(steps, 14.6, 0.03), 0.0], NoiseTape(5))
    assert float(end.std()) == pytest.approx(1, rel=0.03)
    assert 0.1 < float((end * start).mean()) < 0.9


def test_lcm_jumps_to_the_clean_estimate_and_noises_it_again() -> None:
    table = NoiseTable.stable_diffusion().every(20)
    high, low = float(table.sigmas[-1]), float(table.sigmas[20])
    latents, tape = torch.randn(1, 4, 4, 4, generator=_seeded(1)) * high, NoiseTape(5)
    end = walk("LCM", latents, [high, low, 0.0], tape, table=table)
    middle = latents / (1 + high**2) + NoiseTape(5)(latents) * low
    assert torch.allclose(end, middle / (1 + low**2), atol=1e-3)
    assert tape.plays == 1


@pytest.mark.parametrize(("steps", "repeats", "width"), [(20, 1, 9), (35, 1, 9), (40, 2, 10)])
def test_restart_repeats_a_low_stretch_within_the_same_number_of_steps(
    steps: int, repeats: int, width: int
) -> None:
    sigmas = [*karras_levels(steps, 14.6, 0.03), 0.0]
    plan = list(restart_steps(sigmas))
    assert len(plan) == steps
    assert plan[0][0] == sigmas[0]
    assert plan[-1][1] == 0
    jumps = [i for i in range(1, steps) if plan[i][0] > plan[i - 1][1]]
    assert len(jumps) == repeats
    for jump in jumps:
        assert plan[jump][0] == pytest.approx(2, abs=1.0)
        assert plan[jump - 1][1] == plan[jump + width - 1][1] == pytest.approx(0.1, abs=0.06)


def test_lcm_asks_the_network_at_the_nearest_timestep_it_knows() -> None:
    table = NoiseTable.stable_diffusion().every(20)
    known, sigma = float(table.sigmas[30]), float(table.sigmas[30]) * 1.01
    latents = torch.randn(1, 4, 4, 4, generator=_seeded(1)) * sigma
    denoiser = GaussianDenoiser()
    end = lcm(denoiser, latents, [sigma, 0.0], None, noise=NoiseTape(), table=table)
    seen = latents * math.sqrt((1 + known**2) / (1 + sigma**2))
    noise_pred = seen * known / (1 + known**2)
    assert denoiser.sigmas == pytest.approx([known])
    assert torch.allclose(end, latents - sigma * noise_pred, atol=1e-5)


@pytest.mark.parametrize("width", [1e-6, 1e-3, 0.4, 1.0, 3.0, 8.0, 30.0])
@pytest.mark.parametrize("power", [1, 2, 3, 6])
def test_unipc_moments_equal_their_integrals(width: float, power: int) -> None:
    expected, _ = quad(lambda r: width * math.exp(width * (r - 1)) * r**power, 0, 1)
    assert moment(power, width) == pytest.approx(expected, rel=1e-9)
