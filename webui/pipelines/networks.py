"""Everything that tags in prompts bring in, over all runs of one job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from webui.checkpoints.load import LoadedModel
from webui.pipelines.named_files import ToldOnce
from webui.prompts.networks import NetworkMention


class NetworkKind(Protocol):
    """One kind of network: LoRAs, hypernetworks.

    Attributes:
        types: Names of its tags.
    """

    @property
    def types(self) -> tuple[str, ...]: ...

    def want(self, mentions: Sequence[NetworkMention]) -> None:
        """From now on models wear what these tags of its types ask for. A tag that cannot be
        followed is told about and left out, the others count."""
        ...

    def put_on(self, model: LoadedModel) -> None:
        """Make a model wear what is wanted; costs nothing when it does already."""
        ...

    def at_step(self, step: int) -> None:
        """The walk of a sampler is before this step, counted from 0."""
        ...

    def end(self) -> None:
        """The job is over: nothing of it may be seen in the pictures of the next one, which asks
        for its own networks before it uses a model."""
        ...

    def take_off(self) -> None:
        """Make every model what it was."""
        ...


class JobNetworks:
    """The networks of one job, of all kinds.

    Args:
        kinds: Each is given the tags of its types.
        warn: Told once about each tag of no kind.
    """

    def __init__(self, kinds: Sequence[NetworkKind], warn: Callable[[str], None]) -> None:
        self._kinds = tuple(kinds)
        self._tell = ToldOnce(warn)

    def want(self, mentions: Sequence[NetworkMention]) -> None:
        """From now on models wear what these tags ask for."""
        for kind in self._kinds:
            kind.want([m for m in mentions if m.type in kind.types])
        known = [name for kind in self._kinds for name in kind.types]
        for mention in mentions:
            if mention.type not in known:
                self._tell(f"{mention} was left out: there is nothing of the kind {mention.type}.")

    def put_on(self, model: LoadedModel) -> None:
        """Make a model wear what is wanted; costs nothing when it does already."""
        for kind in self._kinds:
            kind.put_on(model)

    def at_step(self, step: int) -> None:
        """The walk of a sampler is before this step, counted from 0; what begins or ends with it
        is put on or taken off."""
        for kind in self._kinds:
            kind.at_step(step)

    def end(self) -> None:
        """The job is over. What the next one may want too stays on, see ``LoadedModels``."""
        for kind in self._kinds:
            kind.end()

    def take_off(self) -> None:
        """Make every model what it was before the job."""
        for kind in self._kinds:
            kind.take_off()
