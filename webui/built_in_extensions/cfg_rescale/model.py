"""CFG rescale: guidance keeps the spread that the prompt alone would give.

Source:
    Lin et al. 2023, arXiv 2305.08891, sec. 3.4; measured on v, as the paper's models predict it.
"""

from __future__ import annotations

from torch import Tensor

from webui.hookspecs import Estimates, Job, Step, hook


@hook
def before_step(latents: Tensor, job: Job) -> None:
    """Remember the latents of this call."""
    job.state["latents"] = latents


@hook
def after_model(estimates: Estimates, job: Job) -> None:
    """Remember what the prompt alone says; None in calls without guidance."""
    guided = estimates.uncond is not None and len(estimates.conds) == 1
    job.state["cond"] = estimates.conds[0] if guided else None


@hook
def after_guidance(denoised: Tensor, step: Step, job: Job) -> Tensor | None:
    """Bring the guided estimate's spread back to the prompt's own, by the share asked for."""
    cond, latents = job.state.pop("cond", None), job.state.pop("latents", None)
    strength = float(job.values["strength"])
    if cond is None or latents is None or strength == 0:
        return None
    return rescaled(latents, denoised, cond, step.sigma, strength)


def rescaled(
    latents: Tensor, guided: Tensor, cond: Tensor, sigma: float, strength: float
) -> Tensor:
    """The guided estimate, rescaled.

    Args:
        latents: (B, C, H, W) noisy latents of spread ``sigma``.
        guided, cond: Clean estimates of the same shape, with guidance and by the prompt alone.
        strength: 0 = ``guided`` as it is, 1 = all of its spread is the prompt's.
    Returns:
        A clean estimate of the same shape.
    """
    share = (1 + sigma**2) ** 0.5
    noise, clean = latents / (sigma * share), share / sigma  # v = noise − clean · estimate
    v_guided, v_cond = noise - clean * guided, noise - clean * cond
    spread = v_cond.std(dim=(1, 2, 3), keepdim=True) / v_guided.std(dim=(1, 2, 3), keepdim=True)
    v = v_guided * (strength * spread + (1 - strength))
    return (noise - v) / clean
