"""Equality with k-diffusion, the code the A1111 samplers come from, step noise included.

Its ``sampling.py`` is loaded by path: importing the package would pull in much that is not
needed here.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.samplers.gaussian_truth import NoiseTape, WarpedDenoiser, karras_levels
from webui.samplers.noise import ImageNoise
from webui.samplers.options import ScheduleOptions
from webui.samplers.rules import RULES
from webui.samplers.schedules import NoiseTable, make_sigmas

SIGMAS = [*karras_levels(12), 0.0]
CLOSE = 1e-4


class TorchWithTape:
    """torch, but for ``randn_like``, which plays a tape."""

    def __init__(self, tape: NoiseTape) -> None:
        self.randn_like = tape

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@pytest.fixture(scope="module")
def k_diffusion() -> Iterator[ModuleType]:
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None or spec.origin is None:
        pytest.skip("k-diffusion is not installed")
    package = "k_diffusion_by_path"
    stubs = {package: ModuleType(package), f"{package}.utils": ModuleType("utils")}
    stubs[package].__path__ = []
    stubs[package].utils = stubs[f"{package}.utils"]
    stubs[f"{package}.utils"].append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
    if importlib.util.find_spec("torchdiffeq") is None:  # only its log_likelihood needs it
        stubs["torchdiffeq"] = ModuleType("torchdiffeq")
        stubs["torchdiffeq"].odeint = None
    with pytest.MonkeyPatch.context() as patch:
        for name, stub in stubs.items():
            patch.setitem(sys.modules, name, stub)
        location = Path(spec.origin).parent / "sampling.py"
        loaded = importlib.util.spec_from_file_location(f"{package}.sampling", location)
        assert loaded is not None and loaded.loader is not None
        module = importlib.util.module_from_spec(loaded)
        loaded.loader.exec_module(module)
        yield module


@pytest.fixture
def reference(k_diffusion: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tensor]:
    """Run one of its samplers with the noise of ``NoiseTape(9)``."""

    def run(name: str, latents: Tensor, *place: Any, **keywords: Any) -> Tensor:
        tape = NoiseTape(9)
        monkeypatch.setattr(k_diffusion, "torch", TorchWithTape(tape))
        if name.endswith("_sde"):
            keywords["noise_sampler"] = lambda sigma, sigma_next: tape(latents)

        def model(x: Tensor, sigma: Tensor) -> Tensor:
            return WarpedDenoiser()(x, sigma, None)

        return getattr(k_diffusion, name)(model, latents, *place, disable=True, **keywords)

    return run


def first_latents(batch: int = 2, sigma: float = SIGMAS[0]) -> Tensor:
    return torch.randn(batch, 4, 6, 5, generator=torch.Generator().manual_seed(1)) * sigma


def ours(name: str, latents: Tensor, sigmas: list[float], **keywords: Any) -> Tensor:
    rule = RULES[name]
    return rule.step(
        WarpedDenoiser(), latents, sigmas, None, noise=NoiseTape(9), **rule.fixed, **keywords
    )


CHURN = {"s_churn": 5.0, "s_tmin": 0.1, "s_tmax": 8.0, "s_noise": 1.01}


@pytest.mark.parametrize(
    ("name", "theirs", "keywords"),
    [
        ("Euler", "sample_euler", {}),
        ("Euler", "sample_euler", CHURN),
        ("Heun", "sample_heun", {}),
        ("Heun", "sample_heun", CHURN),
        ("DPM2", "sample_dpm_2", {}),
        ("DPM2", "sample_dpm_2", CHURN),
        ("Euler a", "sample_euler_ancestral", {}),
        ("Euler a", "sample_euler_ancestral", {"eta": 0.6}),
        ("DPM2 a", "sample_dpm_2_ancestral", {}),
        ("DPM2 a", "sample_dpm_2_ancestral", {"eta": 0.6, "s_noise": 0.9}),
        ("DPM++ 2S a", "sample_dpmpp_2s_ancestral", {}),
        ("DPM++ 2S a", "sample_dpmpp_2s_ancestral", {"eta": 0.6, "s_noise": 0.9}),
        ("LMS", "sample_lms", {}),
        ("DPM++ 2M", "sample_dpmpp_2m", {}),
        ("DPM++ SDE", "sample_dpmpp_sde", {}),
        ("DPM++ SDE", "sample_dpmpp_sde", {"eta": 0.6, "s_noise": 0.9}),
        ("DPM++ 2M SDE", "sample_dpmpp_2m_sde", {}),
        ("DPM++ 2M SDE", "sample_dpmpp_2m_sde", {"eta": 0.6, "s_noise": 0.9}),
        ("DPM++ 2M SDE Heun", "sample_dpmpp_2m_sde", {"eta": 0.6}),
        ("DPM++ 3M SDE", "sample_dpmpp_3m_sde", {}),
        ("DPM++ 3M SDE", "sample_dpmpp_3m_sde", {"eta": 0.6, "s_noise": 0.9}),
    ],
)
@pytest.mark.parametrize("ends_in_zero", [True, False])
def test_rule_equals_k_diffusion(
    reference: Callable[..., Tensor],
    name: str,
    theirs: str,
    keywords: dict[str, float],
    ends_in_zero: bool,
) -> None:
    sigmas = SIGMAS if ends_in_zero else SIGMAS[:-1]
    expected = reference(
        theirs, first_latents(), torch.tensor(sigmas), **keywords, **RULES[name].fixed
    )
    found = ours(name, first_latents(), sigmas, **keywords)
    assert float((found - expected).abs().max()) <= CLOSE


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("calls", [1, 2, 3, 4, 9, 20])
def test_dpm_fast_equals_k_diffusion(
    reference: Callable[..., Tensor], eta: float, calls: int
) -> None:
    expected = reference("sample_dpm_fast", first_latents(), 0.03, SIGMAS[0], calls, eta=eta)
    found = ours("DPM fast", first_latents(), [SIGMAS[0], 0.03], steps=calls, eta=eta)
    assert float((found - expected).abs().max()) <= CLOSE


@pytest.fixture
def doubles() -> Iterator[None]:
    """The adaptive rule turns rounding of its first tiny errors into other steps: use float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_dpm_adaptive_equals_k_diffusion(reference: Callable[..., Tensor], eta: float) -> None:
    expected = reference("sample_dpm_adaptive", first_latents(1), 0.03, SIGMAS[0], eta=eta)
    found = ours("DPM adaptive", first_latents(1), [SIGMAS[0], 0.03], eta=eta)
    assert float((found - expected).abs().max()) <= CLOSE


@pytest.mark.usefixtures("doubles")
def test_dpm_adaptive_steps_each_image_as_if_it_were_alone(
    reference: Callable[..., Tensor],
) -> None:
    batch = first_latents(3) * torch.tensor([1.0, 0.2, 1.5]).view(3, 1, 1, 1)
    found = ours("DPM adaptive", batch, [SIGMAS[0], 0.03], eta=0.0)
    for i in range(3):
        alone = reference("sample_dpm_adaptive", batch[i : i + 1], 0.03, SIGMAS[0], eta=0.0)
        assert float((found[i : i + 1] - alone).abs().max()) <= CLOSE


@pytest.mark.parametrize(
    ("label", "theirs"),
    [
        ("Karras", "get_sigmas_karras"),
        ("Exponential", "get_sigmas_exponential"),
        ("Polyexponential", "get_sigmas_polyexponential"),
    ],
)
def test_schedule_equals_k_diffusion(k_diffusion: ModuleType, label: str, theirs: str) -> None:
    table, options = NoiseTable.stable_diffusion(), ScheduleOptions(rho=3.0)
    rho = {} if label == "Exponential" else {"rho": 3.0}
    expected = getattr(k_diffusion, theirs)(20, table.sigma_min, table.sigma_max, **rho)
    assert torch.allclose(make_sigmas(table, label, "Euler", 20, options), expected, rtol=1e-4)


@pytest.mark.parametrize(("sigma", "sigma_next"), [(9.0, 4.0), (4.0, 0.5), (0.5, 0.03125)])
def test_brownian_noise_equals_k_diffusion(
    k_diffusion: ModuleType, sigma: float, sigma_next: float
) -> None:
    latents = first_latents(2)
    theirs = k_diffusion.BrownianTreeNoiseSampler(latents, 0.03125, 14.5, seed=[3, 4])
    noise = ImageNoise(tuple(latents.shape[1:]), [3, 4])
    found = noise.brownian(latents, 0.03125, 14.5)(latents, sigma, sigma_next)
    expected = theirs(torch.tensor(sigma), torch.tensor(sigma_next))
    assert float((found - expected).abs().max()) <= CLOSE
