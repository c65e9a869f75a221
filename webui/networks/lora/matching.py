"""Which layers of a model a LoRA file changes, and which of its names find no place there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from webui.networks.lora.changes import LayerChange
from webui.networks.lora.files import LoraFile
from webui.networks.lora.names import text_table, unet_table

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LayerTable:
    """The layers of one network that a LoRA may change.

    Attributes:
        names: Every spelling of a layer, see ``names`` → its path.
        shapes: Path → shape of its weight.
    """

    names: Mapping[str, str]
    shapes: Mapping[str, Shape]


@dataclass(frozen=True)
class Match:
    """A file laid over a model.

    Attributes:
        layers: For each network path → change.
        strangers: Names in the file that mean no layer of the model.
        unfit: Names whose layer has another shape.
    """

    layers: Mapping[str, Mapping[str, LayerChange]]
    strangers: tuple[str, ...]
    unfit: tuple[str, ...]

    @property
    def applied(self) -> int:
        """Number of layers that are changed."""
        return sum(len(layers) for layers in self.layers.values())

    @property
    def total(self) -> int:
        """Number of layers the file names."""
        return self.applied + len(self.strangers) + len(self.unfit)


def unet_layers(unet: nn.Module) -> LayerTable:
    """The table of a U-Net with diffusers' names."""
    shapes = _shapes(unet)
    return LayerTable(unet_table(shapes), shapes)


def text_layers(text_encoder: nn.Module, number: int = 1) -> LayerTable:
    """The table of a CLIP text encoder; ``number`` is 2 for SDXL's second."""
    shapes = _shapes(text_encoder)
    return LayerTable(text_table(shapes, number), shapes)


def _shapes(network: nn.Module) -> dict[str, Shape]:
    """Shapes of all weights, without touching the weights: they may be packed."""
    found: dict[str, Shape] = {}
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Linear):
            found[path] = (layer.out_features, layer.in_features)
        elif isinstance(layer, nn.Conv2d):
            inputs = layer.in_channels // layer.groups
            found[path] = (layer.out_channels, inputs, *layer.kernel_size)
        elif (weight := layer._parameters.get("weight")) is not None:
            found[path] = tuple(weight.shape)
    return found


def match_layers(file: LoraFile, tables: Mapping[str, LayerTable]) -> Match:
    """Find the place of every layer that a file names.

    Args:
        tables: Network name → its layers; the first network that knows a name gets it.
    """
    layers: dict[str, dict[str, LayerChange]] = {network: {} for network in tables}
    strangers: list[str] = []
    unfit: list[str] = []
    for name, change in file.layers.items():
        network = next((n for n, table in tables.items() if name in table.names), None)
        if network is None:
            strangers.append(name)
            continue
        path = tables[network].names[name]
        if change.fits(tables[network].shapes[path]) and path not in layers[network]:
            layers[network][path] = change
        else:
            unfit.append(name)
    return Match(layers, tuple(strangers), tuple(unfit))
