"""Networks of a diffusers pipeline that wait in main memory for their turn (``--medvram``,
``--lowvram``).

A pipeline calls its networks by many names (``encode``, ``decode``, ``generate``, a layer of a
layer), so every layer asks for its network's turn before it runs: a look at one name when it is
there already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import torch
from torch import nn

from webui.checkpoints.load_pipeline import LoadedPipeline
from webui.pipelines.placement import put_network_aside

TAKES_TURNS: Final = "takes_turns"


def take_turns(model: LoadedPipeline, *, by_blocks: bool) -> None:
    """Have a pipeline's networks come to the device one at a time.

    Args:
        model: Its networks are in main memory.
        by_blocks: Of networks made of blocks, only the block at work comes (``--lowvram``).
    """
    turns = _Turns(model.device)
    for network in model.parts.values():
        put_network_aside(network)
        blocks = set(_blocks(network)) if by_blocks else set[nn.Module]()
        if _own_weight(network, blocks) is None:
            blocks = set[nn.Module]()
        inside = {layer for block in blocks for layer in block.modules()}
        comes = turns.hook(network, blocks)
        for layer in network.modules():
            if layer in blocks:
                layer.register_forward_pre_hook(turns.block_comes)
                layer.register_forward_hook(turns.block_goes)
            elif layer not in inside:
                layer.register_forward_pre_hook(comes)
    model.extras[TAKES_TURNS] = True
    calculate_on_device(model, model.pipeline)


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The outermost members of lists of layers."""
    for child in network.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


class _Turns:
    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._present: nn.Module | None = None

    def hook(self, network: nn.Module, blocks: set[nn.Module]) -> Any:
        weight = _own_weight(network, blocks)

        def asked(_layer: nn.Module, _inputs: Any) -> None:
            is_here = weight is None or weight().device == self._device
            if self._present is network and is_here:  # it may have been sent away again
                return
            if self._present not in (None, network):
                self._present.to("cpu")
            self._present = network
            move(network, self._device, blocks)

        return asked

    def block_comes(self, block: nn.Module, _inputs: Any) -> None:
        block.to(self._device)

    def block_goes(self, block: nn.Module, _inputs: Any, _outputs: Any) -> None:
        block.to("cpu")


def _own_weight(network: nn.Module, but: set[nn.Module]) -> Callable[[], Any] | None:
    """Gives a weight that is moved with the network; None when its blocks hold all of them."""
    layers = [network]
    while layers:
        layer = layers.pop(0)
        if layer in but:
            continue
        for name, weight in layer._parameters.items():
            if weight is not None:
                return partial(getattr, layer, name)
        layers += layer.children()
    return None


def move(network: nn.Module, device: torch.device, but: set[nn.Module]) -> None:
    """Move a network's own tensors, layer by layer, without those of some blocks."""
    if network in but:
        return
    network._apply(lambda tensor: tensor.to(device), recurse=False)
    for child in network.children():
        move(child, device, but)


def calculate_on_device(model: LoadedPipeline, pipeline: Any) -> None:
    """Have a pipeline of a model make its own tensors on the device although its networks wait
    elsewhere; changes nothing where none waits."""
    if TAKES_TURNS not in model.extras:
        return
    kind = type(pipeline)
    here = property(lambda _pipeline: model.device)
    names = {"device": here, "_execution_device": here, "__module__": kind.__module__}
    pipeline.__class__ = type(kind.__name__, (kind,), names)
