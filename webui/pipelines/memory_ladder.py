"""What is tried, in order, when memory runs out, and what is remembered of it.

Each kind of work has its own ladder: the U-Net's call (all at once → one sample after another →
the other networks in main memory), the VAE's (whole → in tiles → the other networks in main
memory), and over both the batch, which is painted in smaller groups last. Only the work that
failed is done again, so steps that are already painted stay.

The rung that worked is said once and remembered for the model, as long as the process lives: the
same size, or a larger one, starts there the next time.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import psutil
import torch
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.pipelines.encoding import Encoding
from webui.pipelines.network_call import NetworkCall, call_network
from webui.pipelines.placement import clear_for
from webui.torch_setup import is_out_of_memory

logger = logging.getLogger(__name__)
T = TypeVar("T")
_MEMORY: Final = "memory_ladder"

ONE_AFTER_ANOTHER: Final = "the network for one picture and one prompt at a time"
VAE_IN_TILES: Final = "the VAE in tiles"
OTHERS_ASIDE: Final = "the networks that are not at work in main memory"
SMALLER_GROUPS: Final = "painted in smaller groups"


class NothingHelped(Exception):
    """The last rung of a ladder failed too.

    Args:
        tried: What was tried, as a person would say it.
    """

    def __init__(self, tried: Sequence[str]) -> None:
        super().__init__(", ".join(tried))
        self.tried = tuple(tried)


@dataclass(frozen=True)
class Rung(Generic[T]):
    """One way to do some work.

    Attributes:
        name: What is special about it; empty for the usual way.
        attempt: Does the work, or runs out of memory and leaves nothing behind.
    """

    name: str
    attempt: Callable[[], T]


def climb(
    model: LoadedModel,
    work: str,
    cells: int,
    rungs: Sequence[Rung[T]],
    warn: Callable[[str], None],
) -> T:
    """Do some work in the first way that fits into memory.

    Args:
        model: Remembers which rung worked.
        work: Which ladder this is.
        cells: Size of the work; what a smaller one needed is not tried without.
        rungs: Ways to do it, the usual one first.
        warn: Told when a new rung was found to work.
    Raises:
        NothingHelped: No rung fitted.
    """
    known = _remembered(model, work, cells)
    start = max((i for i, rung in enumerate(rungs) if rung.name in known), default=0)
    for number, rung in enumerate(rungs[start:], start):
        try:
            result = rung.attempt()
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as err:
            if not is_out_of_memory(err):
                raise
            logger.info("%s ran out of memory at rung %d (%s): %s", work, number, rung.name, err)
        else:
            if number > start:
                warn(
                    f"Memory ran short; what helped: {rung.name}. "
                    "This size is painted so from now on."
                )
                _memory(model)[work, cells] = rung.name
            return result
        give_back()  # after the except block, whose error holds on to everything
    raise NothingHelped([rung.name for rung in rungs if rung.name])


def remember_group(model: LoadedModel, cells: int, size: int) -> None:
    """Pictures of that many cells go through in groups of ``size``."""
    _memory(model)["group", cells] = size


def group_size(model: LoadedModel, cells: int, wanted: int) -> int:
    """Pictures that can be painted at once, as far as is known."""
    return min([wanted, *_remembered(model, "group", cells)])


class Remembers(Protocol):
    """Something loaded that things belonging to it are kept with."""

    @property
    def extras(self) -> dict[str, Any]: ...


def learn_into(model: Remembers, memory: dict[tuple[str, int], Any]) -> None:
    """Have a model remember in ``memory``, which whoever loads models keeps beyond it."""
    model.extras[_MEMORY] = memory


def _memory(model: LoadedModel) -> dict[tuple[str, int], Any]:
    return model.extras.setdefault(_MEMORY, {})


def _remembered(model: LoadedModel, work: str, cells: int) -> set[Any]:
    """What work of that size or a smaller one needed."""
    return {v for (w, c), v in _memory(model).items() if w == work and c <= cells}


def give_back() -> None:
    """Let go of what a failed attempt left behind."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class LadderCall:
    """A network call that gets through with less memory when it must; see ``NetworkCall``.

    Args:
        warn: Told what helped.
        call: What evaluates the network.
    """

    def __init__(self, warn: Callable[[str], None], call: NetworkCall = call_network) -> None:
        self._warn = warn
        self._call = call

    def __call__(
        self,
        model: LoadedModel,
        inputs: Tensor,
        timesteps: Tensor,
        context: Encoding,
        stop_if_asked: Callable[[], None],
    ) -> Tensor:
        """See ``NetworkCall``."""

        def at_once() -> Tensor:
            return self._call(model, inputs, timesteps, context, stop_if_asked)

        def one_by_one() -> Tensor:
            parts = []
            for one in range(len(inputs)):
                stop_if_asked()
                sample = slice(one, one + 1)
                args = (inputs[sample], timesteps[sample], context[sample])
                parts.append(self._call(model, *args, stop_if_asked))
            return torch.cat(parts)

        def alone() -> Tensor:
            clear_for(model, model.unet)
            return one_by_one()

        rungs = [Rung("", at_once)]
        if len(inputs) > 1:
            rungs.append(Rung(ONE_AFTER_ANOTHER, one_by_one))
        if torch.device(model.device).type != "cpu":
            rungs.append(Rung(OTHERS_ASIDE, alone))
        return climb(model, "network", inputs[:, 0].numel(), rungs, self._warn)


def available_bytes(device: torch.device) -> int:
    """Memory that new work on a device can have, about."""
    device = torch.device(device)
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    free = psutil.virtual_memory().available
    limit = _container_limit()
    return free if limit is None else min(free, limit)


def _container_limit(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a Linux container may still take; None without a limit."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
        stat = (folder / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    facts: dict[str, Any] = dict(line.split() for line in stat)
    return int(limit) - used + int(facts.get("inactive_file", 0))
