"""The hypernetworks of one job: put on whichever model is in use, taken off when it ends."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from webui.checkpoints.load import LoadedModel
from webui.errors import PromptSyntaxError
from webui.networks.hypernetworks import Hypernetwork, put_on, read_widths
from webui.pipelines.named_files import NamedFiles, ToldOnce
from webui.prompts.networks import HYPERNET_TYPES, NetworkMention, hypernet_strength

HypernetworkShelf = Callable[[str], Hypernetwork]
"""Gives the hypernetwork of a name in a prompt, or raises CheckpointError."""
Worn = tuple[tuple[Hypernetwork, float], ...]


@dataclass
class _Dressed:
    """A model that wears, or wore, something; it is not kept in memory for that."""

    model: weakref.ref[LoadedModel]
    wears: Worn = ()
    hooks: list[Any] = field(default_factory=list[Any])

    def take_off(self) -> None:
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()


class JobHypernetworks:
    """What the prompt in use asks for, over all runs of one job; see ``networks.JobNetworks``.

    Args:
        shelf: Gives the networks; asked once for each name.
        warn: Told about everything that is not applied.
    """

    types = HYPERNET_TYPES

    def __init__(self, shelf: HypernetworkShelf, warn: Callable[[str], None]) -> None:
        self._tell = ToldOnce(warn)
        self._files = NamedFiles("hypernet", shelf, self._tell)
        self._wanted: Worn = ()
        self._dressed: list[_Dressed] = []

    def want(self, mentions: Sequence[NetworkMention]) -> None:
        """From now on models read through what these tags ask for, in the tags' order; one that
        is named twice acts twice."""
        wanted = ((self._files.get(m.name), self._strength(m)) for m in mentions)
        self._wanted = tuple((f, s) for f, s in wanted if f is not None and s is not None)

    def put_on(self, model: LoadedModel) -> None:
        """Make a model read through what is wanted; costs nothing when it does already."""
        dressed = next((d for d in self._dressed if d.model() is model), None)
        if dressed is None:
            if not self._wanted:
                return
            dressed = _Dressed(weakref.ref(model))
            self._dressed.append(dressed)
        if dressed.wears == self._wanted:
            return
        dressed.take_off()
        fitting = [(f, s) for f, s in self._wanted if self._fits(f, model)]
        dressed.hooks = put_on(model.unet, fitting)
        dressed.wears = self._wanted

    def at_step(self, step: int) -> None:
        """Hypernetworks act in every step."""

    def end(self) -> None:
        """The job is over."""
        self.take_off()

    def take_off(self) -> None:
        """Let every model read as it did before."""
        self._wanted = ()
        for dressed in self._dressed:
            dressed.take_off()
        self._dressed.clear()

    def _strength(self, mention: NetworkMention) -> float | None:
        try:
            return hypernet_strength(mention)
        except PromptSyntaxError as err:
            self._tell(f"{mention} was left out. {err}")
            return None

    def _fits(self, file: Hypernetwork, model: LoadedModel) -> bool:
        """A file that reads the prompt as the model does, or has no width that is strange to it."""
        text, all_widths = read_widths(model.unet)
        strange = sorted(file.widths - all_widths)
        if not strange:
            return True
        here = f"{model.path.stem} ({model.family.title})"
        widths = ", ".join(map(str, sorted(all_widths)))
        if not file.widths & text:
            self._tell(
                f"<hypernet:{file.name}> was not applied: it is for widths of "
                f"{', '.join(map(str, sorted(file.widths)))}, and {here} reads {widths}. Choose a "
                "hypernetwork or a checkpoint of the same family."
            )
            return False
        self._tell(
            f"<hypernet:{file.name}>: its parts for widths of {', '.join(map(str, strange))} have "
            f"no use in {here}, which reads {widths}."
        )
        return True
