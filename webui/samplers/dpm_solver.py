"""DPM-Solver: steps that are exact for a noise prediction that does not change, orders 1 to 3.

Time here is t = -ln sigma. It is held per image (an array of batch length, or of length 1 for
all), because the adaptive rule lets every image of a batch go its own pace: a picture must not
depend on its neighbours.

Source:
    Lu et al. 2022, arXiv 2206.00927, algorithms 1 to 3, "fast" and "adaptive" (appendix C), with
    ancestral noise between the steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from webui.samplers.protocol import (
    Cond,
    Denoiser,
    ImageStepNoise,
    OnStep,
    StepInfo,
    StepNoise,
    ignore_step,
)

Times: TypeAlias = "npt.NDArray[np.float64]"

CLOSE_TO_END = 1e-5
"""Distance in ln sigma at which the adaptive rule is done."""

FIRST_STEP = 0.05
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 0.05, 0.0078
ACCEPT_FROM = 0.81
"""Settings of the adaptive rule, as everyone uses them since k-diffusion."""


def dpm_fast(
    denoiser: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: StepNoise,
    steps: int,
    on_step: OnStep = ignore_step,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """Spend ``steps`` network calls on third-order steps of equal length ("DPM fast").

    Args:
        denoiser: Called ``steps`` times.
        latents: (B, C, H/8, W/8), spread sigmas[0].
        sigmas: Where to begin and where to end; only the first and last matter, both > 0.
        cond: Passed through.
        noise: Fresh noise between the steps.
        steps: Network calls.
        on_step: Told about every step (of up to three calls).
        eta: Share of fresh noise.
        s_noise: Factor on it.
    """
    if steps < 1 or sigmas[0] <= sigmas[-1]:
        return latents
    orders = _orders(steps)
    times = np.linspace(-math.log(sigmas[0]), -math.log(sigmas[-1]), len(orders) + 1)
    solver = _Solver(denoiser, cond)
    for i, order in enumerate(orders):
        time, time_next = times[i : i + 1], times[i + 1 : i + 2]
        time_down, sigma_up = _ancestral_times(time, time_next, times[-1], eta)
        noise_pred = solver.noise_pred(latents, time)
        sigma, sigma_next = math.exp(-times[i]), math.exp(-times[i + 1])
        on_step(StepInfo(i, len(orders), sigma, latents, latents - noise_pred * sigma))
        latents = solver.step(latents, noise_pred, time, time_down, order)
        if sigma_up[0] > 0:
            fresh = noise(latents, sigma, sigma_next)
            latents = latents + fresh * (s_noise * float(sigma_up[0]))
    return latents


def _orders(calls: int) -> list[int]:
    """Orders of the steps that ``calls`` network calls are spent on; they sum up to it."""
    if calls % 3 == 0:
        return [3] * (calls // 3 - 1) + [2, 1]
    return [3] * (calls // 3) + [calls % 3]


def dpm_adaptive(
    denoiser: Denoiser,
    latents: Tensor,
    sigmas: Sequence[float],
    cond: Cond,
    *,
    noise: ImageStepNoise,
    on_step: OnStep = ignore_step,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Tensor:
    """Let the difference of second and third order choose each step ("DPM adaptive").

    Args:
        denoiser: Called three times per tried step.
        latents: (B, C, H/8, W/8), spread sigmas[0].
        sigmas: Where to begin and where to end; only the first and last matter, both > 0.
        cond: Passed through.
        noise: Fresh noise after an accepted step, image by image.
        on_step: Told about every tried step; the total is a guess that is corrected on the way.
        eta: Share of fresh noise.
        s_noise: Factor on it.
    """
    if sigmas[0] <= sigmas[-1]:
        return latents
    solver, each = _Solver(denoiser, cond), noise.each()
    end = -math.log(sigmas[-1])
    time = np.full(latents.shape[0], -math.log(sigmas[0]))
    pace = _Pace(np.full(latents.shape[0], FIRST_STEP), order=1.5 if eta else 3)
    before = latents
    tried = 0
    while (time < end - CLOSE_TO_END).any():
        time_next = np.minimum(end, time + pace.widths)
        time_down, sigma_up = _ancestral_times(time, time_next, end, eta)
        noise_pred = solver.noise_pred(latents, time)
        denoised = latents - noise_pred * _column(latents, np.exp(-time))
        total = tried + 1 + int(np.ceil((end - time_next) / pace.widths).max())
        on_step(StepInfo(tried, total, math.exp(-time.min()), latents, denoised))
        low, high = solver.embedded_pair(latents, noise_pred, time, time_down)
        accepted = pace.judge(_error(low, high, before)) & (time < end - CLOSE_TO_END)
        high = _with_fresh_noise(high, each, accepted, time, time_next, sigma_up * s_noise)
        taken = _column(latents, accepted.astype(np.float64)) > 0
        latents, before = torch.where(taken, high, latents), torch.where(taken, low, before)
        time = np.where(accepted, time_next, time)
        tried += 1
    return latents


@dataclass
class _Pace:
    """Step width of every image; grows where the error is small, shrinks where it is large."""

    widths: Times
    order: float

    def judge(self, error: Times) -> npt.NDArray[np.bool_]:
        """Adapt the widths to the errors of a tried step and say where it may be kept.

        A network that returned NaN gives an error that is not finite; such a step is kept, so
        that the run ends and the NaN is seen.
        """
        finite = np.isfinite(error)
        wished = (1 / (np.where(finite, error, 1.0) + 1e-8)) ** (1 / self.order)
        factor = 1 + np.arctan(wished - 1)
        self.widths = np.where(finite, self.widths * factor, self.widths)
        return (factor >= ACCEPT_FROM) | ~finite


def _error(low: Tensor, high: Tensor, before: Tensor) -> Times:
    """Difference of the two orders of each image, in units of the tolerance."""
    allowed = torch.maximum(low.abs(), before.abs()) * RELATIVE_TOLERANCE
    share = (low - high) / allowed.clamp(min=ABSOLUTE_TOLERANCE)
    return share.flatten(1).square().mean(1).sqrt().cpu().double().numpy()


def _with_fresh_noise(
    latents: Tensor,
    each: Sequence[StepNoise],
    accepted: npt.NDArray[np.bool_],
    time: Times,
    time_next: Times,
    spread: Times,
) -> Tensor:
    if not (spread > 0).any():
        return latents
    images = list(latents.split(1))
    for i in np.flatnonzero(accepted).tolist():
        fresh = each[i](images[i], math.exp(-time[i]), math.exp(-time_next[i]))
        images[i] = images[i] + fresh * float(spread[i])
    return torch.cat(images)


def _ancestral_times(time: Times, time_next: Times, end: float, eta: float) -> tuple[Times, Times]:
    """(time to step down to, spread of the fresh noise that brings it back to ``time_next``)."""
    if eta == 0:
        return time_next, np.zeros_like(time_next)
    variance, variance_next = np.exp(-2 * time), np.exp(-2 * time_next)
    up = np.minimum(1.0, eta**2 * (1 - variance_next / variance)) * variance_next
    with np.errstate(divide="ignore"):
        time_down = np.minimum(end, -0.5 * np.log(variance_next - up))
    return time_down, np.sqrt(np.maximum(variance_next - np.exp(-2 * time_down), 0.0))


class _Solver:
    """The single steps of the paper, for one denoiser."""

    def __init__(self, denoiser: Denoiser, cond: Cond) -> None:
        self._denoiser = denoiser
        self._cond = cond

    def noise_pred(self, latents: Tensor, time: Times) -> Tensor:
        """Predicted noise of each image at its own time."""
        sigma = _column(latents, np.exp(-time))
        level = sigma.flatten().expand(latents.shape[0])
        return (latents - self._denoiser(latents, level, self._cond)) / sigma

    def step(
        self, latents: Tensor, noise_pred: Tensor, time: Times, time_next: Times, order: int
    ) -> Tensor:
        """One step of order 1, 2 or 3, given the noise prediction at its start."""
        if order == 1:
            return self._first_order(latents, noise_pred, time, time_next)
        if order == 2:
            middle = self._inner(latents, noise_pred, time, time_next, 1 / 2)
            return self._second_order(latents, noise_pred, middle, time, time_next, 1 / 2)
        third = self._inner(latents, noise_pred, time, time_next, 1 / 3)
        return self._third_order(latents, noise_pred, third, time, time_next)

    def embedded_pair(
        self, latents: Tensor, noise_pred: Tensor, time: Times, time_next: Times
    ) -> tuple[Tensor, Tensor]:
        """The same step at order 2 and at order 3, sharing their network calls."""
        third = self._inner(latents, noise_pred, time, time_next, 1 / 3)
        low = self._second_order(latents, noise_pred, third, time, time_next, 1 / 3)
        return low, self._third_order(latents, noise_pred, third, time, time_next)

    def _first_order(
        self, latents: Tensor, noise_pred: Tensor, time: Times, time_next: Times
    ) -> Tensor:
        gain = np.exp(-time_next) * np.expm1(time_next - time)
        return latents - noise_pred * _column(latents, gain)

    def _inner(
        self, latents: Tensor, noise_pred: Tensor, time: Times, time_next: Times, share: float
    ) -> Tensor:
        """Noise prediction after a first-order step over ``share`` of the way."""
        inner_time = time + share * (time_next - time)
        inner = self._first_order(latents, noise_pred, time, inner_time)
        return self.noise_pred(inner, inner_time)

    def _second_order(
        self,
        latents: Tensor,
        noise_pred: Tensor,
        inner_pred: Tensor,
        time: Times,
        time_next: Times,
        share: float,
    ) -> Tensor:
        stepped = self._first_order(latents, noise_pred, time, time_next)
        gain = np.exp(-time_next) * np.expm1(time_next - time) / (2 * share)
        return stepped - (inner_pred - noise_pred) * _column(latents, gain)

    def _third_order(
        self,
        latents: Tensor,
        noise_pred: Tensor,
        third_pred: Tensor,
        time: Times,
        time_next: Times,
    ) -> Tensor:
        width = time_next - time
        later_time = time + width * (2 / 3)
        later = self._first_order(latents, noise_pred, time, later_time)
        gain = np.exp(-later_time) * 2 * _curvature(width * (2 / 3))
        later = later - (third_pred - noise_pred) * _column(latents, gain)
        later_pred = self.noise_pred(later, later_time)
        stepped = self._first_order(latents, noise_pred, time, time_next)
        gain = np.exp(-time_next) * 1.5 * _curvature(width)
        return stepped - (later_pred - noise_pred) * _column(latents, gain)


def _curvature(width: Times) -> Times:
    """(e^h - 1) / h - 1, which is 0 for a step of no width."""
    safe = np.where(width == 0, 1.0, width)
    return np.where(width == 0, 0.0, np.expm1(safe) / safe - 1)


def _column(latents: Tensor, values: Times) -> Tensor:
    """Values of each image (or one for all), shaped to be multiplied with latents."""
    column = torch.from_numpy(values).to(latents.dtype)
    return column.to(latents.device).view(-1, *[1] * (latents.ndim - 1))
