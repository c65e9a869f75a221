"""The one entry of the room: how runs begin, which part of a schedule they walk, how they stop."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.samplers.gaussian_truth import GaussianDenoiser, WarpedDenoiser
from webui.errors import JobCancelled, ParamsError
from webui.samplers.names import SAMPLERS, SCHEDULES
from webui.samplers.noise import ImageNoise
from webui.samplers.options import SamplerOptions, ScheduleOptions
from webui.samplers.protocol import StepInfo
from webui.samplers.rules import RULES
from webui.samplers.run import sample
from webui.samplers.schedules import NoiseTable, make_sigmas
from webui.samplers.steps import img2img_steps

TABLE = NoiseTable.stable_diffusion()
SHAPE = (4, 6, 5)
NAMES = [info.name for info in SAMPLERS]
SIGMA_NAMES = [info.name for info in SAMPLERS if info.kind == "sigma"]
NOISY_NAMES = [n for n in NAMES if "eta" in RULES[n].knobs and not n.startswith("DDIM")]


class Guided(WarpedDenoiser):
    def guided(self, latents: Tensor, sigma: Tensor, cond: object) -> tuple[Tensor, Tensor]:
        denoised = self(latents, sigma, cond)
        return denoised, 0.8 * denoised + 0.1


def paint(
    sampler: str, seeds: list[int], *, noise_options: dict[str, Any] | None = None, **keywords: Any
) -> Tensor:
    noise = ImageNoise(SHAPE, seeds, **(noise_options or {}))
    keywords = {"table": TABLE, "steps": 20, "denoiser": Guided(), **keywords}
    return sample(sampler, first_noise=noise.first(), cond=None, noise=noise, **keywords)


class Watch:
    """Keeps what a run says about its steps."""

    def __init__(self) -> None:
        self.steps: list[StepInfo] = []

    def __call__(self, info: StepInfo) -> None:
        self.steps.append(info)

    @property
    def sigmas(self) -> list[float]:
        return [info.sigma for info in self.steps]


def test_every_named_sampler_has_one_rule() -> None:
    assert list(RULES) == NAMES


@pytest.mark.parametrize("sampler", NAMES)
def test_run_ends_in_finite_clean_latents(sampler: str) -> None:
    end = paint(sampler, [1, 2], denoiser=GaussianDenoiser(spread=0.5))
    assert end.shape == (2, *SHAPE)
    assert bool(end.isfinite().all())
    assert 0.25 < float(end.std()) < 0.75


@pytest.mark.parametrize("sampler", NAMES)
@pytest.mark.parametrize("source", ["CPU", "NV"])
def test_image_alone_equals_image_in_batch(sampler: str, source: str) -> None:
    options = {"source": source, "eta_noise_seed_delta": 31337}
    batch = paint(sampler, [5, 6, 7], noise_options=options)
    alone = paint(sampler, [6], noise_options=options)
    assert torch.equal(batch[1:2], alone)


@pytest.mark.parametrize("sampler", NAMES)
def test_run_twice_gives_the_same_picture(sampler: str) -> None:
    assert torch.equal(paint(sampler, [5]), paint(sampler, [5]))


@pytest.mark.parametrize("sampler", [info.name for info in SAMPLERS if info.brownian])
def test_batch_shares_a_path_when_determinism_is_off(sampler: str) -> None:
    options = SamplerOptions(no_dpmpp_sde_batch_determinism=True)
    batch = paint(sampler, [5, 6], options=options)
    assert not torch.equal(batch[1:], paint(sampler, [6], options=options))


@pytest.mark.parametrize("sampler", NAMES)
@pytest.mark.parametrize("schedule", [info.label for info in SCHEDULES])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_run_when_very_short_still_works(sampler: str, schedule: str, steps: int) -> None:
    assert bool(paint(sampler, [1], schedule_label=schedule, steps=steps).isfinite().all())


@pytest.mark.parametrize("sampler", NAMES)
def test_run_when_longer_than_the_noise_table_still_works(sampler: str) -> None:
    end = paint(sampler, [1], schedule_label="Simple", steps=1500, denoiser=GaussianDenoiser())
    assert bool(end.isfinite().all())


@pytest.mark.parametrize("sampler", NAMES)
def test_on_step_counts_every_step(sampler: str) -> None:
    watch = Watch()
    paint(sampler, [1], on_step=watch)
    assert [info.index for info in watch.steps] == list(range(len(watch.steps)))
    assert watch.steps[-1].total == len(watch.steps)
    assert all(info.denoised.shape == (1, *SHAPE) for info in watch.steps)
    assert watch.sigmas[0] == max(watch.sigmas)


@pytest.mark.parametrize("sampler", NAMES)
def test_run_stops_when_on_step_raises(sampler: str) -> None:
    denoiser = Guided()

    def stop(info: StepInfo) -> None:
        if info.index == 1:
            raise JobCancelled("The job was interrupted.")

    with pytest.raises(JobCancelled):
        paint(sampler, [1], denoiser=denoiser, on_step=stop)
    assert len(denoiser.sigmas) <= 6


@pytest.mark.parametrize("sampler", NAMES)
def test_run_leaves_its_inputs_alone(sampler: str) -> None:
    noise = ImageNoise(SHAPE, [1])
    first, init = noise.first(), torch.full((1, *SHAPE), 0.5)
    kept = first.clone()
    sample(
        sampler, Guided(), first, None,
        table=TABLE, steps=10, noise=noise, init_latents=init, t_enc=5,
    )  # fmt: skip
    assert torch.equal(first, kept)
    assert torch.equal(init, torch.full((1, *SHAPE), 0.5))


@pytest.mark.parametrize("sampler", SIGMA_NAMES)
def test_txt2img_begins_at_the_first_sigma(sampler: str) -> None:
    watch = Watch()
    paint(sampler, [3], on_step=watch)
    sigmas = make_sigmas(TABLE, "Automatic", sampler, 20, SamplerOptions()).tolist()
    first = ImageNoise(SHAPE, [3]).first()
    assert torch.allclose(watch.steps[0].latents, first * sigmas[0])
    if sampler != "Restart":
        assert watch.sigmas == pytest.approx(sigmas[:-1])


def test_txt2img_when_sgm_multiplier_begins_a_little_higher() -> None:
    watch = Watch()
    paint("Euler", [3], on_step=watch, options=SamplerOptions(sgm_noise_multiplier=True))
    first = ImageNoise(SHAPE, [3]).first()
    assert torch.allclose(watch.steps[0].latents, first * math.sqrt(1 + TABLE.sigma_max**2))


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M", "DPM2", "LCM", "DPM++ 3M SDE"])
@pytest.mark.parametrize("strength", [0.0, 0.35, 0.75, 1.0])
def test_img2img_walks_the_end_of_the_schedule(sampler: str, strength: float) -> None:
    watch, init = Watch(), torch.full((1, *SHAPE), 0.5)
    steps, t_enc = img2img_steps(20, strength)
    paint(sampler, [3], on_step=watch, steps=steps, init_latents=init, t_enc=t_enc)
    sigmas = make_sigmas(TABLE, "Automatic", sampler, steps, SamplerOptions()).tolist()
    assert watch.sigmas == pytest.approx(sigmas[steps - t_enc - 1 : -1])
    assert len(watch.steps) == t_enc + 1
    first = ImageNoise(SHAPE, [3]).first()
    assert torch.allclose(watch.steps[0].latents, init + first * watch.sigmas[0])


def test_img2img_when_extra_noise_adds_it_on_top() -> None:
    watch, init = Watch(), torch.full((1, *SHAPE), 0.5)
    paint("Euler", [3], on_step=watch, init_latents=init, t_enc=9, extra_noise=0.2)
    first = ImageNoise(SHAPE, [3]).first()
    expected = init + first * watch.sigmas[0] + first * 0.2
    assert torch.allclose(watch.steps[0].latents, expected)


@pytest.mark.parametrize("sampler", NAMES)
def test_hires_at_strength_zero_changes_nothing(sampler: str) -> None:
    denoiser, init = Guided(), torch.randn(1, *SHAPE)
    steps, t_enc = img2img_steps(20, 0.0, forced_steps=10)
    end = paint(sampler, [3], denoiser=denoiser, init_latents=init, steps=steps, t_enc=t_enc)
    assert torch.equal(end, init)
    assert denoiser.sigmas == []


@pytest.mark.parametrize("sampler", ["DPM fast", "DPM adaptive"])
def test_range_samplers_go_from_end_to_end_of_the_model(sampler: str) -> None:
    denoiser, watch = GaussianDenoiser(), Watch()
    paint(sampler, [3], denoiser=denoiser, on_step=watch, steps=20)
    assert watch.sigmas[0] == pytest.approx(TABLE.sigma_max)
    assert min(denoiser.sigmas) >= TABLE.sigma_min * 0.999
    if sampler == "DPM fast":
        assert len(denoiser.sigmas) == 20


def test_range_samplers_when_img2img_take_the_used_part() -> None:
    denoiser, watch, init = GaussianDenoiser(), Watch(), torch.zeros(1, *SHAPE)
    paint("DPM fast", [3], denoiser=denoiser, on_step=watch, init_latents=init, t_enc=8)
    sigmas = make_sigmas(TABLE, "Automatic", "DPM fast", 20, ScheduleOptions()).tolist()
    assert watch.sigmas[0] == pytest.approx(sigmas[11])
    assert len(denoiser.sigmas) == 9
    assert min(denoiser.sigmas) > sigmas[-2] * 0.999


@pytest.mark.parametrize("sampler", NOISY_NAMES)
def test_eta_defaults_to_full_noise_for_ancestral_samplers(sampler: str) -> None:
    assert torch.equal(paint(sampler, [3]), paint(sampler, [3], options=SamplerOptions(eta=1.0)))
    quiet = paint(sampler, [3], options=SamplerOptions(eta_ancestral=0.0))
    assert torch.equal(quiet, paint(sampler, [3], options=SamplerOptions(eta=0.0)))
    assert not torch.equal(quiet, paint(sampler, [3]))


@pytest.mark.parametrize("sampler", ["DDIM", "DDIM CFG++"])
def test_eta_defaults_to_no_noise_for_ddim(sampler: str) -> None:
    assert torch.equal(paint(sampler, [3]), paint(sampler, [3], options=SamplerOptions(eta=0.0)))
    noisy = paint(sampler, [3], options=SamplerOptions(eta_ddim=1.0))
    assert not torch.equal(noisy, paint(sampler, [3]))


@pytest.mark.parametrize("sampler", ["Euler", "Heun", "DPM2"])
def test_churn_when_upper_limit_is_zero_means_no_limit(sampler: str) -> None:
    churned = paint(sampler, [3], options=SamplerOptions(s_churn=10.0))
    limited = paint(sampler, [3], options=SamplerOptions(s_churn=10.0, s_tmax=999.0))
    assert torch.equal(churned, limited)
    assert not torch.equal(churned, paint(sampler, [3]))


@pytest.mark.parametrize(
    "options",
    [
        SamplerOptions(uni_pc_order=1),
        SamplerOptions(uni_pc_variant="bh2"),
        SamplerOptions(uni_pc_variant="vary_coeff"),
        SamplerOptions(uni_pc_skip_type="logSNR"),
        SamplerOptions(uni_pc_skip_type="time_quadratic"),
        SamplerOptions(uni_pc_lower_order_final=False),
    ],
)
def test_unipc_options_reach_the_rule(options: SamplerOptions) -> None:
    assert not torch.equal(paint("UniPC", [3], options=options), paint("UniPC", [3]))


@pytest.mark.parametrize("sampler", SIGMA_NAMES)
def test_schedule_options_reach_the_run(sampler: str) -> None:
    watch = Watch()
    options = SamplerOptions(sigma_max=9.0, rho=3.0)
    paint(sampler, [3], options=options, schedule_label="Karras", on_step=watch)
    assert watch.sigmas[0] == pytest.approx(9.0)


def test_brownian_range_is_that_of_the_full_schedule() -> None:
    asked: list[tuple[float, float]] = []

    class Spy(ImageNoise):
        def brownian(self, latents: Tensor, sigma_min: float, sigma_max: float, **kw: Any) -> Any:
            asked.append((sigma_min, sigma_max))
            return super().brownian(latents, sigma_min, sigma_max, **kw)

    noise, init = Spy(SHAPE, [1]), torch.zeros(1, *SHAPE)
    sample(
        "DPM++ 2M SDE", Guided(), noise.first(), None,
        table=TABLE, steps=20, noise=noise, init_latents=init, t_enc=5,
    )  # fmt: skip
    assert asked == [(pytest.approx(TABLE.sigma_min), pytest.approx(TABLE.sigma_max))]


@pytest.mark.parametrize("sampler", SIGMA_NAMES)
def test_run_when_terminal_snr_is_zero_stays_finite(sampler: str) -> None:
    from webui.samplers.schedules import zero_terminal_snr

    table = NoiseTable(zero_terminal_snr(TABLE.alphas_cumprod))
    assert bool(paint(sampler, [1], table=table).isfinite().all())


def test_run_when_the_network_gives_nan_ends() -> None:
    def broken(latents: Tensor, sigma: Tensor, cond: object) -> Tensor:
        return torch.full_like(latents, float("nan"))

    assert bool(paint("DPM adaptive", [1], denoiser=broken).isnan().all())


def test_unknown_sampler_is_named_in_the_error() -> None:
    with pytest.raises(ParamsError, match="'Euler b'") as caught:
        paint("Euler b", [1])
    assert caught.value.field == "sampler_name"


@pytest.mark.gpu
@pytest.mark.parametrize("sampler", NAMES)
def test_card_paints_what_the_processor_paints(sampler: str) -> None:
    on_card = paint(sampler, [5, 6], noise_options={"source": "NV", "device": "cuda"})
    on_processor = paint(sampler, [5, 6], noise_options={"source": "NV"})
    assert on_card.device.type == "cuda"
    assert torch.allclose(on_card.cpu(), on_processor, atol=2e-3)
