"""Change a network's weights for a while, and put back exactly what was there.

The changed weights are calculated once, in float32, and stand in the layers until other changes
are asked for. What they replaced is read again from the file it came from, or, where that cannot
be, kept beside them (``holding.py``). A network remembers what is in it, so asking for the same
again costs nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from webui.networks.lora.changes import LayerChange
from webui.networks.lora.holding import (
    ChangedLayer,
    KeptLayer,
    LentLayer,
    OpenOriginals,
    open_originals,
)
from webui.networks.packing import has_weight, hold_layer, home_of
from webui.networks.small_weights import SMALL

_STATE = "_changed_for_a_while"
_UNFINISHED = ("unfinished",)


@dataclass(frozen=True)
class NetworkChange:
    """What one file does to one network.

    Attributes:
        key: Equal for equal changes: file, weight, and all else that has an influence.
        layers: Path of a module → its change; all of them fit.
        weight: Multiplies every change; 0 = none.
        rank_limit: See ``changes.Change``.
        share: Multiplies the weight of single layers, by path; 1 where not told.
    """

    key: Hashable
    layers: Mapping[str, LayerChange]
    weight: float
    rank_limit: int | None = None
    share: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass
class _State:
    key: tuple[Hashable, ...] = ()
    held: dict[str, ChangedLayer] = field(default_factory=dict[str, ChangedLayer])
    originals: OpenOriginals | None = None
    """Open as long as a layer may need it; None = what is replaced is kept."""


def set_changes(network: nn.Module, changes: Sequence[NetworkChange]) -> None:
    """Make a network's weights its own plus these changes, applied in order.

    Args:
        network: Its layers' weights are replaced; written into only where they can be read again.
        changes: Empty = its own weights again, bit for bit. Those of weight 0 do not count.
    Raises:
        CheckpointError: Its own weights cannot be read any more. The network is lost then.
    """
    wanted = [change for change in changes if change.weight != 0]
    key = tuple(change.key for change in wanted)
    if key == changes_in(network):
        return
    state = network.__dict__.setdefault(_STATE, _State())
    paths = dict.fromkeys(path for change in wanted for path in change.layers)
    state.key = _UNFINISHED  # should it end here, the next call begins anew
    try:
        _put_back(network, state, [path for path in state.held if path not in paths])
        with torch.inference_mode(False), torch.no_grad():
            for path in paths:
                layer = network.get_submodule(path)
                if path not in state.held:
                    state.held[path] = _begin(network, state, path)
                _change(layer, state.held[path], path, wanted)
                state.held[path].wait_aside(layer)
    except BaseException:
        _put_back(network, state, list(state.held))
        state.key = ()
        raise
    state.key = key


def _begin(network: nn.Module, state: _State, path: str) -> ChangedLayer:
    """What holds a layer's own weight, which must be in the layer now."""
    layer, name = network.get_submodule(path), f"{path}.weight"
    if not state.held:
        state.originals = open_originals(network)
    if state.originals is not None and _is_read_again(layer, name, state.originals):
        return LentLayer(layer, name, state.originals)
    return KeptLayer(layer)


def _is_read_again(layer: nn.Module, name: str, originals: OpenOriginals) -> bool:
    try:
        return has_weight(layer, originals.read(name))
    except KeyError:  # the layer was added since
        return False


def _put_back(network: nn.Module, state: _State, paths: Sequence[str]) -> None:
    for path in paths:
        state.held[path].put_back(network.get_submodule(path))
        del state.held[path]
    if not state.held:
        state.originals = None


def changes_in(network: nn.Module) -> tuple[Hashable, ...]:
    """Stands for the changes that are in a network now; () = its own weights."""
    state: _State | None = network.__dict__.get(_STATE)
    return state.key if state is not None else ()


def is_lost(network: nn.Module) -> bool:
    """Whether changes were to be taken off and could not: it has to be loaded anew."""
    return changes_in(network) == _UNFINISHED


def held_bytes(network: nn.Module) -> int:
    """Bytes of a network's own weights that are kept while changed ones stand in their place."""
    state: _State | None = network.__dict__.get(_STATE)
    if state is None:
        return 0
    return sum(h.nbytes(network.get_submodule(path)) for path, h in state.held.items())


def bytes_to_hold(network: nn.Module, changes: Sequence[NetworkChange]) -> int:
    """Bytes that ``set_changes`` will need beside what is there now, about."""
    state: _State = network.__dict__.get(_STATE) or _State()
    if (state.originals if state.held else open_originals(network)) is not None:
        return 0
    paths = {path for change in changes if change.weight for path in change.layers}
    layers = (network.get_submodule(path) for path in paths - set(state.held))
    return sum(hold_layer(layer).nbytes() for layer in layers)


def _change(
    layer: nn.Module, held: ChangedLayer, path: str, changes: Sequence[NetworkChange]
) -> None:
    acting = [
        (part, amount, change.rank_limit)
        for change in changes
        if (part := change.layers.get(path)) is not None
        and (amount := change.weight * change.share.get(path, 1.0))
    ]

    def add(weight: Tensor) -> None:
        for part, amount, rank_limit in acting:
            if part.weight is not None:
                part.weight.add_to(weight, amount, rank_limit)

    if any(part.weight is not None for part, _, _ in acting):
        held.change(layer, add)
    else:
        held.put_back(layer)
    biases = [(part.bias, amount) for part, amount, _ in acting if part.bias is not None]
    if biases:
        changed = _changed_bias(layer, held.bias, biases)
        layer.bias = nn.Parameter(changed, requires_grad=False)  # type: ignore[assignment]
    elif layer._parameters.get("bias") is not held.bias:
        layer.bias = held.bias  # type: ignore[assignment]


def _changed_bias(
    layer: nn.Module, own: Tensor | None, biases: Sequence[tuple[Tensor, float]]
) -> Tensor:
    """The layer's own bias, zeros where it has none, with what is added to it."""
    added = [bias.to(home_of(layer), torch.float32).flatten() * amount for bias, amount in biases]
    total = torch.stack(added).sum(0)
    if own is not None:
        return (total + own.to(total)).to(own.dtype)
    weight = layer._parameters.get("weight")  # none = packed, which only float32 is
    if weight is None or weight.dtype == SMALL:
        return total
    return total.to(weight.dtype)
