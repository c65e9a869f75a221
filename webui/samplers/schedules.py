"""Noise levels: the model's own table, and the ways to space a run's sigmas over it.

Source:
    Formulas and roundings as in AUTOMATIC1111 1.10.1. Karras and the notation: Karras et al.
    2022, arXiv 2206.00364. Align Your Steps tables: Sabour et al. 2024, arXiv 2404.14507.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from webui.errors import ParamsError
from webui.samplers.names import (
    BUILT_IN_UNIFORM,
    SAMPLERS_BY_NAME,
    SCHEDULES_BY_LABEL,
    effective_schedule,
)
from webui.samplers.options import ScheduleOptions, UniPCSkipType

__all__ = [
    "NoiseTable",
    "ScheduleOptions",
    "downcast_alphas_cumprod",
    "make_sigmas",
    "stable_diffusion_alphas_cumprod",
    "timestep_schedule",
    "unipc_sigmas",
    "zero_terminal_snr",
]

TRAINING_STEPS = 1000

LCM_STRIDE = 20
"""LCM was distilled on 50 of the 1000 training steps: 19, 39 ... 999 (arXiv 2310.04378)."""

ALMOST_ZERO_ALPHA = 4.8973451890853435e-08
"""Last cumulative alpha of a zero-terminal-SNR table: 0 would make the last sigma infinite."""

OLD_KARRAS_LIMITS = (0.1, 10.0)

ALIGN_YOUR_STEPS_SD1 = (
    14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029,
)  # fmt: skip
ALIGN_YOUR_STEPS_SDXL = (
    14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029,
)  # fmt: skip


def stable_diffusion_alphas_cumprod(
    beta_start: float = 0.00085, beta_end: float = 0.012, steps: int = TRAINING_STEPS
) -> Tensor:
    """The cumulative alphas SD 1.x, SD 2.x and SDXL were trained with ("scaled linear" betas).

    Returns:
        (steps,) float32, descending from just under 1.
    """
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0).float()


def downcast_alphas_cumprod(alphas_cumprod: Tensor) -> Tensor:
    """Round cumulative alphas through float16 (option "Downcast alphas_cumprod"), for old seeds.

    Returns:
        Same shape, float32; input unchanged.
    """
    return alphas_cumprod.half().float()


def zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """Shift and scale cumulative alphas so that the last step is (almost) pure noise.

    Args:
        alphas_cumprod: (N,) descending, in (0, 1).

    Returns:
        (N,) float32 with the first value kept; input unchanged.

    Source:
        Lin et al. 2023, arXiv 2305.08891, sec. 3.1.
    """
    roots = alphas_cumprod.double().sqrt()
    first, last = roots[0], roots[-1]
    rescaled = ((roots - last) * first / (first - last)) ** 2
    rescaled[-1] = ALMOST_ZERO_ALPHA
    return rescaled.float()


class NoiseTable:
    """The noise levels a model was trained on, and the map between them and timesteps.

    Args:
        alphas_cumprod: (N,) cumulative alphas, descending, in (0, 1).
        quantize: ``sigma_to_t`` answers with the nearest trained timestep (option
            ``enable_quantization``).
        stride: Training steps between two entries; entry i is timestep i * stride + stride - 1.

    Attributes:
        alphas_cumprod: (N,) float32 on the CPU.
        sigmas: (N,) float32 on the CPU, ascending: sqrt((1 - alpha) / alpha).
        sigma_min: First sigma.
        sigma_max: Last sigma.
    """

    def __init__(self, alphas_cumprod: Tensor, *, quantize: bool = False, stride: int = 1) -> None:
        self.alphas_cumprod = alphas_cumprod.detach().float().cpu()
        self.quantize = quantize
        self.stride = stride
        self.sigmas = ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt()
        self.sigma_min = float(self.sigmas[0])
        self.sigma_max = float(self.sigmas[-1])
        self._log_sigmas = self.sigmas.log()
        self._log_sigmas_on: dict[torch.device, Tensor] = {}

    @classmethod
    def stable_diffusion(cls, *, quantize: bool = False) -> NoiseTable:
        """The table of SD 1.x, SD 2.x and SDXL."""
        return cls(stable_diffusion_alphas_cumprod(), quantize=quantize)

    def __len__(self) -> int:
        return len(self.sigmas)

    def every(self, stride: int) -> NoiseTable:
        """A coarser table holding each ``stride``-th entry, the last included."""
        kept = self.alphas_cumprod[stride - 1 :: stride]
        return NoiseTable(kept, quantize=True, stride=self.stride * stride)

    def sigma_to_t(self, sigma: Tensor, quantize: bool | None = None) -> Tensor:
        """Timestep whose trained noise level is ``sigma``.

        Args:
            sigma: Any shape, > 0; values outside the table are clamped to its ends.
            quantize: Answer whole trained timesteps only; None = as the table was made.

        Returns:
            float32, same shape and device: a timestep in [0, 999], fractional between entries
            (linear in ln sigma).
        """
        log_sigmas = self._on(sigma.device)
        wanted = sigma.float().log()
        high = torch.searchsorted(log_sigmas, wanted.contiguous()).clamp(1, len(self) - 1)
        low_value, high_value = log_sigmas[high - 1], log_sigmas[high]
        share = ((wanted - low_value) / (high_value - low_value)).clamp(0, 1)
        if self.quantize if quantize is None else quantize:
            share = (share > 0.5).float()
        return (high - 1 + share) * self.stride + (self.stride - 1)

    def t_to_sigma(self, timestep: Tensor) -> Tensor:
        """Noise level at a timestep, linear in ln sigma between trained ones.

        Args:
            timestep: Any shape, in [0, 999]; clamped to the table.

        Returns:
            float32, same shape and device.
        """
        log_sigmas = self._on(timestep.device)
        index = (timestep.float() - (self.stride - 1)) / self.stride
        index = index.clamp(0, len(self) - 1)
        low, high = index.floor().long(), index.ceil().long()
        return torch.lerp(log_sigmas[low], log_sigmas[high], index.frac()).exp()

    def _on(self, device: torch.device) -> Tensor:
        if device.type == "cpu":
            return self._log_sigmas
        if device not in self._log_sigmas_on:
            self._log_sigmas_on[device] = self._log_sigmas.to(device)
        return self._log_sigmas_on[device]


@dataclass(frozen=True)
class _Spacing:
    """What a schedule formula may use."""

    table: NoiseTable
    sigma_min: float
    sigma_max: float
    rho: float
    beta_dist_alpha: float
    beta_dist_beta: float
    is_sdxl: bool

    def timesteps(self, count: int) -> Tensor:
        """``count`` timesteps from that of sigma_max down to that of sigma_min, evenly spaced."""
        ends = self.table.sigma_to_t(torch.tensor([self.sigma_max, self.sigma_min]))
        return torch.linspace(float(ends[0]), float(ends[1]), count)


def _uniform(n: int, spacing: _Spacing) -> Tensor:
    table = spacing.table
    last = (len(table) - 1) * table.stride + table.stride - 1
    return _ending_in_zero(table.t_to_sigma(torch.linspace(last, table.stride - 1, n)))


def _karras(n: int, spacing: _Spacing) -> Tensor:
    high, low = spacing.sigma_max ** (1 / spacing.rho), spacing.sigma_min ** (1 / spacing.rho)
    return _ending_in_zero(torch.linspace(high, low, n, dtype=torch.float64) ** spacing.rho)


def _exponential(n: int, spacing: _Spacing) -> Tensor:
    high, low = math.log(spacing.sigma_max), math.log(spacing.sigma_min)
    return _ending_in_zero(torch.linspace(high, low, n, dtype=torch.float64).exp())


def _polyexponential(n: int, spacing: _Spacing) -> Tensor:
    high, low = math.log(spacing.sigma_max), math.log(spacing.sigma_min)
    ramp = torch.linspace(1, 0, n, dtype=torch.float64) ** spacing.rho
    return _ending_in_zero((ramp * (high - low) + low).exp())


def _sgm_uniform(n: int, spacing: _Spacing) -> Tensor:
    return _ending_in_zero(spacing.table.t_to_sigma(spacing.timesteps(n + 1)[:-1]))


def _kl_optimal(n: int, spacing: _Spacing) -> Tensor:
    """Evenly spaced angles. Trap: it ends at sigma_min, not at 0 (Sabour et al., appendix)."""
    high, low = math.atan(spacing.sigma_max), math.atan(spacing.sigma_min)
    return torch.linspace(high, low, n + 1, dtype=torch.float64).tan()


def _align_your_steps(n: int, spacing: _Spacing) -> Tensor:
    known = ALIGN_YOUR_STEPS_SDXL if spacing.is_sdxl else ALIGN_YOUR_STEPS_SD1
    if n == len(known):
        return _ending_in_zero(torch.tensor(known, dtype=torch.float64))
    positions = np.linspace(0, 1, len(known))
    logs = np.interp(np.linspace(0, 1, n), positions, np.log(known))
    return _ending_in_zero(torch.from_numpy(np.exp(logs)))


def _simple(n: int, spacing: _Spacing) -> Tensor:
    count = len(spacing.table)
    indices = [count - 1 - int(x * (count / n)) for x in range(n)]
    return _ending_in_zero(spacing.table.sigmas[indices])


def _normal(n: int, spacing: _Spacing) -> Tensor:
    return _ending_in_zero(spacing.table.t_to_sigma(spacing.timesteps(n)))


def _ddim(n: int, spacing: _Spacing) -> Tensor:
    """Every so-manieth entry. Trap: may hold more than ``n`` sigmas, and not sigma_max."""
    stride = max(len(spacing.table) // n, 1)
    return _ending_in_zero(spacing.table.sigmas[1::stride].flip(0))


def _beta(n: int, spacing: _Spacing) -> Tensor:
    """Steps spaced by a beta distribution (Lee et al. 2024, arXiv 2407.12173)."""
    from scipy.special import betaincinv  # only here: loading a checkpoint must not wait for scipy

    shares = betaincinv(spacing.beta_dist_alpha, spacing.beta_dist_beta, 1 - np.linspace(0, 1, n))
    sigmas = spacing.sigma_min + shares * (spacing.sigma_max - spacing.sigma_min)
    return _ending_in_zero(torch.from_numpy(sigmas))


def _ending_in_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])


_FORMULAS: dict[str, Callable[[int, _Spacing], Tensor]] = {
    BUILT_IN_UNIFORM: _uniform,
    "Uniform": _uniform,
    "Karras": _karras,
    "Exponential": _exponential,
    "Polyexponential": _polyexponential,
    "SGM Uniform": _sgm_uniform,
    "KL Optimal": _kl_optimal,
    "Align Your Steps": _align_your_steps,
    "Simple": _simple,
    "Normal": _normal,
    "DDIM": _ddim,
    "Beta": _beta,
}


def add_formula(label: str, sigmas: Callable[[int, float, float], Iterable[float]]) -> None:
    """Add an extension's schedule; its label goes into ``names`` apart.

    Args:
        sigmas: ``(steps, sigma_min, sigma_max)`` to ``steps`` descending levels, all > 0.
    Raises:
        ValueError: There is one of that label.
    """
    if label in _FORMULAS:
        raise ValueError(f"There is a schedule called {label!r} already.")

    def formula(n: int, spacing: _Spacing) -> Tensor:
        levels = [float(one) for one in sigmas(n, spacing.sigma_min, spacing.sigma_max)]
        falls = all(a > b for a, b in pairwise([*levels, 0.0]))
        if len(levels) != n or not falls:
            raise ParamsError(
                f"The schedule {label} gave {len(levels)} noise levels for {n} steps, or levels "
                "that do not fall to 0.",
                "Choose another schedule, and tell the author of its extension.",
                field="scheduler",
            )
        return _ending_in_zero(torch.tensor(levels, dtype=torch.float64))

    _FORMULAS[label] = formula


def remove_formula(label: str) -> None:
    """Take an extension's schedule out again."""
    del _FORMULAS[label]


def make_sigmas(
    table: NoiseTable,
    schedule_label: str,
    sampler: str,
    steps: int,
    options: ScheduleOptions,
    is_sdxl: bool = False,
) -> Tensor:
    """Lay out the noise levels of a run.

    Args:
        table: The model's noise levels. LCM uses every 20th of them, whatever the schedule.
        schedule_label: One of ``names.SCHEDULES``, "Automatic" included.
        sampler: Exact sampler label; decides what "Automatic" means and whether the penultimate
            sigma is left out.
        steps: >= 0; 0 gives the single sigma 0.
        options: Limits, exponents, discarding.
        is_sdxl: Which Align Your Steps table applies.

    Returns:
        float32 on the CPU, descending, usually ``steps + 1`` long and ending in 0 (but see
        KL Optimal and DDIM).

    Raises:
        ParamsError: Unknown schedule, negative steps, or limits that leave no room.
    """
    formula = _FORMULAS.get(effective_schedule(sampler, schedule_label))
    if formula is None:
        raise ParamsError(
            f"No schedule is called {schedule_label!r}.",
            f"Choose one of: {', '.join(SCHEDULES_BY_LABEL)}.",
            field="scheduler",
        )
    if steps < 0:
        raise ParamsError(f"A run needs 0 or more steps, not {steps}.", field="steps")
    discards = (
        SAMPLERS_BY_NAME[sampler].discards_penultimate or options.always_discard_next_to_last_sigma
    )
    n = steps + 1 if discards else steps
    if n == 0:
        return torch.zeros(1)
    own_table = table.every(LCM_STRIDE) if sampler == "LCM" else table
    sigmas = formula(n, _spacing(own_table, sampler, schedule_label, options, is_sdxl)).float()
    return torch.cat([sigmas[:-2], sigmas[-1:]]) if discards else sigmas


def _spacing(
    table: NoiseTable, sampler: str, schedule_label: str, options: ScheduleOptions, is_sdxl: bool
) -> _Spacing:
    sigma_min, sigma_max = table.sigma_min, table.sigma_max
    if options.use_old_karras_scheduler_sigmas:
        sigma_min, sigma_max = OLD_KARRAS_LIMITS
    sigma_min, sigma_max = options.sigma_min or sigma_min, options.sigma_max or sigma_max
    if not 0 < sigma_min < sigma_max < math.inf:
        raise ParamsError(
            f"A schedule cannot run from sigma {sigma_max:g} down to {sigma_min:g}.",
            "Set sigma_min below sigma_max, both above 0, or both to 0 for the model's own.",
            field="sigma_min",
        )
    schedule = SCHEDULES_BY_LABEL.get(effective_schedule(sampler, schedule_label))
    own_rho = schedule.default_rho if schedule else -1.0
    return _Spacing(
        table=table,
        sigma_min=sigma_min,
        sigma_max=sigma_max,
        rho=options.rho or own_rho,
        beta_dist_alpha=options.beta_dist_alpha,
        beta_dist_beta=options.beta_dist_beta,
        is_sdxl=is_sdxl,
    )


def timestep_schedule(steps: int, options: ScheduleOptions) -> list[int]:
    """Training steps that DDIM, DDIM CFG++ and PLMS visit.

    Args:
        steps: Steps asked for, >= 1.
        options: Only ``always_discard_next_to_last_sigma`` matters: it asks for one step more.

    Returns:
        Ascending timesteps, beginning with 1. Trap: for ``steps`` that do not divide 1000 there
        are more of them than asked for, and a run makes one step fewer than there are timesteps.
    """
    wanted = steps + 1 if options.always_discard_next_to_last_sigma else steps
    stride = max(TRAINING_STEPS // wanted, 1)
    return [min(t + 1, TRAINING_STEPS - 1) for t in range(0, TRAINING_STEPS, stride)]


def unipc_sigmas(
    table: NoiseTable, steps: int, first_timestep: int, skip_type: UniPCSkipType
) -> list[float]:
    """Noise levels of a UniPC run, from ``first_timestep`` down to timestep 0.

    UniPC counts time from 0.001 to 1, one thousandth after the timestep, and interpolates
    ln alpha between trained steps.

    Args:
        table: The model's noise levels.
        steps: >= 1.
        first_timestep: Where to begin, 999 for pure noise.
        skip_type: Evenly in time, in its square root, or in ln sigma.

    Returns:
        steps + 1 sigmas, descending, all > 0.
    """
    start, end = (first_timestep + 1) / TRAINING_STEPS, 1 / TRAINING_STEPS
    if skip_type == "logSNR":
        highest, lowest = (math.log(s) for s in _sigmas_at(table, np.array([start, end])))
        return np.exp(np.linspace(highest, lowest, steps + 1)).tolist()
    if skip_type == "time_quadratic":
        times = np.linspace(start**0.5, end**0.5, steps + 1) ** 2
    else:
        times = np.linspace(start, end, steps + 1)
    return _sigmas_at(table, times)


def _sigmas_at(table: NoiseTable, times: npt.NDArray[np.float64]) -> list[float]:
    known = np.arange(1, len(table) + 1) / len(table)
    alphas = np.exp(np.interp(times, known, np.log(table.alphas_cumprod.double().numpy())))
    return np.sqrt((1 - alphas) / alphas).tolist()
