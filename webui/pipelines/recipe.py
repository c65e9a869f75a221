"""The recipe that is stored inside a picture: A1111's keys, in A1111's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from webui import PROGRAM_VERSION
from webui.infotext import write_infotext
from webui.params import Hires, ImageToImage, Painting, TextToImage
from webui.pipelines.inpaint_recipe import inpaint_pairs, noise_pairs, purpose_pairs
from webui.pipelines.way_recipe import way_pairs
from webui.samplers.names import AUTOMATIC, SAMPLERS_BY_NAME, effective_schedule

TAKES_ETA = frozenset(
    {
        "Euler a", "DPM2 a", "DPM++ 2S a", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun",
        "DPM++ 3M SDE", "DPM fast", "DPM adaptive",
    }
)  # fmt: skip
TAKES_CHURN = frozenset({"Euler", "Heun", "DPM2"})

USUAL_FACE_WEIGHT = 0.5
"""Of A1111's option code_former_weight; its recipes never tell it."""


@dataclass(frozen=True)
class ModelFacts:
    """What a recipe says about the weights.

    Attributes:
        name: File stem of the checkpoint. sha256: Of the whole file, None while unknown.
        vae_name: File name of a separate VAE, None for the built-in one.
        purpose: ``paint``, ``inpaint`` or ``edit``, see ``checkpoints.specs.ArchSpec``.
        has_own_sampler: A diffusers pipeline paints it; the request's sampler does nothing.
        has_small_weights: Its U-Net is stored in one byte a weight.
    """

    name: str
    sha256: str | None = None
    vae_name: str | None = None
    vae_sha256: str | None = None
    purpose: str = "paint"
    has_own_sampler: bool = False
    has_small_weights: bool = False

    @property
    def title(self) -> str:
        """``stem [hash10]``, or the stem while the hash is unknown."""
        return f"{self.name} [{_short(self.sha256)}]" if self.sha256 else self.name


def write_recipe(
    params: Painting,
    model: ModelFacts,
    *,
    index: int,
    seed: int,
    subseed: int,
    show: Mapping[str, bool],
    others: Mapping[str, ModelFacts] = MappingProxyType({}),
    grown_to: tuple[int, int] | None = None,
    networks: Mapping[str, str] = MappingProxyType({}),
    more: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """The infotext of one picture.

    Args:
        params: The request.
        index: Number of the picture in its job, from 0.
        seed, subseed: Of this picture.
        show: Which facts people want in it (``model_name``, ``model_hash``, ``vae_name``,
            ``vae_hash``, ``version``, ``user``); missing ones are shown, ``user`` is not.
        others: Facts of further checkpoints, by catalog name.
        grown_to: Width and height of a picture whose size follows from its input's (outpainting).
        networks: What the prompts brought in, with hashes, by key («TI hashes»), and ControlNets;
            '' = nothing.
        more: What extensions add; our own keys win.
    """
    params = params.of_picture(index)
    pairs = {
        **_main_pairs(params, seed, grown_to or (params.width, params.height)),
        **({"Sampler": None, "Schedule type": None} if model.has_own_sampler else {}),
        **_model_pairs(params, model, show),
        **_seed_pairs(params, subseed),
        **purpose_pairs(params, model.purpose),
        **extra_pairs(params, others, networks),
        "Version": PROGRAM_VERSION if show.get("version", True) else None,
        "User": params.user if params.user and show.get("user", False) else None,
    }
    if more:
        last = {key: pairs.pop(key) for key in ("Version", "User")}
        pairs = {**pairs, **{k: v for k, v in more.items() if k not in {**pairs, **last}}, **last}
    return write_infotext(params.prompt, params.negative_prompt, pairs)


def _main_pairs(params: Painting, seed: int, size: tuple[int, int]) -> dict[str, Any]:
    schedule = params.schedule
    if schedule == AUTOMATIC and SAMPLERS_BY_NAME[params.sampler].default_schedule:
        schedule = effective_schedule(params.sampler, params.schedule)
    return {
        "Steps": params.steps,
        "Sampler": params.sampler,
        "Schedule type": schedule,
        "CFG scale": params.cfg_scale,
        "Image CFG scale": None,  # its place; see purpose_pairs
        "Seed": seed,
        "Face restoration": params.restore_faces.model if params.restore_faces else None,
        "Size": f"{size[0]}x{size[1]}",
    }


def _model_pairs(params: Painting, model: ModelFacts, show: Mapping[str, bool]) -> dict[str, Any]:
    is_small = model.has_small_weights

    def shown(fact: str, value: str | None) -> str | None:
        return value if show.get(fact, True) else None

    return {
        "Model hash": shown("model_hash", _short(model.sha256)),
        "Model": shown("model_name", model.name),
        "FP8 weight": params.fp8_storage if is_small else None,
        "Cache FP16 weight for LoRA": params.cache_fp16_weight if is_small else None,
        "VAE hash": shown("vae_hash", _short(model.vae_sha256)),
        "VAE": shown("vae_name", model.vae_name),
    }


def _short(sha256: str | None) -> str | None:
    return sha256[:10] if sha256 else None


def _seed_pairs(params: Painting, subseed: int) -> dict[str, Any]:
    varies = params.subseed_strength != 0
    resized = params.seed_resize_from_w > 0 and params.seed_resize_from_h > 0
    uses_ensd = SAMPLERS_BY_NAME[params.sampler].uses_ensd and params.sampling.eta != 0
    ensd = params.eta_noise_seed_delta
    return {
        "Variation seed": subseed if varies else None,
        "Variation seed strength": params.subseed_strength if varies else None,
        "Seed resize from": (
            f"{params.seed_resize_from_w}x{params.seed_resize_from_h}" if resized else None
        ),
        "Denoising strength": _denoising_strength(params),
        "Conditional mask weight": None,  # its place; see purpose_pairs
        "Clip skip": params.clip_skip if params.clip_skip > 1 else None,
        "ENSD": ensd if ensd != 0 and uses_ensd else None,
        "RNG": params.randn_source if params.randn_source != "GPU" else None,
        "Tiling": True if params.tiling else None,
        "Face restoration weight": _face_weight(params),
    }


def _face_weight(params: Painting) -> float | None:
    """CodeFormer's weight where it is not the usual one; other restorers have none."""
    wish = params.restore_faces
    is_told = wish is not None and wish.model == "CodeFormer" and wish.weight != USUAL_FACE_WEIGHT
    return wish.weight if wish and is_told else None


def _denoising_strength(params: Painting) -> float | None:
    if isinstance(params, ImageToImage):
        return params.denoising_strength
    hires = params.hires if isinstance(params, TextToImage) else None
    return hires.denoising_strength if hires else None


def extra_pairs(
    params: Painting,
    others: Mapping[str, ModelFacts] = MappingProxyType({}),
    networks: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """The keys A1111 calls extra generation params, in the order they arise there.

    Args:
        others, networks: As for ``write_recipe``.
    """
    hires = params.hires if isinstance(params, TextToImage) else None
    return {
        **(_hires_pairs(params, hires, others) if hires else {}),
        **(way_pairs(params) if isinstance(params, ImageToImage) else {}),
        **(inpaint_pairs(params) if isinstance(params, ImageToImage) else {}),
        **{key: hashes or None for key, hashes in networks.items()},
        **_text_pairs(params),
        **_template_pairs(params),
        **(noise_pairs(params) if isinstance(params, ImageToImage) else {}),
        **_sampler_pairs(params),
        **_refiner_pairs(params, others),
    }


def _title(name: str | None, others: Mapping[str, ModelFacts]) -> str | None:
    """How a recipe names another checkpoint, by its catalog name."""
    return others[name].title if name is not None and name in others else name


def _refiner_pairs(params: Painting, others: Mapping[str, ModelFacts]) -> dict[str, Any]:
    refiner = params.refiner
    if refiner is None or refiner.switch_at >= 1:
        return {}
    has_hires = isinstance(params, TextToImage) and params.hires is not None
    names_pass = has_hires and refiner.hires_pass != "second pass"
    return {
        "Hires refiner": refiner.hires_pass if names_pass else None,
        "Refiner": _title(refiner.checkpoint, others),
        "Refiner switch at": refiner.switch_at,
        "Refiner switch by sampling steps": True if refiner.by_steps else None,
    }


def _hires_pairs(
    params: Painting, hires: Hires, others: Mapping[str, ModelFacts]
) -> dict[str, Any]:
    by_factor = hires.resize_x == 0 and hires.resize_y == 0

    def if_other(value: str | None, first: str) -> str | None:
        return value if value and value != first else None

    return {
        "Hires checkpoint": _title(if_other(hires.checkpoint, params.checkpoint), others),
        "Hires CFG Scale": hires.cfg_scale,
        "Hires sampler": if_other(hires.sampler, params.sampler),
        "Hires prompt": if_other(hires.prompt, params.prompt),
        "Hires negative prompt": if_other(hires.negative_prompt, params.negative_prompt),
        "Hires schedule type": if_other(hires.schedule, params.schedule),
        "Hires upscale": hires.scale if by_factor else None,
        "Hires resize": None if by_factor else f"{hires.resize_x}x{hires.resize_y}",
        "Hires steps": hires.steps or None,
        "Hires upscaler": hires.upscaler or None,
        "Extra noise": hires.extra_noise or None,
    }


def _text_pairs(params: Painting) -> dict[str, Any]:
    weighted = any(c in params.prompt + params.negative_prompt for c in "([")
    return {
        "Emphasis": params.emphasis if params.emphasis != "Original" and weighted else None,
        "Old prompt editing timelines": True if params.use_old_scheduling else None,
    }


def _template_pairs(params: Painting) -> dict[str, Any]:
    """What the prompts were translated from, and drawn from, the latter under the keys of the
    extension sd-dynamic-prompts."""
    drawn = params.drawn
    return {
        "Chinese prompt": params.chinese_prompt or None,
        "Chinese negative prompt": params.chinese_negative_prompt or None,
        "Template": (drawn.template or None) if drawn else None,
        "Negative Template": (drawn.negative_template or None) if drawn else None,
    }


def _sampler_pairs(params: Painting) -> dict[str, Any]:
    s = params.sampling
    takes_eta, churns = params.sampler in TAKES_ETA, params.sampler in TAKES_CHURN
    is_ddim = params.sampler.startswith("DDIM")
    beta = params.schedule == "Beta"
    pairs: dict[str, tuple[bool, Any]] = {
        "Eta": (takes_eta and s.eta not in (None, 1.0), s.eta),
        "Eta DDIM": (is_ddim and s.eta not in (None, 0.0), s.eta),
        "Sigma churn": (churns and s.s_churn != 0, s.s_churn),
        "Sigma tmin": (churns and s.s_tmin != 0, s.s_tmin),
        "Sigma tmax": (churns and s.s_tmax != 0, s.s_tmax),
        "Sigma noise": (s.s_noise != 1, s.s_noise),
        "Discard penultimate sigma": (s.always_discard_next_to_last_sigma, True),
        "SGM noise multiplier": (s.sgm_noise_multiplier, True),
        "Schedule min sigma": (s.sigma_min != 0, s.sigma_min),
        "Schedule max sigma": (s.sigma_max != 0, s.sigma_max),
        "Schedule rho": (s.rho != 0, s.rho),
        "Beta schedule alpha": (beta and s.beta_dist_alpha != 0.6, s.beta_dist_alpha),
        "Beta schedule beta": (beta and s.beta_dist_beta != 0.6, s.beta_dist_beta),
        "Pad conds": (s.pad_cond_uncond, True),
        "Pad conds v0": (s.pad_cond_uncond_v0, True),
        "NGMS": (s.s_min_uncond > 0, s.s_min_uncond),
        "NGMS all steps": (s.s_min_uncond > 0 and s.s_min_uncond_all, True),
        "Skip Early CFG": (s.skip_early_cond > 0, s.skip_early_cond),
        "Downcast alphas_cumprod": (s.use_downcasted_alpha_bar, True),
        "Noise Schedule": (s.sd_noise_schedule != "Default", s.sd_noise_schedule),
    }
    return {key: value for key, (shown, value) in pairs.items() if shown}
