"""The one entry for pipelines: from first noise (or a picture) to clean latents.

Source:
    How a run starts and which part of a schedule it walks: AUTOMATIC1111 1.10.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from webui.errors import ParamsError
from webui.samplers.names import AUTOMATIC, SAMPLERS_BY_NAME, SamplerInfo
from webui.samplers.noise import ImageNoise
from webui.samplers.options import SamplerOptions
from webui.samplers.protocol import (
    Cond,
    Denoiser,
    OnExtraNoise,
    OnStep,
    StepNoise,
    ignore_step,
    keep_extra_noise,
)
from webui.samplers.rules import RULES, Rule
from webui.samplers.schedules import (
    LCM_STRIDE,
    TRAINING_STEPS,
    NoiseTable,
    make_sigmas,
    timestep_schedule,
    unipc_sigmas,
)

__all__ = ["SamplerOptions", "sample"]

DEFAULT_OPTIONS = SamplerOptions()


def sample(
    sampler: str,
    denoiser: Denoiser,
    first_noise: Tensor,
    cond: Cond,
    *,
    table: NoiseTable,
    steps: int,
    noise: ImageNoise,
    schedule_label: str = AUTOMATIC,
    options: SamplerOptions = DEFAULT_OPTIONS,
    on_step: OnStep = ignore_step,
    init_latents: Tensor | None = None,
    t_enc: int | None = None,
    extra_noise: float = 0.0,
    on_extra_noise: OnExtraNoise = keep_extra_noise,
    is_sdxl: bool = False,
) -> Tensor:
    """Paint: walk from noise to clean latents with one of the 20 samplers.

    Without ``init_latents`` this is a whole run (txt2img); with them, the last ``t_enc + 1``
    steps of a schedule, begun from the noised picture (img2img, second pass of hires fix).

    Args:
        sampler: Exact label, see ``names.SAMPLERS``.
        denoiser: For "DDIM CFG++" a ``GuidedDenoiser``.
        first_noise: (B, C, H/8, W/8) float32 unit noise, usually ``noise.first()``.
        cond: Handed to the denoiser untouched.
        table: Noise levels of the model.
        steps: Length of the whole schedule, see ``steps.img2img_steps``; 0 runs nothing.
        noise: Streams of the batch, already asked for ``first_noise``.
        schedule_label: See ``names.SCHEDULES``; ignored by the timestep samplers.
        options: All knobs.
        on_step: Told about every step; raise in it to stop the run.
        init_latents: Clean latents of the picture to begin with.
        t_enc: With ``init_latents``: steps to run, less one; None = all.
        extra_noise: With ``init_latents``: share of ``first_noise`` put on top of the usual
            noise (option ``img2img_extra_noise``).
        on_extra_noise: Asked before that share is put on top, where there is one.
        is_sdxl: Chooses the Align Your Steps table.

    Returns:
        Clean latents, shape and dtype of ``first_noise``; inputs unchanged.

    Raises:
        ParamsError: Unknown sampler or schedule, or impossible limits.
    """
    info = SAMPLERS_BY_NAME.get(sampler)
    if info is None:
        raise ParamsError(
            f"No sampler is called {sampler!r}.",
            f"Choose one of: {', '.join(SAMPLERS_BY_NAME)}.",
            field="sampler_name",
        )
    if init_latents is not None and steps == 0:
        return init_latents.clone()
    kept_steps = None if init_latents is None else steps - 1 if t_enc is None else t_enc
    if info.kind == "timestep":
        path = _timestep_path(sampler, table, steps, kept_steps, options)
    else:
        path = _sigma_path(sampler, schedule_label, table, steps, kept_steps, options, is_sdxl)
    walk = _Walk(info, denoiser, cond, table, noise, options, on_step)
    with torch.no_grad():
        if init_latents is None:
            latents = _from_noise(info, path, first_noise, options)
        else:
            latents = init_latents + first_noise * path.noised_to
            if extra_noise:
                added, latents = on_extra_noise(first_noise, init_latents, latents)
                latents = latents + added * extra_noise
            latents = latents * _scale_to_walk(info, path)
        return walk.run(latents, path)


@dataclass(frozen=True)
class _Path:
    """The noise levels of a run.

    Attributes:
        full: The whole schedule, which sets the range of Brownian noise.
        walked: The part that is walked; for ``range`` samplers its two ends, both > 0.
        noised_to: Level the first latents are brought to.
        steps: Steps along ``walked``.
    """

    full: Sequence[float]
    walked: Sequence[float]
    noised_to: float
    steps: int


def _sigma_path(
    sampler: str,
    schedule_label: str,
    table: NoiseTable,
    steps: int,
    t_enc: int | None,
    options: SamplerOptions,
    is_sdxl: bool,
) -> _Path:
    full = make_sigmas(table, schedule_label, sampler, steps, options, is_sdxl).tolist()
    used = full if t_enc is None else full[max(steps - t_enc - 1, 0) :]
    if SAMPLERS_BY_NAME[sampler].kind == "sigma":
        walked = _without_repeats(used)
        return _Path(full, walked, used[0], len(walked) - 1)
    if t_enc is None:
        return _Path(full, [table.sigma_max, table.sigma_min], used[0], steps)
    return _Path(full, [used[0], min(s for s in used if s > 0)], used[0], len(used) - 1)


def _timestep_path(
    sampler: str, table: NoiseTable, steps: int, t_enc: int | None, options: SamplerOptions
) -> _Path:
    """Trap: a picture is noised to the timestep above the first one walked, as it always was."""
    timesteps = timestep_schedule(max(steps, 1), options)
    noised_to = timesteps[-1 if t_enc is None else min(t_enc, len(timesteps) - 1)]
    used = timesteps if t_enc is None else timesteps[:t_enc]
    walked: list[float] = []
    if sampler == "UniPC" and used:
        first = TRAINING_STEPS - 1 if t_enc is None else used[-1]
        walked = unipc_sigmas(table, len(used), first, options.uni_pc_skip_type)
    elif used:
        walked = table.sigmas[used].flip(0).tolist()
    walked = _without_repeats(walked)
    return _Path(walked, walked, float(table.sigmas[noised_to]), max(len(walked) - 1, 0))


def _without_repeats(sigmas: Sequence[float]) -> list[float]:
    """Schedules with more steps than noise levels repeat some; a step of no length is no step."""
    return [s for i, s in enumerate(sigmas) if i == 0 or s != sigmas[i - 1]]


def _from_noise(
    info: SamplerInfo, path: _Path, first_noise: Tensor, options: SamplerOptions
) -> Tensor:
    """First latents where there is no picture; for timestep samplers of unit variance."""
    if info.kind == "timestep":
        return first_noise / _variance_kept(path.walked[0])
    if options.sgm_noise_multiplier:
        return first_noise * math.sqrt(1 + path.noised_to**2)
    return first_noise * path.noised_to


def _scale_to_walk(info: SamplerInfo, path: _Path) -> float:
    """From latents of spread ``path.noised_to`` to what a timestep sampler walks from."""
    if info.kind != "timestep" or not path.walked:
        return 1.0
    return _variance_kept(path.noised_to) / _variance_kept(path.walked[0])


def _variance_kept(sigma: float) -> float:
    """Factor from latents of spread sigma to unit-variance latents."""
    return 1 / math.sqrt(1 + sigma**2)


@dataclass(frozen=True)
class _Walk:
    """Everything a stepping rule is called with."""

    info: SamplerInfo
    denoiser: Denoiser
    cond: Cond
    table: NoiseTable
    noise: ImageNoise
    options: SamplerOptions
    on_step: OnStep

    def run(self, latents: Tensor, path: _Path) -> Tensor:
        """Walk the path and return what is left at its end."""
        rule, sigmas = RULES[self.info.name], path.walked
        if len(sigmas) > 1:
            latents = rule.step(
                self.denoiser,
                latents,
                sigmas,
                self.cond,
                noise=self._step_noise(latents, path),
                on_step=self.on_step,
                **self._knobs(rule),
                **self._extras(path),
            )
        if self.info.kind != "timestep":
            return latents
        return latents * _variance_kept(sigmas[-1] if sigmas else path.noised_to)

    def _step_noise(self, latents: Tensor, path: _Path) -> StepNoise:
        if not self.info.brownian:
            return self.noise
        positive = [sigma for sigma in path.full if sigma > 0]
        one_path = self.options.no_dpmpp_sde_batch_determinism
        return self.noise.brownian(latents, min(positive), max(positive), one_path=one_path)

    def _knobs(self, rule: Rule) -> dict[str, Any]:
        options = self.options
        default_eta = options.eta_ddim if self.info.kind == "timestep" else options.eta_ancestral
        values: dict[str, Any] = {
            "eta": default_eta if options.eta is None else options.eta,
            "s_churn": options.s_churn,
            "s_tmin": options.s_tmin,
            "s_tmax": options.s_tmax or math.inf,
            "s_noise": options.s_noise,
            "variant": options.uni_pc_variant,
            "order": options.uni_pc_order,
            "lower_order_final": options.uni_pc_lower_order_final,
        }
        return {**{name: values[name] for name in rule.knobs}, **rule.fixed}

    def _extras(self, path: _Path) -> dict[str, Any]:
        if self.info.name == "LCM":
            return {"table": self.table.every(LCM_STRIDE)}
        if self.info.name == "DPM fast":
            return {"steps": path.steps}
        return {}
