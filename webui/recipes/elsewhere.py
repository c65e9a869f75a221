"""Names that samplers and schedules have in other programs.

Source: the menus of ComfyUI, Fooocus (the same names) and InvokeAI; ours are A1111's.
"""

from __future__ import annotations

_COMFY_SAMPLERS = {
    "euler": "Euler",
    "euler_cfg_pp": "Euler",
    "euler_ancestral": "Euler a",
    "euler_ancestral_cfg_pp": "Euler a",
    "heun": "Heun",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "ddim": "DDIM",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC",
    "lcm": "LCM",
    "restart": "Restart",
}
_COMFY_SCHEDULES = {
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "ddim_uniform": "DDIM",
    "beta": "Beta",
    "kl_optimal": "KL Optimal",
    "align_your_steps": "Align Your Steps",
}
_INVOKE_SAMPLERS = {
    "ddim": "DDIM",
    "lms": "LMS",
    "pndm": "PLMS",
    "plms": "PLMS",
    "heun": "Heun",
    "euler": "Euler",
    "euler_a": "Euler a",
    "kdpm_2": "DPM2",
    "kdpm_2_a": "DPM2 a",
    "dpm_2": "DPM2",
    "dpm_2_a": "DPM2 a",
    "dpmpp_2s": "DPM++ 2S a",
    "dpmpp_2": "DPM++ 2M",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_3m": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE",
    "unipc": "UniPC",
    "lcm": "LCM",
}


def comfy_sampler(name: str) -> str | None:
    """A1111's name; None for one that is not here. ``_gpu`` only says where noise is made."""
    return _COMFY_SAMPLERS.get(name.removeprefix("sample_").removesuffix("_gpu"))


def comfy_schedule(name: str) -> str | None:
    """A1111's name; None for one that is not here."""
    return _COMFY_SCHEDULES.get(name)


def invoke_sampler(name: str) -> tuple[str | None, str | None]:
    """Sampler and schedule: an ending ``_k`` means Karras, the old beginning ``k_`` nothing."""
    base = name.removesuffix("_k").removeprefix("k_")
    return _INVOKE_SAMPLERS.get(base), "Karras" if name.endswith("_k") else None
