"""ControlNets beside the U-Net: what each adds, when, and how strongly.

The maps travel with the latents, as more channels of the network's input: so tiles cut them as
they cut the latents, and smaller groups take theirs along. ``PassControl`` is called at the
innermost: it takes the maps off again, asks the ControlNets, and calls the U-Net with what they
add.

Source:
    Modes and steps: sd-webui-controlnet 1.1.455 and Forge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch
from PIL import Image
from PIL.ImageFilter import BoxBlur, MaxFilter
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d, pad, pixel_shuffle, pixel_unshuffle

from webui.checkpoints.control_specs import CELL, MAP_CHANNELS, GuideSpec
from webui.checkpoints.load import LoadedModel
from webui.checkpoints.load_controlnet import LoadedGuide, LoadedLite
from webui.errors import UnknownArchitectureError
from webui.networks.lllite import Worn, worn_by
from webui.params import ControlUnit, Painting
from webui.pipelines.control_guides import GuidedCall, LiteGuide, Strength, added
from webui.pipelines.control_maps import Beneath, ControlMaps, as_tensor
from webui.pipelines.encoding import Encoding
from webui.pipelines.named_files import ToldOnce
from webui.pipelines.network_call import Added, call_network
from webui.pipelines.placement import on_device
from webui.preprocessors.maps import MapNetwork
from webui.preprocessors.names import module_of
from webui.preprocessors.units import UnitMap

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

    def control_spec(self, name: str) -> GuideSpec:
        """What the ControlNet of that catalog name is; nothing is loaded.

        Raises:
            CheckpointError: It cannot be read, or is something else.
        """
        ...

    def controlnet(self, name: str, base: Path, *, waits: bool) -> LoadedGuide:
        """The loaded ControlNet of that catalog name. Ask anew for each use.

        Args:
            base: The checkpoint it guides.
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
        self._lites = {number: LiteGuide() for number in self._units}

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
            self.loaded(unit, own_model)  # what cannot be loaded is told before anything is painted
        return PassControl(self, units, passed)

    def _misfit(self, unit: ControlUnit, model: LoadedModel) -> str:
        spec = self._supplies.control_spec(unit.model)
        return spec.misfit(model.spec.unet, model.spec.family)

    def fits(self, unit: ControlUnit, model: LoadedModel) -> bool:
        """Whether a unit can guide a model; told once when it cannot."""
        misfit = self._misfit(unit, model)
        if misfit:
            self._tell(f"{unit.model} was left out with {model.path.stem}: {misfit}.")
        return not misfit

    def loaded(self, unit: ControlUnit, model: LoadedModel) -> LoadedGuide:
        """A unit's ControlNet, to guide that model."""
        return self._supplies.controlnet(unit.model, model.path, waits=unit.low_vram)

    def lite(self, number: int) -> LiteGuide:
        """What is known of a unit's ControlLLLite, where it has one."""
        return self._lites[number]

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
        with ExitStack() as stack:
            total: Added | None = None
            worn: list[Worn] = []
            for place, number in enumerate(self._active):
                first = own + 1 + place * MAP_DEPTH
                hint = pixel_shuffle(inputs[:, first : first + MAP_DEPTH], CELL)
                call = GuidedCall(inputs[:, :LATENTS], timesteps, context, hint)
                unit = self._units[number]
                if not self._job.fits(unit, model):
                    continue
                loaded = self._job.loaded(unit, model)
                strength = self._strength(unit, loaded, is_prompt)
                if isinstance(loaded, LoadedLite):
                    stack.enter_context(on_device(loaded.network, model.device))
                    worn.append(self._job.lite(number).worn(loaded, model, call, strength))
                elif (one := added(loaded, model, call, strength)) is not None:
                    total = one if total is None else total + one
                stop_if_asked()
            stack.enter_context(worn_by(model.unet, worn, _cells(inputs)))
            return call_network(model, inputs[:, :own], timesteps, context, stop_if_asked, total)

    def _strength(self, unit: ControlUnit, loaded: LoadedGuide, is_prompt: Tensor) -> Strength:
        """What is for prompts only adds nothing to what is calculated for the negative one."""
        is_soft = unit.control_mode != "Balanced" or (
            self._pass.which == "second" and module_of(unit).softens_second_pass
        )
        for_prompts = loaded.spec.is_pooled or unit.control_mode == "ControlNet is more important"
        return Strength(unit.weight, is_soft, is_prompt if for_prompts else None)

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


def _blurred(latents: Tensor, reach: int) -> Tensor:
    """The mean over a square of ``reach`` cells to each side; edges are continued."""
    around = pad(latents, (reach,) * 4, mode="replicate")
    return avg_pool2d(around, 2 * reach + 1, stride=1)


def _cells(latents: Tensor) -> tuple[int, int]:
    """Rows and columns."""
    return latents.shape[-2], latents.shape[-1]


def _size(latents: Tensor) -> tuple[int, int]:
    """Width and height in pixels."""
    return latents.shape[-1] * CELL, latents.shape[-2] * CELL
