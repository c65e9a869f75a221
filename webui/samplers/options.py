"""Every knob of the samplers under its A1111 option name, with its A1111 default. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RandnSource = Literal["GPU", "CPU", "NV"]
UniPCVariant = Literal["bh1", "bh2", "vary_coeff"]
UniPCSkipType = Literal["time_uniform", "time_quadratic", "logSNR"]


@dataclass(frozen=True)
class ScheduleOptions:
    """What shapes a sigma schedule besides its name and length.

    Attributes:
        sigma_min: Smallest positive sigma; 0 = the model's own.
        sigma_max: Largest sigma; 0 = the model's own.
        rho: Exponent of Karras (7) and Polyexponential (1); 0 = the schedule's own.
        use_old_karras_scheduler_sigmas: Limits 0.1 and 10 instead of the model's own.
        always_discard_next_to_last_sigma: Every sampler leaves out the last sigma before 0.
        beta_dist_alpha: First shape of the Beta schedule, > 0.
        beta_dist_beta: Second shape of the Beta schedule, > 0.
    """

    sigma_min: float = 0.0
    sigma_max: float = 0.0
    rho: float = 0.0
    use_old_karras_scheduler_sigmas: bool = False
    always_discard_next_to_last_sigma: bool = False
    beta_dist_alpha: float = 0.6
    beta_dist_beta: float = 0.6


@dataclass(frozen=True)
class SamplerOptions(ScheduleOptions):
    """All knobs of one sampling run.

    Attributes:
        eta: Share of fresh noise per step as the request asked; None = the two options below.
        eta_ancestral: Share of fresh noise for ancestral and SDE samplers, 0 = none, 1 = full.
        eta_ddim: The same for DDIM.
        s_churn: Karras churn: total amount of noise added on the way, 0 = none.
        s_tmin: Churn acts from this sigma ...
        s_tmax: ... to this one; 0 = no upper limit.
        s_noise: Factor on every fresh noise, near 1.
        sgm_noise_multiplier: First noise times sqrt(1 + sigma^2) instead of sigma.
        no_dpmpp_sde_batch_determinism: One Brownian path for the whole batch instead of one per
            image: a picture then depends on its neighbours.
        randn_source: Where noise comes from: CPU, GPU (the device's own generator) or NV (the
            numbers of an NVIDIA card, computed on the CPU).
        eta_noise_seed_delta: "ENSD": added to the seed for all noise after the first.
        uni_pc_variant: Which B(h) UniPC uses.
        uni_pc_skip_type: How UniPC spaces its steps.
        uni_pc_order: Highest order of UniPC, 1 to 50; cut down to the number of
            steps.
        uni_pc_lower_order_final: UniPC lowers its order for the last steps.
    """

    eta: float | None = None
    eta_ancestral: float = 1.0
    eta_ddim: float = 0.0
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = 0.0
    s_noise: float = 1.0
    sgm_noise_multiplier: bool = False
    no_dpmpp_sde_batch_determinism: bool = False
    randn_source: RandnSource = "GPU"
    eta_noise_seed_delta: int = 0
    uni_pc_variant: UniPCVariant = "bh1"
    uni_pc_skip_type: UniPCSkipType = "time_uniform"
    uni_pc_order: int = 3
    uni_pc_lower_order_final: bool = True
