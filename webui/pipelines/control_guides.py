"""What a ControlNet adds to a U-Net at one of its calls, and what a ControlLLLite changes in it.

Source:
    Zhang et al. 2023, arXiv 2302.05543; soft weights (0.825 to the power of 12 less the number of
    a place, from the outermost on, so that the middle of SDXL, which has ten places, gets 0.56):
    sd-webui-controlnet 1.1.455 and Forge. ControlLLLite: see ``networks.lllite``.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from webui.checkpoints.lite_specs import place_of
from webui.checkpoints.load import LoadedModel
from webui.checkpoints.load_controlnet import LoadedControlNet, LoadedLite
from webui.errors import UnknownArchitectureError
from webui.networks.lllite import LiteError, Worn, places_in
from webui.networks.tiling import wrapping_as
from webui.pipelines.encoding import Encoding
from webui.pipelines.network_call import Added, told_beside
from webui.pipelines.placement import on_device

SOFTENING = 0.825
SOFT_PLACES = 13
"""Places at which SD 1.x is added to. Smaller networks take the numbers of its outermost ones."""


@dataclass(frozen=True)
class GuidedCall:
    """What the U-Net is called with, and a unit's map."""

    latents: Tensor
    timesteps: Tensor
    context: Encoding
    hint: Tensor

    def __getitem__(self, samples: Tensor) -> GuidedCall:
        context = Encoding(
            self.context.states[samples],
            None if self.context.vector is None else self.context.vector[samples],
            None if self.context.numbers is None else self.context.numbers[samples],
        )
        parts = (self.latents[samples], self.timesteps[samples])
        return GuidedCall(*parts, context, self.hint[samples])


@dataclass(frozen=True)
class Strength:
    """How strongly a unit acts.

    Attributes:
        is_soft: The farther out, the weaker.
        samples: (N,) of bool, on which of the call's it acts; None = on all.
    """

    weight: float
    is_soft: bool
    samples: Tensor | None = None

    def scales(self, count: int) -> list[float]:
        """For each of ``count`` places, from the outermost to the middle."""
        return layer_scales(self.weight, count, is_soft=self.is_soft)


def layer_scales(weight: float, count: int, *, is_soft: bool) -> list[float]:
    """How strongly each of ``count`` places is added to, from the outermost to the middle."""
    return [weight * (SOFTENING ** (SOFT_PLACES - 1 - i) if is_soft else 1.0) for i in range(count)]


def added(
    loaded: LoadedControlNet, model: LoadedModel, call: GuidedCall, strength: Strength
) -> Added | None:
    """What a ControlNet adds to a model's U-Net; None where it acts on no sample."""
    samples = strength.samples
    if samples is None or bool(samples.all()):
        return _of_all(loaded, model, call, strength)
    if not bool(samples.any()):
        return None
    part = _of_all(loaded, model, call[samples], strength)
    return Added(tuple(_spread(one, samples) for one in part.down), _spread(part.middle, samples))


def _of_all(
    loaded: LoadedControlNet, model: LoadedModel, call: GuidedCall, strength: Strength
) -> Added:
    with on_device(loaded.network, model.device), wrapping_as(loaded.network, model.unet):
        down, middle = loaded.network(
            call.latents,
            call.timesteps,
            encoder_hidden_states=call.context.states,
            controlnet_cond=call.hint,
            return_dict=False,
            **told_beside(call.context),
        )
    scales = strength.scales(len(down) + 1)
    scaled = tuple(part * scale for part, scale in zip(down, scales, strict=False))
    return Added(scaled, middle * scales[-1])


def _spread(part: Tensor, is_there: Tensor) -> Tensor:
    """(M, …) put to the places of the (N,) that are there; 0 elsewhere."""
    whole = part.new_zeros((len(is_there), *part.shape[1:]))
    whole[is_there] = part
    return whole


class LiteGuide:
    """A ControlLLLite in one job: what it was told of its latest map, and where it stands."""

    def __init__(self) -> None:
        self._hint: Tensor | None = None
        self._seen: dict[str, Tensor] = {}
        self._network: weakref.ref[object] | None = None
        self._unet: weakref.ref[object] | None = None
        self._places: Mapping[str, str] = {}

    def worn(
        self, loaded: LoadedLite, model: LoadedModel, call: GuidedCall, strength: Strength
    ) -> Worn:
        """How a model's U-Net wears it; its network is on the device.

        Raises:
            UnknownArchitectureError: It stands before layers that the U-Net does not have.
        """
        self._find_places(loaded, model)
        if self._hint is None or not _is_same(self._hint, call.hint):
            self._hint, self._seen = call.hint, loaded.network.seen(call.hint)
        spec = model.spec.unet
        count = len(spec.channels) * (spec.res_blocks + 1) + 1
        scales = strength.scales(count)
        acting = torch.ones(len(call.latents), device=call.latents.device)
        if strength.samples is not None:
            acting = strength.samples.to(acting)
        places = {name: place_of(name, spec) for name in self._places}
        strengths = {
            name: acting * (strength.weight if place is None else scales[place])
            for name, place in places.items()
        }
        return Worn(loaded.network, self._places, self._seen, strengths)

    def _find_places(self, loaded: LoadedLite, model: LoadedModel) -> None:
        if (
            self._network is not None
            and self._network() is loaded.network
            and self._unet is not None
            and self._unet() is model.unet
        ):
            return
        try:
            self._places = places_in(model.unet, loaded.network)
        except LiteError as err:
            raise UnknownArchitectureError(
                f"{loaded.path.stem} cannot guide {model.path.stem}: {err}.",
                f"Choose a ControlNet for {model.family.title}, or another checkpoint.",
                path=str(loaded.path),
            ) from err
        self._network, self._unet = weakref.ref(loaded.network), weakref.ref(model.unet)
        self._hint = None


def _is_same(one: Tensor, other: Tensor) -> bool:
    is_like = one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
    return is_like and torch.equal(one, other)
