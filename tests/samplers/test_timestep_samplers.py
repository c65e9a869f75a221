"""DDIM, CFG++, PLMS and UniPC against their formulas for unit-variance latents, written anew."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.samplers.gaussian_truth import WarpedDenoiser
from webui.samplers.names import AUTOMATIC
from webui.samplers.noise import ImageNoise
from webui.samplers.options import SamplerOptions
from webui.samplers.run import sample
from webui.samplers.schedules import NoiseTable, timestep_schedule

TABLE = NoiseTable.stable_diffusion()
ALPHAS = TABLE.alphas_cumprod.double().tolist()
SHAPE = (4, 6, 5)


class TwoOpinions(WarpedDenoiser):
    """Guided and unconditional estimates that differ."""

    def guided(self, latents: Tensor, sigma: Tensor, cond: object) -> tuple[Tensor, Tensor]:
        denoised = self(latents, sigma, cond)
        return denoised, 0.8 * denoised + 0.1


def noise_pred(unit_latents: Tensor, timestep: int) -> Tensor:
    """What an ordinary network predicts from latents of unit variance."""
    denoised = denoised_at(unit_latents, timestep)
    alpha = ALPHAS[timestep]
    return (unit_latents - math.sqrt(alpha) * denoised) / math.sqrt(1 - alpha)


def denoised_at(unit_latents: Tensor, timestep: int) -> Tensor:
    alpha = ALPHAS[timestep]
    sigma = unit_latents.new_full((unit_latents.shape[0],), math.sqrt((1 - alpha) / alpha))
    return WarpedDenoiser()(unit_latents / math.sqrt(alpha), sigma, None)


def paint(sampler: str, steps: int, **keywords: Any) -> tuple[Tensor, Tensor]:
    noise = ImageNoise(SHAPE, [1, 2])
    first = noise.first()
    end = sample(
        sampler, TwoOpinions(), first, None, table=TABLE, steps=steps, noise=noise, **keywords
    )
    return first, end


@pytest.mark.parametrize("eta", [0.0, 0.7])
@pytest.mark.parametrize("steps", [8, 20, 30])
def test_ddim_follows_its_formula(eta: float, steps: int) -> None:
    first, found = paint("DDIM", steps, options=SamplerOptions(eta=eta))
    streams = ImageNoise(SHAPE, [1, 2])
    latents = streams.first().clone()
    timesteps = timestep_schedule(steps, SamplerOptions())
    for i in range(len(timesteps) - 1, 0, -1):
        alpha, alpha_next = ALPHAS[timesteps[i]], ALPHAS[timesteps[i - 1]]
        spread = eta * math.sqrt((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next))
        predicted = noise_pred(latents, timesteps[i])
        denoised = (latents - math.sqrt(1 - alpha) * predicted) / math.sqrt(alpha)
        onward = math.sqrt(1 - alpha_next - spread**2) * predicted
        latents = math.sqrt(alpha_next) * denoised + onward
        if eta:
            latents = latents + spread * streams.like(latents)
    assert torch.equal(first, ImageNoise(SHAPE, [1, 2]).first())
    assert torch.allclose(found, latents, atol=1e-4)


def test_ddim_cfgpp_follows_its_formula() -> None:
    first, found = paint("DDIM CFG++", 20)
    latents = first.clone()
    timesteps = timestep_schedule(20, SamplerOptions())
    for i in range(len(timesteps) - 1, 0, -1):
        alpha, alpha_next = ALPHAS[timesteps[i]], ALPHAS[timesteps[i - 1]]
        guided = denoised_at(latents, timesteps[i])
        uncond = 0.8 * guided + 0.1
        gentle = uncond + (guided - uncond) / 12.5
        noise_uncond = (latents - math.sqrt(alpha) * uncond) / math.sqrt(1 - alpha)
        latents = math.sqrt(alpha_next) * gentle + math.sqrt(1 - alpha_next) * noise_uncond
    assert torch.allclose(found, latents, atol=1e-4)


def test_plms_follows_its_formula() -> None:
    first, found = paint("PLMS", 12)
    latents, old = first.clone(), []
    timesteps = timestep_schedule(12, SamplerOptions())

    def step(latents: Tensor, predicted: Tensor, i: int) -> Tensor:
        alpha, alpha_next = ALPHAS[timesteps[i]], ALPHAS[timesteps[i - 1]]
        denoised = (latents - math.sqrt(1 - alpha) * predicted) / math.sqrt(alpha)
        return math.sqrt(alpha_next) * denoised + math.sqrt(1 - alpha_next) * predicted

    for i in range(len(timesteps) - 1, 0, -1):
        new = noise_pred(latents, timesteps[i])
        if len(old) == 0:
            guess = step(latents, new, i)
            blend = (new + noise_pred(guess, timesteps[i - 1])) / 2
        elif len(old) == 1:
            blend = (3 * new - old[-1]) / 2
        elif len(old) == 2:
            blend = (23 * new - 16 * old[-1] + 5 * old[-2]) / 12
        else:
            blend = (55 * new - 59 * old[-1] + 37 * old[-2] - 9 * old[-3]) / 24
        latents = step(latents, blend, i)
        old.append(new)
    assert torch.allclose(found, latents, atol=1e-4)


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("lower_order_final", [True, False])
def test_unipc_equals_diffusers(variant: str, order: int, lower_order_final: bool) -> None:
    diffusers = pytest.importorskip("diffusers")
    from webui.samplers.schedules import unipc_sigmas
    from webui.samplers.unipc import unipc

    steps = 12
    sigmas = unipc_sigmas(TABLE, steps, 999, "time_uniform")
    scheduler = diffusers.UniPCMultistepScheduler(
        solver_order=order,
        solver_type=variant,
        prediction_type="sample",
        lower_order_final=lower_order_final,
    )
    scheduler.set_timesteps(steps)
    scheduler.sigmas = torch.tensor(sigmas, dtype=torch.float64)
    scheduler.timesteps = torch.arange(steps)
    start = torch.randn(2, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    unit = start.clone()
    for i, sigma in enumerate(sigmas[:-1]):
        level = unit.new_full((2,), sigma)
        denoised = WarpedDenoiser()(unit * math.sqrt(1 + sigma**2), level, None)
        unit = scheduler.step(denoised, i, unit, return_dict=False)[0]
    found = unipc(
        WarpedDenoiser(),
        start * math.sqrt(1 + sigmas[0] ** 2),
        sigmas,
        None,
        noise=ImageNoise(SHAPE, [1, 2]),
        variant=variant,  # type: ignore[arg-type]
        order=order,
        lower_order_final=lower_order_final,
    )
    assert torch.allclose(found / math.sqrt(1 + sigmas[-1] ** 2), unit, atol=1e-6)


@pytest.mark.parametrize(
    ("sampler", "asked", "made"),
    [("DDIM", 20, 19), ("DDIM", 30, 30), ("PLMS", 20, 19), ("DDIM CFG++", 8, 7), ("UniPC", 20, 20)],
)
def test_run_makes_the_familiar_number_of_steps(sampler: str, asked: int, made: int) -> None:
    seen: list[int] = []
    paint(sampler, asked, on_step=lambda info: seen.append(info.index))
    assert seen == list(range(made))


@pytest.mark.parametrize("sampler", ["DDIM", "DDIM CFG++", "PLMS"])
def test_img2img_noises_to_the_timestep_above_the_first_walked(sampler: str) -> None:
    init = torch.full((2, *SHAPE), 0.5)
    levels: list[float] = []
    starts: list[Tensor] = []

    def watch(info: Any) -> None:
        levels.append(info.sigma)
        starts.append(info.latents)

    first, _ = paint(sampler, 20, init_latents=init, t_enc=10, on_step=watch)
    timesteps = timestep_schedule(20, SamplerOptions())
    assert levels == pytest.approx([float(TABLE.sigmas[t]) for t in timesteps[9:0:-1]])
    alpha = ALPHAS[timesteps[10]]
    unit = math.sqrt(alpha) * init + math.sqrt(1 - alpha) * first
    assert torch.allclose(starts[0] / math.sqrt(1 + levels[0] ** 2), unit, atol=1e-5)


def test_img2img_when_unipc_begins_at_the_last_walked_timestep() -> None:
    levels: list[float] = []
    init = torch.zeros(2, *SHAPE)
    paint("UniPC", 20, init_latents=init, t_enc=10, on_step=lambda i: levels.append(i.sigma))
    assert len(levels) == 10
    assert levels[0] == pytest.approx(float(TABLE.sigmas[451]), rel=1e-4)


@pytest.mark.parametrize("sampler", ["DDIM", "DDIM CFG++", "PLMS", "UniPC"])
@pytest.mark.parametrize("t_enc", [0, 1, 2, 19])
def test_img2img_runs_at_every_strength(sampler: str, t_enc: int) -> None:
    init = torch.zeros(2, *SHAPE)
    _, end = paint(sampler, 20, init_latents=init, t_enc=t_enc, schedule_label=AUTOMATIC)
    assert bool(end.isfinite().all())
    assert float(end.abs().max()) < 10
