"""Guidance judged with a network whose answer is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from webui.pipelines.conditioning import Conditioning, Interrupted, ScheduledCond
from webui.pipelines.denoiser import CfgDenoiser, Guidance
from webui.pipelines.encoding import Encoding
from webui.pipelines.latent_blend import HardBlend
from webui.samplers.schedules import NoiseTable

SIGMA = torch.tensor([2.0])
LATENTS = torch.full((1, 4, 2, 2), 3.0)


class EchoUnet:
    """Predicts the mean of the prompt encoding as noise, and counts its calls."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(
        self, latents: Tensor, timestep: Tensor, *, encoder_hidden_states: Tensor, **_: Any
    ):
        self.batches.append(latents.shape[0])
        means = encoder_hidden_states.mean(dim=(1, 2)).view(-1, 1, 1, 1)
        return (means.expand_as(latents),)


def encoding(value: float, tokens: int = 77) -> Encoding:
    return Encoding(torch.full((1, tokens, 8), value))


def always(value: float, tokens: int = 77) -> ScheduledCond:
    return ScheduledCond(((1000, encoding(value, tokens)),))


def make(
    unet: EchoUnet, prediction: str = "epsilon", stop: bool = False, **guidance: Any
) -> CfgDenoiser:
    model = SimpleNamespace(unet=unet, dtype=torch.float32, prediction_type=prediction)
    table = NoiseTable.stable_diffusion()
    values = {"cfg_scale": 5.0, **guidance}
    return CfgDenoiser(model, table, Guidance(**values), lambda: stop, encoding(9.0))  # type: ignore[arg-type]


def test_guidance_when_epsilon_is_known_is_the_formula() -> None:
    denoiser = make(EchoUnet())

    denoised, uncond = denoiser.guided(
        LATENTS, SIGMA, Conditioning(((1.0, always(0.5)),), always(0.1))
    )

    assert torch.allclose(uncond, torch.full_like(LATENTS, 3 - 2 * 0.1))
    guided_noise = 0.1 + 5 * (0.5 - 0.1)
    assert torch.allclose(denoised, torch.full_like(LATENTS, 3 - 2 * guided_noise))


def test_guidance_when_v_is_known_is_the_formula() -> None:
    denoiser = make(EchoUnet(), prediction="v_prediction", cfg_scale=1.0)

    denoised = denoiser(LATENTS, SIGMA, Conditioning(((1.0, always(0.5)),), always(0.1)))

    expected = 3 / (2**2 + 1) - 0.5 * 2 / (2**2 + 1) ** 0.5
    assert torch.allclose(denoised, torch.full_like(LATENTS, expected))


def test_and_when_parts_have_weights_adds_their_pulls() -> None:
    denoiser = make(EchoUnet(), cfg_scale=2.0)
    cond = Conditioning(((1.0, always(0.5)), (-0.5, always(0.3))), always(0.1))

    noise = 0.1 + 2 * (0.5 - 0.1) - 0.5 * 2 * (0.3 - 0.1)
    assert torch.allclose(denoiser(LATENTS, SIGMA, cond), torch.full_like(LATENTS, 3 - 2 * noise))


def test_network_when_lengths_are_equal_is_called_once() -> None:
    unet = EchoUnet()

    make(unet)(LATENTS, SIGMA, Conditioning(((1.0, always(0.5)),), always(0.1)))

    assert unet.batches == [2]


@pytest.mark.parametrize(
    "how, batches", [({}, [1, 1]), ({"pad_conds": True}, [2]), ({"pad_conds_v0": True}, [2])]
)
def test_network_when_lengths_differ_is_called_apart_unless_padded(
    how: dict[str, bool], batches: list[int]
) -> None:
    unet = EchoUnet()

    make(unet, **how)(LATENTS, SIGMA, Conditioning(((1.0, always(0.5, 154)),), always(0.1)))

    assert unet.batches == batches


def test_network_when_guidance_is_off_is_asked_for_the_prompt_only() -> None:
    unet = EchoUnet()

    make(unet, cfg_scale=1.0)(LATENTS, SIGMA, Conditioning(((1.0, always(0.5)),), always(0.1)))

    assert unet.batches == [1]


def test_uncond_when_sigma_is_below_the_limit_is_skipped_at_odd_calls() -> None:
    unet = EchoUnet()
    denoiser = make(unet, s_min_uncond=3.0)
    cond = Conditioning(((1.0, always(0.5)),), always(0.1))

    for _ in range(4):
        denoiser(LATENTS, SIGMA, cond)

    assert unet.batches == [2, 1, 2, 1]


def test_prompt_when_scheduled_changes_after_its_last_call() -> None:
    scheduled = ScheduledCond(((2, encoding(0.0)), (9, encoding(1.0))))
    denoiser = make(EchoUnet(), cfg_scale=1.0)
    cond = Conditioning(((1.0, scheduled),), always(0.0))

    noise = [float((3 - denoiser(LATENTS, SIGMA, cond)[0, 0, 0, 0]) / 2) for _ in range(5)]

    assert noise == [0, 0, 0, 1, 1]


def test_scheduled_prompt_when_calls_go_past_the_end_is_the_first() -> None:
    scheduled = ScheduledCond(((2, encoding(0.0)), (4, encoding(1.0))))

    assert float(scheduled.at(5).states.mean()) == 0.0


def test_interrupt_when_asked_carries_the_last_estimate() -> None:
    flag = {"stop": False}
    model = SimpleNamespace(unet=EchoUnet(), dtype=torch.float32, prediction_type="epsilon")
    denoiser = CfgDenoiser(
        model,
        NoiseTable.stable_diffusion(),
        Guidance(5.0),
        lambda: flag["stop"],  # type: ignore[arg-type]
    )
    cond = Conditioning(((1.0, always(0.5)),), always(0.1))
    last = denoiser(LATENTS, SIGMA, cond)
    flag["stop"] = True

    with pytest.raises(Interrupted) as stopped:
        denoiser(LATENTS, SIGMA, cond)
    assert stopped.value.denoised is last


def test_guidance_when_a_picture_edits_is_the_formula_of_three_estimates() -> None:
    class Unet(EchoUnet):
        """Adds the mean of the channels beside the latents."""

        def __call__(self, latents: Tensor, timestep: Tensor, **rest: Any):
            (noise,) = super().__call__(latents[:, :4], timestep, **rest)
            return (noise + latents[:, 4:].mean(dim=(1, 2, 3)).view(-1, 1, 1, 1),)

    denoiser = make(Unet(), image_cfg_scale=3.0)
    model: Any = denoiser._model
    model.spec = SimpleNamespace(purpose="edit")
    channels: Any = SimpleNamespace(of=lambda model, latents: torch.full_like(latents, 0.2))
    denoiser._channels = channels

    denoised, uncond = denoiser.guided(
        LATENTS, SIGMA, Conditioning(((1.0, always(0.5)),), always(0.1))
    )

    assert torch.allclose(uncond, torch.full_like(LATENTS, 3 - 2 * 0.1))
    guided_noise = 0.1 + 3 * 0.2 + 5 * (0.5 - 0.1)
    assert torch.allclose(denoised, torch.full_like(LATENTS, 3 - 2 * guided_noise))


@pytest.mark.parametrize("blends_before", [False, True])
def test_blend_when_a_mask_keeps_cells_then_they_stay_original_for_network_and_sampler(
    blends_before: bool,
) -> None:
    seen: list[Tensor] = []

    class Unet(EchoUnet):
        def __call__(self, latents: Tensor, timestep: Tensor, **rest: Any):
            seen.append(latents)
            return super().__call__(latents, timestep, **rest)

    original, noise = torch.full_like(LATENTS, 7.0), torch.full_like(LATENTS, 0.25)
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    denoiser = make(Unet())
    denoiser._blend = HardBlend(original, mask, noise if blends_before else None)

    denoised, _ = denoiser.guided(LATENTS, SIGMA, Conditioning(((1.0, always(0.5)),), always(0.1)))

    painted = 3 - 2 * (0.1 + 5 * (0.5 - 0.1))
    shown = seen[0][0, 0] * 5**0.5  # the network's input is scaled by 1 / sqrt(sigma² + 1)
    kept = 7 + 0.25 * 2
    assert torch.allclose(shown.diagonal(), torch.tensor(3.0))
    assert torch.allclose(denoised[0, 0].diagonal(), torch.tensor(painted))
    if blends_before:
        assert torch.allclose(shown.fliplr().diagonal(), torch.tensor(kept))
    else:
        assert torch.allclose(shown.fliplr().diagonal(), torch.tensor(3.0))
        assert torch.allclose(denoised[0, 0].fliplr().diagonal(), torch.tensor(7.0))


def test_blend_when_the_walk_ends_then_kept_cells_are_the_original() -> None:
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    finished = HardBlend(torch.zeros_like(LATENTS), mask).finished(LATENTS)
    assert finished[0, 2].tolist() == [[3.0, 0.0], [0.0, 3.0]]
