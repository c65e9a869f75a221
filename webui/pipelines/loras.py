"""The LoRAs of one job: put on whichever model is in use.

They stay on when the job ends, for the next one that asks for the same; another one's wishes
replace them, and whoever owns the memory may take them off at any time between two uses.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from torch import nn

from webui.checkpoints.families import title_of
from webui.checkpoints.load import LoadedModel
from webui.errors import PromptSyntaxError
from webui.networks.lora.applying import (
    NetworkChange,
    bytes_to_hold,
    changes_in,
    set_changes,
)
from webui.networks.lora.blocks import BASE, block_of_layers, read_blocks
from webui.networks.lora.files import LoraFile, some
from webui.networks.lora.matching import LayerTable, Match, match_layers, text_layers, unet_layers
from webui.pipelines.named_files import NamedFiles, ToldOnce
from webui.prompts.networks import LORA_TYPES, LoraMention, NetworkMention, lora_weights

UNET, VAE = "unet", "vae"
TEXT_NUMBERS: Final[Mapping[str, int]] = {"text_encoder": 1, "text_encoder_2": 2}

LoraShelf = Callable[[str], LoraFile]
"""Gives the file of a name in a prompt, or raises CheckpointError: there is none, or it cannot
be read."""


@dataclass(frozen=True)
class _Wanted:
    mention: LoraMention
    file: LoraFile


@dataclass
class _Dressed:
    """A model that wears, or wore, something; it is not kept in memory for that."""

    model: weakref.ref[LoadedModel]
    wears: object = None
    matches: dict[Hashable, Match] = field(default_factory=dict[Hashable, Match])


class JobLoras:
    """What the prompt in use asks for, over all runs of one job.

    Args:
        shelf: Gives the files; asked once for each name.
        warn: Told once about everything that is not applied.
        make_room: Told how many bytes a model that puts something on is about to take more.
    """

    types = LORA_TYPES

    def __init__(
        self,
        shelf: LoraShelf,
        warn: Callable[[str], None],
        make_room: Callable[[int], None] = lambda more: None,
    ) -> None:
        self._make_room = make_room
        self._tell = ToldOnce(warn)
        self._files = NamedFiles("lora", shelf, self._tell)
        self._counts: dict[str, Match] = {}
        self._wanted: tuple[_Wanted, ...] | None = None
        self._step = 0
        self._latest: weakref.ref[LoadedModel] | None = None
        self._dressed: list[_Dressed] = []

    def want(self, mentions: Sequence[NetworkMention]) -> None:
        """From now on models wear what these tags ask for. A tag that cannot be followed is
        told about and left out, the others count."""
        read = [r for m in mentions if (r := self._read(m)) is not None]
        last = {mention.name: mention for mention in read}
        # one name in two tags counts twice, both times with the last one's weights (A1111)
        found = ((last[m.name], self._files.get(m.name)) for m in read)
        wanted = tuple(_Wanted(mention, file) for mention, file in found if file is not None)
        if wanted != self._wanted:
            self._wanted = wanted

    def put_on(self, model: LoadedModel) -> None:
        """Make a model's weights what is wanted, whatever an earlier job has left in them; costs
        nothing when they are already. Until something was wanted, or nothing, they stay."""
        if self._wanted is None:
            return
        dressed = next((d for d in self._dressed if d.model() is model), None)
        if dressed is None:
            dressed = _Dressed(weakref.ref(model))
            self._dressed.append(dressed)
        self._latest = dressed.model
        wish = (self._wanted, tuple(w.mention.acts_at(self._step) for w in self._wanted))
        networks = _networks(model)
        if dressed.wears == (wish, _worn(networks)):
            return
        changes: dict[str, list[NetworkChange]] = {name: [] for name in networks}
        for wanted in self._wanted:
            for network, change in self._changes(model, dressed, wanted):
                changes[network].append(change)
        if more := sum(bytes_to_hold(networks[name], wanted) for name, wanted in changes.items()):
            self._make_room(more)
        for name, network in networks.items():
            set_changes(network, changes[name])
        dressed.wears = (wish, _worn(networks))

    def at_step(self, step: int) -> None:
        """The walk of a sampler is before this step, counted from 0; LoRAs that begin or end
        with it are put on or taken off."""
        self._step = step
        if self._latest is not None and (model := self._latest()) is not None:
            self.put_on(model)

    def end(self) -> None:
        """The job is over; see ``networks.NetworkKind``. What is on stays on until another job
        wants something else."""

    def take_off(self) -> None:
        """Give every model its own weights again."""
        self._wanted = ()
        for dressed in self._dressed:
            if (model := dressed.model()) is not None:
                for module in _networks(model).values():
                    set_changes(module, ())
        self._dressed.clear()
        self._latest = None

    def counts(self, names: Collection[str]) -> str:
        """How many layers of each file act, for recipes: ``ink: 264 of 264, wash: 12 of 20``.

        Args:
            names: Of files, as tags name them; others are left out.
        """
        known = ((name, match) for name, match in self._counts.items() if name in names)
        return ", ".join(f"{name}: {match.applied} of {match.total}" for name, match in known)

    def _read(self, mention: NetworkMention) -> LoraMention | None:
        try:
            found = lora_weights(mention)
            if found.lbw:
                read_blocks(found.lbw)
            return found
        except PromptSyntaxError as err:
            self._tell(f"{mention} was left out. {err}")
            return None

    def _changes(
        self, model: LoadedModel, dressed: _Dressed, wanted: _Wanted
    ) -> Iterator[tuple[str, NetworkChange]]:
        mention, file = wanted.mention, wanted.file
        if file.key not in dressed.matches:
            dressed.matches[file.key] = match_layers(file, _tables(model))
        match = dressed.matches[file.key]
        is_foreign = file.family not in ("", model.spec.family)
        is_left_out = not match.applied or (is_foreign and match.applied < match.total)
        self._tell_of(file, match, model, is_left_out)
        if is_left_out:
            return
        self._counts.setdefault(mention.name, match)
        factors = read_blocks(mention.lbw) if mention.lbw else {}
        unet = mention.unet if mention.acts_at(self._step) else 0.0
        text = mention.te * factors.get(BASE, 1.0)
        for network, layers in match.layers.items():
            if layers:
                weight = unet if network == UNET else text
                blocks = tuple(factors.items()) if network == UNET else ()
                share = _share(model, factors) if blocks else {}
                key = (file.key, weight, mention.dyn, blocks)
                yield network, NetworkChange(key, layers, weight, mention.dyn, share)

    def _tell_of(self, file: LoraFile, match: Match, model: LoadedModel, is_left_out: bool) -> None:
        name, places = f"<lora:{file.name}>", match.strangers + match.unfit
        here = f"{model.path.stem} ({model.family.title})"
        if is_left_out:
            family = title_of(file.family)
            advice = "Choose a LoRA or a checkpoint of the same family."
            if family:
                advice = (
                    f"It was made for {family}; choose a LoRA or a checkpoint of the same family."
                )
            self._tell(
                f"{name} was not applied: {match.applied} of its {match.total} layers fit {here}. "
                f"{advice}"
            )
        elif places or file.unknown:
            self._tell(
                f"{name}: {match.applied} of {match.total} layers were applied to {here}; there "
                f"is no use here for {some(places + file.unknown)}."
            )
        if file.embeddings:
            self._tell(f"{name}: the embeddings in it ({some(file.embeddings)}) are not used.")


def _networks(model: LoadedModel) -> dict[str, nn.Module]:
    return {name: network for name, network in model.parts.items() if name != VAE}


def _worn(networks: Mapping[str, nn.Module]) -> tuple[object, ...]:
    return tuple(changes_in(network) for network in networks.values())


def _share(model: LoadedModel, factors: Mapping[str, float]) -> dict[str, float]:
    """Factor of each U-Net layer that is in a block; 0 where the list has no place for it."""
    blocks = block_of_layers(_tables(model)[UNET].shapes)
    return {path: factors.get(block, 0.0) for path, block in blocks.items()}


def _tables(model: LoadedModel) -> dict[str, LayerTable]:
    if "lora_tables" not in model.extras:
        model.extras["lora_tables"] = {
            name: unet_layers(network) if name == UNET else text_layers(network, TEXT_NUMBERS[name])
            for name, network in _networks(model).items()
        }
    return model.extras["lora_tables"]
