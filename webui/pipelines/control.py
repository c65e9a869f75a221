"""ControlNets beside the U-Net: what each adds, when, and how strongly.

The maps travel with the latents, as more channels of the network's input: so tiles cut them as
they cut the latents, and smaller groups take theirs along. ``PassControl`` is called at the
innermost: it takes the maps off again, asks the ControlNets, and calls the U-Net with what they
add.

Source:
    Zhang et al. 2023, arXiv 2302.05543; modes, steps and soft weights (0.825 to the power of 12
    less the number of a place, from the outermost on, so that the middle of SDXL, which has ten
    places, gets 0.56): sd-webui-controlnet 1.1.455 and Forge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from PIL import Image
from PIL.ImageFilter import BoxBlur, MaxFilter
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d, pad, pixel_shuffle, pixel_unshuffle

from webui.checkpoints.control_specs import CELL, MAP_CHANNELS
from webui.checkpoints.load import LoadedModel
from webui.checkpoints.load_controlnet import LoadedControlNet
from webui.errors import UnknownArchitectureError
from webui.networks.tiling import wrapping_as
from webui.params import ControlUnit, Painting
from webui.pipelines.control_maps import Beneath, ControlMaps, as_tensor
from webui.pipelines.encoding import Encoding
from webui.pipelines.named_files import ToldOnce
from webui.pipelines.network_call import Added, call_network, told_beside
from webui.pipelines.placement import on_device
from webui.preprocessors.maps import MapNetwork
from webui.preprocessors.names import module_of
from webui.preprocessors.units import UnitMap

SOFTENING = 0.825
SOFT_PLACES = 13
"""Places at which SD 1.x is added to. Smaller networks take the numbers of its outermost ones."""
MAP_DEPTH = MAP_CHANNELS * CELL * CELL
"""Channels of a map folded to the size of latents."""
LATENTS = 4
SEAM = 7
"""Pixels over which what is painted and what is kept are joined."""
WhichPass = Literal["only", "first", "second"]
"""Which pass of how many: of one, or of hires fix's two."""
_ACTS_IN: dict[str, tuple[str, ...]] = {
    "Both": ("only", "first", "second"),
    "Low res only": ("only", "first"),
    "High res only": ("only", "second"),
}


class ControlSupplies(Protocol):
    """Where a job's ControlNets and pictures come from."""

    def controlnet(self, name: str, *, waits: bool) -> LoadedControlNet:
        """The loaded ControlNet of that catalog name. Ask anew for each use.

        Args:
            waits: It waits in main memory between its turns.
        Raises:
            CheckpointError, DeviceMemoryError: It cannot be loaded.
        """
        ...

    def input(self, key: str) -> Image.Image:
        """An input picture of the request."""
        ...

    def map_network(self, name: str) -> MapNetwork:
        """The network of a preprocessor.

        Raises:
            CheckpointError, DeviceMemoryError: It cannot be loaded.
        """
        ...

    def map_made(self, number: int, made: UnitMap) -> None:
        """Told of the first map of each unit that wants it handed back."""
        ...


@dataclass(frozen=True)
class ControlledPass:
    """A pass that units may act in.

    Attributes:
        which: Of how many it is.
        beneath: What each picture of the batch repaints; empty in txt2img.
        encode: Pictures to latents, with the VAE in use.
    """

    which: WhichPass
    beneath: Sequence[Beneath]
    encode: Callable[[list[Image.Image]], Tensor]


class JobControl:
    """The control units of one job.

    Args:
        params: The request.
        supplies: ControlNets and pictures.
        warn: Told once about each unit that does not fit a checkpoint which paints on.
    """

    def __init__(
        self, params: Painting, supplies: ControlSupplies, warn: Callable[[str], None]
    ) -> None:
        self._units = {
            number: unit for number, unit in enumerate(params.control) if unit.weight > 0
        }
        self._supplies = supplies
        self._tell = ToldOnce(warn)

        def tell(number: int, made: UnitMap) -> None:
            if params.control[number].save_detected_map:
                supplies.map_made(number, made)

        self._maps = ControlMaps(params, supplies.input, supplies.map_network, tell)

    def for_pass(self, own_model: LoadedModel | None, passed: ControlledPass) -> PassControl | None:
        """What acts in a pass; None when nothing does.

        Args:
            own_model: The request's own checkpoint, which all units must fit; None in a pass of
                another one, where those that do not fit are left out.
        Raises:
            CheckpointError: A ControlNet cannot be loaded or is for other checkpoints.
        """
        units = {
            number: unit
            for number, unit in self._units.items()
            if passed.which in _ACTS_IN[unit.hr_option]
        }
        if not units:
            return None
        for unit in units.values() if own_model is not None else ():
            assert own_model is not None
            misfit = self._misfit(unit, own_model)
            if misfit:
                raise UnknownArchitectureError(
                    f"{unit.model} cannot guide {own_model.path.stem}: {misfit}.",
                    f"Choose a ControlNet for {own_model.family.title}, or another checkpoint.",
                )
        return PassControl(self, units, passed)

    def _misfit(self, unit: ControlUnit, model: LoadedModel) -> str:
        spec = self._controlnet(unit).spec
        return spec.misfit(model.spec.unet, model.spec.family)

    def _controlnet(self, unit: ControlUnit) -> LoadedControlNet:
        return self._supplies.controlnet(unit.model, waits=unit.low_vram)

    def fits(self, unit: ControlUnit, model: LoadedModel) -> bool:
        """Whether a unit can guide a model; told once when it cannot."""
        misfit = self._misfit(unit, model)
        if misfit:
            self._tell(f"{unit.model} was left out with {model.path.stem}: {misfit}.")
        return not misfit

    def added(self, unit: ControlUnit, model: LoadedModel, call: _Call, *, is_soft: bool) -> Added:
        """What a unit's ControlNet adds to a model's U-Net."""
        loaded = self._controlnet(unit)
        with on_device(loaded.network, model.device), wrapping_as(loaded.network, model.unet):
            down, middle = loaded.network(
                call.latents,
                call.timesteps,
                encoder_hidden_states=call.context.states,
                controlnet_cond=call.hint,
                return_dict=False,
                **told_beside(call.context),
            )
        scales = layer_scales(unit.weight, len(down) + 1, is_soft=is_soft)
        scaled = tuple(part * scale for part, scale in zip(down, scales, strict=False))
        return Added(scaled, middle * scales[-1])

    def is_for_prompts_only(self, unit: ControlUnit) -> bool:
        """Whether it adds nothing to what is calculated for the negative prompt."""
        is_pooled = self._controlnet(unit).spec.is_pooled
        return is_pooled or unit.control_mode == "ControlNet is more important"

    def maps(self, number: int, size: tuple[int, int], passed: ControlledPass) -> list[UnitMap]:
        """A unit's maps for the pictures of a batch; one where all have the same."""
        return [self._maps.of(number, size, one) for one in passed.beneath or [None]]

    def with_rest_kept(self, image: Image.Image) -> Image.Image:
        """A finished picture of txt2img with what units keep of their own pictures.

        Source:
            Width of the seam: inpaint_only of sd-webui-controlnet.
        """
        for number, unit in self._units.items():
            if module_of(unit).keeps_rest:
                found = self._maps.of(number, image.size, None)
                if found.hidden is not None:
                    grown = Image.fromarray(found.hidden).convert("L").filter(MaxFilter(SEAM))
                    mask = grown.filter(BoxBlur(SEAM // 2))
                    image = Image.composite(image, Image.fromarray(found.pixels), mask)
        return image


@dataclass(frozen=True)
class _Call:
    """What the U-Net is called with, and a unit's map."""

    latents: Tensor
    timesteps: Tensor
    context: Encoding
    hint: Tensor

    def __getitem__(self, samples: Tensor) -> _Call:
        context = Encoding(
            self.context.states[samples],
            None if self.context.vector is None else self.context.vector[samples],
            None if self.context.numbers is None else self.context.numbers[samples],
        )
        parts = (self.latents[samples], self.timesteps[samples])
        return _Call(*parts, context, self.hint[samples])


class PassControl:
    """The units of one pass over one batch; made by ``JobControl``."""

    def __init__(
        self, job: JobControl, units: dict[int, ControlUnit], passed: ControlledPass
    ) -> None:
        self._job = job
        self._units = units
        self._pass = passed
        self._active: tuple[int, ...] = ()
        self._made: tuple[object, Tensor] | None = None
        self._latents: dict[int, Tensor] = {}

    def begin(self, share: float) -> None:
        """A network call comes, after this share of all of them, 0–1."""
        self._active = tuple(
            number
            for number, unit in self._units.items()
            if unit.guidance_start <= share <= unit.guidance_end
        )

    def channels(self, latents: Tensor, is_prompt: Sequence[bool]) -> Tensor | None:
        """What goes with the latents into the network: a channel that tells prompts (1) from the
        negative one (0), then the maps of the units at work.

        Args:
            latents: (B, 4, h, w).
            is_prompt: Of each estimate that is made of them.
        Returns:
            (N·B, 1 + 192·units, h, w) like ``latents``; None when no unit is at work.
        """
        if not self._active:
            return None
        batch, _, rows, columns = latents.shape
        key = self._active, tuple(is_prompt), latents.shape, latents.dtype
        if self._made is None or self._made[0] != key:
            maps = [self._folded(number, rows, columns, batch) for number in self._active]
            one = torch.cat(maps, dim=1).to(latents)
            marks = [torch.full_like(latents[:, :1], float(is_one)) for is_one in is_prompt]
            self._made = key, torch.cat([torch.cat([mark, one], dim=1) for mark in marks])
        return self._made[1]

    def _folded(self, number: int, rows: int, columns: int, batch: int) -> Tensor:
        maps = self._job.maps(number, (columns * CELL, rows * CELL), self._pass)
        hint = torch.cat([as_tensor(one) for one in maps])
        return pixel_unshuffle(hint.expand(batch, -1, -1, -1), CELL)

    def __call__(
        self,
        model: LoadedModel,
        inputs: Tensor,
        timesteps: Tensor,
        context: Encoding,
        stop_if_asked: Callable[[], None],
    ) -> Tensor:
        """See ``NetworkCall``; takes the maps off the inputs."""
        own = model.spec.in_channels
        if inputs.shape[1] == own:
            return call_network(model, inputs, timesteps, context, stop_if_asked)
        is_prompt = inputs[:, own, 0, 0] > 0.5
        total: Added | None = None
        for place, number in enumerate(self._active):
            first = own + 1 + place * MAP_DEPTH
            hint = pixel_shuffle(inputs[:, first : first + MAP_DEPTH], CELL)
            call = _Call(inputs[:, :LATENTS], timesteps, context, hint)
            added = self._added(self._units[number], model, call, is_prompt)
            if added is not None:
                total = added if total is None else total + added
            stop_if_asked()
        return call_network(model, inputs[:, :own], timesteps, context, stop_if_asked, total)

    def _added(
        self, unit: ControlUnit, model: LoadedModel, call: _Call, is_prompt: Tensor
    ) -> Added | None:
        if not self._job.fits(unit, model):
            return None
        is_soft = unit.control_mode != "Balanced" or (
            self._pass.which == "second" and module_of(unit).softens_second_pass
        )
        if not self._job.is_for_prompts_only(unit) or bool(is_prompt.all()):
            return self._job.added(unit, model, call, is_soft=is_soft)
        if not bool(is_prompt.any()):
            return None
        added = self._job.added(unit, model, call[is_prompt], is_soft=is_soft)
        return Added(
            tuple(_spread(part, is_prompt) for part in added.down), _spread(added.middle, is_prompt)
        )

    # What comes from units' own pictures

    def corrected(self, denoised: Tensor, is_prompt: Sequence[bool]) -> Tensor:
        """Clean estimates with what units keep of their own pictures: broad colours, or all that
        is not masked.

        Args:
            denoised: (N·B, 4, h, w).
            is_prompt: Of each of the N.
        """
        for number in self._active:
            unit = self._units[number]
            module = module_of(unit)
            if module.fixes_colours:
                denoised = self._colours_fixed(denoised, is_prompt, number, unit)
            elif module.keeps_rest and not self._pass.beneath:
                denoised = self._rest_kept(denoised, number, unit)
        return denoised

    def _rest_kept(self, denoised: Tensor, number: int, unit: ControlUnit) -> Tensor:
        """A cell is painted if anything within a pixel of it is masked."""
        (found,) = self._job.maps(number, _size(denoised), self._pass)
        if found.hidden is None:
            return denoised
        hidden = torch.from_numpy(found.hidden)[None, None].to(denoised)
        painted = max_pool2d(hidden, CELL + 2, stride=CELL, padding=1)  # (1, 1, h, w)
        kept = torch.lerp(self._encoded(number, denoised), denoised, painted)
        return torch.lerp(denoised, kept, min(unit.weight, 1.0))

    def _colours_fixed(
        self, denoised: Tensor, is_prompt: Sequence[bool], number: int, unit: ControlUnit
    ) -> Tensor:
        """Source: tile_colorfix of sd-webui-controlnet: what is broader than the knob says comes
        from the picture; with «+sharp» the negative half is blurred, so that guidance sharpens."""
        reach = int(unit.threshold_a) * (2 if self._pass.which == "second" else 1)
        own = self._encoded(number, denoised)
        fixed = denoised - _blurred(denoised, reach) + _blurred(own, reach)
        if unit.module.endswith("+sharp"):
            share = unit.threshold_b * 0.01
            blurred = torch.lerp(fixed, _blurred(fixed, reach), share)
            marks = torch.tensor(is_prompt, device=fixed.device).repeat_interleave(
                len(fixed) // len(is_prompt)
            )
            fixed = torch.where(marks.view(-1, 1, 1, 1), fixed, blurred)
        return torch.lerp(denoised, fixed, min(unit.weight, 1.0))

    def _encoded(self, number: int, like: Tensor) -> Tensor:
        """(N·B, 4, h, w): a unit's pictures as latents."""
        if number not in self._latents:
            maps = self._job.maps(number, _size(like), self._pass)
            pictures = [Image.fromarray(one.pixels) for one in maps]
            self._latents[number] = torch.cat([self._pass.encode([p]) for p in pictures])
        own = self._latents[number].to(like)
        return own.repeat(len(like) // len(own), 1, 1, 1)


def layer_scales(weight: float, count: int, *, is_soft: bool) -> list[float]:
    """How strongly each of ``count`` places is added to, from the outermost to the middle."""
    return [weight * (SOFTENING ** (SOFT_PLACES - 1 - i) if is_soft else 1.0) for i in range(count)]


def _spread(part: Tensor, is_there: Tensor) -> Tensor:
    """(M, …) put to the places of the (N,) that are there; 0 elsewhere."""
    whole = part.new_zeros((len(is_there), *part.shape[1:]))
    whole[is_there] = part
    return whole


def _blurred(latents: Tensor, reach: int) -> Tensor:
    """The mean over a square of ``reach`` cells to each side; edges are continued."""
    around = pad(latents, (reach,) * 4, mode="replicate")
    return avg_pool2d(around, 2 * reach + 1, stride=1)


def _size(latents: Tensor) -> tuple[int, int]:
    """Width and height in pixels."""
    return latents.shape[-1] * CELL, latents.shape[-2] * CELL
